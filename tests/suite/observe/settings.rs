//! What a Configuration changes about metrics: labels, buckets, rules.

use outrigger_test_kit::{Daprd, HttpApp, Result, isolated, until};

use super::{Pair, configuration};

/// Starts a sidecar with this `spec.metrics`.
async fn start(metrics: &str) -> Result<Daprd> {
    Daprd::builder("measured")?
        .configuration(&configuration(&format!("{{metrics: {metrics}}}")))?
        .start()
        .await
}

/// Waits for a line of the metrics.
async fn expect(daprd: &Daprd, line: &str) -> Result<()> {
    let mut text = String::new();
    let seen = until(format!("the series {line}"), async || {
        text = daprd.metrics().await.ok()?;
        text.lines().any(|own| own == line).then_some(())
    })
    .await;
    seen.map_err(|error| {
        let name = line.split('{').next().unwrap_or_default();
        let near: Vec<_> = text.lines().filter(|own| own.starts_with(name)).collect();
        error.context(format!("{near:#?}"))
    })
}

#[tokio::test]
async fn paths_stay_out_of_the_labels_at_low_cardinality() -> Result<()> {
    let daprd = start("{http: {increasedCardinality: false}}").await?;
    for path in ["/v1.0/metadata", "/v1.0/state/store/key"] {
        daprd.get(path).await?;
    }
    let line = r#"dapr_http_server_request_count{app_id="measured",method="GET",path="",status="200"} 1"#;
    expect(&daprd, line).await?;
    assert!(!daprd.metrics().await?.contains("dapr_http_server_response_count"));
    let spec = r#"msg="metric spec: {\"enabled\":true,\"http\":{\"increasedCardinality\":false}}""#;
    assert_eq!(daprd.process.lines_with(spec).len(), 1);
    Ok(())
}

#[test]
fn a_template_stands_for_the_paths_that_it_matches() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let spec = "{metrics: {http: {increasedCardinality: false, pathMatching: ['/orders/{orderID}', '/orders/special']}}}";
        let pair = Pair::start("http", app.port(), spec).await?;
        for method in ["orders/1", "orders/2", "orders/special", "items/1"] {
            assert_eq!(pair.caller.invoke("callee", method).await?.status, 200);
        }
        for (path, count) in [
            ("/v1.0/invoke/{app_id}/method/orders/{orderID}", 2),
            ("/v1.0/invoke/{app_id}/method/orders/special", 1),
        ] {
            let labels = format!("app_id=\"caller\",method=\"GET\",path=\"{path}\",status=\"200\"");
            expect(
                &pair.caller,
                &format!("dapr_http_server_request_count{{{labels}}} {count}"),
            )
            .await?;
        }
        for (path, count) in [("/orders/{orderID}", 2), ("/orders/special", 1), ("", 1)] {
            let labels = format!("app_id=\"callee\",method=\"GET\",path=\"{path}\",status=\"200\"");
            expect(
                &pair.callee,
                &format!("dapr_http_client_completed_count{{{labels}}} {count}"),
            )
            .await?;
        }
        assert!(!pair.caller.metrics().await?.contains("items"));
        Ok(())
    });
}

#[tokio::test]
async fn at_high_cardinality_unmatched_paths_are_labels_and_ids_of_actors_are_not() -> Result<()> {
    let daprd = start("{http: {increasedCardinality: true}}").await?;
    let statuses = [
        ("/v1.0/metadata", "/v1.0/metadata"),
        ("/v1.0/state/store/key", "/v1.0/state/store"),
        ("/v1.0/actors/T/1/method/foo", "/v1.0/actors/T/{id}/method"),
    ];
    for (path, label) in statuses {
        let status = daprd.get(path).await?.status;
        let labels = format!("app_id=\"measured\",method=\"GET\",path=\"{label}\",status=\"{status}\"");
        expect(&daprd, &format!("dapr_http_server_request_count{{{labels}}} 1")).await?;
        expect(&daprd, &format!("dapr_http_server_response_count{{{labels}}} 1")).await?;
    }
    let warning = "msg=\"The default value for 'spec.metric.http.increasedCardinality' will change to 'false' in Dapr 1.15 or later\"";
    assert!(
        daprd.process.lines_with(warning).is_empty(),
        "the setting is given"
    );
    Ok(())
}

#[tokio::test]
async fn verbs_are_left_out_when_asked_for() -> Result<()> {
    let daprd = start("{http: {excludeVerbs: true}}").await?;
    daprd.get("/v1.0/metadata").await?;
    let line =
        r#"dapr_http_server_request_count{app_id="measured",method="",path="/v1.0/metadata",status="200"} 1"#;
    expect(&daprd, line).await
}

#[tokio::test]
async fn latencies_fall_into_the_buckets_asked_for() -> Result<()> {
    let daprd = start("{latencyDistributionBuckets: [5, 50000]}").await?;
    daprd.get("/v1.0/metadata").await?;
    let labels = r#"app_id="measured",method="GET",path="/v1.0/metadata",status="200""#;
    expect(
        &daprd,
        &format!("dapr_http_server_latency_bucket{{{labels},le=\"50000\"}} 1"),
    )
    .await?;
    let text = daprd.metrics().await?;
    let bounds: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("dapr_http_server_latency_bucket") && line.contains("/v1.0/metadata"))
        .filter_map(|line| line.split("le=\"").nth(1)?.split('"').next())
        .collect();
    assert_eq!(bounds, ["5", "50000", "+Inf"]);
    let line = "msg=\"Using custom latency distribution buckets: [5 50000]\"";
    assert_eq!(daprd.process.lines_with(line).len(), 1);
    Ok(())
}

#[tokio::test]
async fn rules_rewrite_labels_before_they_are_counted() -> Result<()> {
    let rule = "{name: dapr_http_server_request_count, labels: [{name: path, regex: {'/v1.0/state/STORE': '/v1.0/state/[a-z]+'}}]}";
    let daprd = start(&format!("{{rules: [{rule}]}}")).await?;
    let mut status = 0;
    for store in ["one", "two"] {
        status = daprd.get(&format!("/v1.0/state/{store}/key")).await?.status;
    }
    let labels = format!("app_id=\"measured\",method=\"GET\",path=\"/v1.0/state/STORE\",status=\"{status}\"");
    expect(&daprd, &format!("dapr_http_server_request_count{{{labels}}} 2")).await
}

#[tokio::test]
async fn a_rule_that_is_no_pattern_is_logged_and_nothing_is_recorded() -> Result<()> {
    let rule = "{name: dapr_http_server_request_count, labels: [{name: path, regex: {x: '['}}]}";
    let daprd = start(&format!("{{rules: [{rule}]}}")).await?;
    let lines = daprd.process.lines_with("failed to compile regex for rule");
    assert_eq!(lines.len(), 1, "{:?}", daprd.process.lines());
    let start = "level=error msg=\"[INIT_FAILURE]: initialization error occurred for metrics: failed to compile regex for rule ";
    assert!(
        lines[0].contains(start) && lines[0].contains("/path: "),
        "{lines:?}"
    );
    daprd.get("/v1.0/metadata").await?;
    assert!(!daprd.metrics().await?.contains("dapr_http_server"));
    Ok(())
}

#[tokio::test]
async fn metrics_that_are_switched_off_leave_the_endpoint() -> Result<()> {
    let daprd = start("{enabled: false}").await?;
    daprd.get("/v1.0/metadata").await?;
    let text = daprd.metrics().await?;
    assert!(!text.contains("dapr_http_server"), "{text}");
    assert!(text.contains("\nprocess_resident_memory_bytes "), "{text}");
    Ok(())
}

#[tokio::test]
async fn series_beyond_the_limit_are_counted_in_one_and_that_is_shown() -> Result<()> {
    let daprd = Daprd::builder("measured")?
        .flag("metrics-max-series", 20)
        .start()
        .await?;
    let mut status = 0;
    for number in 0..40 {
        status = daprd
            .get(&format!("/v1.0/invoke/{number}/method/x"))
            .await?
            .status;
    }
    assert_eq!(status, 500);
    let overflow = [("path", "overflow")];
    let beyond = until("the overflow series", async || {
        let count = daprd
            .metric("dapr_http_server_request_count", &overflow)
            .await
            .ok()??;
        let text = daprd.metrics().await.ok()?;
        let all = text
            .lines()
            .filter(|line| line.starts_with("dapr_http_server_request_count{"));
        let sum: f64 = all
            .clone()
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum();
        // Health checks of the start are among them.
        (sum >= 41.0).then_some((count, all.count()))
    })
    .await?;
    assert!(beyond.0 >= 20.0 && beyond.1 == 21, "{beyond:?}");
    let labels = [("metric", "dapr_http_server_request_count")];
    let shown = daprd.metric("outrigger_metrics_overflow_total", &labels).await?;
    assert!(shown.is_some_and(|count| count >= 20.0), "{shown:?}");
    let line = "metric dapr_http_server_request_count has reached its limit of 20 series";
    assert_eq!(daprd.process.lines_with(line).len(), 1);
    Ok(())
}

#[tokio::test]
async fn a_negative_limit_of_series_is_refused() -> Result<()> {
    let mut daprd = Daprd::builder("wrong")?.flag("metrics-max-series", -1).spawn()?;
    assert!(!daprd.process.exit().await?.success());
    let refusal = "invalid value for 'metrics-max-series' option: must not be negative, got -1";
    assert!(
        !daprd.process.lines_with(refusal).is_empty(),
        "{:?}",
        daprd.process.lines()
    );
    Ok(())
}
