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
