//! How many series there are, and under which labels.

use super::{MS, MetricsSettings, family, series, settings};
use crate::metrics::{HttpLabels, LabelRule, MetricRule, Metrics};

#[test]
fn rules_rewrite_labels_before_a_series_is_chosen() {
    let rule = |name: &str, label: &str, replacement: &str, pattern: &str| MetricRule {
        name: name.to_owned(),
        labels: vec![LabelRule {
            name: label.to_owned(),
            regex: vec![(replacement.to_owned(), pattern.to_owned())],
        }],
    };
    let rules = vec![
        rule(
            "dapr_http_server_request_count",
            "path",
            "/orders/TEST$1",
            "/orders/(\\d+)\\d$",
        ),
        rule("http_server_request_count", "method", "ANY", "GET|POST"),
        rule("runtime_component_loaded", "app_id", "masked", "^c.*"),
    ];
    let metrics = Metrics::new(&MetricsSettings { rules, ..settings() }).unwrap();
    for (verb, path) in [
        ("GET", "/orders/123"),
        ("POST", "/orders/124"),
        ("PUT", "/orders/x"),
    ] {
        metrics.http_server().record(verb, path, 200, 0, 0, MS);
    }
    metrics.runtime().component_loaded();
    let line = |name: &str, verb: &str, path: &str, count: u32| {
        format!(
            "dapr_http_server_{name}{{app_id=\"caller\",method=\"{verb}\",path=\"{path}\",status=\"200\"}} {count}"
        )
    };
    assert_eq!(
        series(&metrics, "dapr_http_server_request_count"),
        [
            line("request_count", "ANY", "/orders/TEST12", 2),
            line("request_count", "PUT", "/orders/x", 1)
        ]
    );
    assert_eq!(series(&metrics, "dapr_http_server_response_count").len(), 3);
    assert_eq!(
        series(&metrics, "dapr_runtime_component_loaded"),
        ["dapr_runtime_component_loaded{app_id=\"masked\"} 1"]
    );
}

#[test]
fn a_rule_that_cannot_be_compiled_is_named() {
    let label = LabelRule {
        name: "path".to_owned(),
        regex: vec![("x".to_owned(), "[".to_owned())],
    };
    let rules = vec![MetricRule {
        name: "dapr_http_server_latency".to_owned(),
        labels: vec![label],
    }];
    let error = Metrics::new(&MetricsSettings { rules, ..settings() })
        .unwrap_err()
        .to_string();
    let expected = "[INIT_FAILURE]: initialization error occurred for metrics: failed to compile regex for rule dapr_http_server_latency/path: ";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn what_is_beyond_the_limit_is_counted_in_one_series() {
    let metrics = Metrics::new(&MetricsSettings {
        max_series: 2,
        ..settings()
    })
    .unwrap();
    for number in 0..5 {
        for _ in 0..2 {
            metrics
                .http_server()
                .record("GET", &format!("/{number}"), 404, 0, 0, MS);
        }
    }
    let line = |labels: &str, count: u32| {
        format!("dapr_http_server_request_count{{app_id=\"caller\",{labels}}} {count}")
    };
    assert_eq!(
        series(&metrics, "dapr_http_server_request_count"),
        [
            line("method=\"GET\",path=\"/0\",status=\"404\"", 2),
            line("method=\"GET\",path=\"/1\",status=\"404\"", 2),
            line("method=\"overflow\",path=\"overflow\",status=\"overflow\"", 6),
        ]
    );
}

#[test]
fn low_cardinality_has_no_response_count() {
    let http = HttpLabels {
        increased_cardinality: false,
        ..HttpLabels::default()
    };
    let metrics = Metrics::new(&MetricsSettings { http, ..settings() }).unwrap();
    metrics
        .http_server()
        .record("GET", "/v1.0/metadata", 200, 0, 0, MS);
    assert_eq!(family(&metrics, "dapr_http_server_response_count"), "");
    assert_eq!(
        series(&metrics, "dapr_http_server_request_count"),
        ["dapr_http_server_request_count{app_id=\"caller\",method=\"GET\",path=\"\",status=\"200\"} 1"]
    );
}

const OVERFLOW: &str = "outrigger_metrics_overflow_total";

#[test]
fn how_much_went_beyond_the_limit_is_shown_by_metric() {
    let metrics = Metrics::new(&MetricsSettings {
        max_series: 3,
        ..settings()
    })
    .unwrap();
    assert_eq!(family(&metrics, OVERFLOW), "");
    let counter = metrics.counter("outrigger_odd_total", "x", &["name"]);
    for name in ["a", "b", "c", "d", "d", "e"] {
        counter.increment(&[name]);
    }
    assert_eq!(
        series(&metrics, "outrigger_odd_total")[3],
        "outrigger_odd_total{app_id=\"caller\",name=\"overflow\"} 3"
    );
    assert_eq!(
        series(&metrics, OVERFLOW),
        ["outrigger_metrics_overflow_total{app_id=\"caller\",metric=\"outrigger_odd_total\"} 3"]
    );
}

#[test]
fn long_names_meet_the_limit_earlier() {
    let metrics = Metrics::new(&MetricsSettings {
        max_series: 100,
        ..settings()
    })
    .unwrap();
    for number in 0..60 {
        let path = format!("/{number}/{}", "x".repeat(4_000));
        metrics.http_server().record("GET", &path, 404, 0, 0, MS);
    }
    let lines = series(&metrics, "dapr_http_server_request_count");
    // 100 series have room for 512 bytes each.
    assert_eq!(lines.len(), 51_200 / 4_000 + 2);
    assert!(
        lines.last().unwrap().ends_with("status=\"overflow\"} 47"),
        "{:?}",
        lines.last()
    );
}

#[test]
fn zero_is_no_limit() {
    let metrics = Metrics::new(&MetricsSettings {
        max_series: 0,
        ..settings()
    })
    .unwrap();
    for number in 0..10_100 {
        metrics.error_code("x", "y");
        metrics.runtime().component_initialised(&number.to_string());
    }
    assert_eq!(
        series(&metrics, "dapr_runtime_component_init_total").len(),
        10_100
    );
}
