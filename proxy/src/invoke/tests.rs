use std::net::SocketAddr;

use http::{Response, StatusCode};
use http_body_util::BodyExt;
use outrigger_link::{HttpExtension, Verb};
use outrigger_svc::Body;
use outrigger_telemetry::log::{LogSettings, Logger};
use outrigger_telemetry::metrics::{Metrics, MetricsSettings};
use outrigger_telemetry::trace::Tracer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::testing::{invoker, start_peer};
use super::*;
use crate::app::testing::{channel, echo, start_app, streamed, text};
use crate::http_api::testing::{Answer, Api};

const ZERO: &str = "00-00000000000000000000000000000000-0000000000000000-00";

/// A caller without an app, a callee with this one.
async fn pair(app: SocketAddr) -> Api {
    let metrics = Metrics::disabled();
    let peer = start_peer(Some(channel(app.port())), metrics.clone(), Tracer::pass_through()).await;
    Api::new(Some(invoker(None, &[("callee", peer)], &[], &metrics)))
}

fn failed(id: &str, cause: &str) -> String {
    let cause = cause.replace('"', "\\\"");
    format!(r#"{{"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke, id: {id}, err: {cause}"}}"#)
}

/// What the app saw of the caller, for an answer of [`echo`].
fn forwarded(answer: &Answer, name: &str) -> Vec<String> {
    let prefix = format!("{name}: ");
    answer
        .body
        .lines()
        .filter_map(|line| line.strip_prefix(&prefix))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn a_call_goes_through_both_sidecars_to_the_app_and_back() {
    let address = start_app(echo).await;
    let api = pair(address).await;
    let headers = [
        ("x-mine", "v"),
        ("user-agent", "curl/7"),
        ("accept", "*/*"),
        ("host", "sidecar"),
    ];
    let answer = api
        .call("GET", "/v1.0/invoke/callee/method/hello?a=1&b=%20x", &headers, "")
        .await;
    let expected = format!(
        "GET /hello?a=1&b=%20x\naccept: */*\ndapr-callee-app-id: callee\ndapr-caller-app-id: caller\n\
         dapr-caller-namespace: default\nforwarded: for=192.0.2.2;by=192.0.2.2;host=vm\nhost: {address}\n\
         traceparent: {ZERO}\nuser-agent: curl/7\nx-forwarded-for: 192.0.2.2\nx-forwarded-host: vm\nx-mine: v\n\n0 bytes"
    );
    assert_eq!(answer.short(), (200, expected.as_str()));
    let names: Vec<_> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "content-type",
            "date",
            "traceparent",
            "transfer-encoding",
            "x-app"
        ]
    );
}

#[tokio::test]
async fn clients_are_told_of_no_trace_while_tracing_is_off() {
    let address = start_app(echo).await;
    let off = Api {
        tracer: Tracer::off(),
        ..pair(address).await
    };
    let answer = off.get("/v1.0/invoke/callee/method/hello").await;
    assert_eq!(answer.header("traceparent"), None);
    assert_eq!(forwarded(&answer, "traceparent"), [ZERO]);
}

#[tokio::test]
async fn a_body_arrives_whole_whatever_its_length() {
    let api = pair(start_app(echo).await).await;
    for length in [1, 2048, 2049, 3000, 70_000, 3 << 20] {
        let answer = api
            .call(
                "POST",
                "/v1.0/invoke/callee/method/echo",
                &[],
                &"x".repeat(length),
            )
            .await;
        assert!(
            answer.body.ends_with(&format!("\n\n{length} bytes")),
            "{}",
            answer.body
        );
        assert_eq!(forwarded(&answer, "content-length"), [length.to_string()]);
    }
    let request = http::Request::put("/v1.0/invoke/callee/method/echo")
        .body(streamed(&["ab", "cde"]))
        .unwrap();
    let answer = api.send(request).await;
    assert!(answer.body.ends_with("\n\n5 bytes"), "{}", answer.body);
    assert_eq!(forwarded(&answer, "transfer-encoding"), ["chunked"]);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_a_failed_call() {
    let api = Api {
        limit: Some(4),
        ..pair(start_app(echo).await).await
    };
    let answer = api
        .call("POST", "/v1.0/invoke/callee/method/echo", &[], "12345")
        .await;
    assert_eq!(
        answer.short(),
        (500, failed("callee", "stream too large").as_str())
    );
    let request = http::Request::post("/v1.0/invoke/callee/method/echo")
        .body(streamed(&["123", "45"]))
        .unwrap();
    assert_eq!(api.send(request).await.status, 500);
}

/// An app that says these bytes to the first request and hangs up.
async fn rude_app(answer: &'static [u8]) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        assert!(length > 0);
        stream.write_all(answer).await.unwrap();
    });
    address
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_cut_and_logged() {
    let (logger, lines) = Logger::in_memory(&LogSettings::default());
    let _guard = tracing::subscriber::set_default(logger);
    let cut = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbegun\r\n";
    let api = pair(rude_app(cut).await).await;
    let mut body = api.open("/v1.0/invoke/callee/method/x").await.into_body();
    let mut outcome = Ok(());
    while let Some(frame) = body.frame().await {
        outcome = frame.map(drop);
    }
    assert!(outcome.is_err());
    let logged = lines.lines().join("\n");
    assert!(
        logged.contains("HTTP service invocation failed to complete with error: "),
        "{logged}"
    );
}

#[tokio::test]
async fn an_answer_shorter_than_its_declared_length_is_complete() {
    let api = pair(rude_app(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nbegun").await).await;
    let answer = api.get("/v1.0/invoke/callee/method/x").await;
    assert_eq!(
        (answer.short(), answer.header("content-length")),
        ((200, "begun"), None)
    );
}

#[tokio::test]
async fn the_target_may_stand_in_a_header() {
    let api = pair(start_app(echo).await).await;
    let answer = api
        .call("PATCH", "///foo/../bar/", &[("dapr-app-id", "callee")], "")
        .await;
    assert!(answer.body.starts_with("PATCH /bar\n"), "{}", answer.body);
    assert!(forwarded(&answer, "dapr-app-id").is_empty());
    // dapr-app-id:callee
    let basic = [("authorization", "Basic ZGFwci1hcHAtaWQ6Y2FsbGVl")];
    let answer = api.call("GET", "/", &basic, "").await;
    assert!(answer.body.starts_with("GET /\n"), "{}", answer.body);
    assert_eq!(forwarded(&answer, "authorization").len(), 1);
}

#[tokio::test]
async fn methods_are_seen_as_the_rules_leave_them() {
    let api = pair(start_app(echo).await).await;
    let table = [
        ("x/y", "/x/y"),
        ("", "/"),
        ("x/", "/x"),
        ("test%22stream", "/test%22stream"),
        ("test%5Cstream", "/test%5Cstream"),
        ("test%2Astream", "/test*stream"),
        ("admin%2F..%2Fpublic", "/public"),
        ("public%23%2F..%2Fadmin", "/admin"),
        ("test?stream", "/test?stream"),
        ("/foo", "/foo"),
    ];
    for (method, seen) in table {
        let answer = api.get(&format!("/v1.0/invoke/callee/method/{method}")).await;
        assert!(
            answer.body.starts_with(&format!("GET {seen}\n")),
            "{method}: {}",
            answer.body
        );
    }
    for (method, decoded) in [("test%23stream", "test#stream"), ("a%3Fb", "a?b")] {
        let cause = format!(
            r#"rpc error: code = InvalidArgument desc = invalid method: method contains forbidden character: "{decoded}""#
        );
        let answer = api.get(&format!("/v1.0/invoke/callee/method/{method}")).await;
        assert_eq!(answer.short(), (500, failed("callee", &cause).as_str()));
    }
    assert_eq!(
        api.get("/v1.0/invoke/callee/method/test%25stream").await.status,
        500
    );
}

#[tokio::test]
async fn caller_headers_cannot_be_forged() {
    let api = pair(start_app(echo).await).await;
    let forged = [
        ("dapr-caller-app-id", "admin"),
        ("destination-app-id", "x"),
        ("x-forwarded-for", "1.2.3.4"),
    ];
    let answer = api.call("GET", "/v1.0/invoke/callee/method/m", &forged, "").await;
    // In canonical case the client's value travels beside the true one, as with the reference.
    assert!(forwarded(&answer, "dapr-caller-app-id").contains(&"caller".to_owned()));
    assert!(forwarded(&answer, "destination-app-id").is_empty());
    assert_eq!(forwarded(&answer, "x-forwarded-for"), ["1.2.3.4", "192.0.2.2"]);
}

#[tokio::test]
async fn the_own_app_is_called_directly_and_cannot_be_fooled() {
    let address = start_app(echo).await;
    let metrics = Metrics::disabled();
    let own = invoker(
        Some(channel(address.port())),
        &[("caller", address)],
        &[],
        &metrics,
    );
    let api = Api::new(Some(own));
    let forged = [("dapr-caller-app-id", "admin"), ("dapr-callee-app-id", "admin")];
    let answer = api
        .call("POST", "/v1.0/invoke/caller.default/method/m", &forged, "abc")
        .await;
    assert_eq!(forwarded(&answer, "dapr-caller-app-id"), ["caller"]);
    assert_eq!(forwarded(&answer, "dapr-callee-app-id"), ["caller"]);
    assert_eq!(forwarded(&answer, "dapr-caller-namespace"), ["default"]);
    assert!(forwarded(&answer, "forwarded").is_empty());
    assert!(answer.body.ends_with("\n\n3 bytes"));

    let without_app = Api::new(Some(invoker(None, &[("caller", address)], &[], &metrics)));
    let cause = "cannot invoke local endpoint: app channel not initialized";
    assert_eq!(
        without_app.get("/v1.0/invoke/caller/method/m").await.short(),
        (500, failed("caller", cause).as_str())
    );
}

#[tokio::test]
async fn errors_have_the_texts_of_the_catalogue() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let metrics = Metrics::disabled();
    let without_app = start_peer(None, metrics.clone(), Tracer::pass_through()).await;
    let refused = start_peer(
        Some(channel(closed.port())),
        metrics.clone(),
        Tracer::pass_through(),
    )
    .await;
    let unhealthy = channel(closed.port());
    unhealthy.gate().set_healthy(false);
    let unhealthy = start_peer(Some(unhealthy), metrics.clone(), Tracer::pass_through()).await;
    let apps = [("empty", without_app), ("refused", refused), ("ill", unhealthy)];
    let api = Api::new(Some(invoker(None, &apps, &[], &metrics)));
    let table = [
        ("nobody", "couldn't find service: nobody".to_owned()),
        ("a.b.c", "invalid app id a.b.c".to_owned()),
        ("empty", "rpc error: code = Internal desc = app channel is not initialized".to_owned()),
        (
            "refused",
            format!(
                "rpc error: code = Internal desc = error invoking app channel: Get \"http://{closed}/x\": \
                 dial tcp {closed}: connect: connection refused"
            ),
        ),
        (
            "ill",
            "rpc error: code = Internal desc = error invoking app channel: rpc error: code = Internal desc = app is \
             not in a healthy state"
                .to_owned(),
        ),
    ];
    for (id, cause) in table {
        let answer = api.get(&format!("/v1.0/invoke/{id}/method/x")).await;
        assert_eq!(answer.short(), (500, failed(id, &cause).as_str()));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn a_denied_call_is_403() {
    let denied = CallError::from(Status::new(code::PERMISSION_DENIED, "no"));
    assert_eq!(denied.code(), code::PERMISSION_DENIED);
    let error = outrigger_error::Error::Invoke {
        app_id: "a".to_owned(),
        cause: denied.to_string(),
        denied: true,
    };
    assert_eq!(error.face().http, 403);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_down_is_tried_four_times() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let api = Api::new(Some(invoker(
        None,
        &[("down", closed)],
        &[],
        &Metrics::disabled(),
    )));
    let begun = Instant::now();
    let answer = api.call("POST", "/v1.0/invoke/down/method/x", &[], "abc").await;
    let beginning = r#"{"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke, id: down, err: failed to invoke target down after 3 retries. Error: rpc error: code = Unavailable desc = "#;
    assert_eq!(answer.status, 500);
    assert!(answer.body.starts_with(beginning), "{}", answer.body);
    assert!(begun.elapsed().as_secs() >= 3);
}

#[tokio::test]
async fn calls_wait_until_the_sidecar_is_ready() {
    let metrics = Metrics::disabled();
    let dispatcher = invoker(None, &[], &[], &metrics);
    let parts = InvokerParts {
        ready: Readiness::default(),
        ..dispatcher.0.parts.clone()
    };
    let ready = parts.ready.clone();
    let api = Api::new(Some(Invoker::new(parts, None)));
    let not_ready = r#"{"errorCode":"ERR_DIRECT_INVOKE","message":"invoke API is not ready"}"#;
    assert_eq!(api.get("/v1.0/invoke/a/method/x").await.short(), (500, not_ready));
    ready.set();
    assert_eq!(
        api.get("/v1.0/invoke/a/method/x").await.short(),
        (500, failed("a", "couldn't find service: a").as_str())
    );
}

#[tokio::test]
async fn without_name_resolution_nothing_can_be_called() {
    let parts = InvokerParts {
        resolver: None,
        ..invoker(None, &[], &[], &Metrics::disabled()).0.parts.clone()
    };
    let api = Api::new(Some(Invoker::new(parts, None)));
    for id in ["a", "http%3A%2F%2F127.0.0.1:1"] {
        let answer = api.get(&format!("/v1.0/invoke/{id}/method/x")).await;
        assert!(
            answer.body.contains("name resolver not initialized"),
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn the_apps_status_is_kept() {
    let address = start_app(|request| {
        Box::pin(async move {
            let status =
                StatusCode::from_bytes(request.uri().path().trim_start_matches('/').as_bytes()).unwrap();
            Response::builder()
                .status(status)
                .header("content-type", "text/plain")
                .body(Body::from("short"))
                .unwrap()
        })
    })
    .await;
    let api = pair(address).await;
    for status in [200, 201, 302, 400, 404, 418, 500, 503, 546] {
        let answer = api.get(&format!("/v1.0/invoke/callee/method/{status}")).await;
        assert_eq!(answer.short(), (status, "short"));
        let is_failure = !(200..400).contains(&status);
        assert_eq!(
            answer.header("content-length"),
            is_failure.then_some("5"),
            "{status}"
        );
        assert_eq!(answer.header("content-type"), Some("text/plain"));
    }
}

#[tokio::test]
async fn server_sent_events_pass_through_as_such() {
    let address = start_app(|request| {
        Box::pin(async move {
            assert_eq!(request.headers()["accept"], "text/event-stream");
            let status = if request.uri().path() == "/bad" { 500 } else { 201 };
            let body = streamed(&["data: 1\n\n", "data: 2\n\n"]);
            Response::builder()
                .status(status)
                .header("x-app", "yes")
                .body(body)
                .unwrap()
        })
    })
    .await;
    let api = pair(address).await;
    let wanted = [("accept", "text/event-stream")];
    let answer = api
        .call("GET", "/v1.0/invoke/callee/method/events", &wanted, "")
        .await;
    assert_eq!(answer.short(), (200, "data: 1\n\ndata: 2\n\n"));
    let expected = [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache"),
        ("connection", "keep-alive"),
    ];
    for (name, value) in expected {
        assert_eq!(answer.header(name), Some(value));
    }
    let answer = api
        .call("GET", "/v1.0/invoke/callee/method/bad", &wanted, "")
        .await;
    let cause =
        "rpc error: code = Internal desc = error invoking app channel: no response received from stream";
    assert_eq!(answer.short(), (500, failed("callee", cause).as_str()));
}

#[tokio::test]
async fn both_ends_count_their_calls() {
    let record = |app_id: &str| {
        Metrics::new(&MetricsSettings {
            app_id: app_id.into(),
            ..MetricsSettings::default()
        })
        .unwrap()
    };
    let (caller, callee) = (record("caller"), record("callee"));
    let address = start_app(echo).await;
    let peer = start_peer(
        Some(channel(address.port())),
        callee.clone(),
        Tracer::pass_through(),
    )
    .await;
    let api = Api::new(Some(invoker(None, &[("callee", peer)], &[], &caller)));
    api.get("/v1.0/invoke/callee/method/hello").await;
    let shown = |metrics: &Metrics| String::from_utf8(metrics.encode().to_vec()).unwrap();
    let (caller, callee) = (shown(&caller), shown(&callee));
    for line in [
        r#"dapr_runtime_service_invocation_req_sent_total{app_id="caller",dst_app_id="callee",type="unary"} 1"#,
        r#"dapr_runtime_service_invocation_res_recv_total{app_id="caller",src_app_id="callee",status="200",type="unary"} 1"#,
        r#"dapr_runtime_service_invocation_res_recv_latency_ms_count{app_id="caller",src_app_id="callee",status="200"} 1"#,
    ] {
        assert!(caller.contains(line), "{caller}");
    }
    for line in [
        r#"dapr_runtime_service_invocation_req_recv_total{app_id="callee",src_app_id="caller"} 1"#,
        r#"dapr_runtime_service_invocation_res_sent_total{app_id="callee",dst_app_id="caller",status="200"} 1"#,
    ] {
        assert!(callee.contains(line), "{callee}");
    }
}

#[tokio::test]
async fn a_grpc_caller_gets_the_reply_as_it_is() {
    let address = start_app(echo).await;
    let metrics = Metrics::disabled();
    let peer = start_peer(
        Some(channel(address.port())),
        metrics.clone(),
        Tracer::pass_through(),
    )
    .await;
    let dispatcher = invoker(None, &[("callee", peer)], &[], &metrics);
    let mut call = Invocation::new("/m");
    call.http = Some(HttpExtension {
        verb: Verb::POST,
        query: Text::EMPTY,
    });
    call.body = Body::from("abc");
    let reply = dispatcher
        .invoke("callee", call, &TraceContext::ZERO)
        .await
        .unwrap();
    assert_eq!(reply.status.code, 200);
    assert!(text(reply.body).await.starts_with("POST /m\n"));
    let error = dispatcher
        .invoke("", Invocation::new("m"), &TraceContext::ZERO)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "app id is empty");
}
