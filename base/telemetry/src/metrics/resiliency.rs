//! Policies of resiliency resources at work.

use super::instrument::{Counter, Gauge};
use super::registry::{Description, Fixed, Registry};

/// Timeouts, retries and circuit breakers. Built-in policies are not counted.
///
/// Specification: resiliency, section 7.
#[derive(Debug)]
pub struct Resiliency {
    loaded: Counter,
    count: Counter,
    activations: Counter,
    breaker_state: Gauge,
}

/// What a policy is applied to; the labels that its series have in common.
#[derive(Clone, Copy, Debug)]
pub struct PolicyUse<'a> {
    /// Name of the resource.
    pub name: &'a str,
    /// Namespace of the resource; empty in standalone mode.
    pub namespace: &'a str,
    /// `timeout`, `retry` or `circuitbreaker`.
    pub policy: &'a str,
    /// `outbound` or `inbound`.
    pub flow_direction: &'a str,
    /// `app_<id>`, `actor_<type>` or `<Type>_<component>`.
    pub target: &'a str,
}

/// State of a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// One call goes through.
    HalfOpen,
    /// No call goes through.
    Open,
    /// Not known.
    Unknown,
}

// === impl Resiliency ===

impl Resiliency {
    pub(super) fn new(registry: &Registry) -> Self {
        let describe = |name, help, labels| Description {
            name,
            help,
            labels,
            fixed: Fixed::AppId,
        };
        let labels: &[&str] = &[
            "name",
            "namespace",
            "policy",
            "flow_direction",
            "target",
            "status",
        ];
        Self {
            loaded: registry.counter(describe(
                "resiliency/loaded",
                "The number of resiliency resources that have been loaded.",
                &["name", "namespace"],
            )),
            count: registry.counter(describe(
                "resiliency/count",
                "The number of times that a resiliency policy has been applied.",
                labels,
            )),
            activations: registry.counter(describe(
                "resiliency/activations_total",
                "The number of times that a resiliency policy has intervened.",
                labels,
            )),
            breaker_state: registry.gauge(describe(
                "resiliency/cb_state",
                "The state of a circuit breaker: 1 for the current one, 0 for all others.",
                labels,
            )),
        }
    }

    /// Counts a resource that has been loaded.
    pub fn loaded(&self, name: &str, namespace: &str) {
        self.loaded.increment(&[name, namespace]);
    }

    /// Counts a policy made for an operation; `breaker` is the state of a circuit breaker at that moment.
    pub fn applied(&self, policy: PolicyUse<'_>, breaker: Option<BreakerState>) {
        self.count.increment(&policy.labels(breaker));
    }

    /// Counts an intervention; `breaker` is the new state of a circuit breaker.
    pub fn activated(&self, policy: PolicyUse<'_>, breaker: Option<BreakerState>) {
        self.activations.increment(&policy.labels(breaker));
    }

    /// Shows the state of a circuit breaker in its four series.
    pub fn breaker_state(&self, policy: PolicyUse<'_>, current: BreakerState) {
        for state in BreakerState::ALL {
            let value = if state == current { 1.0 } else { 0.0 };
            self.breaker_state.set(&policy.labels(Some(state)), value);
        }
    }
}

// === impl PolicyUse ===

impl<'a> PolicyUse<'a> {
    fn labels(self, breaker: Option<BreakerState>) -> [&'a str; 6] {
        let status = breaker.map_or("", BreakerState::label);
        [
            self.name,
            self.namespace,
            self.policy,
            self.flow_direction,
            self.target,
            status,
        ]
    }
}

// === impl BreakerState ===

impl BreakerState {
    const ALL: [Self; 4] = [Self::Closed, Self::HalfOpen, Self::Open, Self::Unknown];

    /// The label `status`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
            Self::Unknown => "unknown",
        }
    }
}
