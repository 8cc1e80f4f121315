//! Locks: which store, whose lock, and for how long.
//!
//! Source: specification, distributed lock.

mod prefix;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use outrigger_component::lock::{LockStore, Unlocked};
use outrigger_error::Error;

pub(crate) use self::prefix::LockPrefix;
use crate::components::{Calls, Table};

/// All operations on locks. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Locks {
    stores: Table<LoadedLockStore>,
    calls: Calls,
}

/// A lock store that is loaded, and what stands before its resources.
#[derive(Debug)]
pub(crate) struct LoadedLockStore {
    pub(crate) component: Arc<dyn LockStore>,
    pub(crate) prefix: LockPrefix,
}

/// Who wants to have, or has, the lock of what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LockRequest {
    /// Name of the store.
    pub(crate) store: String,
    /// What is locked.
    pub(crate) resource: String,
    /// By whom.
    pub(crate) owner: String,
}

// === impl Locks ===

impl Locks {
    /// Locks of these stores.
    pub(crate) fn new(stores: Table<LoadedLockStore>, calls: Calls) -> Self {
        Self { stores, calls }
    }

    /// Takes a lock for a number of seconds, and says whether it was free.
    pub(crate) async fn try_lock(&self, request: &LockRequest, seconds: i32) -> Result<bool, Error> {
        let expiry = u64::try_from(seconds).unwrap_or_default();
        if expiry == 0 {
            return Err(Error::LockExpiry(request.store.clone()));
        }
        let (expiry, owner) = (Duration::from_secs(expiry), request.owner.as_str());
        let store = self.find(request)?;
        let resource = store.prefix.apply(&request.resource);
        let resource = resource.map_err(|error| Error::TryLock(error.to_string()))?;
        let attempt = || store.component.try_lock(&resource, owner, expiry);
        let outcome = self.calls.run(&request.store, "try_lock", attempt).await;
        outcome.map_err(|error| Error::TryLock(error.to_string()))
    }

    /// Gives a lock back.
    pub(crate) async fn unlock(&self, request: &LockRequest) -> Result<Unlocked, Error> {
        let store = self.find(request)?;
        let resource = store.prefix.apply(&request.resource);
        let resource = resource.map_err(|error| Error::Unlock(error.to_string()))?;
        let attempt = || store.component.unlock(&resource, &request.owner);
        let outcome = self.calls.run(&request.store, "unlock", attempt).await;
        outcome.map_err(|error| Error::Unlock(error.to_string()))
    }

    /// The store that is meant, after what is wrong with the request.
    fn find(&self, request: &LockRequest) -> Result<Arc<LoadedLockStore>, Error> {
        let store = || request.store.clone();
        if self.stores.is_empty() {
            return Err(Error::LockStoreNotConfigured);
        }
        if request.resource.is_empty() {
            return Err(Error::LockResourceEmpty(store()));
        }
        if request.owner.is_empty() {
            return Err(Error::LockOwnerEmpty(store()));
        }
        let found = self.stores.find(&request.store);
        found.ok_or_else(|| Error::LockStoreNotFound(store()))
    }
}
