//! Name resolution by a component that the Configuration chooses.

use std::fmt;

use outrigger_svc::BoxFuture;

/// Finds the sidecars of an app.
pub trait NameResolution: fmt::Debug + Send + Sync + 'static {
    /// Leaves the registry, if the resolver has one.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// What a name resolver is made from.
#[derive(Clone, Debug)]
pub struct NameResolutionInit {}
