//! Metrics and log lines that are pushed to where operators collect them, by OTLP.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, Metric};
use outrigger_test_kit::{
    Daprd, DaprdBuilder, HttpApp, HttpRequest, HttpResponse, Result, Signal, free_port, isolated, skip, until,
};
use prost::Message as _;

use super::collectors::{rotel, start_rotel};
use super::{SAMPLED, TRACE_ID, configuration, map};

/// A section `otlp`, in flow style.
fn otlp(port: u16, protocol: &str) -> String {
    format!(
        "{{endpointAddress: '127.0.0.1:{port}', isSecure: false, protocol: {protocol}, headers: ['x-key=secret']}}"
    )
}

/// A sidecar that pushes metrics and log lines to these ports.
fn pushing(metrics: u16, logs: u16, protocol: &str) -> Result<DaprdBuilder> {
    let spec = format!(
        "{{tracing: {{samplingRate: '1'}}, metrics: {{otlp: {}}}, logging: {{apiLogging: {{enabled: true}}, otlp: {}}}}}",
        otlp(metrics, protocol),
        otlp(logs, protocol)
    );
    Ok(Daprd::builder("pusher")?
        .configuration(&configuration(&spec))?
        .env("OTEL_METRIC_EXPORT_INTERVAL", "200")
        .env("OTEL_BLRP_SCHEDULE_DELAY", "50"))
}

fn call() -> HttpRequest {
    HttpRequest::new("GET", "/v1.0/metadata").header("traceparent", SAMPLED)
}

/// A receiver that takes everything.
async fn receiver() -> Result<HttpApp> {
    HttpApp::start(async |_| HttpResponse::ok("")).await
}

fn text(value: Option<AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let pairs = attributes.into_iter();
    pairs.map(|pair| (pair.key, text(pair.value))).collect()
}

/// All records of the requests, with their scopes; each request must be of the sidecar.
fn records(requests: &[HttpRequest]) -> Result<Vec<(String, LogRecord)>> {
    let mut records = Vec::new();
    for request in requests {
        ensure!(request.headers.get("content-type") == Some("application/x-protobuf"));
        ensure!(request.headers.get("x-key") == Some("secret"));
        for group in ExportLogsServiceRequest::decode(request.body.clone())?.resource_logs {
            let resource = texts(group.resource.context("no resource")?.attributes);
            ensure!(resource["service.name"] == "pusher", "{resource:?}");
            for scope in group.scope_logs {
                let name = scope.scope.context("no scope")?.name;
                records.extend(scope.log_records.into_iter().map(|record| (name.clone(), record)));
            }
        }
    }
    Ok(records)
}

/// The metrics of a request.
fn metrics(request: &HttpRequest) -> Result<Vec<Metric>> {
    let export = ExportMetricsServiceRequest::decode(request.body.clone())?;
    let scopes = export
        .resource_metrics
        .into_iter()
        .flat_map(|group| group.scope_metrics);
    Ok(scopes.flat_map(|scope| scope.metrics).collect())
}

/// The latencies of calls of `/v1.0/metadata`, if there are any.
fn latencies(metrics: &[Metric]) -> Option<HistogramDataPoint> {
    let latency = metrics
        .iter()
        .find(|metric| metric.name == "dapr_http_server_latency")?;
    let Some(Data::Histogram(histogram)) = &latency.data else {
        return None;
    };
    let mut points = histogram.data_points.iter();
    let of_call = |point: &&HistogramDataPoint| texts(point.attributes.clone())["path"] == "/v1.0/metadata";
    points.find(of_call).cloned()
}

#[test]
fn a_real_collector_takes_metrics_and_lines_by_grpc_and_by_http() {
    isolated!(async {
        let Some(program) = rotel() else {
            skip("no collector: run `make test-tools`");
            return Ok(());
        };
        let (metrics, metrics_grpc, metrics_http) = start_rotel(program.clone(), "metrics").await?;
        let (logs, logs_grpc, logs_http) = start_rotel(program, "logs").await?;
        for (protocol, metrics_port, logs_port) in [
            ("grpc", metrics_grpc, logs_grpc),
            ("http", metrics_http, logs_http),
        ] {
            let seen = logs.lines_with("HTTP API Called").len();
            let pushed = metrics.lines_with("dapr_http_server_request_count").len();
            let daprd = pushing(metrics_port, logs_port, protocol)?.start().await?;
            assert_eq!(daprd.send(&call()).await?.status, 200);
            logs.wait_for_lines("HTTP API Called", seen + 1).await?;
            logs.wait_for_line(TRACE_ID).await?;
            metrics
                .wait_for_lines("dapr_http_server_request_count", pushed + 1)
                .await?;
            for line in [
                "dapr_http_server_latency",
                "process_resident_memory_bytes",
                "pusher",
            ] {
                metrics.wait_for_line(line).await?;
            }
        }
        Ok(())
    });
}

#[tokio::test]
async fn lines_bear_their_fields_and_the_trace_of_their_call() -> Result<()> {
    let receiver = receiver().await?;
    let daprd = pushing(free_port()?, receiver.port(), "http")?.start().await?;
    assert_eq!(daprd.send(&call()).await?.status, 200);
    let line = daprd.process.wait_for_line("GET /v1.0/metadata").await?;
    assert!(!line.contains(TRACE_ID), "the line is as ever: {line}");
    let (scope, record) = until("the record of the call", async || {
        let all = records(&receiver.requests_for("/v1/logs")).ok()?;
        let of_call = |(scope, record): &(String, LogRecord)| {
            let method = texts(record.attributes.clone()).remove("method");
            scope == "dapr.runtime.http-info" && method.as_deref() == Some("GET /v1.0/metadata")
        };
        all.into_iter().find(of_call)
    })
    .await?;
    assert_eq!(scope, "dapr.runtime.http-info");
    assert_eq!(text(record.body), "HTTP API Called");
    assert_eq!(
        (record.severity_number, record.severity_text.as_str()),
        (9, "info")
    );
    let trace: String = record.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        (trace.as_str(), record.span_id.len(), record.flags),
        (TRACE_ID, 8, 1)
    );
    let mut attributes = texts(record.attributes);
    attributes.retain(|name, _| ["app_id", "code", "method"].contains(&name.as_str()));
    let expected = map([
        ("app_id", "pusher"),
        ("code", "200"),
        ("method", "GET /v1.0/metadata"),
    ]);
    assert_eq!(attributes, expected);
    Ok(())
}

#[tokio::test]
async fn series_are_pushed_as_they_are_scraped_with_exemplars() -> Result<()> {
    let receiver = receiver().await?;
    let daprd = pushing(receiver.port(), free_port()?, "http")?.start().await?;
    assert_eq!(daprd.send(&call()).await?.status, 200);
    let (all, point) = until("the latency of the call", async || {
        let last = receiver.requests_for("/v1/metrics").pop()?;
        let all = metrics(&last).ok()?;
        let point = latencies(&all)?;
        Some((all, point))
    })
    .await?;
    assert_eq!(point.count, 1);
    let labels = map([
        ("app_id", "pusher"),
        ("method", "GET"),
        ("path", "/v1.0/metadata"),
        ("status", "200"),
    ]);
    assert_eq!(texts(point.attributes), labels);
    let trace: String = point.exemplars[0]
        .trace_id
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(trace, TRACE_ID);
    // What is scraped is what is pushed.
    let scraped = daprd.metrics().await?;
    let families = scraped.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    for family in families.filter_map(|line| line.split(' ').next()) {
        let found = all.iter().any(|metric| metric.name == family);
        assert!(found || family.starts_with("outrigger_export_"), "{family}");
    }
    Ok(())
}

#[tokio::test]
async fn what_waits_is_pushed_at_shutdown() -> Result<()> {
    let receiver = receiver().await?;
    let mut daprd = pushing(receiver.port(), receiver.port(), "http")?
        .env("OTEL_METRIC_EXPORT_INTERVAL", "3600000")
        .env("OTEL_BLRP_SCHEDULE_DELAY", "3600000")
        .start()
        .await?;
    assert_eq!(daprd.send(&call()).await?.status, 200);
    daprd.process.wait_for_line("GET /v1.0/metadata").await?;
    assert!(receiver.requests().is_empty(), "{:?}", receiver.requests());
    daprd.process.signal(Signal::Terminate).await?;
    ensure!(daprd.process.exit().await?.success(), "{}", daprd.process.tail());
    let pushed = metrics(&receiver.requests_for("/v1/metrics")[0])?;
    assert_eq!(latencies(&pushed).context("no latency")?.count, 1);
    let lines = records(&receiver.requests_for("/v1/logs"))?;
    let said = |wanted: &str| {
        lines
            .iter()
            .any(|(_, record)| text(record.body.clone()) == wanted)
    };
    assert!(said("HTTP API Called"), "{lines:?}");
    Ok(())
}

#[tokio::test]
async fn what_a_collector_that_is_away_loses_is_counted() -> Result<()> {
    let mut daprd = pushing(free_port()?, free_port()?, "grpc")?.start().await?;
    daprd
        .process
        .wait_for_line("failed to export metrics to 127.0.0.1:")
        .await?;
    until("the loss of metrics", async || {
        let labels = [("signal", "metrics"), ("reason", "failed")];
        let lost = daprd
            .metric("outrigger_export_dropped_total", &labels)
            .await
            .ok()?;
        lost.filter(|count| *count >= 1.0)
    })
    .await?;
    assert_eq!(daprd.get("/v1.0/metadata").await?.status, 200);
    daprd.process.signal(Signal::Terminate).await?;
    ensure!(daprd.process.exit().await?.success(), "{}", daprd.process.tail());
    Ok(())
}

#[tokio::test]
async fn nothing_is_pushed_unless_it_is_asked_for() -> Result<()> {
    let receiver = receiver().await?;
    let daprd = Daprd::builder("quiet")?
        .env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            &format!("http://127.0.0.1:{}", receiver.port()),
        )
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        .env("OTEL_EXPORTER_OTLP_INSECURE", "true")
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .env("OTEL_METRIC_EXPORT_INTERVAL", "50")
        .env("OTEL_BLRP_SCHEDULE_DELAY", "50")
        .start()
        .await?;
    assert_eq!(daprd.get("/v1.0/metadata").await?.status, 200);
    receiver.wait_for_requests("/v1/traces", 1).await?;
    until("the count of spans", async || {
        let sent = daprd.metric("outrigger_export_sent_total", &[("signal", "traces")]);
        sent.await.ok()?.filter(|count| *count >= 1.0)
    })
    .await?;
    let others: Vec<_> = receiver.requests();
    assert!(
        others.iter().all(|request| request.path() == "/v1/traces"),
        "{others:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_collector_without_a_protocol_is_refused_at_start() -> Result<()> {
    for (section, spec) in [
        ("spec.metrics.otlp", "{metrics: {otlp: {endpointAddress: 'c:1'}}}"),
        (
            "spec.logging.otlp",
            "{logging: {otlp: {endpointAddress: 'c:1', protocol: udp}}}",
        ),
    ] {
        let mut daprd = Daprd::builder("wrong")?
            .configuration(&configuration(spec))?
            .spawn()?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        let said = daprd.process.lines_with(&format!("{section}: invalid protocol "));
        assert_eq!(said.len(), 1, "{:?}", daprd.process.lines());
    }
    Ok(())
}
