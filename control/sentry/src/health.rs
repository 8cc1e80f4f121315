//! Readiness: sentry is ready when everything that it started says so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Response, StatusCode};

use crate::http_server::Answer;

/// What has been started and whether it is ready. Clones share the list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health(Arc<Mutex<BTreeMap<&'static str, bool>>>);

/// One thing that was started.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    health: Health,
    name: &'static str,
}

// === impl Health ===

impl Health {
    /// Adds a target, which is not ready yet.
    pub(crate) fn target(&self, name: &'static str) -> Target {
        let target = Target {
            health: self.clone(),
            name,
        };
        target.set(false);
        target
    }

    /// Whether all targets are ready.
    pub(crate) fn is_ready(&self) -> bool {
        let targets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        targets.values().all(|ready| *ready)
    }

    /// The answer to a probe: 200 or 503 on `/healthz` whatever the method, never with a body.
    pub(crate) fn answer(&self, path: &str) -> Response<Answer> {
        if path != "/healthz" {
            return crate::http_server::not_found();
        }
        let status = if self.is_ready() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let mut response = Response::new(Answer::default());
        *response.status_mut() = status;
        response
    }
}

// === impl Target ===

impl Target {
    /// Says that the target is ready.
    pub(crate) fn ready(&self) {
        self.set(true);
    }

    fn set(&self, ready: bool) {
        let mut targets = self.health.0.lock().unwrap_or_else(PoisonError::into_inner);
        targets.insert(self.name, ready);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentry_is_ready_when_all_targets_are() {
        let health = Health::default();
        let (first, second) = (health.target("first"), health.target("second"));
        let status = |path| health.answer(path).status().as_u16();
        assert_eq!(status("/healthz"), 503);
        first.ready();
        assert_eq!(status("/healthz"), 503);
        second.ready();
        assert_eq!(status("/healthz"), 200);
        assert_eq!(status("/"), 404);
    }
}
