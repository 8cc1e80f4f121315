//! The text forms, and what else is shown in them.

use std::time::Duration;

use super::{MS, family, metrics, series};
use crate::metrics::{Form, Metrics};
use crate::trace::{Position, TraceContext};

#[test]
fn label_values_and_help_are_escaped() {
    let metrics = metrics();
    metrics
        .gauge("escaped", "back\\slash and\nline", &["name"])
        .set(&["a\"b\\c\nd"], -0.5);
    assert_eq!(
        family(&metrics, "dapr_escaped").lines().collect::<Vec<_>>(),
        [
            "# HELP dapr_escaped back\\\\slash and\\nline",
            "# TYPE dapr_escaped gauge",
            "dapr_escaped{name=\"a\\\"b\\\\c\\nd\"} -0.5"
        ]
    );
}

#[test]
fn metrics_of_others_are_printed_in_the_same_form() {
    let metrics = metrics();
    let size = prometheus::Gauge::new("etcd_mvcc_db_total_size_in_bytes", "Size.").unwrap();
    size.set(2_097_152.0);
    metrics.foreign().register(Box::new(size)).unwrap();
    let options = prometheus::HistogramOpts::new("etcd_disk_seconds", "Time.").buckets(vec![0.5, 1e6]);
    let time = prometheus::HistogramVec::new(options, &["kind"]).unwrap();
    time.with_label_values(&["a"]).observe(2.0);
    metrics.foreign().register(Box::new(time)).unwrap();
    assert_eq!(
        series(&metrics, "etcd_mvcc_db_total_size_in_bytes"),
        ["etcd_mvcc_db_total_size_in_bytes 2.097152e+06"]
    );
    assert_eq!(
        series(&metrics, "etcd_disk_seconds"),
        [
            "etcd_disk_seconds_bucket{kind=\"a\",le=\"0.5\"} 0",
            "etcd_disk_seconds_bucket{kind=\"a\",le=\"1e+06\"} 1",
            "etcd_disk_seconds_bucket{kind=\"a\",le=\"+Inf\"} 1",
            "etcd_disk_seconds_sum{kind=\"a\"} 2",
            "etcd_disk_seconds_count{kind=\"a\"} 1",
        ]
    );
}

fn open_metrics(metrics: &Metrics) -> String {
    String::from_utf8(metrics.encode_as(Form::OpenMetrics).into()).unwrap()
}

fn position(traceparent: &str) -> Position {
    Position::from(&TraceContext::from_traceparent(traceparent.as_bytes()).unwrap())
}

#[test]
fn series_are_the_same_in_both_forms() {
    let metrics = metrics();
    metrics.http_server().record("GET", "/x", 200, 10, 20, MS);
    metrics.invocation().request_received("peer");
    // The process's own figures change between two looks.
    let own = |text: &str| {
        let lines = text.lines().filter(|line| line.starts_with("dapr_"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let text = String::from_utf8(metrics.encode().into()).unwrap();
    assert_eq!(own(&text), own(&open_metrics(&metrics)));
}

#[test]
fn open_metrics_calls_only_those_counters_that_end_in_total() {
    let metrics = metrics();
    metrics.http_server().record("GET", "/x", 200, 10, 20, MS);
    metrics.invocation().request_received("peer");
    let text = open_metrics(&metrics);
    for line in [
        "# TYPE dapr_http_server_request_count unknown",
        "# TYPE dapr_http_server_latency histogram",
        "# TYPE dapr_runtime_service_invocation_req_recv counter",
        "# HELP dapr_runtime_service_invocation_req_recv The number of requests received via service invocation.",
        "dapr_runtime_service_invocation_req_recv_total{app_id=\"caller\",src_app_id=\"peer\"} 1",
        "# TYPE process_cpu_seconds counter",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}: {text}");
    }
    assert!(text.ends_with("\n# EOF\n"));
}

#[test]
fn latencies_within_a_sampled_trace_are_exemplars() {
    let metrics = metrics();
    let sampled = position("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    let other = position("00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01");
    let unsampled = position("00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
    let record = |millis| {
        metrics
            .http_server()
            .record("GET", "/x", 200, 10, 20, Duration::from_millis(millis));
    };
    sampled.during(|| record(7));
    other.during(|| record(7));
    sampled.during(|| record(250_000));
    unsampled.during(|| record(3));
    record(3);
    let text = open_metrics(&metrics);
    let with: Vec<&str> = text.lines().filter(|line| line.contains(" # {")).collect();
    let labels = "app_id=\"caller\",method=\"GET\",path=\"/x\",status=\"200\"";
    let ids = |span: &str| format!("# {{trace_id=\"0af7651916cd43dd8448eb211c80319c\",span_id=\"{span}\"}}");
    let starts = [
        format!(
            "dapr_http_server_latency_bucket{{{labels},le=\"8\"}} 4 {} 7 ",
            ids("00f067aa0ba902b7")
        ),
        format!(
            "dapr_http_server_latency_bucket{{{labels},le=\"+Inf\"}} 5 {} 250000 ",
            ids("b7ad6b7169203331")
        ),
    ];
    assert_eq!(with.len(), starts.len(), "{with:?}");
    for (line, start) in with.iter().zip(&starts) {
        let time = line
            .strip_prefix(start.as_str())
            .unwrap_or_else(|| panic!("{line}"));
        let (seconds, millis) = time.split_once('.').unwrap();
        assert!(
            seconds.parse::<u64>().unwrap() > 1_700_000_000 && millis.len() == 3,
            "{line}"
        );
    }
    assert!(
        !String::from_utf8(metrics.encode().into())
            .unwrap()
            .contains(" # {")
    );
}
