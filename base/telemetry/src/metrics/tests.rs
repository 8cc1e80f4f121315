//! The text that a scrape returns, against what the reference printed.

mod forms;
mod limits;

use std::time::Duration;

use super::*;

fn settings() -> MetricsSettings {
    MetricsSettings {
        app_id: "caller".into(),
        namespace: "default".into(),
        ..MetricsSettings::default()
    }
}

fn metrics() -> Metrics {
    Metrics::new(&settings()).unwrap()
}

/// The lines of one family.
fn family(metrics: &Metrics, name: &str) -> String {
    let text = String::from_utf8(metrics.encode().into()).unwrap();
    let head = format!("# HELP {name} ");
    let Some(start) = text.find(&head) else {
        return String::new();
    };
    let (_, rest) = text.split_at(start);
    let end = rest
        .match_indices("# HELP ")
        .nth(1)
        .map_or(rest.len(), |(place, _)| place);
    rest.split_at(end).0.to_owned()
}

/// The series of one family, without the lines before them.
fn series(metrics: &Metrics, name: &str) -> Vec<String> {
    family(metrics, name).lines().skip(2).map(str::to_owned).collect()
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn counters_look_as_the_reference_prints_them() {
    let metrics = metrics();
    let server = metrics.http_server();
    for (path, status) in [
        ("/v1.0/healthz", 500),
        ("/v1.0/state/rd/k1", 200),
        ("/v1.0/healthz", 204),
        ("/v1.0/state/rd/k2", 200),
    ] {
        server.record("GET", path, status, 0, 0, MS);
    }
    server.record("DELETE", "/v1.0/healthz", 404, 0, 0, MS);
    assert_eq!(
        family(&metrics, "dapr_http_server_response_count"),
        "# HELP dapr_http_server_response_count The number of HTTP responses\n\
         # TYPE dapr_http_server_response_count counter\n\
         dapr_http_server_response_count{app_id=\"caller\",method=\"DELETE\",path=\"/v1.0/healthz\",status=\"404\"} 1\n\
         dapr_http_server_response_count{app_id=\"caller\",method=\"GET\",path=\"/v1.0/healthz\",status=\"204\"} 1\n\
         dapr_http_server_response_count{app_id=\"caller\",method=\"GET\",path=\"/v1.0/healthz\",status=\"500\"} 1\n\
         dapr_http_server_response_count{app_id=\"caller\",method=\"GET\",path=\"/v1.0/state/rd\",status=\"200\"} 2\n"
    );
    assert_eq!(series(&metrics, "dapr_http_server_request_count").len(), 4);
}

#[test]
fn histograms_look_as_the_reference_prints_them() {
    let metrics = metrics();
    let server = metrics.http_server();
    for size in [0, 10, 1023, 1024, 5_000_000] {
        server.record("POST", "/x", 200, size, 0, MS);
    }
    assert_eq!(
        family(&metrics, "dapr_http_server_request_bytes"),
        "# HELP dapr_http_server_request_bytes HTTP request body size if set as ContentLength (uncompressed) in server.\n\
         # TYPE dapr_http_server_request_bytes histogram\n\
         dapr_http_server_request_bytes_bucket{app_id=\"caller\",le=\"1024\"} 3\n\
         dapr_http_server_request_bytes_bucket{app_id=\"caller\",le=\"2048\"} 4\n\
         dapr_http_server_request_bytes_bucket{app_id=\"caller\",le=\"4096\"} 4\n\
         dapr_http_server_request_bytes_bucket{app_id=\"caller\",le=\"16384\"} 4\n\
         dapr_http_server_request_bytes_bucket{app_id=\"caller\",le=\"65536\"} 4\n\
         dapr_http_server_request_bytes_bucket{app_id=\"caller\",le=\"262144\"} 4\n\
         dapr_http_server_request_bytes_bucket{app_id=\"caller\",le=\"1.048576e+06\"} 4\n\
         dapr_http_server_request_bytes_bucket{app_id=\"caller\",le=\"4.194304e+06\"} 4\n\
         dapr_http_server_request_bytes_bucket{app_id=\"caller\",le=\"1.6777216e+07\"} 5\n\
         dapr_http_server_request_bytes_bucket{app_id=\"caller\",le=\"6.7108864e+07\"} 5\n\
         dapr_http_server_request_bytes_bucket{app_id=\"caller\",le=\"2.68435456e+08\"} 5\n\
         dapr_http_server_request_bytes_bucket{app_id=\"caller\",le=\"1.073741824e+09\"} 5\n\
         dapr_http_server_request_bytes_bucket{app_id=\"caller\",le=\"4.294967296e+09\"} 5\n\
         dapr_http_server_request_bytes_bucket{app_id=\"caller\",le=\"+Inf\"} 5\n\
         dapr_http_server_request_bytes_sum{app_id=\"caller\"} 5.002057e+06\n\
         dapr_http_server_request_bytes_count{app_id=\"caller\"} 5\n"
    );
}

#[test]
fn http_latencies_count_in_whole_milliseconds_and_a_bound_belongs_to_the_bucket_above() {
    let metrics = metrics();
    let elapsed = Duration::from_micros(1_900);
    metrics.http_client().record("POST", "orders", 200, 7, 9, elapsed);
    let lines = series(&metrics, "dapr_http_client_roundtrip_latency");
    let labels = "app_id=\"caller\",method=\"POST\",path=\"/orders\",status=\"200\"";
    assert_eq!(
        lines[0],
        format!("dapr_http_client_roundtrip_latency_bucket{{{labels},le=\"1\"}} 0")
    );
    assert_eq!(
        lines[1],
        format!("dapr_http_client_roundtrip_latency_bucket{{{labels},le=\"2\"}} 1")
    );
    assert_eq!(
        lines[33],
        format!("dapr_http_client_roundtrip_latency_bucket{{{labels},le=\"100000\"}} 1")
    );
    assert_eq!(
        lines[34],
        format!("dapr_http_client_roundtrip_latency_bucket{{{labels},le=\"+Inf\"}} 1")
    );
    assert_eq!(
        lines[35],
        format!("dapr_http_client_roundtrip_latency_sum{{{labels}}} 1")
    );
    assert_eq!(
        lines[36],
        format!("dapr_http_client_roundtrip_latency_count{{{labels}}} 1")
    );
    let sent = series(&metrics, "dapr_http_client_sent_bytes");
    let labels = "app_id=\"caller\",method=\"POST\",path=\"/orders\",status=\"\"";
    assert_eq!(sent[14], format!("dapr_http_client_sent_bytes_sum{{{labels}}} 7"));
}

#[test]
fn invocation_is_counted_on_both_sides() {
    let metrics = metrics();
    let invocation = metrics.invocation();
    for (status, micros) in [(200, 3_600), (418, 43_383), (200, 86_193)] {
        invocation.request_sent("callee", Kind::Unary);
        invocation.response_received("callee", status, Kind::Unary);
        invocation.response_latency("callee", status, Duration::from_micros(micros));
        invocation.request_received("peer");
        invocation.response_sent("peer", status);
    }
    let line = |name: &str, labels: &str, value: &str| {
        format!("dapr_runtime_service_invocation_{name}{{app_id=\"caller\",{labels}}} {value}")
    };
    let lines = |name: &str| series(&metrics, &format!("dapr_runtime_service_invocation_{name}"));
    assert_eq!(
        lines("req_sent_total"),
        [line(
            "req_sent_total",
            "dst_app_id=\"callee\",type=\"unary\"",
            "3"
        )]
    );
    assert_eq!(
        lines("res_recv_total"),
        [
            line(
                "res_recv_total",
                "src_app_id=\"callee\",status=\"200\",type=\"unary\"",
                "2"
            ),
            line(
                "res_recv_total",
                "src_app_id=\"callee\",status=\"418\",type=\"unary\"",
                "1"
            ),
        ]
    );
    assert_eq!(
        lines("req_recv_total"),
        [line("req_recv_total", "src_app_id=\"peer\"", "3")]
    );
    assert_eq!(
        lines("res_sent_total")[1],
        line("res_sent_total", "dst_app_id=\"peer\",status=\"418\"", "1")
    );
    let latency = lines("res_recv_latency_ms");
    assert!(latency.contains(&line(
        "res_recv_latency_ms_sum",
        "src_app_id=\"callee\",status=\"200\"",
        "89.793"
    )));
}

#[test]
fn grpc_calls_are_named_by_their_status() {
    let metrics = metrics();
    let method = "/dapr.proto.runtime.v1.Dapr/GetState";
    metrics
        .grpc_server()
        .record(method, 0, 10, 20, Duration::from_micros(1_500));
    metrics.grpc_server().record(method, 5, 10, 20, MS);
    metrics.grpc_server().record_stream("/my.Service/Watch", 1, MS);
    let rpcs = series(&metrics, "dapr_grpc_io_server_completed_rpcs");
    let labels: Vec<&str> = rpcs.iter().map(|line| line.split_once(',').unwrap().1).collect();
    assert_eq!(
        labels,
        [
            "grpc_server_method=\"/dapr.proto.runtime.v1.Dapr/GetState\",grpc_server_status=\"NotFound\"} 1",
            "grpc_server_method=\"/dapr.proto.runtime.v1.Dapr/GetState\",grpc_server_status=\"OK\"} 1",
            "grpc_server_method=\"/my.Service/Watch\",grpc_server_status=\"Canceled\"} 1",
        ]
    );
    let sums = |name: &str| {
        let lines = series(&metrics, name);
        lines
            .into_iter()
            .filter(|line| line.contains("_sum{"))
            .collect::<Vec<_>>()
    };
    let bytes = |kind: &str, sum: u32| {
        format!(
            "dapr_grpc_io_server_{kind}_bytes_per_rpc_sum{{app_id=\"caller\",grpc_server_method=\"{method}\"}} {sum}"
        )
    };
    assert_eq!(
        sums("dapr_grpc_io_server_sent_bytes_per_rpc"),
        [bytes("sent", 20)]
    );
    assert_eq!(
        sums("dapr_grpc_io_server_received_bytes_per_rpc"),
        [bytes("received", 40)]
    );
    assert!(sums("dapr_grpc_io_server_server_latency")[1].ends_with("\"OK\"} 1.5"));
    assert_eq!(series(&metrics, "dapr_grpc_io_client_completed_rpcs"), [""; 0]);
}

#[test]
fn labels_are_sorted_and_present_when_empty() {
    let metrics = metrics();
    let policy = PolicyUse {
        name: "myresiliency",
        namespace: "",
        policy: "circuitbreaker",
        flow_direction: "outbound",
        target: "app_server",
    };
    metrics.resiliency().applied(policy, Some(BreakerState::Closed));
    metrics.resiliency().breaker_state(policy, BreakerState::HalfOpen);
    assert_eq!(
        series(&metrics, "dapr_resiliency_count"),
        [
            "dapr_resiliency_count{app_id=\"caller\",flow_direction=\"outbound\",name=\"myresiliency\",namespace=\"\",policy=\"circuitbreaker\",status=\"closed\",target=\"app_server\"} 1"
        ]
    );
    let states: Vec<bool> = series(&metrics, "dapr_resiliency_cb_state")
        .iter()
        .map(|line| line.ends_with(" 1"))
        .collect();
    assert_eq!(states, [false, true, false, false]);
}

#[test]
fn access_policies_are_counted_for_the_caller() {
    let metrics = metrics();
    metrics
        .runtime()
        .global_policy(PolicyCaller::default(), Decision::Allowed);
    assert_eq!(
        family(&metrics, "dapr_runtime_acl_global_policy_action_allowed_total"),
        "# HELP dapr_runtime_acl_global_policy_action_allowed_total The number of requests allowed by the global action specified in the access control policy.\n\
         # TYPE dapr_runtime_acl_global_policy_action_allowed_total counter\n\
         dapr_runtime_acl_global_policy_action_allowed_total{app_id=\"\",namespace=\"\",trustDomain=\"\"} 1\n"
    );
}

#[test]
fn components_bear_the_namespace() {
    let metrics = metrics();
    let elapsed = Duration::from_nanos(4_226);
    metrics
        .components()
        .operation(Block::OutputBinding, "nope", "create", Success::No, elapsed);
    metrics.components().operation(
        Block::Conversation,
        "echo",
        "ignored",
        Success::Yes,
        Duration::ZERO,
    );
    metrics
        .components()
        .ingress("ps", "orders", "drop", "success", elapsed);
    metrics
        .components()
        .egress(Delivery::Bulk, "ps", "orders", Success::Yes, elapsed);
    let labels =
        "app_id=\"caller\",component=\"nope\",namespace=\"default\",operation=\"create\",success=\"false\"";
    assert_eq!(
        series(&metrics, "dapr_component_output_binding_count"),
        [format!("dapr_component_output_binding_count{{{labels}}} 1")]
    );
    let latencies = series(&metrics, "dapr_component_output_binding_latencies");
    assert!(latencies.contains(&format!(
        "dapr_component_output_binding_latencies_sum{{{labels}}} 0.004226"
    )));
    assert_eq!(
        series(&metrics, "dapr_component_conversation_count"),
        [
            "dapr_component_conversation_count{app_id=\"caller\",component=\"echo\",namespace=\"default\",success=\"true\"} 1"
        ]
    );
    assert_eq!(family(&metrics, "dapr_component_conversation_latencies"), "");
    assert_eq!(
        series(&metrics, "dapr_component_pubsub_ingress_count"),
        [
            "dapr_component_pubsub_ingress_count{app_id=\"caller\",component=\"ps\",namespace=\"default\",process_status=\"drop\",status=\"success\",topic=\"orders\"} 1"
        ]
    );
    assert_ne!(
        family(&metrics, "dapr_component_pubsub_egress_bulk_latencies"),
        ""
    );
}

#[test]
fn a_sidecar_shows_some_workflow_series_from_the_start_and_nothing_else_of_its_own() {
    let text = String::from_utf8(metrics().encode().into()).unwrap();
    let own: Vec<&str> = text.lines().filter(|line| line.starts_with("dapr_")).collect();
    let expected = [
        "dapr_runtime_workflow_local_activity_count{app_id=\"caller\",namespace=\"default\",status=\"claim_evicted\"} 0",
        "dapr_runtime_workflow_local_activity_count{app_id=\"caller\",namespace=\"default\",status=\"janitor_redispatch_escalated\"} 0",
        "dapr_runtime_workflow_local_activity_count{app_id=\"caller\",namespace=\"default\",status=\"janitor_redispatched\"} 0",
        "dapr_runtime_workflow_local_wake_count{app_id=\"caller\",namespace=\"default\",status=\"janitor_fold_recovered\"} 0",
        "dapr_runtime_workflow_local_wake_count{app_id=\"caller\",namespace=\"default\",status=\"janitor_recovered\"} 0",
        "dapr_runtime_workflow_local_wake_count{app_id=\"caller\",namespace=\"default\",status=\"stale_turn_rejected\"} 0",
    ];
    assert_eq!(own, expected);
}

#[test]
fn a_control_plane_program_has_series_without_labels() {
    let metrics = Metrics::new(&MetricsSettings::default()).unwrap();
    assert!(
        !String::from_utf8(metrics.encode().into())
            .unwrap()
            .contains("dapr_")
    );
    let sentry = metrics.sentry();
    sentry.request_received();
    sentry.sign_failed();
    sentry.issuer_expires(std::time::UNIX_EPOCH + Duration::from_secs(1_826_947_372));
    assert_eq!(
        family(&metrics, "dapr_sentry_cert_sign_request_received_total"),
        "# HELP dapr_sentry_cert_sign_request_received_total The number of CSRs received.\n\
         # TYPE dapr_sentry_cert_sign_request_received_total counter\n\
         dapr_sentry_cert_sign_request_received_total 1\n"
    );
    assert_eq!(
        series(&metrics, "dapr_sentry_cert_sign_failure_total"),
        ["dapr_sentry_cert_sign_failure_total{reason=\"sign\"} 1"]
    );
    assert_eq!(
        series(&metrics, "dapr_sentry_issuercert_expiry_timestamp"),
        ["dapr_sentry_issuercert_expiry_timestamp 1.826947372e+09"]
    );
    let latency = metrics.histogram("scheduler/trigger_latency", "x", &["type"], &[100.0, 500.0]);
    latency.observe_latency(&["job"], Duration::from_millis(250));
    let lines = series(&metrics, "dapr_scheduler_trigger_latency");
    assert_eq!(
        lines[1],
        "dapr_scheduler_trigger_latency_bucket{type=\"job\",le=\"500\"} 1"
    );
    assert_eq!(lines[3], "dapr_scheduler_trigger_latency_sum{type=\"job\"} 250");
}

#[test]
fn asking_twice_for_a_name_gives_the_same_series() {
    let metrics = metrics();
    for _ in 0..2 {
        metrics
            .counter("operator/service-created.total", "x", &["app_id"])
            .add(&["a"], 2);
    }
    assert_eq!(
        series(&metrics, "dapr_operator_service_created_total"),
        ["dapr_operator_service_created_total{app_id=\"a\"} 4"]
    );
}

#[test]
fn own_buckets_replace_the_default_ones() {
    let own = MetricsSettings {
        latency_buckets: Some(vec![0, 5, 50, 500]),
        workflow_buckets: Some(vec![1, 60]),
        workflow_bucket_unit: Duration::from_secs(1),
        ..settings()
    };
    let metrics = Metrics::new(&own).unwrap();
    metrics
        .http_server()
        .record("GET", "/", 200, 0, 0, Duration::from_millis(7));
    metrics
        .workflow()
        .execution_latency
        .observe_latency(&["w", "success"], Duration::from_secs(2));
    metrics.workflow().payload_size_ratio.observe(&["w"], 0.25);
    let bounds = |name: &str| {
        let lines = series(&metrics, name);
        let bound = |line: &String| Some(line.split_once("le=\"")?.1.split_once('"')?.0.to_owned());
        lines.iter().filter_map(bound).collect::<Vec<_>>()
    };
    assert_eq!(bounds("dapr_http_server_latency"), ["5", "50", "500", "+Inf"]);
    assert_eq!(
        bounds("dapr_runtime_workflow_execution_latency"),
        ["1000", "60000", "+Inf"]
    );
    let ratios = [
        "0.1", "0.25", "0.5", "0.75", "0.9", "0.95", "0.99", "1", "1.5", "2", "+Inf",
    ];
    assert_eq!(bounds("dapr_runtime_workflow_payload_size_ratio"), ratios);
    assert_eq!(
        own.bucket_line(),
        "Using custom latency distribution buckets: [0 5 50 500]"
    );
    let default = "Using default latency distribution buckets: [1 2 3 4 5 6 8 10 13 16 20 25 30 40 50 65 80 100 130 160 200 250 300 400 500 650 800 1000 2000 5000 10000 20000 50000 100000]";
    assert_eq!(settings().bucket_line(), default);
}

#[test]
fn disabled_metrics_show_the_process_only() {
    let metrics = Metrics::disabled();
    metrics.http_server().record("GET", "/", 200, 0, 0, MS);
    metrics.http_client().series("GET", "/", 200).record(0, 0, MS);
    metrics.grpc_client().record("/a/B", 0, 0, 0, MS);
    metrics.invocation().target("a").request_sent(Kind::Streaming);
    metrics.runtime().component_loaded();
    metrics.error_code("ERR_X", "common");
    metrics.health_probes().http(200, MS);
    let text = String::from_utf8(metrics.encode().into()).unwrap();
    assert!(
        !text.contains("dapr_") && text.contains("\ngo_goroutines 0\n"),
        "{text}"
    );
}

#[test]
fn error_codes_are_counted_if_asked_for() {
    let metrics = Metrics::new(&MetricsSettings {
        record_error_codes: true,
        ..settings()
    })
    .unwrap();
    metrics.error_code("ERR_STATE_GET", "state");
    assert_eq!(
        series(&metrics, "dapr_error_code_total"),
        ["dapr_error_code_total{app_id=\"caller\",category=\"state\",error_code=\"ERR_STATE_GET\"} 1"]
    );
}

#[test]
fn threads_that_count_together_lose_nothing() {
    let metrics = metrics();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let metrics = &metrics;
            scope.spawn(move || {
                pin_thread(thread);
                for number in 0..1_000 {
                    metrics
                        .http_server()
                        .record("GET", &format!("/{}", number % 10), 200, 1, 2, MS);
                }
            });
        }
    });
    let counts = series(&metrics, "dapr_http_server_request_count");
    assert_eq!(counts.len(), 10);
    assert!(counts.iter().all(|line| line.ends_with(" 400")), "{counts:?}");
    assert!(
        series(&metrics, "dapr_http_server_response_bytes")
            .iter()
            .any(|line| line.ends_with("} 8000"))
    );
}
