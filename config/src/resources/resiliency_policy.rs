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
mod tests {
    use outrigger_kit::yaml;

    use super::*;
    use crate::resources::Resource;

    fn add(policies: &mut Policies, yaml: &str) -> Result<(), ResiliencyError> {
        let document = yaml::to_json(yaml).unwrap();
        let resource = Resiliency::from_document("dapr.io/v1alpha1", &document).unwrap();
        policies.add(&resource, |trip| {
            if trip == "bad" {
                Err("no such word".to_owned())
            } else {
                Ok(())
            }
        })
    }

    #[test]
    fn policies_have_the_specified_defaults() {
        let mut policies = Policies::default();
        add(
            &mut policies,
            "spec:
  policies:
    timeouts: {t1: 5s, t2: 250, t3: '10us', t4: -1s}
    retries:
      r1: {}
      r2: {policy: Exponential, maxInterval: 15s, maxRetries: 3}
      r3: {policy: constant, duration: 100, maxRetries: 0, matching: {httpStatusCodes: '429,500-599', gRPCStatusCodes: 4}}
    circuitBreakers:
      b1: {}
      b2: {maxRequests: 3, interval: 0, timeout: 30s, trip: consecutiveFailures >= 3}
  targets:
    apps: {a: {timeout: t1, retry: r1, circuitBreaker: b1}}
    actors: {T: {circuitBreaker: b2, circuitBreakerScope: both, circuitBreakerCacheSize: 7}, U: {retry: r2}}
    components: {c: {outbound: {retry: r3}}}",
        )
        .unwrap();
        let timeouts: Vec<_> = policies.timeouts.values().copied().collect();
        let micros = Duration::from_micros;
        assert_eq!(
            timeouts,
            [micros(5_000_000), micros(250_000), micros(10), Duration::ZERO]
        );
        let constant = |secs, max_retries| backoff::Policy::Constant {
            pause: Duration::from_millis(secs),
            max_retries,
        };
        assert_eq!(policies.retries["r1"].pauses, constant(5000, None));
        assert_eq!(policies.retries["r3"].pauses, constant(100, Some(0)));
        let exponential = Exponential::resiliency(Duration::from_secs(15), Some(3));
        assert_eq!(policies.retries["r2"].pauses, exponential.into());
        let breaker = &policies.circuit_breakers["b1"];
        assert_eq!(
            (breaker.max_requests.get(), breaker.interval),
            (1, Duration::ZERO)
        );
        assert_eq!(
            (breaker.timeout, breaker.trip.as_str()),
            (Duration::from_secs(60), "consecutiveFailures > 5")
        );
        assert_eq!(policies.targets.apps["a"].breaker_cache_size, 100);
        assert_eq!(
            policies.targets.actors["T"].breaker_scope,
            Some(BreakerScope::Both)
        );
        assert_eq!(policies.targets.actors["T"].breaker_cache_size, 7);
        assert_eq!(policies.targets.actors["U"].breaker_scope, None);
        assert_eq!(policies.targets.components["c"].outbound.retry, "r3");
        assert_eq!(
            policies.targets.components["c"].inbound,
            TargetPolicies::default()
        );
    }

    #[test]
    fn mistakes_have_the_specified_texts() {
        let table = [
            (
                "policies: {timeouts: {t: x}}",
                r#"invalid duration "t", x: time: invalid duration "x""#,
            ),
            (
                "policies: {retries: {r: {policy: Odd}}}",
                r#"invalid retry configuration "r": unexpected back off policy type: Odd"#,
            ),
            (
                "policies: {retries: {r: {duration: 1x}}}",
                r#"invalid retry configuration "r": time: unknown unit "x" in duration "1x""#,
            ),
            (
                "policies: {retries: {r: {matching: {httpStatusCodes: 1-2-3}}}}",
                r#"invalid retry configuration "r": invalid pattern 1-2-3, more than one '-' exists"#,
            ),
            (
                "policies: {retries: {r: {matching: {httpStatusCodes: a-200}}}}",
                r#"invalid retry configuration "r": failed to parse start code a from pattern a-200 to int, strconv.Atoi: parsing "a": invalid syntax"#,
            ),
            (
                "policies: {retries: {r: {matching: {httpStatusCodes: '200- 201'}}}}",
                r#"invalid retry configuration "r": failed to parse end code  201 from pattern 200- 201 to int, strconv.Atoi: parsing " 201": invalid syntax"#,
            ),
            (
                "policies: {retries: {r: {matching: {httpStatusCodes: 99}}}}",
                r#"invalid retry configuration "r": invalid pattern 99, start code 99 is not valid"#,
            ),
            (
                "policies: {retries: {r: {matching: {gRPCStatusCodes: 0-17}}}}",
                r#"invalid retry configuration "r": invalid pattern 0-17, end code 17 is not valid"#,
            ),
            (
                "policies: {retries: {r: {matching: {gRPCStatusCodes: 5-4}}}}",
                r#"invalid retry configuration "r": invalid pattern 5-4, start value should not bigger than end value"#,
            ),
            (
                "policies: {circuitBreakers: {b: {timeout: x}}}",
                r#"invalid retry configuration "b": time: invalid duration "x""#,
            ),
            (
                "policies: {circuitBreakers: {b: {maxRequests: -1}}}",
                r#"invalid retry configuration "b": maxRequests must be 0 to 4294967295, is -1"#,
            ),
            (
                "policies: {circuitBreakers: {b: {trip: bad}}}",
                r#"invalid retry configuration "b": no such word"#,
            ),
            (
                "targets: {actors: {T: {circuitBreaker: b}}}",
                "actor circuit breakers must include scope",
            ),
            (
                "targets: {actors: {T: {circuitBreaker: b, circuitBreakerScope: Id}}}",
                r#"unknown circuit breaker scope "Id""#,
            ),
        ];
        for (spec, expected) in table {
            let error = add(&mut Policies::default(), &format!("spec: {{{spec}}}")).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn built_in_policies_are_replaced_within_limits() {
        let mut policies = Policies::default();
        add(
            &mut policies,
            "spec:
  policies:
    retries:
      DaprBuiltInServiceRetries: {duration: 1ms, maxRetries: 2}
      DaprBuiltInActorRetries: {policy: exponential}
      DaprBuiltInInitializationRetries: {duration: 2s, maxRetries: 5}
      DaprBuiltInActorNotFoundRetries: {maxRetries: 50}",
        )
        .unwrap();
        let pauses = |name: &str| policies.retries.get(name).map(|retry| retry.pauses.clone());
        let constant = |millis, max_retries| backoff::Policy::Constant {
            pause: Duration::from_millis(millis),
            max_retries: Some(max_retries),
        };
        assert_eq!(pauses("DaprBuiltInServiceRetries"), Some(constant(1, 3)));
        assert_eq!(
            pauses("DaprBuiltInActorRetries"),
            Some(Exponential::resiliency(Duration::from_secs(60), Some(3)).into())
        );
        assert_eq!(
            pauses("DaprBuiltInInitializationRetries"),
            Some(constant(2000, 5))
        );
        assert_eq!(pauses("DaprBuiltInActorNotFoundRetries"), None);
        assert_eq!(
            policies.warnings,
            [
                "Attempted to override protected policy DaprBuiltInActorNotFoundRetries which is not allowed. \
                 Ignoring provided policy and using default.",
                "Attempted override of DaprBuiltInActorRetries did not meet minimum retry count, resetting to 3.",
                "Attempted override of DaprBuiltInServiceRetries did not meet minimum retry count, resetting to 3.",
            ]
        );
    }

    #[test]
    fn entries_before_a_mistake_stay_and_later_resources_replace() {
        let mut policies = Policies::default();
        add(
            &mut policies,
            "spec: {policies: {timeouts: {a: 1s, b: x, c: 1s}}}",
        )
        .unwrap_err();
        assert_eq!(policies.timeouts.keys().collect::<Vec<_>>(), ["a"]);
        add(&mut policies, "spec: {policies: {timeouts: {a: 2s}}}").unwrap();
        assert_eq!(policies.timeouts["a"], Duration::from_secs(2));
    }
}
