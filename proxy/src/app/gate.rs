//! What a call to the app must pass first: the app's health, and the limit of calls in flight.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use outrigger_link::{CallError, Status};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The gate before one channel; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    healthy: Arc<AtomicBool>,
    slots: Option<Arc<Semaphore>>,
}

/// A place among the calls in flight, given back when dropped.
#[derive(Debug, Default)]
pub(crate) struct Slot(Option<OwnedSemaphorePermit>);

// === impl Gate ===

impl Gate {
    /// A gate that is open, for at most `max_concurrency` calls at once.
    #[must_use]
    pub(crate) fn new(max_concurrency: Option<NonZeroUsize>) -> Self {
        let slots = max_concurrency.map(|limit| Arc::new(Semaphore::new(limit.get())));
        Self {
            healthy: Arc::new(AtomicBool::new(true)),
            slots,
        }
    }

    /// Opens the gate for a healthy app and closes it for an unhealthy one.
    pub(crate) fn set_healthy(&self, is_healthy: bool) {
        self.healthy.store(is_healthy, Ordering::Release);
    }

    /// Whether the app is thought to be healthy.
    #[must_use]
    pub(crate) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    /// Waits for a place; giving up is dropping the future.
    ///
    /// # Errors
    /// Internal `app is not in a healthy state`.
    pub(crate) async fn enter(&self) -> Result<Slot, CallError> {
        if !self.is_healthy() {
            return Err(Status::internal("app is not in a healthy state").into());
        }
        Ok(self.wait().await)
    }

    /// Waits for a place whatever the app's health.
    pub(crate) async fn wait(&self) -> Slot {
        match &self.slots {
            None => Slot(None),
            // The semaphore is never closed.
            Some(slots) => Slot(Arc::clone(slots).acquire_owned().await.ok()),
        }
    }
}

// === impl Slot ===

impl Slot {
    /// Whether anybody waits for this place, so that it must be kept while a body is read.
    pub(crate) fn is_counted(&self) -> bool {
        self.0.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_unhealthy_app_is_not_called() {
        let gate = Gate::new(None);
        gate.set_healthy(false);
        let refused = gate.enter().await.unwrap_err().to_string();
        assert_eq!(
            refused,
            "rpc error: code = Internal desc = app is not in a healthy state"
        );
        gate.set_healthy(true);
        gate.enter().await.unwrap();
    }

    #[tokio::test]
    async fn calls_beyond_the_limit_wait_for_a_place() {
        let gate = Gate::new(NonZeroUsize::new(1));
        let first = gate.enter().await.unwrap();
        let second = gate.enter();
        let mut second = std::pin::pin!(second);
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        drop(first);
        second.await.unwrap();
    }

    #[tokio::test]
    async fn without_a_limit_nobody_waits() {
        let gate = Gate::new(None);
        let slots = [gate.enter().await.unwrap(), gate.enter().await.unwrap()];
        assert_eq!(slots.len(), 2);
    }
}
