use std::sync::OnceLock;

use http::Request;
use hyper::body::Incoming;
use outrigger_config::resources::{Resiliency, Resource};
use outrigger_kit::yaml;
use outrigger_resilience::{ComponentKind, Policies};
use outrigger_svc::{Body, collect_limited};
use outrigger_telemetry::log::{LogSettings, Logger};
use outrigger_telemetry::metrics::{Block, Metrics, MetricsSettings};

use super::*;
use crate::app::testing::{channel, start_app};
use crate::blocks::BuildingBlocks;
use crate::components::testing::Values;
use crate::http_api::testing::Api;

fn configurations(
    stores: &[(&str, &Arc<Values>)],
    app: Option<AppDelivery>,
    metrics: &Metrics,
) -> Configurations {
    let table = Table::<dyn ConfigurationStore>::default();
    for (name, store) in stores {
        table.insert(name, &(Arc::clone(store) as Arc<dyn ConfigurationStore>));
    }
    let calls = Calls::new(
        ComponentKind::Configuration,
        Some(Block::Configuration),
        Policies::default(),
        metrics.clone(),
    );
    Configurations::new(table, calls, app)
}

fn alone(store: &Arc<Values>) -> Configurations {
    configurations(&[("s", store)], None, &Metrics::disabled())
}

fn api(configurations: &Configurations) -> Api {
    let mut api = Api::new(None);
    api.building_blocks = BuildingBlocks {
        configurations: configurations.clone(),
        ..BuildingBlocks::default()
    };
    api
}

fn failure(code: &str, message: &str) -> String {
    format!(r#"{{"errorCode":"{code}","message":"{message}"}}"#)
}

#[tokio::test]
async fn values_are_read_over_http() {
    let store = Values::new(&[("a", "<1>"), ("b", ""), ("c d", "3")]);
    let api = api(&alone(&store));
    let a = r#""a":{"value":"\u003c1\u003e","version":"1"}"#;
    let table = [
        ("s?key=a", 200, format!("{{{a}}}\n")),
        ("s?key=a&key=c+d", 200, format!("{{{a},\"c d\":{{\"value\":\"3\",\"version\":\"1\"}}}}\n")),
        (
            "s",
            200,
            format!("{{{a},\"b\":{{\"version\":\"1\"}},\"c d\":{{\"value\":\"3\",\"version\":\"1\"}}}}\n"),
        ),
        ("s?key=none", 204, String::new()),
        (
            "x?key=a",
            400,
            failure("ERR_CONFIGURATION_STORE_NOT_FOUND", "configuration store x not found"),
        ),
        (
            "s?key=a&key=broken",
            500,
            failure(
                "ERR_CONFIGURATION_GET",
                "failed to get [a broken] from Configuration store s: connection reset",
            ),
        ),
        (
            "x/subscribe",
            400,
            failure("ERR_CONFIGURATION_STORE_NOT_FOUND", "configuration store x not found"),
        ),
        (
            "s/subscribe?key=a",
            500,
            failure(
                "ERR_APP_CHANNEL_NIL",
                "app channel is not initialized. cannot subscribe to configuration updates",
            ),
        ),
        (
            "x/1/unsubscribe",
            400,
            failure("ERR_CONFIGURATION_STORE_NOT_FOUND", "configuration store x not found"),
        ),
        (
            "s/1/unsubscribe",
            500,
            "{\"message\":\"failed to unsubscribe to configuration request 1: subscription with id 1 does not exist\"}"
                .to_owned(),
        ),
    ];
    for version in ["v1.0", "v1.0-alpha1"] {
        for (path, status, body) in &table {
            let answer = api.get(&format!("/{version}/configuration/{path}")).await;
            assert_eq!(answer.short(), (*status, body.as_str()), "{version} {path}");
        }
    }
}

#[tokio::test]
async fn a_sidecar_without_stores_says_so_first() {
    let api = api(&configurations(&[], None, &Metrics::disabled()));
    let expected = failure(
        "ERR_CONFIGURATION_STORE_NOT_CONFIGURED",
        "configuration stores not configured",
    );
    for path in ["s", "s/subscribe", "s/1/unsubscribe"] {
        let answer = api.get(&format!("/v1.0/configuration/{path}")).await;
        assert_eq!(answer.short(), (500, expected.as_str()), "{path}");
    }
}

/// What the app was told; its first answer is 500, the others are 200.
static TOLD: OnceLock<mpsc::UnboundedSender<String>> = OnceLock::new();

#[tokio::test]
async fn the_app_is_told_of_each_key_until_the_subscription_ends() {
    let (sender, mut told) = mpsc::unbounded_channel();
    TOLD.set(sender).unwrap();
    let address = start_app(|request: Request<Incoming>| {
        Box::pin(async move {
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            let kind = request.headers()["content-type"].to_str().unwrap().to_owned();
            let body = collect_limited(request.into_body(), 10_000).await.unwrap();
            let body = String::from_utf8(body.to_vec()).unwrap();
            let is_refused = body.contains("refused");
            TOLD.get()
                .unwrap()
                .send(format!("{method} {path} {kind} {body}"))
                .unwrap();
            let status = if is_refused { 500 } else { 200 };
            http::Response::builder()
                .status(status)
                .body(Body::empty())
                .unwrap()
        })
    })
    .await;
    let text = "spec: {policies: {retries: {r: {policy: constant, duration: 1ms, maxRetries: 1}}}, targets: {components: \
                {s: {inbound: {retry: r}}}}}";
    let resource = Resiliency::from_document("dapr.io/v1alpha1", &yaml::to_json(text).unwrap()).unwrap();
    let policies = Policies::load(&[resource], &Metrics::disabled()).policies;
    let app = AppDelivery::new(channel(address.port()), policies);
    let store = Values::new(&[("a", "1")]);
    let all = configurations(&[("s", &store)], Some(app), &Metrics::disabled());
    let api = api(&all);
    let (logger, lines) = Logger::in_memory(&LogSettings::default());
    let _guard = tracing::subscriber::set_default(logger);

    let answer = api.get("/v1.0/configuration/s/subscribe?key=b%20c&key=a").await;
    assert_eq!(answer.short(), (200, "{\"id\":\"s1\"}\n"));
    assert_eq!(store.subscribed(), [["b c", "a"]]);
    store.change("a", "2").await;
    store.change("other", "2").await;
    store.change("b c", "").await;
    let body = |key: &str, item: &str| format!("{{\"id\":\"s1\",\"items\":{{\"{key}\":{item}}}}}\n");
    let post = |path: &str, body: &str| format!("POST /configuration/s/{path} application/json {body}");
    assert_eq!(
        told.recv().await.unwrap(),
        post("a", &body("a", r#"{"value":"2","version":"1"}"#))
    );
    assert_eq!(
        told.recv().await.unwrap(),
        post("b%20c", &body("b c", r#"{"version":"1"}"#))
    );

    // A refusal is tried again as the policy says, then logged.
    store.change("a", "refused").await;
    store.change("a", "3").await;
    for value in ["refused", "refused", "3"] {
        assert!(told.recv().await.unwrap().contains(value));
    }
    let log = lines.lines().join("\n");
    let expected = "level=error msg=\"error sending configuration item to the app: Error sending configuration item to \
                    application, status 500\"";
    assert!(log.contains(expected), "{log}");

    let answer = api.get("/v1.0/configuration/s/s1/unsubscribe").await;
    assert_eq!(answer.short(), (200, "{\"ok\":true}\n"));
    assert_eq!(store.subscribed(), [[""; 0]; 0]);
    let failed = api.get("/v1.0/configuration/s/subscribe?key=broken").await;
    let expected = "failed to subscribe [broken] from Configuration store s: connection reset";
    assert_eq!(
        failed.short(),
        (500, failure("ERR_CONFIGURATION_SUBSCRIBE", expected).as_str())
    );
}

#[tokio::test]
async fn a_stream_has_news_until_somebody_ends_it() {
    let store = Values::new(&[]);
    let all = alone(&store);
    let begin = async || {
        let keys = vec!["b".to_owned(), "a".to_owned()];
        all.subscribe("s", keys, &Metadata::new()).await.unwrap()
    };

    let mut subscription = begin().await;
    assert_eq!(
        (subscription.id(), store.subscribed()),
        ("s1", vec![vec!["a".to_owned(), "b".to_owned()]])
    );
    store.change("a", "1").await;
    let update = subscription.next().await.unwrap();
    assert_eq!(
        (update.id.as_str(), update.items["a"].value.as_str()),
        ("s1", "1")
    );

    // By its id, once.
    all.end_stream("s1").await.unwrap();
    assert_eq!(subscription.next().await, None);
    store.nobody_is_subscribed().await;
    assert_eq!(
        all.end_stream("s1").await.unwrap_err().to_string(),
        "failed to unsubscribe to configuration request s1: subscription does not exist"
    );
    drop(subscription);

    // By the client, which goes away.
    drop(begin().await);
    store.nobody_is_subscribed().await;

    // By the store.
    let mut subscription = begin().await;
    store.close().await.unwrap();
    assert_eq!(subscription.next().await, None);
    assert!(all.end_stream("s1").await.is_err());

    // By the end of the sidecar, which no later one outlives.
    let mut subscription = begin().await;
    all.close_streams();
    assert_eq!(subscription.next().await, None);
    drop(subscription);
    store.nobody_is_subscribed().await;
    assert_eq!(begin().await.next().await, None);
}

#[tokio::test]
async fn operations_are_counted() {
    let metrics = Metrics::new(&MetricsSettings {
        app_id: "app1".into(),
        ..MetricsSettings::default()
    })
    .unwrap();
    let store = Values::new(&[]);
    let all = configurations(&[("s", &store)], None, &metrics);
    all.get("s", &[], &Metadata::new()).await.unwrap();
    all.get("s", &["broken".to_owned()], &Metadata::new())
        .await
        .unwrap_err();
    let subscription = all.subscribe("s", Vec::new(), &Metadata::new()).await.unwrap();
    all.end_stream(subscription.id()).await.unwrap();
    let text = String::from_utf8(metrics.encode().to_vec()).unwrap();
    for (operation, success) in [
        ("get", true),
        ("get", false),
        ("subscribe", true),
        ("unsubscribe", true),
    ] {
        let series = format!(
            "dapr_component_configuration_count{{app_id=\"app1\",component=\"s\",namespace=\"\",operation=\"{operation}\",\
             success=\"{success}\"}} 1"
        );
        assert!(text.contains(&series), "{series} is not in {text}");
    }
}
