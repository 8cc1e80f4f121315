use std::time::Duration;

use http::{Response, StatusCode};
use outrigger_link::{HttpExtension, Verb};
use outrigger_svc::Body;
use outrigger_telemetry::metrics::MetricsSettings;

use super::config::AppConfig;
use super::testing::{channel, echo, network, settings, start_app, streamed, text};
use super::*;

fn call(verb: Verb, method: &str, query: &str, metadata: &[(&str, &str)]) -> Invocation {
    let mut call = Invocation::new(method);
    call.http = Some(HttpExtension {
        verb,
        query: query.into(),
    });
    call.metadata = metadata.iter().copied().collect();
    call
}

async fn seen(channel: &AppChannel, call: Invocation) -> String {
    let reply = channel.invoke(call, &TraceContext::ZERO).await.unwrap();
    assert_eq!(reply.status.code, 200);
    text(reply.body).await
}

const ZERO: &str = "00-00000000000000000000000000000000-0000000000000000-00";

#[tokio::test]
async fn the_app_sees_verb_target_headers_and_body() {
    let address = start_app(echo).await;
    let channel = channel(address.port());
    let host = format!("host: {address}\n");

    let get = call(
        Verb::GET,
        "hello",
        "a=1&b=%20x",
        &[("X-Mine", "v"), ("destination-app-id", "a")],
    );
    let expected = format!("GET /hello?a=1&b=%20x\n{host}traceparent: {ZERO}\nx-mine: v\n\n0 bytes");
    assert_eq!(seen(&channel, get).await, expected);

    let mut post = call(
        Verb::POST,
        "x/y",
        "",
        &[("Content-Length", "3"), ("Content-Type", "ignored")],
    );
    post.content_type = "application/json".into();
    post.body = Body::from("abc");
    let expected = format!(
        "POST /x/y\ncontent-length: 3\ncontent-type: application/json\n{host}traceparent: {ZERO}\n\n3 bytes"
    );
    assert_eq!(seen(&channel, post).await, expected);

    let mut packed = call(Verb::PUT, "", "", &[]);
    packed.type_url = "type.googleapis.com/x.Y".into();
    packed.body = streamed(&["ab", "cd"]);
    let expected = format!(
        "PUT /\ncontent-type: application/x-protobuf\n{host}traceparent: {ZERO}\ntransfer-encoding: chunked\n\n4 bytes"
    );
    assert_eq!(seen(&channel, packed).await, expected);
}

/// Verb, pieces of the body, metadata, and what the app reads about the length.
type BodyCase = (
    Verb,
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
    &'static str,
);

#[tokio::test]
async fn a_body_is_sent_only_where_there_is_one() {
    let address = start_app(echo).await;
    let channel = channel(address.port());
    let cases: [BodyCase; 6] = [
        (Verb::GET, &[], &[], ""),
        (Verb::GET, &["ab"], &[], "transfer-encoding: chunked\n"),
        (Verb::DELETE, &[], &[("content-length", "0")], ""),
        (Verb::POST, &[], &[("content-length", "0")], "content-length: 0\n"),
        (Verb::POST, &[], &[], "transfer-encoding: chunked\n"),
        (
            Verb::PATCH,
            &["ab", "c"],
            &[("CONTENT-LENGTH", "3")],
            "content-length: 3\n",
        ),
    ];
    for (verb, pieces, metadata, length) in cases {
        let mut request = call(verb, "m", "", metadata);
        request.body = streamed(pieces);
        let seen = seen(&channel, request).await;
        let size: usize = pieces.iter().map(|piece| piece.len()).sum();
        assert!(seen.ends_with(&format!("\n\n{size} bytes")), "{seen}");
        let lines = seen
            .lines()
            .filter(|line| line.starts_with("content-length") || line.starts_with("transfer"));
        assert_eq!(
            lines.map(|line| format!("{line}\n")).collect::<String>(),
            length,
            "{verb} {pieces:?}"
        );
    }
    let empty = seen(&channel, call(Verb::POST, "m", "", &[])).await;
    assert!(empty.contains("content-length: 0\n"), "{empty}");
}

#[tokio::test]
async fn the_current_span_goes_before_the_trace_of_the_call() {
    let address = start_app(echo).await;
    let channel = channel(address.port());
    let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let current = "00-0af7651916cd43dd8448eb211c80319c-00000000000000aa-01";
    let metadata = [("Traceparent", given), ("Tracestate", "a=b")];
    let without = seen(&channel, call(Verb::GET, "m", "", &metadata)).await;
    assert!(
        without.contains(&format!("traceparent: {given}\ntracestate: a=b\n")),
        "{without}"
    );
    let context = TraceContext::from_traceparent(current.as_bytes()).unwrap();
    let reply = channel
        .invoke(call(Verb::GET, "m", "", &metadata), &context)
        .await
        .unwrap();
    let with = text(reply.body).await;
    assert!(
        with.contains(&format!("traceparent: {current}\ntracestate: a=b\n")),
        "{with}"
    );
}

#[tokio::test]
async fn the_apps_token_goes_with_every_call() {
    let address = start_app(echo).await;
    let settings = AppSettings {
        api_token: Some("secret".to_owned()),
        ..settings(address.port())
    };
    let channel = AppChannel::open(&settings, 4 << 20, &network(Metrics::disabled()))
        .unwrap()
        .unwrap();
    let seen = seen(
        &channel,
        call(Verb::GET, "m", "", &[("Dapr-Api-Token", "theirs")]),
    )
    .await;
    assert!(
        seen.contains("dapr-api-token: secret\n") && !seen.contains("theirs"),
        "{seen}"
    );
}

#[tokio::test]
async fn an_app_without_a_token_does_not_see_that_of_a_caller() {
    let address = start_app(echo).await;
    let call = call(Verb::GET, "m", "", &[("Dapr-Api-Token", "theirs")]);
    let seen = seen(&channel(address.port()), call).await;
    assert!(!seen.to_lowercase().contains("dapr-api-token"), "{seen}");
}

#[tokio::test]
async fn an_app_that_speaks_http2_gets_the_same_request() {
    let address = start_app(echo).await;
    let settings = AppSettings {
        protocol: AppProtocol::H2c,
        ..settings(address.port())
    };
    let channel = AppChannel::open(&settings, 4 << 20, &network(Metrics::disabled()))
        .unwrap()
        .unwrap();
    for _ in 0..2 {
        let mut post = call(Verb::POST, "x", "a=1", &[("X-Mine", "v")]);
        post.body = streamed(&["ab", "cd"]);
        let seen = seen(&channel, post).await;
        let expected = format!("POST http://{address}/x?a=1\ntraceparent: {ZERO}\nx-mine: v\n\n4 bytes");
        assert_eq!(seen, expected);
    }
}

#[tokio::test]
async fn answers_keep_their_status_and_lose_what_belongs_to_the_hop() {
    let address = start_app(|_| {
        Box::pin(async {
            let response = Response::builder().status(StatusCode::from_u16(546).unwrap());
            let response = response
                .header("x-a", "1")
                .header("x-gone", "2")
                .header("connection", "x-gone");
            response
                .header("content-type", "t")
                .body(Body::from("short and stout"))
                .unwrap()
        })
    })
    .await;
    let reply = channel(address.port())
        .invoke(call(Verb::GET, "m", "", &[]), &TraceContext::ZERO)
        .await
        .unwrap();
    assert_eq!((reply.status.code, reply.content_type.as_str()), (546, "t"));
    let names: Vec<_> = reply.headers.iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(names, ["X-A", "Content-Type", "Date"]);
    assert_eq!(text(reply.body).await, "short and stout");
}

#[tokio::test]
async fn calls_that_http_cannot_carry_are_refused() {
    let address = start_app(echo).await;
    let channel = channel(address.port());
    let error = |call: Invocation| {
        let channel = channel.clone();
        async move {
            channel
                .invoke(call, &TraceContext::ZERO)
                .await
                .unwrap_err()
                .to_string()
        }
    };
    let invalid = "rpc error: code = InvalidArgument desc = invalid HTTP verb";
    assert_eq!(error(call(Verb::NONE, "m", "", &[])).await, invalid);
    assert_eq!(error(call(Verb::CONNECT, "m", "", &[])).await, invalid);
    assert_eq!(
        error(Invocation::new("m")).await,
        "rpc error: code = InvalidArgument desc = missing HTTP extension field"
    );
    assert_eq!(
        error(call(Verb::GET, "test%stream", "", &[])).await,
        format!("parse \"http://{address}/test%stream\": invalid URL escape \"%st\"")
    );
    assert_eq!(
        error(call(Verb::GET, "m", "", &[("Content-Length", "x")])).await,
        "strconv.ParseInt: parsing \"x\": invalid syntax"
    );
    let other = Invocation {
        version: 2,
        ..call(Verb::GET, "m", "", &[])
    };
    assert_eq!(
        error(other).await,
        "rpc error: code = Unimplemented desc = Unsupported spec version: 2"
    );
}

#[tokio::test]
async fn an_app_that_is_not_there_is_named_in_the_error() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let outcome = channel(closed.port())
        .invoke(call(Verb::GET, "x", "q=1", &[]), &TraceContext::ZERO)
        .await;
    let expected = format!("Get \"http://{closed}/x?q=1\": dial tcp {closed}: connect: connection refused");
    assert_eq!(outcome.unwrap_err().to_string(), expected);
}

#[tokio::test]
async fn a_place_among_the_calls_in_flight_is_kept_until_the_body_is_read() {
    let address = start_app(echo).await;
    let settings = AppSettings {
        max_concurrency: std::num::NonZeroUsize::new(1),
        ..settings(address.port())
    };
    let first = AppChannel::open(&settings, 4 << 20, &network(Metrics::disabled()))
        .unwrap()
        .unwrap();
    let second = first.for_worker();
    let reply = first
        .invoke(call(Verb::GET, "m", "", &[]), &TraceContext::ZERO)
        .await
        .unwrap();
    let waiting = second.invoke(call(Verb::GET, "m", "", &[]), &TraceContext::ZERO);
    let mut waiting = std::pin::pin!(waiting);
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    text(reply.body).await;
    waiting.await.unwrap();
}

#[tokio::test]
async fn an_unhealthy_app_is_left_alone() {
    let address = start_app(echo).await;
    let channel = channel(address.port());
    channel.gate().set_healthy(false);
    let error = channel
        .invoke(call(Verb::GET, "m", "", &[]), &TraceContext::ZERO)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "rpc error: code = Internal desc = app is not in a healthy state"
    );
}

#[tokio::test]
async fn calls_are_counted_with_what_came_of_them() {
    let metrics = Metrics::new(&MetricsSettings {
        app_id: "callee".into(),
        ..MetricsSettings::default()
    })
    .unwrap();
    let address = start_app(echo).await;
    let channel = AppChannel::open(&settings(address.port()), 4 << 20, &network(metrics.clone()))
        .unwrap()
        .unwrap();
    seen(&channel, call(Verb::GET, "hello", "", &[])).await;
    let shown = String::from_utf8(metrics.encode().to_vec()).unwrap();
    let line =
        r#"dapr_http_client_completed_count{app_id="callee",method="GET",path="/hello",status="200"} 1"#;
    assert!(shown.contains(line), "{shown}");
}

#[tokio::test]
async fn probes_look_at_the_status_only() {
    let address = start_app(|request| {
        Box::pin(async move {
            let status = request
                .uri()
                .path()
                .trim_start_matches('/')
                .parse()
                .unwrap_or(StatusCode::OK);
            Response::builder()
                .status(status)
                .body(Body::from("body"))
                .unwrap()
        })
    })
    .await;
    let probed = |path: &'static str| {
        let channel = channel(address.port());
        async move {
            channel
                .probe(path, Metrics::disabled())
                .probe(Duration::from_secs(5))
                .await
        }
    };
    assert_eq!(probed("/healthz").await, Ok(()));
    assert_eq!(probed("/204").await, Ok(()));
    assert_eq!(probed("/302").await, Err(ProbeFailure::Status(302)));
    assert_eq!(probed("/503").await, Err(ProbeFailure::Status(503)));
}

#[tokio::test]
async fn an_app_tells_its_configuration() {
    let address = start_app(|request| {
        Box::pin(async move {
            assert_eq!(request.uri(), "/dapr/config");
            assert_eq!(request.headers()["dapr-app-id"], "me");
            assert_eq!(request.headers()["content-type"], "application/json");
            assert!(!request.headers().contains_key("traceparent"));
            Response::new(Body::from(r#"{"entities":["A"]}"#))
        })
    })
    .await;
    let config = load_app_config(&channel(address.port()), "me").await.unwrap();
    assert_eq!(config.entities, ["A"]);
    let address = start_app(|_| {
        Box::pin(async {
            Response::builder()
                .status(404)
                .body(Body::from("nothing"))
                .unwrap()
        })
    })
    .await;
    assert_eq!(
        load_app_config(&channel(address.port()), "me").await.unwrap(),
        AppConfig::default()
    );
}
