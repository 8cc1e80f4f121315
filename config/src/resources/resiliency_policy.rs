//! What Resiliency resources mean: policies by name and the targets they apply to.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use outrigger_kit::backoff::{self, Exponential};
use outrigger_kit::duration::{self, GoDuration};
use outrigger_kit::number;
use outrigger_kit::quote::go_quote;

use super::resiliency::{BreakerSpec, RetrySpec, TargetSpec};
use super::{Matching, Resiliency};

/// Policies and targets of all resources together; of equal names the last one counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policies {
    /// Longest attempt, by name; zero is without limit.
    pub timeouts: BTreeMap<String, Duration>,
    /// Retries, by name.
    pub retries: BTreeMap<String, RetryPolicy>,
    /// Circuit breakers, by name.
    pub circuit_breakers: BTreeMap<String, CircuitBreakerPolicy>,
    /// What they apply to.
    pub targets: Targets,
    /// What is to be said about policies that were changed or left out, one line each.
    pub warnings: Vec<String>,
}

/// What policies apply to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// By app id, as calls write it.
    pub apps: BTreeMap<String, TargetPolicies>,
    /// By actor type.
    pub actors: BTreeMap<String, TargetPolicies>,
    /// By component name.
    pub components: BTreeMap<String, DirectionTargets>,
}

/// Names of the policies of one target; an empty name is none of its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetPolicies {
    /// Name of the timeout.
    pub timeout: String,
    /// Name of the retry policy.
    pub retry: String,
    /// Name of the circuit breaker.
    pub circuit_breaker: String,
    /// What actors share a breaker, for actors.
    pub breaker_scope: Option<BreakerScope>,
    /// Breakers kept at most.
    pub breaker_cache_size: usize,
}

/// Policies of a component by direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DirectionTargets {
    /// From the component to the app.
    pub inbound: TargetPolicies,
    /// From the app to the component.
    pub outbound: TargetPolicies,
}

/// Which actors share a circuit breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerScope {
    /// All of a type.
    Type,
    /// None: each has its own.
    Id,
    /// None, written differently.
    Both,
}

/// When and how often a failed operation is tried again.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    /// The pauses between tries.
    pub pauses: backoff::Policy,
    /// Which failures are tried again.
    pub matching: Matching,
}

/// When a target is left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitBreakerPolicy {
    /// Calls that are let through while the breaker is half open.
    pub max_requests: NonZeroU32,
    /// Time after which the counts of a closed breaker start anew; zero is never.
    pub interval: Duration,
    /// Time that the breaker stays open.
    pub timeout: Duration,
    /// CEL expression over the counts that opens the breaker.
    pub trip: String,
}

/// Why a resource is not taken in full. Log as `Could not read resiliency policy <name>: <text>`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResiliencyError {
    /// A timeout that is no duration.
    #[error("invalid duration {}, {value}: {cause}", go_quote(.name))]
    Timeout {
        /// Name of the policy.
        name: String,
        /// The text.
        value: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A retry policy or circuit breaker that makes no sense.
    #[error("invalid retry configuration {}: {cause}", go_quote(.name))]
    Policy {
        /// Name of the policy.
        name: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A breaker for actors without a scope.
    #[error("actor circuit breakers must include scope")]
    ScopeMissing,
    /// A scope that does not exist.
    #[error("unknown circuit breaker scope {}", go_quote(.0))]
    ScopeUnknown(String),
}

/// Retry policies of the sidecar itself that resources may replace.
const BUILT_IN_RETRIES: [&str; 4] = [
    "DaprBuiltInServiceRetries",
    "DaprBuiltInActorRetries",
    "DaprBuiltInActorReminderRetries",
    "DaprBuiltInInitializationRetries",
];

/// The one that they may not.
const PROTECTED_RETRIES: &str = "DaprBuiltInActorNotFoundRetries";

/// Fewest retries of a built-in policy; a policy without limit counts as fewer.
const MIN_BUILT_IN_RETRIES: u32 = 3;

// === impl Policies ===

impl Policies {
    /// Takes in one more resource; `check_trip` says what is wrong with a trip expression, if anything.
    ///
    /// # Errors
    /// The first entry that makes no sense. Entries before it (timeouts, retries, breakers, then targets, each
    /// by name) are taken all the same.
    pub fn add(
        &mut self,
        resource: &Resiliency,
        check_trip: impl Fn(&str) -> Result<(), String>,
    ) -> Result<(), ResiliencyError> {
        for (name, value) in &resource.policies.timeouts {
            let span = span(value).map_err(|cause| ResiliencyError::Timeout {
                name: name.clone(),
                value: value.clone(),
                cause,
            })?;
            self.timeouts
                .insert(name.clone(), span.unwrap_or_default().to_std());
        }
        let misfit = |name: &String| {
            let name = name.clone();
            move |cause| ResiliencyError::Policy { name, cause }
        };
        for (name, spec) in &resource.policies.retries {
            let policy = RetryPolicy::new(spec).map_err(misfit(name))?;
            self.add_retry(name, policy);
        }
        for (name, spec) in &resource.policies.circuit_breakers {
            let breaker = CircuitBreakerPolicy::new(spec).map_err(misfit(name))?;
            check_trip(&breaker.trip).map_err(misfit(name))?;
            self.circuit_breakers.insert(name.clone(), breaker);
        }
        self.targets.add(resource)
    }

    /// Takes a retry policy; those that carry the name of a built-in one replace it within limits.
    fn add_retry(&mut self, name: &str, mut policy: RetryPolicy) {
        if name == PROTECTED_RETRIES {
            self.warnings.push(format!(
                "Attempted to override protected policy {name} which is not allowed. Ignoring provided policy \
                 and using default."
            ));
            return;
        }
        let is_built_in = BUILT_IN_RETRIES.contains(&name);
        if is_built_in
            && policy
                .pauses
                .max_retries()
                .is_none_or(|number| number < MIN_BUILT_IN_RETRIES)
        {
            self.warnings.push(format!(
                "Attempted override of {name} did not meet minimum retry count, resetting to \
                 {MIN_BUILT_IN_RETRIES}."
            ));
            policy.pauses = policy.pauses.with_max_retries(Some(MIN_BUILT_IN_RETRIES));
        }
        self.retries.insert(name.to_owned(), policy);
    }
}

// === impl Targets ===

impl Targets {
    fn add(&mut self, resource: &Resiliency) -> Result<(), ResiliencyError> {
        for (app_id, spec) in &resource.targets.apps {
            self.apps.insert(app_id.clone(), TargetPolicies::new(spec, 100));
        }
        for (actor_type, spec) in &resource.targets.actors {
            self.actors
                .insert(actor_type.clone(), TargetPolicies::for_actor(spec)?);
        }
        for (component, spec) in &resource.targets.components {
            let inbound = TargetPolicies::new(&spec.inbound, 0);
            let outbound = TargetPolicies::new(&spec.outbound, 0);
            self.components
                .insert(component.clone(), DirectionTargets { inbound, outbound });
        }
        Ok(())
    }
}

// === impl TargetPolicies ===

impl TargetPolicies {
    fn new(spec: &TargetSpec, default_cache_size: usize) -> Self {
        let size = usize::try_from(spec.circuit_breaker_cache_size)
            .ok()
            .filter(|size| *size > 0);
        Self {
            timeout: spec.timeout.clone(),
            retry: spec.retry.clone(),
            circuit_breaker: spec.circuit_breaker.clone(),
            breaker_scope: None,
            breaker_cache_size: size.unwrap_or(default_cache_size),
        }
    }

    fn for_actor(spec: &TargetSpec) -> Result<Self, ResiliencyError> {
        let mut target = Self::new(spec, 5000);
        if !spec.circuit_breaker.is_empty() {
            target.breaker_scope = Some(match spec.circuit_breaker_scope.as_str() {
                "" => return Err(ResiliencyError::ScopeMissing),
                "type" => BreakerScope::Type,
                "id" => BreakerScope::Id,
                "both" => BreakerScope::Both,
                other => return Err(ResiliencyError::ScopeUnknown(other.to_owned())),
            });
        }
        Ok(target)
    }
}

// === impl RetryPolicy ===

impl RetryPolicy {
    fn new(spec: &RetrySpec) -> Result<Self, String> {
        let or = |text: &str, default: u64| -> Result<Duration, String> {
            Ok(span(text)?.map_or(Duration::from_secs(default), GoDuration::to_std))
        };
        let (pause, max_interval) = (or(&spec.duration, 5)?, or(&spec.max_interval, 60)?);
        let max_retries = match spec.max_retries.unwrap_or(-1) {
            negative if negative < 0 => None,
            number => Some(u32::try_from(number).unwrap_or(u32::MAX)),
        };
        let pauses = match spec.policy.to_ascii_lowercase().as_str() {
            "" | "constant" => backoff::Policy::Constant { pause, max_retries },
            "exponential" => Exponential::resiliency(max_interval, max_retries).into(),
            _ => return Err(format!("unexpected back off policy type: {}", spec.policy)),
        };
        Ok(Self {
            pauses,
            matching: Matching::new(&spec.matching)?,
        })
    }
}

// === impl CircuitBreakerPolicy ===

impl CircuitBreakerPolicy {
    /// When a breaker opens if the resource does not say.
    pub const DEFAULT_TRIP: &'static str = "consecutiveFailures > 5";

    fn new(spec: &BreakerSpec) -> Result<Self, String> {
        let max_requests = u32::try_from(spec.max_requests)
            .map_err(|_| format!("maxRequests must be 0 to {}, is {}", u32::MAX, spec.max_requests))?;
        let timeout = span(&spec.timeout)?.and_then(GoDuration::positive);
        let trip = if spec.trip.is_empty() {
            Self::DEFAULT_TRIP
        } else {
            &spec.trip
        };
        Ok(Self {
            max_requests: NonZeroU32::new(max_requests).unwrap_or(NonZeroU32::MIN),
            interval: span(&spec.interval)?.unwrap_or_default().to_std(),
            timeout: timeout.unwrap_or(Duration::from_secs(60)),
            trip: trip.to_owned(),
        })
    }
}

/// A duration: a whole number of milliseconds, or a Go duration; `None` for an empty text.
fn span(text: &str) -> Result<Option<GoDuration>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    match number::atoi(text) {
        Ok(millis) => Ok(Some(GoDuration::from_millis(millis))),
        Err(_) => duration::parse_go(text)
            .map(Some)
            .map_err(|error| error.to_string()),
    }
}

#[cfg(test)]
mod tests;
