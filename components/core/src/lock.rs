//! Lock stores: one owner at a time for a resource, for a limited time.
//!
//! Source: specification, distributed lock.

use std::fmt;
use std::time::Duration;

use outrigger_svc::{BoxError, BoxFuture};

/// Locks by resource.
pub trait LockStore: fmt::Debug + Send + Sync + 'static {
    /// Takes the lock of a resource, and says whether it was free.
    fn try_lock<'a>(
        &'a self,
        resource: &'a str,
        owner: &'a str,
        expiry: Duration,
    ) -> BoxFuture<'a, Result<bool, BoxError>>;

    /// Gives the lock of a resource back.
    fn unlock<'a>(&'a self, resource: &'a str, owner: &'a str) -> BoxFuture<'a, Result<Unlocked, BoxError>>;

    /// Closes connections.
    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// What came of giving a lock back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlocked {
    /// It is free.
    Success,
    /// Nobody had it.
    DoesNotExist,
    /// Somebody else has it.
    BelongsToOthers,
}

// === impl Unlocked ===

impl Unlocked {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::Success => 0,
            Self::DoesNotExist => 1,
            Self::BelongsToOthers => 2,
        }
    }
}
