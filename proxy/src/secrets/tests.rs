use outrigger_config::resources::{Resiliency, Resource};
use outrigger_kit::yaml;
use outrigger_resilience::{ComponentKind, Policies};
use outrigger_telemetry::log::{LogSettings, Logger};
use outrigger_telemetry::metrics::{Block, Metrics, MetricsSettings};

use super::*;
use crate::blocks::BuildingBlocks;
use crate::components::testing::Echo;
use crate::http_api::testing::Api;

fn scope(allowed: &[&str], denied: &[&str], deny_by_default: bool) -> SecretScope {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    SecretScope {
        deny_by_default,
        allowed: texts(allowed),
        denied: texts(denied),
    }
}

fn secrets(scopes: &[(&str, SecretScope)], policies: &Policies, metrics: &Metrics) -> Secrets {
    let stores = Table::<dyn SecretStore>::default();
    for name in ["open", "closed", "my vault"] {
        stores.insert(name, &(Arc::new(Echo) as Arc<dyn SecretStore>));
    }
    let scopes = scopes
        .iter()
        .map(|(store, scope)| ((*store).to_owned(), scope.clone()));
    let calls = Calls::new(
        ComponentKind::SecretStore,
        Some(Block::Secret),
        policies.clone(),
        metrics.clone(),
    );
    Secrets::new(stores, scopes.collect(), calls)
}

fn api(secrets: Secrets) -> Api {
    let mut api = Api::new(None);
    api.building_blocks = BuildingBlocks {
        secrets,
        ..BuildingBlocks::default()
    };
    api
}

fn failure(code: &str, message: &str) -> String {
    format!(r#"{{"errorCode":"{code}","message":"{message}"}}"#)
}

#[tokio::test]
async fn secrets_are_read_over_http_in_the_order_of_the_checks() {
    let scopes = [
        ("closed", scope(&["a"], &[], false)),
        ("absent", scope(&[], &[], false)),
    ];
    let api = api(secrets(&scopes, &Policies::default(), &Metrics::disabled()));
    let denied = |key: &str| {
        let message = format!(r#"access denied by policy to get \"{key}\" from \"closed\""#);
        failure("ERR_PERMISSION_DENIED", &message)
    };
    let table = [
        (
            "open/a",
            200,
            "{\"a\":\"\\u003cv\\u003e\",\"version\":\"-\"}\n".to_owned(),
        ),
        (
            "open/a%2Fb+c?metadata.version_id=7",
            200,
            "{\"a/b c\":\"\\u003cv\\u003e\",\"version\":\"7\"}\n".to_owned(),
        ),
        (
            "my+vault/x",
            200,
            "{\"version\":\"-\",\"x\":\"\\u003cv\\u003e\"}\n".to_owned(),
        ),
        ("open/nothing", 204, String::new()),
        ("open/empty", 200, "{}\n".to_owned()),
        (
            "open/broken",
            500,
            failure(
                "ERR_SECRET_GET",
                "failed getting secret with key broken from secret store open: the store is \\u003cdown\\u003e",
            ),
        ),
        (
            "absent/a",
            401,
            failure(
                "ERR_SECRET_STORE_NOT_FOUND",
                "failed finding secret store with key absent",
            ),
        ),
        (
            "closed/a",
            200,
            "{\"a\":\"\\u003cv\\u003e\",\"version\":\"-\"}\n".to_owned(),
        ),
        ("closed/b", 403, denied("b")),
        ("closed/b%22", 403, denied(r#"b\\\""#)),
        (
            "open/bulk",
            200,
            "{\"a\":{\"a\":\"v\"},\"b\":{\"b\":\"v\"},\"c\":{\"c\":\"v\"}}\n".to_owned(),
        ),
        ("closed/bulk", 200, "{\"a\":{\"a\":\"v\"}}\n".to_owned()),
        (
            "open/bulk?metadata.fail=yes",
            500,
            failure(
                "ERR_SECRET_GET",
                "failed getting secrets from secret store open: no list",
            ),
        ),
        (
            "absent/bulk",
            401,
            failure(
                "ERR_SECRET_STORE_NOT_FOUND",
                "failed finding secret store with key absent",
            ),
        ),
    ];
    for (path, status, body) in table {
        let answer = api.get(&format!("/v1.0/secrets/{path}")).await;
        assert_eq!(answer.short(), (status, body.as_str()), "{path}");
        let kind = answer.header("content-type");
        assert_eq!(kind, (status != 204).then_some("application/json"), "{path}");
    }
}

#[tokio::test]
async fn a_sidecar_without_stores_says_so_first() {
    let scopes = [("a", scope(&[], &[], true))];
    let mut none = secrets(&scopes, &Policies::default(), &Metrics::disabled());
    none.stores = Table::default();
    let api = api(none);
    let expected = failure(
        "ERR_SECRET_STORES_NOT_CONFIGURED",
        "secret store is not configured",
    );
    for path in ["a/b", "a/bulk"] {
        let answer = api.get(&format!("/v1.0/secrets/{path}")).await;
        assert_eq!(answer.short(), (500, expected.as_str()));
    }
}

#[tokio::test]
async fn scopes_decide_by_their_lists_first() {
    let table = [
        (scope(&[], &[], false), "abc"),
        (scope(&[], &[], true), ""),
        (scope(&["a"], &[], false), "a"),
        (scope(&["a"], &["a"], true), "a"),
        (scope(&[], &["b"], false), "ac"),
        (scope(&[], &["b"], true), ""),
        (scope(&["A"], &[], false), ""),
    ];
    for (scope, expected) in table {
        let shown = format!("{scope:?}");
        let secrets = secrets(&[("closed", scope)], &Policies::default(), &Metrics::disabled());
        let all = secrets.bulk("closed", &Metadata::new()).await.unwrap();
        let names: String = all.into_keys().collect();
        assert_eq!(names, expected, "{shown}");
        for name in ["a", "b", "c"] {
            let outcome = secrets.get("closed", name, &Metadata::new()).await;
            assert_eq!(outcome.is_ok(), expected.contains(name), "{shown} {name}");
        }
    }
}

#[tokio::test]
async fn operations_run_under_the_policies_of_their_store_and_are_counted() {
    let text = "spec: {policies: {retries: {r: {policy: constant, duration: 1ms, maxRetries: 2}}}, targets: {components: \
                {open: {outbound: {retry: r}}}}}";
    let resource = Resiliency::from_document("dapr.io/v1alpha1", &yaml::to_json(text).unwrap()).unwrap();
    let metrics = Metrics::new(&MetricsSettings {
        app_id: "app1".into(),
        namespace: "ns".into(),
        ..MetricsSettings::default()
    })
    .unwrap();
    let policies = Policies::load(&[resource], &metrics).policies;
    let secrets = secrets(&[], &policies, &metrics);
    let (logger, lines) = Logger::in_memory(&LogSettings::default());
    let _guard = tracing::subscriber::set_default(logger);
    let none = Metadata::new();
    secrets.get("open", "a", &none).await.unwrap();
    secrets.get("open", "broken", &none).await.unwrap_err();
    secrets.bulk("closed", &none).await.unwrap();
    let log = lines.lines().join("\n");
    assert!(
        log.contains("Error processing operation component[open] output. Retrying in 1ms…"),
        "{log}"
    );
    let text = String::from_utf8(metrics.encode().to_vec()).unwrap();
    for (component, operation, success) in [
        ("open", "get", true),
        ("open", "get", false),
        ("closed", "bulk_get", true),
    ] {
        let series = format!(
            "dapr_component_secret_count{{app_id=\"app1\",component=\"{component}\",namespace=\"ns\",\
             operation=\"{operation}\",success=\"{success}\"}} 1"
        );
        assert!(text.contains(&series), "{series} is not in {text}");
    }
    assert!(text.contains("dapr_component_secret_latencies_bucket{"), "{text}");
}

#[test]
fn scopes_without_a_store_are_told() {
    let (logger, lines) = Logger::in_memory(&LogSettings::default());
    let _guard = tracing::subscriber::set_default(logger);
    let scopes = [("open", scope(&[], &[], true)), ("gone", scope(&[], &[], true))];
    secrets(&scopes, &Policies::default(), &Metrics::disabled()).tell_unmatched_scopes();
    let lines = lines.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let expected = "msg=\"Secrets configuration added for 'gone', but no matching secret store was found\"";
    assert!(lines[0].contains(expected), "{lines:?}");
}
