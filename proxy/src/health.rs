//! Health of the sidecar: targets that must all be ready, and the one-way outbound gate.
//!
//! Each server or background task registers a [`Target`] when it is made and marks it ready when it
//! works. The health endpoint is good when at least one target exists and none is unready. The app's own
//! health plays no part here.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The health of one sidecar; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health(Arc<Shared>);

/// One part of the sidecar that must be ready. It is unready until told otherwise, and listed for as long as
/// its [`Health`] lives.
#[derive(Clone, Debug)]
pub(crate) struct Target(Arc<State>);

/// Targets that are not ready, in the order in which they were registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unready(Vec<&'static str>);

#[derive(Debug, Default)]
struct Shared {
    targets: Mutex<Vec<Target>>,
    outbound: AtomicBool,
}

#[derive(Debug)]
struct State {
    name: &'static str,
    ready: AtomicBool,
}

// === impl Health ===

impl Health {
    /// A sidecar without targets, which counts as unhealthy.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Registers a part that must be ready, under the name that the health endpoint prints.
    #[must_use]
    pub(crate) fn target(&self, name: &'static str) -> Target {
        let target = Target(Arc::new(State {
            name,
            ready: AtomicBool::new(false),
        }));
        self.targets().push(target.clone());
        target
    }

    /// Whether every target is ready.
    ///
    /// # Errors
    /// The unready targets; an empty list when no target was registered yet.
    pub(crate) fn check(&self) -> Result<(), Unready> {
        let targets = self.targets();
        let unready: Vec<_> = targets
            .iter()
            .filter(|target| !target.is_ready())
            .map(Target::name)
            .collect();
        if targets.is_empty() || !unready.is_empty() {
            Err(Unready(unready))
        } else {
            Ok(())
        }
    }

    /// Opens the outbound gate: the API servers and the components are up. It never closes again.
    pub(crate) fn open_outbound(&self) {
        self.0.outbound.store(true, Ordering::Release);
    }

    /// Whether the outbound gate is open.
    #[must_use]
    pub(crate) fn is_outbound_ready(&self) -> bool {
        self.0.outbound.load(Ordering::Acquire)
    }

    fn targets(&self) -> std::sync::MutexGuard<'_, Vec<Target>> {
        self.0.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Target ===

impl Target {
    /// Marks the part as working.
    pub(crate) fn ready(&self) {
        self.0.ready.store(true, Ordering::Release);
    }

    /// Marks the part as not working, for instance because it is closing.
    pub(crate) fn unready(&self) {
        self.0.ready.store(false, Ordering::Release);
    }

    /// Whether the part works.
    #[must_use]
    pub(crate) fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Acquire)
    }

    fn name(&self) -> &'static str {
        self.0.name
    }
}

// === impl Unready ===

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.0.join(" "))
    }
}

impl std::error::Error for Unready {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_targets_nothing_is_healthy() {
        assert_eq!(Health::new().check().unwrap_err().to_string(), "[]");
    }

    #[test]
    fn every_target_must_be_ready() {
        let health = Health::new();
        let runtime = health.target("runtime");
        let server = health.target("grpc-api-server");
        assert_eq!(
            health.check().unwrap_err().to_string(),
            "[runtime grpc-api-server]"
        );
        runtime.ready();
        assert_eq!(health.check().unwrap_err().to_string(), "[grpc-api-server]");
        server.ready();
        assert_eq!(health.check(), Ok(()));
        server.unready();
        assert_eq!(health.check().unwrap_err().to_string(), "[grpc-api-server]");
    }

    #[test]
    fn the_outbound_gate_opens_once() {
        let health = Health::new();
        assert!(!health.is_outbound_ready());
        health.open_outbound();
        assert!(health.is_outbound_ready());
    }
}
