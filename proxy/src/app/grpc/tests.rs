//! Calls of an app that speaks gRPC, over real connections.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use outrigger_link::{HttpExtension, Verb};
use outrigger_svc::{BoxError, BoxFuture};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;
use crate::app::testing;

type Handler = fn(http::Request<Incoming>) -> BoxFuture<'static, Response>;

/// An app on a port of its own.
struct FakeApp {
    port: u16,
    connections: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

/// What apps received, by the text in their handler.
static SEEN: Mutex<Vec<(String, HeaderMap, common::InvokeRequest)>> = Mutex::new(Vec::new());

// === impl FakeApp ===

impl FakeApp {
    async fn start(handler: Handler) -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap(), handler)
    }

    fn start_on(listener: TcpListener, handler: Handler) -> Self {
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            let mut served = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                served.spawn(serve(stream, handler));
            }
        });
        Self {
            port,
            connections,
            accepting,
        }
    }

    fn channel(&self) -> GrpcApp {
        channel(self.port)
    }
}

async fn serve(stream: TcpStream, handler: Handler) {
    let service = service_fn(move |request| {
        let answer = handler(request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let connection =
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
    // Tests end their apps in the middle of things.
    connection.await.ok();
}

fn channel(port: u16) -> GrpcApp {
    let origin = Origin {
        host: "127.0.0.1".into(),
        port,
        tls: false,
    };
    let token = Some(HeaderValue::from_static("app-token"));
    GrpcApp::new(
        origin,
        testing::dialer(),
        Gate::new(None),
        token,
        1000,
        Metrics::disabled(),
    )
}

fn call(body: impl Into<Body>) -> Invocation {
    let mut call = Invocation::new("m");
    call.http = Some(HttpExtension {
        verb: Verb::POST,
        query: Text::from_static("a=1"),
    });
    call.content_type = Text::from_static("text/plain");
    call.type_url = Text::from_static("t/x");
    call.metadata = [
        ("X-Mine", "v"),
        ("Content-Type", "text/plain"),
        ("dapr-caller-app-id", "caller"),
    ]
    .into_iter()
    .collect();
    call.body = body.into();
    call
}

async fn invoke(app: &GrpcApp, body: impl Into<Body>) -> Reply {
    app.invoke(call(body), &TraceContext::ZERO).await.unwrap()
}

async fn text(body: Body) -> String {
    String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// Answers with a message and a status behind it.
fn answered(message: &impl Message, status: &Status) -> Response {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-trailer", HeaderValue::from_static("t"));
    trailers.insert("x-bin", HeaderValue::from_static("AQI"));
    status.write_to(&mut trailers);
    let frames = [Frame::data(framed(message)), Frame::trailers(trailers)].map(Ok::<_, BoxError>);
    let mut response = Response::new(Body::new(StreamBody::new(futures_util::stream::iter(frames))));
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
        .headers_mut()
        .insert("x-head", HeaderValue::from_static("h"));
    response
}

/// Remembers the request and sends its data back.
fn echo(request: http::Request<Incoming>) -> BoxFuture<'static, Response> {
    Box::pin(async move {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let message = common::InvokeRequest::decode(body.slice(PREFIX..)).unwrap();
        SEEN.lock()
            .unwrap()
            .push((head.uri.to_string(), head.headers, message.clone()));
        let answer = common::InvokeResponse {
            data: message.data,
            content_type: "text/answer".to_owned(),
        };
        answered(&answer, &Status::new(0, ""))
    })
}

#[tokio::test]
async fn an_invocation_becomes_a_call_of_the_app() {
    let app = FakeApp::start(echo).await;
    let reply = invoke(&app.channel(), "hello").await;
    assert_eq!(reply.status, ReplyStatus::new(0));
    assert_eq!(
        (reply.content_type.as_str(), reply.type_url.as_str()),
        ("text/answer", "t/x")
    );
    assert_eq!(reply.headers.first("x-head"), Some("h"));
    assert!(reply.headers.is_grpc_origin());
    assert_eq!(
        (reply.trailers.first("x-trailer"), reply.trailers.first("x-bin")),
        (Some("t"), Some("AQI="))
    );
    assert_eq!(text(reply.body).await, "hello");

    let seen = SEEN.lock().unwrap();
    let uri = format!("http://127.0.0.1:{}{ON_INVOKE}", app.port);
    let (_, headers, message) = seen.iter().find(|(seen, ..)| *seen == uri).unwrap();
    let extension = message.http_extension.as_ref().unwrap();
    assert_eq!((extension.verb, extension.querystring.as_str()), (3, "a=1"));
    assert_eq!(
        (message.method.as_str(), message.content_type.as_str()),
        ("m", "text/plain")
    );
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("x-mine"), "v");
    assert_eq!(header("dapr-content-type"), "text/plain");
    assert_eq!(header("dapr-caller-app-id"), "caller");
    assert_eq!(header("dapr-api-token"), "app-token");
    assert_eq!(header("content-type"), "application/grpc+proto");
    assert_eq!(header("te"), "trailers");
    assert!(!headers.contains_key("content-length"));
    assert_eq!(
        header("traceparent"),
        "00-00000000000000000000000000000000-0000000000000000-00"
    );
}

#[tokio::test]
async fn a_status_of_the_app_is_a_reply_with_its_number_and_details() {
    fn fail(_: http::Request<Incoming>) -> BoxFuture<'static, Response> {
        let detail = Any {
            type_url: "t/d".to_owned(),
            value: Bytes::from("d"),
        };
        let details = rpc::Status {
            code: 20,
            message: "odd".to_owned(),
            details: vec![detail],
        };
        let status = Status {
            code: 20,
            message: "odd".to_owned(),
            details: details.encode_to_vec().into(),
        };
        let mut response = Response::new(Body::empty());
        status.write_to(response.headers_mut());
        response
            .headers_mut()
            .insert("x-trailer", HeaderValue::from_static("t"));
        Box::pin(ready(response))
    }
    let app = FakeApp::start(fail).await;
    let reply = invoke(&app.channel(), "").await;
    assert_eq!((reply.status.code, reply.status.message.as_str()), (20, "odd"));
    let detail = Any::decode(reply.status.details[0].clone()).unwrap();
    assert_eq!((detail.type_url.as_str(), &detail.value[..]), ("t/d", &b"d"[..]));
    assert_eq!(reply.trailers.first("x-trailer"), Some("t"));
    assert_eq!(text(reply.body).await, "");
}

#[tokio::test]
async fn an_app_that_does_not_listen_is_unavailable() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let reply = invoke(&channel(closed), "x").await;
    assert_eq!(reply.status.code, code::UNAVAILABLE);
    assert_eq!(
        reply.status.message.as_str(),
        format!(
            "connection error: desc = \"transport: Error while dialing: dial tcp 127.0.0.1:{closed}: connect: \
             connection refused\""
        )
    );
}

#[tokio::test]
async fn messages_beyond_the_limit_are_not_sent_and_not_read() {
    let app = FakeApp::start(echo).await;
    let reply = invoke(&app.channel(), "x".repeat(2000)).await;
    assert_eq!(reply.status.code, code::RESOURCE_EXHAUSTED);
    let mut message = common::InvokeRequest {
        method: "m".to_owned(),
        data: Some(Any {
            type_url: "t/x".to_owned(),
            value: Bytes::from(vec![0; 2000]),
        }),
        content_type: "text/plain".to_owned(),
        http_extension: Some(common::HttpExtension {
            verb: 3,
            querystring: "a=1".to_owned(),
        }),
    };
    let length = message.encoded_len();
    let text = format!("trying to send message larger than max ({length} vs. 1000)");
    assert_eq!(reply.status.message.as_str(), text);
    assert_eq!(app.connections.load(Ordering::Relaxed), 0);

    message.data = Some(Any {
        type_url: "t/x".to_owned(),
        value: Bytes::new(),
    });
    assert_eq!(length_with(&message, 2000), length);

    fn large(_: http::Request<Incoming>) -> BoxFuture<'static, Response> {
        let data = Any {
            type_url: String::new(),
            value: Bytes::from(vec![0; 2000]),
        };
        let answer = common::InvokeResponse {
            data: Some(data),
            content_type: String::new(),
        };
        Box::pin(ready(answered(&answer, &Status::new(0, ""))))
    }
    let app = FakeApp::start(large).await;
    let reply = invoke(&app.channel(), "x").await;
    assert_eq!(reply.status.code, code::RESOURCE_EXHAUSTED);
    assert_eq!(
        reply.status.message.as_str(),
        "grpc: received message larger than max (2006 vs. 1000)"
    );
}

#[tokio::test]
async fn calls_share_one_connection() {
    let app = FakeApp::start(echo).await;
    let channel = app.channel();
    let calls = (0..50).map(|number| {
        let channel = channel.clone();
        async move { text(invoke(&channel, number.to_string()).await.body).await }
    });
    let answers = futures_util::future::join_all(calls).await;
    let expected: Vec<_> = (0..50).map(|number| number.to_string()).collect();
    assert_eq!(answers, expected);
    assert_eq!(app.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_connection_is_opened_again_when_the_app_is_back() {
    let app = FakeApp::start(echo).await;
    let channel = app.channel();
    assert_eq!(text(invoke(&channel, "one").await.body).await, "one");
    app.accepting.abort();
    assert!(app.accepting.await.unwrap_err().is_cancelled());

    let listener = TcpListener::bind(("127.0.0.1", app.port)).await.unwrap();
    let again = FakeApp::start_on(listener, echo);
    // The end of the old connection may not have been noticed by the first call yet.
    let mut reply = invoke(&channel, "two").await;
    if reply.status.code == code::UNAVAILABLE {
        reply = invoke(&channel, "two").await;
    }
    assert_eq!(text(reply.body).await, "two");
    assert_eq!(again.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_warm_connection_stands_before_the_first_call() {
    let app = FakeApp::start(echo).await;
    let channel = app.channel();
    let keeper = tokio::spawn({
        let channel = channel.clone();
        async move { channel.keep_warm().await }
    });
    while app.connections.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(text(invoke(&channel, "x").await.body).await, "x");
    assert_eq!(app.connections.load(Ordering::Relaxed), 1);
    keeper.abort();
}

#[tokio::test]
async fn the_health_of_the_app_is_asked_by_a_call() {
    fn healthy(request: http::Request<Incoming>) -> BoxFuture<'static, Response> {
        let status = if request.into_parts().0.uri.path() == HEALTH_CHECK {
            Status::new(0, "")
        } else {
            Status::new(12, "")
        };
        Box::pin(ready(answered(&(), &status)))
    }
    fn sick(_: http::Request<Incoming>) -> BoxFuture<'static, Response> {
        Box::pin(ready(answered(&(), &Status::new(14, "sick"))))
    }
    let app = FakeApp::start(healthy).await;
    assert_eq!(app.channel().probe(Duration::from_secs(5)).await, Ok(()));
    let app = FakeApp::start(sick).await;
    let failure = app.channel().probe(Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(
        failure.to_string(),
        "Probe error: rpc error: code = Unavailable desc = sick"
    );
    assert!(app.channel().counts_every_failure());
}

#[tokio::test]
async fn an_unhealthy_app_is_not_called() {
    let gate = Gate::new(None);
    gate.set_healthy(false);
    let origin = Origin {
        host: "127.0.0.1".into(),
        port: 1,
        tls: false,
    };
    let app = GrpcApp::new(origin, testing::dialer(), gate, None, 1000, Metrics::disabled());
    let error = app.invoke(call("x"), &TraceContext::ZERO).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "rpc error: code = Internal desc = app is not in a healthy state"
    );
}
