//! Which policies apply to a target, and which breakers they share.

use outrigger_telemetry::metrics::Metrics;

use super::{PLAIN, load, policies, run};
use crate::{ComponentKind, Direction, Policies, Policy, PolicyError};

/// Retry policies that are told apart by their number of attempts.
const RETRIES: &str = "policies: {retries: {
    DefaultRetryPolicy: {duration: 1, maxRetries: 1},
    DefaultAppRetryPolicy: {duration: 1, maxRetries: 2},
    DefaultActorRetryPolicy: {duration: 1, maxRetries: 3},
    DefaultComponentRetryPolicy: {duration: 1, maxRetries: 4},
    DefaultComponentInboundRetryPolicy: {duration: 1, maxRetries: 5},
    DefaultStatestoreComponentOutboundRetryPolicy: {duration: 1, maxRetries: 6},
    mine: {duration: 1, maxRetries: 7}}}";

/// Attempts that a policy makes; 0 if there is none.
async fn attempts(policy: Option<Policy<'_>>) -> usize {
    match policy {
        Some(policy) => run(&policy, &[PLAIN; 20]).await.1.len(),
        None => 0,
    }
}

fn app<'a>(policies: &'a Policies, app_id: &'a str) -> Option<Policy<'a>> {
    policies.app(app_id, || format!("{app_id}:m"))
}

#[tokio::test(start_paused = true)]
async fn a_target_that_is_named_knows_no_defaults_and_others_take_the_first_there_is() {
    let policies = policies(&format!(
        "{{{RETRIES}, targets: {{
            apps: {{named: {{retry: mine}}, bare: {{}}, wrong: {{retry: nobody}}}},
            actors: {{Named: {{retry: mine}}, Bare: {{}}}},
            components: {{named: {{outbound: {{retry: mine}}}}}}}}}}"
    ));
    let component = |name, kind, direction| policies.component(name, kind, direction);
    use ComponentKind::{Lock, Pubsub, StateStore};
    use Direction::{Inbound, Outbound};
    let table = [
        (app(&policies, "named"), 8),
        (app(&policies, "bare"), 0),
        (app(&policies, "wrong"), 0),
        (app(&policies, "other"), 3),
        (app(&policies, "named.ns"), 3),
        (policies.actor("Named", "1"), 8),
        (policies.actor("Bare", "1"), 0),
        (policies.actor("named", "1"), 4),
        (component("named", StateStore, Outbound), 8),
        (component("named", StateStore, Inbound), 0),
        (component("other", StateStore, Outbound), 7),
        (component("other", StateStore, Inbound), 6),
        (component("other", Pubsub, Inbound), 6),
        (component("other", Lock, Outbound), 5),
    ];
    for (index, (policy, expected)) in table.into_iter().enumerate() {
        assert_eq!(attempts(policy).await, expected, "row {index}");
    }
    assert!(policies.has_app("bare") && !policies.has_app("other"));
    assert!(policies.has_actor("Bare") && !policies.has_actor("other"));
}

#[tokio::test(start_paused = true)]
async fn each_kind_of_default_is_chosen_for_itself() {
    let policies = policies(
        "{policies: {
            timeouts: {DefaultTimeoutPolicy: 5s},
            retries: {DefaultAppRetryPolicy: {maxRetries: 0}},
            circuitBreakers: {DefaultComponentCircuitBreakerPolicy: {trip: consecutiveFailures > 0}}}}",
    );
    let (_, pending) = app(&policies, "a")
        .unwrap()
        .begin(async |_| Ok::<_, super::Broken>(()))
        .await
        .unwrap();
    assert!(pending.deadline().is_some());
    pending.succeed();
    assert!(
        policies.actor("A", "1").is_none(),
        "a timeout alone does not apply before the lock"
    );
    assert!(policies.actor_timeout("A", "1").is_some());
    let store = || {
        policies
            .component("store", ComponentKind::StateStore, Direction::Outbound)
            .unwrap()
    };
    run(&store(), &[PLAIN]).await.0.unwrap_err();
    assert_eq!(run(&store(), &[]).await.0, Err(PolicyError::BreakerOpen));
}

#[tokio::test]
async fn without_resources_nothing_applies() {
    let none = Policies::default();
    assert!(
        none.app("a", || unreachable!("nobody asks for the text"))
            .is_none()
    );
    assert!(none.actor("A", "1").is_none() && none.actor_timeout("A", "1").is_none());
    assert!(
        none.component("c", ComponentKind::Binding, Direction::Inbound)
            .is_none()
    );
    let loaded = load(&[], &Metrics::disabled());
    assert!(loaded.names.is_empty());
    assert!(!loaded.policies.has_app("a"));
    let unused = policies("{policies: {timeouts: {t: 1s}}, targets: {apps: {b: {timeout: t}}}}");
    assert!(
        unused
            .app("a", || unreachable!("nobody asks for the text"))
            .is_none()
    );
    let zero = policies("{policies: {timeouts: {t: 0s}}, targets: {apps: {a: {timeout: t}}}}");
    assert!(
        zero.app("a", || unreachable!("a timeout of zero is none"))
            .is_none()
    );
}

const ONE_FAILURE: &str = "circuitBreakers: {b: {trip: consecutiveFailures > 0},
    DefaultCircuitBreakerPolicy: {trip: consecutiveFailures > 0}}";

/// Whether a failure under one policy closes the way of another.
async fn share(one: Option<Policy<'_>>, other: Option<Policy<'_>>) -> bool {
    run(&one.unwrap(), &[PLAIN]).await.0.unwrap_err();
    run(&other.unwrap(), &[]).await.0 == Err(PolicyError::BreakerOpen)
}

#[tokio::test(start_paused = true)]
async fn breakers_are_told_apart_by_endpoint_actor_and_component() {
    let policies = policies(&format!(
        "{{policies: {{{ONE_FAILURE}}}, targets: {{
            apps: {{small: {{circuitBreaker: b, circuitBreakerCacheSize: 1}}}},
            actors: {{
                T: {{circuitBreaker: b, circuitBreakerScope: type}},
                I: {{circuitBreaker: b, circuitBreakerScope: id}},
                B: {{circuitBreaker: b, circuitBreakerScope: both}}}},
            components: {{c: {{inbound: {{circuitBreaker: b}}, outbound: {{circuitBreaker: b}}}}}}}}}}"
    ));
    let endpoint = |app_id, method: &str| policies.app(app_id, || format!("{app_id}:{method}"));
    assert!(share(endpoint("a", "x"), endpoint("a", "x")).await);
    assert!(!share(endpoint("a", "y"), endpoint("a", "z")).await);
    assert!(!share(endpoint("b", "x"), endpoint("c", "x")).await);
    // There is room for one: the other endpoint makes the first one's state forgotten.
    assert!(!share(endpoint("small", "x"), endpoint("small", "y")).await);
    assert_eq!(run(&endpoint("small", "x").unwrap(), &[]).await.0, Ok(1));

    let actor = |actor_type, id| policies.actor(actor_type, id);
    assert!(share(actor("T", "1"), actor("T", "2")).await);
    assert!(!share(actor("I", "1"), actor("I", "2")).await);
    assert!(share(actor("I", "3"), actor("I", "3")).await);
    assert!(!share(actor("B", "1"), actor("B", "2")).await);
    assert!(share(actor("Other", "1"), actor("Other", "2")).await);

    let component = |direction| policies.component("c", ComponentKind::Pubsub, direction);
    assert!(share(component(Direction::Inbound), component(Direction::Outbound)).await);
}

#[tokio::test(start_paused = true)]
async fn later_resources_replace_policies_and_targets_and_mistakes_keep_what_stands_before() {
    let specs = [
        "{policies: {retries: {r: {duration: 1, maxRetries: 1}}}, targets: {apps: {a: {retry: r}, b: {retry: r}}}}",
        "{policies: {retries: {r: {duration: 1, maxRetries: 5}}}, targets: {apps: {b: {}}}}",
        "{policies: {retries: {q: {duration: 1, maxRetries: 2}, r: {policy: odd}}}, targets: {apps: {a: {}}}}",
        "{policies: {circuitBreakers: {b: {trip: 'requests >'}}}}",
    ];
    let loaded = load(&specs, &Metrics::disabled());
    assert_eq!(loaded.names, ["r1", "r2"]);
    assert_eq!(attempts(app(&loaded.policies, "a")).await, 6);
    assert_eq!(attempts(app(&loaded.policies, "b")).await, 0);
}
