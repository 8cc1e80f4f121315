//! Policies of a call's target: that there are none must cost nothing.

use std::fmt;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use outrigger_config::resources::{Resiliency, Resource};
use outrigger_kit::yaml;
use outrigger_resilience::{Class, Failure, Policies, Policy};
use outrigger_telemetry::metrics::{Metrics, MetricsSettings};

use crate::Meter;

const STAGE: &str = "resilience";

const RESOURCE: &str = "
metadata: {name: bench}
spec:
  policies:
    timeouts: {t: 5s}
    retries: {r: {policy: exponential, maxRetries: 3, matching: {httpStatusCodes: '500-599'}}}
    circuitBreakers: {b: {trip: consecutiveFailures > 5}}
  targets:
    apps:
      retried: {retry: r}
      all: {timeout: t, retry: r, circuitBreaker: b}
";

/// The operations of this bench do not fail.
struct Never;

pub(crate) fn measure(meter: &mut impl Meter) {
    let none = Policies::default();
    meter.measure(STAGE, "look a target up, no resource", || {
        app(&none, black_box("callee")).is_none()
    });
    let metrics = Metrics::new(&MetricsSettings::default()).expect("there is no rule to compile");
    let document = yaml::to_json(RESOURCE).expect("the resource is YAML");
    let resource = Resiliency::from_document("dapr.io/v1alpha1", &document).expect("the resource is one");
    let policies = Policies::load(&[resource], &metrics).policies;
    meter.measure(STAGE, "look a target up that no policy is for", || {
        app(&policies, black_box("callee")).is_none()
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime.expect("a runtime for timeouts");
    let _entered = runtime.enter();
    for (name, app_id) in [
        ("a call under a retry policy", "retried"),
        ("a call under a timeout, retries and a breaker", "all"),
    ] {
        meter.measure(STAGE, name, || {
            let policy = app(&policies, black_box(app_id)).expect("there is a policy");
            let call = pin!(policy.run(async |attempt| Ok::<_, Never>(attempt)));
            match call.poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(outcome) => outcome.ok(),
                Poll::Pending => unreachable!("the operation does not wait"),
            }
        });
    }
}

fn app<'a>(policies: &'a Policies, app_id: &'a str) -> Option<Policy<'a>> {
    policies.app(app_id, || format!("{app_id}:api/orders/17"))
}

// === impl Never ===

impl Failure for Never {
    fn class(&self) -> Class {
        Class::Permanent
    }
}

impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("never")
    }
}
