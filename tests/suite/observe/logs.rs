//! Lines of the log that observers parse, as text and as JSON, and those of API calls.

use http::HeaderMap;
use outrigger_test_kit::{Daprd, DaprdBuilder, HttpRequest, Result};
use serde_json::Value;

use super::configuration;

fn call(path: &str) -> HttpRequest {
    HttpRequest::new("GET", path).header("User-Agent", "observer/1.0")
}

/// The fields of a line of the text log, without the quotes of their values.
fn fields(line: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut rest = line;
    while let Some((name, tail)) = rest.split_once('=') {
        let (value, next) = match tail.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => tail
                .split_once(' ')
                .map_or((tail, ""), |(value, next)| (value, next)),
        };
        fields.push((name.trim_start().to_owned(), value.to_owned()));
        rest = next;
    }
    fields
}

async fn start(adjust: impl FnOnce(DaprdBuilder) -> DaprdBuilder) -> Result<Daprd> {
    adjust(Daprd::builder("logged")?).start().await
}

#[tokio::test]
async fn a_text_line_has_time_level_and_message_first_and_the_rest_sorted() -> Result<()> {
    let daprd = start(|builder| builder).await?;
    let line = daprd.process.wait_for_line("Starting Dapr Runtime").await?;
    let fields = fields(&line);
    let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "time", "level", "msg", "app_id", "instance", "scope", "type", "ver"
        ]
    );
    let value = |name: &str| {
        let found = fields.iter().find(|(own, _)| own == name);
        found.map_or("", |(_, value)| value.as_str())
    };
    assert_eq!((value("level"), value("app_id")), ("info", "logged"));
    assert_eq!((value("scope"), value("type")), ("dapr.runtime", "log"));
    let time = time::OffsetDateTime::parse(value("time"), &time::format_description::well_known::Rfc3339)?;
    assert!(time > time::OffsetDateTime::UNIX_EPOCH && value("time").ends_with('Z'));
    assert!(daprd.process.stderr().is_empty(), "{:?}", daprd.process.stderr());
    Ok(())
}

#[tokio::test]
async fn a_json_line_is_one_object_with_sorted_keys() -> Result<()> {
    let daprd = start(|builder| builder.flag("log-as-json", true)).await?;
    let lines = daprd.process.stdout();
    assert!(lines.len() > 3);
    for line in &lines {
        let object: serde_json::Map<String, Value> = serde_json::from_str(line)?;
        let keys: Vec<_> = object.keys().collect();
        assert!(keys.is_sorted(), "{line}");
        for (key, value) in [("type", "log"), ("app_id", "logged")] {
            assert_eq!(object[key], value, "{line}");
        }
        assert!(
            ["debug", "info", "warning", "error", "fatal"]
                .contains(&object["level"].as_str().unwrap_or_default()),
            "{line}"
        );
        assert!(
            object["scope"]
                .as_str()
                .is_some_and(|scope| scope.starts_with("dapr")),
            "{line}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn http_calls_are_logged_when_asked_for() -> Result<()> {
    let daprd = start(|builder| {
        builder
            .flag("enable-api-logging", true)
            .flag("log-level", "error")
    })
    .await?;
    let reply = daprd.send(&call("/v1.0/metadata")).await?;
    let line = daprd.process.wait_for_line("GET /v1.0/metadata").await?;
    let fields = fields(&line);
    let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "time",
            "level",
            "msg",
            "app_id",
            "code",
            "duration",
            "instance",
            "method",
            "scope",
            "size",
            "type",
            "useragent",
            "ver"
        ]
    );
    let size = reply.body.len().to_string();
    for (name, value) in [
        ("level", "info"),
        ("msg", "HTTP API Called"),
        ("code", "200"),
        ("method", "GET /v1.0/metadata"),
        ("scope", "dapr.runtime.http-info"),
        ("size", size.as_str()),
        ("useragent", "observer/1.0"),
    ] {
        assert!(
            fields.contains(&(name.to_owned(), value.to_owned())),
            "{name}: {line}"
        );
    }
    // Health requests are calls too, unless left out.
    daprd.process.wait_for_line("GET /v1.0/healthz").await?;
    Ok(())
}

#[tokio::test]
async fn grpc_calls_are_logged_when_asked_for() -> Result<()> {
    let daprd = start(|builder| builder.flag("enable-api-logging", true).flag("log-as-json", true)).await?;
    let path = "/dapr.proto.runtime.v1.Dapr/GetMetadata";
    let client = daprd.grpc().await?;
    assert_eq!(client.call(path, HeaderMap::new(), [""]).await?.status, 0);
    let line = daprd.process.wait_for_line("gRPC API Called").await?;
    let object: Value = serde_json::from_str(&line)?;
    assert_eq!(object["method"], path);
    assert_eq!(object["code"], 0);
    assert_eq!(object["scope"], "dapr.runtime.grpc.api-info");
    assert!(object["duration"].is_u64(), "{line}");
    Ok(())
}

#[tokio::test]
async fn urls_are_obfuscated_and_health_is_left_out_when_asked_for() -> Result<()> {
    let yaml = configuration(
        "{logging: {apiLogging: {enabled: true, obfuscateURLs: true, omitHealthChecks: true}}}",
    );
    let daprd = Daprd::builder("logged")?.configuration(&yaml)?.start().await?;
    daprd.send(&call("/v1.0/state/secret-store/secret-key")).await?;
    daprd
        .send(&call("/v1.0/invoke/nobody/method/secret-path"))
        .await?;
    let lines = daprd.process.wait_for_lines("HTTP API Called", 2).await?;
    assert_eq!(lines.len(), 2, "no line about health: {lines:?}");
    assert!(lines[0].contains(" method=GetState "), "{lines:?}");
    assert!(lines[1].contains(" method=InvokeService/nobody "), "{lines:?}");
    assert!(daprd.process.lines_with("secret-").is_empty());
    Ok(())
}

#[tokio::test]
async fn the_flag_decides_about_api_logging_whatever_the_configuration_says() -> Result<()> {
    let yaml = configuration("{logging: {apiLogging: {enabled: true}}}");
    let daprd = Daprd::builder("logged")?
        .configuration(&yaml)?
        .flag("enable-api-logging", false)
        .flag("log-as-json", true)
        .start()
        .await?;
    daprd.send(&call("/v1.0/metadata")).await?;
    assert!(daprd.process.lines_with("API Called").is_empty());
    Ok(())
}

#[tokio::test]
async fn start_up_lines_tell_how_calls_are_observed() -> Result<()> {
    let daprd = start(|builder| builder).await?;
    let sampler = "ParentBased{root:TraceIDRatioBased{0.0001},remoteParentSampled:AlwaysOnSampler,remoteParentNotSampled:AlwaysOffSampler,localParentSampled:AlwaysOnSampler,localParentNotSampled:AlwaysOffSampler}";
    for line in [
        r#"msg="metric spec: {\"enabled\":true}""#,
        "msg=\"Using default latency distribution buckets: [1 2 3 4 5 6 8 10 13 16 20 25 30 40 50 65 80 100 130 160 200 250 300 400 500 650 800 1000 2000 5000 10000 20000 50000 100000]\"",
        "level=warning msg=\"The default value for 'spec.metric.http.increasedCardinality' will change to 'false' in Dapr 1.15 or later\"",
        "msg=\"Enabled tracing HTTP middleware\"",
        "msg=\"Enabled metrics HTTP middleware\"",
        "msg=\"Enabled gRPC tracing middleware\"",
        "msg=\"Enabled gRPC metrics middleware\"",
        &format!("msg=\"Dapr trace sampler initialized: {sampler}\""),
    ] {
        assert!(
            !daprd.process.lines_with(line).is_empty(),
            "{line}: {:#?}",
            daprd.process.lines()
        );
    }
    let line = format!(
        "msg=\"metrics server started on 127.0.0.1:{}/\"",
        daprd.metrics_port
    );
    assert_eq!(
        daprd.process.lines_with(&line).len(),
        1,
        "{:#?}",
        daprd.process.lines_with("metrics server")
    );
    Ok(())
}

#[tokio::test]
async fn the_sampler_is_named_after_the_rate() -> Result<()> {
    for (rate, root) in [
        ("1", "AlwaysOnSampler"),
        ("0.25", "TraceIDRatioBased{0.25}"),
        ("often", "TraceIDRatioBased{0.0001}"),
    ] {
        let yaml = configuration(&format!("{{tracing: {{samplingRate: '{rate}'}}}}"));
        let daprd = Daprd::builder("logged")?.configuration(&yaml)?.start().await?;
        let line = format!("Dapr trace sampler initialized: ParentBased{{root:{root},");
        assert_eq!(daprd.process.lines_with(&line).len(), 1, "{rate}");
    }
    Ok(())
}
