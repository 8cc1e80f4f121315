//! Whether a caller may call what it calls.

use std::hint::black_box;

use outrigger_config::configuration::{AccessControl, AccessOperation, AccessPolicy};
use outrigger_link::Verb;
use outrigger_proxy::bench_support::Access;
use outrigger_telemetry::metrics::{Metrics, MetricsSettings};

use crate::Meter;

const STAGE: &str = "access";
const PEER: Option<&str> = Some("spiffe://public/ns/default/caller");

pub(crate) fn measure(meter: &mut impl Meter) {
    let open = counted(AccessControl {
        default_action: "allow".to_owned(),
        trust_domain: "public".to_owned(),
        policies: None,
    });
    meter.measure(STAGE, "no policy: the default of all", || {
        open.permits(black_box(PEER), black_box("api/orders/17"), Some(Verb::GET))
    });
    let closed = counted(policies());
    for (name, method, allowed) in [
        ("a method by its name", "api/orders/17", true),
        ("a method by a wildcard", "public/assets/app.js", true),
        ("a method in another letter case", "API/Orders/17", true),
        ("no rule: the default of the caller", "internal/metrics", true),
    ] {
        assert_eq!(closed.permits(PEER, method, Some(Verb::GET)), allowed, "{method}");
        meter.measure(STAGE, name, || {
            closed.permits(black_box(PEER), black_box(method), Some(Verb::GET))
        });
    }
}

fn counted(section: AccessControl) -> Access {
    let settings = MetricsSettings {
        app_id: "callee".into(),
        ..MetricsSettings::default()
    };
    let metrics = Metrics::new(&settings).expect("there are no rules to be wrong");
    Access::new(section, true).counted(metrics)
}

/// Ten callers with ten operations each; the last one is measured.
fn policies() -> AccessControl {
    let operation = |name: String| AccessOperation {
        name,
        http_verbs: vec!["GET".to_owned(), "POST".to_owned()],
        action: "allow".to_owned(),
    };
    let mut names: Vec<_> = (0..8).map(|number| format!("/api/items{number}/*")).collect();
    names.extend(["/public/**".to_owned(), "/api/orders".to_owned()]);
    let operations: Vec<_> = names.into_iter().map(operation).collect();
    let policy = |app_id: String| AccessPolicy {
        app_id,
        default_action: "allow".to_owned(),
        trust_domain: "public".to_owned(),
        namespace: "default".to_owned(),
        operations: operations.clone(),
    };
    let others = (0..9).map(|number| format!("other{number}"));
    AccessControl {
        default_action: "deny".to_owned(),
        trust_domain: "public".to_owned(),
        policies: Some(others.chain(["caller".to_owned()]).map(policy).collect()),
    }
}
