//! What the policies of one target do to the metrics.
//!
//! Source: specification, resiliency 7.

use std::sync::Arc;

use outrigger_telemetry::metrics::{BreakerState, Metrics, PolicyUse};

/// The series of one target and direction.
#[derive(Debug)]
pub(crate) struct Meter {
    metrics: Metrics,
    resource: Arc<ResourceName>,
    direction: Direction,
    target: String,
}

/// The resource that policies are shown as those of: the one that was loaded last.
#[derive(Debug, Default)]
pub(crate) struct ResourceName {
    pub(crate) name: String,
    pub(crate) namespace: String,
}

/// Which way calls go, as seen from the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the app.
    Inbound,
    /// From the app.
    Outbound,
}

/// The kinds of policies, by their labels.
pub(crate) const TIMEOUT: &str = "timeout";
pub(crate) const RETRY: &str = "retry";
pub(crate) const BREAKER: &str = "circuitbreaker";

// === impl Meter ===

impl Meter {
    pub(crate) fn new(
        metrics: &Metrics,
        resource: &Arc<ResourceName>,
        direction: Direction,
        target: String,
    ) -> Self {
        Self {
            metrics: metrics.clone(),
            resource: Arc::clone(resource),
            direction,
            target,
        }
    }

    /// A policy was made for an operation.
    pub(crate) fn applied(&self, policy: &str) {
        self.metrics.resiliency().applied(self.labels(policy), None);
    }

    /// A policy has intervened.
    pub(crate) fn activated(&self, policy: &str) {
        self.metrics.resiliency().activated(self.labels(policy), None);
    }

    /// A breaker in this state was asked for an operation.
    pub(crate) fn breaker_applied(&self, state: BreakerState) {
        let series = self.metrics.resiliency();
        series.applied(self.labels(BREAKER), Some(state));
        series.breaker_state(self.labels(BREAKER), state);
    }

    /// A breaker has come into this state.
    pub(crate) fn breaker_activated(&self, state: BreakerState) {
        let series = self.metrics.resiliency();
        series.activated(self.labels(BREAKER), Some(state));
        series.breaker_state(self.labels(BREAKER), state);
    }

    fn labels<'a>(&'a self, policy: &'a str) -> PolicyUse<'a> {
        PolicyUse {
            name: &self.resource.name,
            namespace: &self.resource.namespace,
            policy,
            flow_direction: self.direction.label(),
            target: &self.target,
        }
    }
}

// === impl Direction ===

impl Direction {
    const fn label(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }

    /// How names of default policies call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Inbound => "Inbound",
            Self::Outbound => "Outbound",
        }
    }
}
