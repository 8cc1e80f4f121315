//! How often an operation is run, and when it is given up.

use std::future::pending;
use std::time::Duration;

use outrigger_telemetry::metrics::Metrics;
use tokio::time::{Instant, advance, sleep};

use super::{Broken, PLAIN, load, policies, run};
use crate::{BuiltIn, Class, Policies, Policy, PolicyError};

const FAILING: [Broken; 40] = [PLAIN; 40];

fn app(policies: &Policies) -> Policy<'_> {
    policies.app("a", || "a:m".to_owned()).unwrap()
}

fn retry(policy: &str) -> Policies {
    policies(&format!(
        "{{policies: {{retries: {{r: {policy}}}}}, targets: {{apps: {{a: {{retry: r}}}}}}}}"
    ))
}

fn breaker(settings: &str, others: &str) -> Policies {
    policies(&format!(
        "{{policies: {{circuitBreakers: {{b: {settings}}}, retries: {{r: {{duration: 1s, maxRetries: 9}}}}}}, \
         targets: {{apps: {{a: {{circuitBreaker: b{others}}}}}}}}}"
    ))
}

#[tokio::test(start_paused = true)]
async fn constant_pauses_lie_between_all_attempts() {
    let table = [
        ("{duration: 100, maxRetries: 3}", vec![0, 100, 200, 300]),
        ("{policy: Constant, duration: 2s, maxRetries: 1}", vec![0, 2000]),
        ("{maxRetries: 2}", vec![0, 5000, 10_000]),
        ("{duration: 1s, maxRetries: 0}", vec![0]),
    ];
    for (policy, times) in table {
        let policies = retry(policy);
        let (outcome, attempts) = run(&app(&policies), &FAILING).await;
        assert_eq!(outcome, Err(PolicyError::Operation(PLAIN)), "{policy}");
        assert_eq!(attempts, times, "{policy}");
    }
}

#[tokio::test(start_paused = true)]
async fn retries_without_a_limit_go_on_until_a_success() {
    let policies = retry("{duration: 10ms}");
    let (outcome, attempts) = run(&app(&policies), &FAILING).await;
    assert_eq!((outcome, attempts.len()), (Ok(41), 41));
    assert!(app(&policies).has_retries());
    assert!(!app(&retry("{maxRetries: 0}")).has_retries());
}

#[tokio::test(start_paused = true)]
async fn exponential_pauses_begin_at_half_a_second_and_grow_up_to_their_limit() {
    let policies = retry("{policy: exponential, duration: 7s, maxInterval: 2s, maxRetries: 6}");
    let (_, attempts) = run(&app(&policies), &FAILING).await;
    assert_eq!(attempts.len(), 7);
    let middles = [500.0, 750.0, 1125.0, 1687.5, 2000.0, 2000.0];
    for (window, middle) in attempts.windows(2).zip(middles) {
        let pause = (window[1] - window[0]) as f64;
        assert!(
            (middle * 0.5 - 2.0..=middle * 1.5 + 2.0).contains(&pause),
            "{pause} around {middle}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn exponential_retries_end_after_a_quarter_of_an_hour_even_without_a_limit() {
    let policies = retry("{policy: exponential}");
    let began = Instant::now();
    let outcome: Result<(), _> = app(&policies).run(async |_| Err(PLAIN)).await;
    assert_eq!(outcome, Err(PolicyError::Operation(PLAIN)));
    let took = began.elapsed();
    assert!(
        (Duration::from_secs(800)..=Duration::from_secs(900)).contains(&took),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn codes_decide_which_failures_are_tried_again() {
    let listed =
        "{duration: 1, maxRetries: 2, matching: {httpStatusCodes: '429,500-599', gRPCStatusCodes: 14}}";
    let all = "{duration: 1, maxRetries: 2}";
    let table = [
        (listed, Class::Code(500), 3),
        (listed, Class::Code(429), 3),
        (listed, Class::Code(404), 1),
        (listed, Class::Code(14), 3),
        (listed, Class::Code(2), 1),
        (listed, Class::Code(20), 1),
        (listed, Class::Code(600), 1),
        (listed, Class::Plain, 3),
        (listed, Class::Permanent, 1),
        (all, Class::Code(404), 3),
        (all, Class::Code(0), 3),
        (all, Class::Code(20), 1),
        (all, Class::Code(600), 1),
        (all, Class::Permanent, 1),
    ];
    for (policy, class, expected) in table {
        let policies = retry(policy);
        let (outcome, attempts) = run(&app(&policies), &[Broken(class); 9]).await;
        assert_eq!(outcome, Err(PolicyError::Operation(Broken(class))));
        assert_eq!(attempts.len(), expected, "{class:?} under {policy}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_cuts_each_attempt_for_itself() {
    let policies = policies(
        "{policies: {timeouts: {t: 3s}, retries: {r: {duration: 1s, maxRetries: 2}}}, \
         targets: {apps: {a: {timeout: t, retry: r}}}}",
    );
    let began = Instant::now();
    let outcome: Result<(), PolicyError<Broken>> = app(&policies).run(|_| pending()).await;
    assert_eq!(outcome, Err(PolicyError::DeadlineExceeded));
    assert_eq!(outcome.unwrap_err().to_string(), "context deadline exceeded");
    assert_eq!(began.elapsed().as_secs(), 3 * 3 + 2);
    // An attempt that is quick enough is not held up.
    let outcome: Result<_, PolicyError<Broken>> = app(&policies)
        .run(async |number| {
            sleep(Duration::from_secs(if number == 1 { 4 } else { 2 })).await;
            Ok(number)
        })
        .await;
    assert_eq!(outcome, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn without_a_retry_policy_there_is_one_attempt() {
    let policies = policies("{policies: {timeouts: {t: 3s}}, targets: {apps: {a: {timeout: t}}}}");
    let (outcome, attempts) = run(&app(&policies), &FAILING).await;
    assert_eq!(outcome, Err(PolicyError::Operation(PLAIN)));
    assert_eq!(attempts, [0]);
}

#[tokio::test(start_paused = true)]
async fn without_any_policy_there_is_one_attempt_and_nothing_around_it() {
    let outcome: Result<u32, _> = crate::run(None, async |_| Err(PLAIN)).await;
    assert_eq!(outcome, Err(PolicyError::Operation(PLAIN)));
    let policies = retry("{duration: 1, maxRetries: 2}");
    let outcome = crate::run(Some(app(&policies)), async |number| match number {
        3 => Ok(number),
        _ => Err(PLAIN),
    });
    assert_eq!(outcome.await, Ok(3));
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_ends_the_retries_at_once() {
    let policies = breaker("{trip: consecutiveFailures >= 3, timeout: 60s}", ", retry: r");
    let (outcome, attempts) = run(&app(&policies), &FAILING).await;
    assert_eq!(outcome, Err(PolicyError::BreakerOpen));
    // The third failure opens it, and the fourth attempt is refused.
    assert_eq!(attempts, [0, 1000, 2000]);
    let (outcome, attempts) = run(&app(&policies), &[]).await;
    assert_eq!((&outcome, attempts.len()), (&Err(PolicyError::BreakerOpen), 0));
    assert_eq!(outcome.unwrap_err().to_string(), "circuit breaker is open");
    advance(Duration::from_secs(61)).await;
    assert_eq!(run(&app(&policies), &[]).await.0, Ok(1));
    assert_eq!(run(&app(&policies), &[PLAIN]).await.0, Ok(2));
}

#[tokio::test(start_paused = true)]
async fn while_a_breaker_is_half_open_other_calls_are_too_many() {
    let policies = breaker("{trip: consecutiveFailures > 0, timeout: 10s}", "");
    run(&app(&policies), &FAILING).await.0.unwrap_err();
    advance(Duration::from_secs(11)).await;
    let policy = app(&policies);
    let first = policy.begin(async |_| Ok::<_, Broken>(()));
    let ((), pending) = first.await.unwrap();
    let refused = run(&app(&policies), &[]).await.0;
    assert_eq!(refused, Err(PolicyError::TooManyRequests));
    assert_eq!(refused.unwrap_err().to_string(), "too many requests");
    pending.succeed();
    assert_eq!(run(&app(&policies), &[]).await.0, Ok(1));
}

#[tokio::test(start_paused = true)]
async fn attempts_that_are_cut_off_cancelled_or_dropped_count_as_failures() {
    let spec = "{policies: {timeouts: {t: 1s}, circuitBreakers: {b: {trip: totalFailures >= 3}}}, \
                targets: {apps: {a: {timeout: t, circuitBreaker: b}}}}";
    let policies = load(&[spec], &Metrics::disabled()).policies;
    let timed_out: Result<(), PolicyError<Broken>> = app(&policies).run(|_| pending()).await;
    assert_eq!(timed_out, Err(PolicyError::DeadlineExceeded));
    let policy = app(&policies);
    let cancelled = policy.run(|_| pending::<Result<(), Broken>>());
    assert!(
        tokio::time::timeout(Duration::from_millis(10), cancelled)
            .await
            .is_err()
    );
    let ((), pending) = app(&policies).begin(async |_| Ok::<_, Broken>(())).await.unwrap();
    assert!(!pending.is_idle());
    assert!(pending.deadline().is_some());
    drop(pending);
    assert_eq!(run(&app(&policies), &[]).await.0, Err(PolicyError::BreakerOpen));
}

#[tokio::test(start_paused = true)]
async fn built_in_policies_try_again_as_specified() {
    let table = [
        (BuiltIn::Service, 4, 3000..=3000),
        (BuiltIn::Actor, 4, 3000..=3000),
        (BuiltIn::ActorReminder, 1, 0..=0),
        (BuiltIn::ActorNotFound, 6, 5000..=5000),
        (BuiltIn::Initialization, 4, 1120..=3400),
    ];
    let none = Policies::default();
    for (built_in, count, last) in table {
        let (_, attempts) = run(&none.built_in(built_in), &FAILING).await;
        assert_eq!(attempts.len(), count, "{built_in:?}");
        let time = attempts.last().unwrap();
        assert!(last.contains(time), "{built_in:?}: {time}");
        assert!(none.replaced(built_in).is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn resources_replace_built_in_policies_but_one() {
    let policies = policies(
        "{policies: {retries: {DaprBuiltInServiceRetries: {duration: 10ms, maxRetries: 4}, \
         DaprBuiltInActorNotFoundRetries: {duration: 10ms, maxRetries: 9}}}}",
    );
    let (_, attempts) = run(&policies.built_in(BuiltIn::Service), &FAILING).await;
    assert_eq!(attempts, [0, 10, 20, 30, 40]);
    assert!(policies.replaced(BuiltIn::Service).is_some());
    let (_, attempts) = run(&policies.built_in(BuiltIn::ActorNotFound), &FAILING).await;
    assert_eq!((attempts.len(), attempts.last()), (6, Some(&5000)));
}
