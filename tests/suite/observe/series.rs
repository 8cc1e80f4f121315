//! Exact series after an exact number of calls, on both sides.

use std::collections::BTreeSet;

use http::HeaderMap;
use outrigger_api::common::InvokeResponse;
use outrigger_test_kit::grpc::metadata;
use outrigger_test_kit::http::send;
use outrigger_test_kit::{
    Cluster, Daprd, GrpcApp, HttpApp, HttpRequest, HttpResponse, Result, isolated, until,
};

use super::{INVOKE_SERVICE, Pair, invocation};

/// The lines of the series of a metric.
async fn series(daprd: &Daprd, name: &str) -> Result<Vec<String>> {
    let text = daprd.metrics().await?;
    let of_it = |line: &&str| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
    };
    Ok(text.lines().filter(of_it).map(str::to_owned).collect())
}

/// Waits until the series of a metric that contain `part` are these lines.
async fn expect(daprd: &Daprd, name: &str, part: &str, lines: &[&str]) -> Result<()> {
    let mut last = Vec::new();
    let seen = until(format!("the series {name} of {}", daprd.app_id), async || {
        last = series(daprd, name).await.ok()?;
        last.retain(|line| line.contains(part));
        (last == lines).then_some(())
    });
    let outcome = seen.await;
    outcome.map_err(|error| error.context(format!("{last:#?}")))
}

#[test]
fn http_calls_are_counted_once_on_both_sides() {
    isolated!(async {
        let app = HttpApp::start(async |request: HttpRequest| match request.path() {
            "/orders" => HttpResponse::ok("0123456789"),
            _ => HttpResponse::new(418, "no"),
        })
        .await?;
        let pair = Pair::start("http", app.port(), "{}").await?;
        let (caller, callee) = (&pair.caller, &pair.callee);
        for _ in 0..3 {
            let reply = caller.post("/v1.0/invoke/callee/method/orders", "body").await?;
            assert_eq!(reply.status, 200);
        }
        assert_eq!(caller.invoke("callee", "teapot").await?.status, 418);

        let calls = [
            r#"{app_id="caller",method="GET",path="/v1.0/invoke/callee/method/teapot",status="418"} 1"#,
            r#"{app_id="caller",method="POST",path="/v1.0/invoke/callee/method/orders",status="200"} 3"#,
        ];
        for name in [
            "dapr_http_server_request_count",
            "dapr_http_server_response_count",
            "dapr_http_server_latency_count",
        ] {
            let lines = calls.map(|labels| format!("{name}{labels}"));
            let lines = lines.each_ref().map(String::as_str);
            expect(caller, name, "/v1.0/invoke/", &lines).await?;
        }
        let apps = [
            r#"{app_id="callee",method="GET",path="/teapot",status="418"} 1"#,
            r#"{app_id="callee",method="POST",path="/orders",status="200"} 3"#,
        ];
        for name in [
            "dapr_http_client_completed_count",
            "dapr_http_client_roundtrip_latency_count",
        ] {
            let lines = apps.map(|labels| format!("{name}{labels}"));
            let lines = lines.each_ref().map(String::as_str);
            expect(callee, name, "/orders\"", &lines[1..]).await?;
            expect(callee, name, "/teapot\"", &lines[..1]).await?;
        }
        // The length is not among the headers yet when they are measured: the sum stays 0, as in Dapr.
        let name = "dapr_http_client_sent_bytes";
        let labels = r#"{app_id="callee",method="POST",path="/orders",status=""}"#;
        for (part, value) in [("sum", 0), ("count", 3)] {
            let line = format!("{name}_{part}{labels} {value}");
            expect(callee, &format!("{name}_{part}"), "/orders\"", &[&line]).await?;
        }
        assert!(
            series(callee, "dapr_http_server_request_count")
                .await?
                .iter()
                .all(|line| !line.contains("orders"))
        );
        Ok(())
    });
}

#[test]
fn invocations_are_counted_by_peer_and_status() {
    isolated!(async {
        let app = HttpApp::start(async |request: HttpRequest| match request.path() {
            "/orders" => HttpResponse::ok("yes"),
            _ => HttpResponse::new(404, "no"),
        })
        .await?;
        let pair = Pair::start("http", app.port(), "{}").await?;
        let (caller, callee) = (&pair.caller, &pair.callee);
        assert_eq!(caller.invoke("callee", "orders").await?.status, 200);
        assert_eq!(caller.invoke("callee", "orders").await?.status, 200);
        assert_eq!(caller.invoke("callee", "lost").await?.status, 404);

        let sent = r#"dapr_runtime_service_invocation_req_sent_total{app_id="caller",dst_app_id="callee",type="unary"} 3"#;
        expect(
            caller,
            "dapr_runtime_service_invocation_req_sent_total",
            "",
            &[sent],
        )
        .await?;
        let name = "dapr_runtime_service_invocation_res_recv_total";
        let received = [
            r#"dapr_runtime_service_invocation_res_recv_total{app_id="caller",src_app_id="callee",status="200",type="unary"} 2"#,
            r#"dapr_runtime_service_invocation_res_recv_total{app_id="caller",src_app_id="callee",status="404",type="unary"} 1"#,
        ];
        expect(caller, name, "", &received).await?;
        let name = "dapr_runtime_service_invocation_res_recv_latency_ms_count";
        let latencies = [
            r#"dapr_runtime_service_invocation_res_recv_latency_ms_count{app_id="caller",src_app_id="callee",status="200"} 2"#,
            r#"dapr_runtime_service_invocation_res_recv_latency_ms_count{app_id="caller",src_app_id="callee",status="404"} 1"#,
        ];
        expect(caller, name, "", &latencies).await?;

        let taken =
            r#"dapr_runtime_service_invocation_req_recv_total{app_id="callee",src_app_id="caller"} 3"#;
        expect(
            callee,
            "dapr_runtime_service_invocation_req_recv_total",
            "",
            &[taken],
        )
        .await?;
        let answered = [
            r#"dapr_runtime_service_invocation_res_sent_total{app_id="callee",dst_app_id="caller",status="200"} 2"#,
            r#"dapr_runtime_service_invocation_res_sent_total{app_id="callee",dst_app_id="caller",status="404"} 1"#,
        ];
        expect(
            callee,
            "dapr_runtime_service_invocation_res_sent_total",
            "",
            &answered,
        )
        .await?;
        // Each side counts its own part only.
        assert!(
            series(callee, "dapr_runtime_service_invocation_req_sent_total")
                .await?
                .is_empty()
        );
        assert!(
            series(caller, "dapr_runtime_service_invocation_req_recv_total")
                .await?
                .is_empty()
        );
        Ok(())
    });
}

#[test]
fn grpc_calls_are_counted_by_method_and_status_name() {
    isolated!(async {
        let app = GrpcApp::on_invoke(|request, _| match request.method.as_str() {
            "orders" => Ok(InvokeResponse::default()),
            _ => Err((5, "no such order".to_owned())),
        })
        .await?;
        let pair = Pair::start("grpc", app.port(), "{}").await?;
        let (caller, callee) = (&pair.caller, &pair.callee);
        let client = caller.grpc().await?;
        for method in ["orders", "orders", "lost"] {
            let outcome = client
                .unary::<InvokeResponse>(INVOKE_SERVICE, HeaderMap::new(), &invocation(method))
                .await;
            assert_eq!(outcome.is_ok(), method == "orders");
        }
        for name in [
            "dapr_grpc_io_server_completed_rpcs",
            "dapr_grpc_io_server_server_latency_count",
        ] {
            let labels = |status: &str, count: u32| {
                format!(
                    "{name}{{app_id=\"caller\",grpc_server_method=\"{INVOKE_SERVICE}\",grpc_server_status=\"{status}\"}} {count}"
                )
            };
            expect(
                caller,
                name,
                INVOKE_SERVICE,
                &[&labels("NotFound", 1), &labels("OK", 2)],
            )
            .await?;
        }
        let on_invoke = "/dapr.proto.runtime.v1.AppCallback/OnInvoke";
        for name in [
            "dapr_grpc_io_client_completed_rpcs",
            "dapr_grpc_io_client_roundtrip_latency_count",
        ] {
            let labels = |status: &str, count: u32| {
                format!(
                    "{name}{{app_id=\"callee\",grpc_client_method=\"{on_invoke}\",grpc_client_status=\"{status}\"}} {count}"
                )
            };
            expect(
                callee,
                name,
                on_invoke,
                &[&labels("NotFound", 1), &labels("OK", 2)],
            )
            .await?;
        }
        let name = "dapr_grpc_io_server_received_bytes_per_rpc_count";
        let line = format!("{name}{{app_id=\"caller\",grpc_server_method=\"{INVOKE_SERVICE}\"}} 3");
        expect(caller, name, INVOKE_SERVICE, &[&line]).await?;
        // The link between sidecars is a stream, and is not counted here.
        let link = "ServiceInvocation/CallLocalStream";
        assert!(!caller.metrics().await?.contains(link));
        assert!(!callee.metrics().await?.contains(link));
        // Statuses of gRPC apps are their numbers.
        let name = "dapr_runtime_service_invocation_res_recv_total";
        let received = [
            r#"dapr_runtime_service_invocation_res_recv_total{app_id="caller",src_app_id="callee",status="0",type="unary"} 2"#,
            r#"dapr_runtime_service_invocation_res_recv_total{app_id="caller",src_app_id="callee",status="5",type="unary"} 1"#,
        ];
        expect(caller, name, "", &received).await
    });
}

#[test]
fn a_proxied_call_counts_as_a_call_of_its_method() {
    isolated!(async {
        let app = GrpcApp::echo().await?;
        let pair = Pair::start("grpc", app.port(), "{}").await?;
        let client = pair.caller.grpc().await?;
        for _ in 0..2 {
            let headers = metadata([("dapr-app-id", "callee")]);
            assert_eq!(
                client
                    .call("/shop.v1.Orders/Get", headers, ["order"])
                    .await?
                    .status,
                0
            );
        }
        let server = r#"dapr_grpc_io_server_completed_rpcs{app_id="caller",grpc_server_method="/shop.v1.Orders/Get",grpc_server_status="OK"} 2"#;
        expect(
            &pair.caller,
            "dapr_grpc_io_server_completed_rpcs",
            "shop",
            &[server],
        )
        .await?;
        // What tells such calls from others does not travel to the other side.
        assert!(!pair.callee.metrics().await?.contains("shop.v1"));
        let sent = r#"dapr_runtime_service_invocation_req_sent_total{app_id="caller",dst_app_id="callee",type="unary"} 2"#;
        expect(
            &pair.caller,
            "dapr_runtime_service_invocation_req_sent_total",
            "",
            &[sent],
        )
        .await
    });
}

#[test]
fn a_proxied_call_that_says_so_counts_as_streaming() {
    isolated!(async {
        let app = GrpcApp::echo().await?;
        let pair = Pair::start("grpc", app.port(), "{}").await?;
        let client = pair.caller.grpc().await?;
        let headers = metadata([("dapr-app-id", "callee"), ("dapr-stream", "true")]);
        let reply = client
            .call("/shop.v1.Orders/Watch", headers, ["one", "two"])
            .await?;
        assert_eq!((reply.status, reply.messages.len()), (0, 2));
        let sent = r#"dapr_runtime_service_invocation_req_sent_total{app_id="caller",dst_app_id="callee",type="streaming"} 1"#;
        expect(
            &pair.caller,
            "dapr_runtime_service_invocation_req_sent_total",
            "",
            &[sent],
        )
        .await?;
        let received = r#"dapr_runtime_service_invocation_res_recv_total{app_id="caller",src_app_id="callee",status="0",type="streaming"} 1"#;
        expect(
            &pair.caller,
            "dapr_runtime_service_invocation_res_recv_total",
            "",
            &[received],
        )
        .await
    });
}

#[test]
fn an_identity_that_was_obtained_is_counted() {
    isolated!(async {
        let cluster = Cluster::start(["secured"]).await?;
        let line = r#"dapr_runtime_mtls_init_total{app_id="secured"} 1"#;
        expect(
            &cluster["secured"].daprd,
            "dapr_runtime_mtls_init_total",
            "",
            &[line],
        )
        .await
    });
}

#[test]
fn errors_are_counted_by_code_when_asked_for() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let pair = Pair::start("http", app.port(), "{metrics: {recordErrorCodes: true}}").await?;
        assert_eq!(pair.caller.invoke("nobody", "m").await?.status, 500);
        assert_eq!(pair.caller.get("/v1.0/secrets/none/key").await?.status, 500);
        let counted = |code: &str, category: &str| {
            format!(
                "dapr_error_code_total{{app_id=\"caller\",category=\"{category}\",error_code=\"{code}\"}} 1"
            )
        };
        let lines = [
            counted("ERR_DIRECT_INVOKE", "service-invocation"),
            counted("ERR_SECRET_STORES_NOT_CONFIGURED", "secret"),
        ];
        expect(&pair.caller, "dapr_error_code_total", "DIRECT", &[&lines[0]]).await?;
        expect(&pair.caller, "dapr_error_code_total", "SECRET", &[&lines[1]]).await
    });
}

#[test]
fn errors_are_not_counted_by_code_unless_asked_for() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let pair = Pair::start("http", app.port(), "{}").await?;
        assert_eq!(pair.caller.invoke("nobody", "m").await?.status, 500);
        assert!(!pair.caller.metrics().await?.contains("dapr_error_code_total"));
        Ok(())
    });
}

#[tokio::test]
async fn any_path_and_verb_of_the_metrics_port_answers_in_the_text_format() -> Result<()> {
    let daprd = Daprd::builder("measured")?.start().await?;
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", daprd.metrics_port);
    for (verb, path) in [("GET", "/metrics"), ("GET", "/"), ("POST", "/anything")] {
        let reply = send(&HttpRequest::new(verb, url(path))).await?;
        assert_eq!(reply.status, 200, "{verb} {path}");
        let kind = reply.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        assert!(reply.text().contains("\nprocess_resident_memory_bytes "));
    }
    let packed = send(&HttpRequest::new("GET", url("/metrics")).header("Accept-Encoding", "gzip")).await?;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert_eq!(packed.body[..2], [0x1f, 0x8b]);
    Ok(())
}

#[tokio::test]
async fn labels_are_sorted_and_every_family_says_what_it_is() -> Result<()> {
    let daprd = Daprd::builder("measured")?.start().await?;
    daprd.get("/v1.0/metadata").await?;
    let text = until("the series of the call", async || {
        let text = daprd.metrics().await.ok()?;
        text.contains("/v1.0/metadata").then_some(text)
    })
    .await?;
    let mut families = BTreeSet::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            families.insert(family.split(' ').next().unwrap_or_default());
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let (series, _) = line.rsplit_once(' ').unwrap_or_default();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|suffix| name.strip_suffix(suffix))
            .chain([name])
            .any(|name| families.contains(name));
        assert!(family, "{line}");
        let names: Vec<_> = labels
            .split("\",")
            .filter_map(|label| Some(label.split_once("=\"")?.0))
            .filter(|name| *name != "le")
            .collect();
        assert!(names.is_sorted(), "{line}");
    }
    assert!(families.contains("dapr_http_server_request_count"));
    Ok(())
}

#[tokio::test]
async fn health_probes_of_the_app_are_counted_apart() -> Result<()> {
    let app = HttpApp::echo().await?;
    let daprd = Daprd::builder("measured")?
        .app("http", app.port())
        .flag("enable-app-health-check", true)
        .flag("app-health-probe-interval", 1)
        .start()
        .await?;
    app.wait_for_requests("/healthz", 1).await?;
    let status = [("app_id", "measured"), ("status", "200")];
    for name in [
        "dapr_http_healthprobes_completed_count",
        "dapr_http_healthprobes_roundtrip_latency_count",
    ] {
        until(format!("the series {name}"), async || {
            daprd
                .metric(name, &status)
                .await
                .ok()?
                .filter(|count| *count >= 1.0)
        })
        .await?;
    }
    let calls = series(&daprd, "dapr_http_client_completed_count").await?;
    assert!(calls.iter().all(|line| !line.contains("healthz")), "{calls:?}");
    Ok(())
}
