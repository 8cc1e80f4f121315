//! The seam between the facade and the ways of finding a callee.

use std::sync::Arc;
use std::time::Duration;

use outrigger_svc::BoxFuture;

use crate::endpoint::{Endpoints, Request};
use crate::error::ResolveError;

/// A way of finding the sidecars of an app.
///
/// Called on a miss and for a refresh only, always on the runtime that the [`Resolver`] was made on.
///
/// [`Resolver`]: crate::Resolver
pub trait NameResolver: Send + Sync + 'static {
    /// Finds all addresses of a callee.
    ///
    /// An empty set means "nothing yet": the facade asks again a few times.
    ///
    /// # Errors
    /// The reason, which the caller's app sees.
    fn resolve<'a>(&'a self, request: Request<'a>) -> BoxFuture<'a, Result<Answer, ResolveError>>;

    /// Told that a connection to an address of a live set failed; the set may be looked at again.
    fn doubt(&self, _request: Request<'_>) {}

    /// Withdraws the own instance and ends background work.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What a resolver found.
#[derive(Clone, Debug)]
pub struct Answer {
    /// All addresses of the callee.
    pub endpoints: Arc<Endpoints>,
    /// How long the answer holds.
    pub keep: Keep,
}

/// How long an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Only for the calls that waited for it.
    Not,
    /// For this long; the facade refreshes it before that while it is in use.
    For(Duration),
    /// For ever: the resolver itself keeps the set up to date, and empties it when nothing is known.
    Live,
}
