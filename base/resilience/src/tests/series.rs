//! What is counted of policies.

use std::future::pending;
use std::time::Duration;

use outrigger_telemetry::metrics::Metrics;
use tokio::time::advance;

use super::{Broken, PLAIN, load, metrics, run};
use crate::{BuiltIn, ComponentKind, Direction, Policies, PolicyError};

const SPEC: &str = "{policies: {
        timeouts: {t: 1s, DefaultTimeoutPolicy: 2s},
        retries: {r: {duration: 1s, maxRetries: 2}},
        circuitBreakers: {b: {trip: consecutiveFailures >= 3, timeout: 30s}}},
    targets: {
        apps: {a: {timeout: t, retry: r, circuitBreaker: b}, c: {circuitBreaker: b}},
        actors: {A: {timeout: t, retry: r}},
        components: {s: {inbound: {timeout: t}, outbound: {retry: r}}}}}";

/// The series of a metric without the labels that all have in common.
fn series(metrics: &Metrics, name: &str) -> Vec<String> {
    let text = String::from_utf8(metrics.encode().to_vec()).unwrap();
    let prefix = format!("dapr_resiliency_{name}{{");
    let lines = text.lines().filter_map(|line| line.strip_prefix(&prefix));
    lines
        .map(|line| {
            line.replace("app_id=\"me\",", "")
                .replace("name=\"r1\",namespace=\"ns\",", "")
        })
        .collect()
}

fn policies(metrics: &Metrics) -> Policies {
    load(&[SPEC], metrics).policies
}

#[tokio::test(start_paused = true)]
async fn a_resource_and_each_policy_of_an_operation_are_counted_once() {
    let metrics = metrics();
    let policies = policies(&metrics);
    assert_eq!(series(&metrics, "loaded"), ["name=\"r1\",namespace=\"ns\"} 1"]);
    let policy = policies.app("a", || "a:m".to_owned()).unwrap();
    run(&policy, &[PLAIN, PLAIN]).await.0.unwrap();
    drop(policies.app("other", || "other:m".to_owned()));
    drop(policies.actor("A", "1"));
    drop(policies.actor_timeout("A", "1"));
    drop(policies.component("s", ComponentKind::StateStore, Direction::Outbound));
    drop(policies.component("s", ComponentKind::Pubsub, Direction::Inbound));
    drop(policies.built_in(BuiltIn::Service));
    assert_eq!(
        series(&metrics, "count"),
        [
            r#"flow_direction="inbound",policy="timeout",status="",target="Pubsub_s"} 1"#,
            r#"flow_direction="outbound",policy="circuitbreaker",status="closed",target="app_a"} 1"#,
            r#"flow_direction="outbound",policy="retry",status="",target="Statestore_s"} 1"#,
            r#"flow_direction="outbound",policy="retry",status="",target="actor_A"} 1"#,
            r#"flow_direction="outbound",policy="retry",status="",target="app_a"} 1"#,
            r#"flow_direction="outbound",policy="timeout",status="",target="actor_A"} 1"#,
            r#"flow_direction="outbound",policy="timeout",status="",target="app_a"} 1"#,
            r#"flow_direction="outbound",policy="timeout",status="",target="app_other"} 1"#,
        ]
    );
    // Whatever the number of retries.
    assert_eq!(
        series(&metrics, "activations_total"),
        [r#"flow_direction="outbound",policy="retry",status="",target="app_a"} 1"#]
    );
}

#[tokio::test(start_paused = true)]
async fn timeouts_are_counted_once_an_operation() {
    let metrics = metrics();
    let policies = policies(&metrics);
    let timeouts = |count| {
        let labels = r#"flow_direction="outbound",policy="timeout",status="",target="app_a"}"#;
        format!("{labels} {count}")
    };
    let outcome: Result<(), PolicyError<Broken>> = policies
        .app("a", || "a:m".to_owned())
        .unwrap()
        .run(|_| pending())
        .await;
    assert_eq!(outcome, Err(PolicyError::DeadlineExceeded));
    assert!(series(&metrics, "activations_total").contains(&timeouts(1)));
    let policy = policies.app("a", || "a:n".to_owned()).unwrap();
    let ((), going) = policy.begin(async |_| Ok::<_, Broken>(())).await.unwrap();
    going.time_out();
    assert!(series(&metrics, "activations_total").contains(&timeouts(2)));
}

#[tokio::test(start_paused = true)]
async fn changes_of_a_breaker_are_counted_and_its_state_is_shown() {
    let metrics = metrics();
    let policies = policies(&metrics);
    let breaker = || policies.app("c", || "c:m".to_owned()).unwrap();
    let states = || series(&metrics, "cb_state");
    let shown = |current: &str| {
        ["closed", "half-open", "open", "unknown"].map(|state| {
            let value = u8::from(state == current);
            format!(
                r#"flow_direction="outbound",policy="circuitbreaker",status="{state}",target="app_c"}} {value}"#
            )
        })
    };
    for _ in 0..2 {
        run(&breaker(), &[PLAIN]).await.0.unwrap_err();
    }
    assert_eq!(states(), shown("closed"));
    run(&breaker(), &[PLAIN]).await.0.unwrap_err();
    assert_eq!(states(), shown("open"));
    assert_eq!(run(&breaker(), &[]).await.0, Err(PolicyError::BreakerOpen));
    advance(Duration::from_secs(31)).await;
    let policy = breaker();
    assert_eq!(states(), shown("half-open"));
    run(&policy, &[]).await.0.unwrap();
    assert_eq!(states(), shown("closed"));
    let count = |status: &str, value: u32| {
        format!(
            r#"flow_direction="outbound",policy="circuitbreaker",status="{status}",target="app_c"}} {value}"#
        )
    };
    assert_eq!(
        series(&metrics, "count"),
        [count("closed", 3), count("half-open", 1), count("open", 1)]
    );
    // That its time was over is no activation.
    assert_eq!(
        series(&metrics, "activations_total"),
        [count("closed", 1), count("open", 1)]
    );
}
