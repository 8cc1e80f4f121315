//! Spans arrive where operators collect them: OTLP by gRPC and HTTP, Zipkin, the log.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use outrigger_test_kit::http::HttpBody;
use outrigger_test_kit::{
    Collector, Daprd, HttpApp, HttpRequest, HttpResponse, Process, Program, Result, Signal, free_port,
    isolated, skip, until, wait_for_port,
};
use prost::Message as _;
use serde_json::Value;

use super::{Pair, SAMPLED, TRACE_ID, configuration};

/// What `tests/install.sh` installed.
const ROTEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/test-tools/python/lib");

/// The collector inside the Python package, whatever the version of Python.
pub(super) fn rotel() -> Option<PathBuf> {
    let versions = std::fs::read_dir(Path::new(ROTEL)).ok()?;
    versions
        .filter_map(|version| Some(version.ok()?.path().join("site-packages/rotel/rotel-agent")))
        .find(|program| program.exists())
}

/// Starts the collector so that it prints what it takes of a signal.
pub(super) async fn start_rotel(program: PathBuf, signal: &str) -> Result<(Process, u16, u16)> {
    let (grpc_port, http_port) = (free_port()?, free_port()?);
    let process = Program::new(program)
        .arg("start")
        .args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{grpc_port}")])
        .args(["--otlp-http-endpoint", &format!("127.0.0.1:{http_port}")])
        .args(["--exporter", "blackhole"])
        .args(["--debug-log", signal, "--debug-log-verbosity", "detailed"])
        .start()?;
    wait_for_port(grpc_port).await?;
    wait_for_port(http_port).await?;
    Ok((process, grpc_port, http_port))
}

fn otel(port: u16, protocol: &str) -> String {
    format!(
        "{{tracing: {{samplingRate: '1', otel: {{endpointAddress: '127.0.0.1:{port}', isSecure: false, protocol: {protocol}}}}}}}"
    )
}

fn call() -> HttpRequest {
    HttpRequest::new("GET", "/v1.0/invoke/callee/method/orders").header("traceparent", SAMPLED)
}

#[test]
fn a_real_collector_takes_spans_by_grpc_and_by_http() {
    isolated!(async {
        let Some(program) = rotel() else {
            skip("no collector: run `make test-tools`");
            return Ok(());
        };
        let (collector, grpc_port, http_port) = start_rotel(program, "traces").await?;
        for (protocol, port) in [("grpc", grpc_port), ("http", http_port)] {
            let app = HttpApp::echo().await?;
            let pair = Pair::start("http", app.port(), &otel(port, protocol)).await?;
            let seen = collector.lines_with("CallLocal/callee/orders").len();
            assert_eq!(pair.caller.send(&call()).await?.status, 200);
            collector
                .wait_for_lines("CallLocal/callee/orders", seen + 2)
                .await?;
        }
        for (text, count) in [
            ("-> service.name: Str(caller)", 2),
            ("-> service.name: Str(callee)", 2),
            ("InstrumentationScope dapr-diagnostics", 4),
            ("SPAN_KIND_CLIENT", 2),
            ("SPAN_KIND_SERVER", 2),
            ("-> dapr.api: Str(GET /v1.0/invoke/callee/method/orders)", 2),
            (TRACE_ID, 4),
        ] {
            collector.wait_for_lines(text, count).await?;
        }
        Ok(())
    });
}

#[test]
fn otlp_by_http_is_protobuf_on_v1_traces_with_the_headers_asked_for() {
    isolated!(async {
        let receiver = HttpApp::start(async |_| HttpResponse::ok("")).await?;
        let app = HttpApp::echo().await?;
        let spec = format!(
            "{{tracing: {{samplingRate: '1', otel: {{endpointAddress: '127.0.0.1:{}', isSecure: false, protocol: http, headers: ['x-key=secret']}}}}}}",
            receiver.port()
        );
        let pair = Pair::start("http", app.port(), &spec).await?;
        assert_eq!(pair.caller.send(&call()).await?.status, 200);
        let requests = receiver.wait_for_requests("/v1/traces", 2).await?;
        let mut names = Vec::new();
        for request in &requests {
            assert_eq!(request.method, "POST");
            assert_eq!(
                request.headers.get("content-type"),
                Some("application/x-protobuf")
            );
            assert_eq!(request.headers.get("x-key"), Some("secret"));
            let export = ExportTraceServiceRequest::decode(request.body.clone())?;
            let scopes = export
                .resource_spans
                .into_iter()
                .flat_map(|group| group.scope_spans);
            names.extend(scopes.flat_map(|scope| scope.spans).map(|span| span.name));
        }
        assert_eq!(names, ["CallLocal/callee/orders"; 2]);
        Ok(())
    });
}

#[test]
fn zipkin_gets_spans_as_json_of_its_version_2() {
    isolated!(async {
        let receiver = HttpApp::start(async |_| HttpResponse {
            status: 202,
            headers: Default::default(),
            body: HttpBody::Full("".into()),
        })
        .await?;
        let app = HttpApp::echo().await?;
        let spec = format!(
            "{{tracing: {{samplingRate: '1', zipkin: {{endpointAddress: 'http://127.0.0.1:{}/api/v2/spans'}}}}}}",
            receiver.port()
        );
        let pair = Pair::start("http", app.port(), &spec).await?;
        assert_eq!(pair.caller.send(&call()).await?.status, 200);
        let mut spans = Vec::new();
        for request in receiver.wait_for_requests("/api/v2/spans", 2).await? {
            assert_eq!(request.headers.get("content-type"), Some("application/json"));
            let batch: Vec<Value> = serde_json::from_slice(&request.body)?;
            spans.extend(batch);
        }
        let of = |app_id: &str| {
            let found = spans
                .iter()
                .find(|span| span["localEndpoint"]["serviceName"] == app_id);
            found.unwrap_or_else(|| panic!("no span of {app_id}: {spans:?}"))
        };
        let (client, server) = (of("caller"), of("callee"));
        assert_eq!(
            (&client["kind"], &server["kind"]),
            (&"CLIENT".into(), &"SERVER".into())
        );
        for span in [client, server] {
            assert_eq!(span["traceId"], TRACE_ID);
            // Zipkin's own form: lower case is up to its users.
            assert_eq!(
                span["name"].as_str().unwrap_or_default().to_lowercase(),
                "calllocal/callee/orders"
            );
            assert!(
                span["timestamp"]
                    .as_u64()
                    .is_some_and(|micros| micros > 1_500_000_000_000_000)
            );
            assert!(span["duration"].as_u64().is_some_and(|micros| micros > 0));
            assert_eq!(span["tags"]["rpc.service"], "ServiceInvocation");
        }
        assert_eq!(client["parentId"], "b7ad6b7169203331");
        assert_eq!(server["parentId"], client["id"]);
        Ok(())
    });
}

#[test]
fn spans_are_lines_of_the_log_when_asked_for() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let spec = "{tracing: {samplingRate: '1', stdout: true}}";
        let pair = Pair::start("http", app.port(), spec).await?;
        let reply = pair.caller.send(&call()).await?;
        let span_id = reply.header("traceparent").unwrap_or_default().to_owned();
        let span_id = super::parts(&span_id).1;
        let start = format!(
            "msg=\"[CallLocal/callee/orders] Trace: {TRACE_ID} Span: b7ad6b7169203331/{span_id} Time: ["
        );
        let line = pair.caller.process.wait_for_line(&start).await?;
        assert!(
            line.contains(" level=info ") && line.contains("scope=dapr.runtime.trace"),
            "{line}"
        );
        assert!(line.contains("] Annotations: []\""), "{line}");
        let start = format!("[CallLocal/callee/orders] Trace: {TRACE_ID} Span: {span_id}/");
        pair.callee.process.wait_for_line(&start).await?;
        Ok(())
    });
}

#[tokio::test]
async fn the_standard_environment_names_a_collector() -> Result<()> {
    let collector = Collector::start().await?;
    let daprd = Daprd::builder("envy")?
        .env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            &format!("http://127.0.0.1:{}", collector.port()),
        )
        .env("OTEL_EXPORTER_OTLP_INSECURE", "true")
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .env("OTEL_SERVICE_NAME", "renamed")
        .env("OTEL_RESOURCE_ATTRIBUTES", "team=blue")
        .flag("mode", "standalone")
        .start()
        .await?;
    assert_eq!(daprd.get("/v1.0/metadata").await?.status, 200);
    let span = collector
        .wait_for_spans(1, |span| span.name == "/v1.0/metadata")
        .await?
        .remove(0);
    assert_eq!(span.resource["service.name"], "renamed");
    assert_eq!(span.resource["team"], "blue");
    Ok(())
}

#[tokio::test]
async fn the_standard_environment_chooses_http_and_headers() -> Result<()> {
    let receiver = HttpApp::start(async |_| HttpResponse::ok("")).await?;
    let daprd = Daprd::builder("envy")?
        .env(
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            &format!("http://127.0.0.1:{}", receiver.port()),
        )
        .env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
        .env("OTEL_EXPORTER_OTLP_INSECURE", "true")
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b,x-team=blue")
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .start()
        .await?;
    assert_eq!(daprd.get("/v1.0/metadata").await?.status, 200);
    let request = receiver.wait_for_requests("/v1/traces", 1).await?.remove(0);
    assert_eq!(request.headers.get("x-key"), Some("a b"));
    assert_eq!(request.headers.get("x-team"), Some("blue"));
    Ok(())
}

#[tokio::test]
async fn a_collector_that_is_away_harms_no_call_and_no_shutdown() -> Result<()> {
    let mut daprd = Daprd::builder("alone")?
        .configuration(&configuration(&otel(free_port()?, "grpc")))?
        .env("OTEL_BSP_SCHEDULE_DELAY", "50")
        .start()
        .await?;
    for _ in 0..20 {
        assert_eq!(daprd.get("/v1.0/metadata").await?.status, 200);
    }
    daprd.process.signal(Signal::Terminate).await?;
    ensure!(daprd.process.exit().await?.success(), "{}", daprd.process.tail());
    Ok(())
}

#[tokio::test]
async fn spans_that_wait_are_sent_at_shutdown() -> Result<()> {
    let collector = Collector::start().await?;
    let mut daprd = Daprd::builder("leaver")?
        .configuration(&configuration(&super::exporting_to(&collector)))?
        .env("OTEL_BSP_SCHEDULE_DELAY", "60000")
        .start()
        .await?;
    assert_eq!(daprd.get("/v1.0/metadata").await?.status, 200);
    daprd.process.signal(Signal::Terminate).await?;
    ensure!(daprd.process.exit().await?.success());
    until("the span", async || {
        collector
            .spans()
            .iter()
            .any(|span| span.name == "/v1.0/metadata")
            .then_some(())
    })
    .await
}

#[tokio::test]
async fn a_protocol_that_otlp_does_not_have_is_fatal() -> Result<()> {
    let builder = Daprd::builder("wrong")?.configuration(&configuration(&otel(4317, "carrier-pigeon")))?;
    let mut daprd = builder.spawn()?;
    assert_eq!(daprd.process.exit().await?.code(), Some(1));
    let refusal = "invalid protocol carrier-pigeon provided for Otel endpoint";
    assert_eq!(
        daprd.process.lines_with(refusal).len(),
        1,
        "{:?}",
        daprd.process.lines()
    );
    Ok(())
}
