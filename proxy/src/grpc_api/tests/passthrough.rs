//! Calls that are not ours.

use http_body::Frame;
use http_body_util::StreamBody;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use outrigger_svc::{BoxError, BoxFuture};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::app::{Gate, Origin, testing};

type Handler = fn(http::Request<Incoming>) -> BoxFuture<'static, Response>;

/// A runtime whose app answers in this way.
async fn with_app(handler: Handler) -> Fake {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(move |request| {
                let answer = handler(request);
                async { Ok::<_, Infallible>(answer.await) }
            });
            let serving =
                http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
            tokio::spawn(async { serving.await.ok() });
        }
    });
    let origin = Origin {
        host: "127.0.0.1".into(),
        port,
        tls: false,
    };
    let token = Some(HeaderValue::from_static("app-token"));
    let app = GrpcApp::new(
        origin,
        testing::dialer(),
        Gate::new(None),
        token,
        1000,
        Metrics::disabled(),
    );
    Fake::with_app(Some(app))
}

/// A call whose messages are sent one by one.
fn open(
    stack: Stack,
    path: &str,
) -> (
    mpsc::Sender<Result<Frame<Bytes>, BoxError>>,
    impl Future<Output = Response>,
) {
    let (sender, frames) = mpsc::channel(1);
    let body = StreamBody::new(ReceiverStream::new(frames));
    let request = http::Request::post(path)
        .header("content-type", "application/grpc")
        .header("dapr-app-id", "app")
        .header("dapr-api-token", "of-the-client")
        .header("x-mine", "v")
        .body(tonic::body::Body::new(body))
        .unwrap();
    let answer = listener(stack).oneshot(request);
    (sender, async {
        answer.await.unwrap_or_else(|never| match never {})
    })
}

fn message(text: &str) -> Bytes {
    let mut bytes = vec![0, 0, 0, 0, u8::try_from(text.len()).unwrap()];
    bytes.extend_from_slice(text.as_bytes());
    bytes.into()
}

async fn next(body: &mut Body) -> Frame<Bytes> {
    body.frame().await.unwrap().unwrap()
}

#[tokio::test]
async fn both_directions_of_a_stream_run_side_by_side() {
    /// Sends each frame back at once, then how the call looked.
    fn echo(request: http::Request<Incoming>) -> BoxFuture<'static, Response> {
        let (head, body) = request.into_parts();
        let header = |name: &str| head.headers.get(name).map_or("", |value| value.to_str().unwrap());
        let seen = format!(
            "{} {} [{}]",
            head.uri.path(),
            header("dapr-api-token"),
            header("dapr-app-id")
        );
        let mut trailers = HeaderMap::new();
        Status::new(20, seen).write_to(&mut trailers);
        let body = body.with_trailers(std::future::ready(Some(Ok(trailers))));
        Box::pin(std::future::ready(Response::new(Body::new(body))))
    }
    let fake = with_app(echo).await;
    let (sender, answer) = open(plain(&fake), "/x.Y//Z");
    let answer = tokio::spawn(answer);
    sender.send(Ok(Frame::data(message("one")))).await.unwrap();
    let mut body = answer.await.unwrap().into_body();
    assert_eq!(next(&mut body).await.into_data().unwrap(), message("one"));
    sender.send(Ok(Frame::data(message("two")))).await.unwrap();
    assert_eq!(next(&mut body).await.into_data().unwrap(), message("two"));
    drop(sender);
    let trailers = next(&mut body).await.into_trailers().unwrap();
    let status = Status::from_trailers(&trailers).unwrap();
    assert_eq!(
        (status.code, status.message.as_str()),
        (20, "/x.Y/Z app-token []")
    );
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn an_answer_that_breaks_off_ends_with_a_status() {
    fn broken(_: http::Request<Incoming>) -> BoxFuture<'static, Response> {
        let frames = [Ok(Frame::data(message("one"))), Err(BoxError::from("broken"))];
        let body = StreamBody::new(futures_util::stream::iter(frames));
        Box::pin(std::future::ready(Response::new(Body::new(body))))
    }
    let fake = with_app(broken).await;
    let answer = raw(plain(&fake), "/x.Y/Z", &[("dapr-app-id", "app")], &[b"x"]).await;
    let text = "stream terminated by RST_STREAM with error code: INTERNAL_ERROR";
    assert_eq!(answer.status(), (13, text.to_owned()));
}

#[tokio::test]
async fn an_answer_that_is_no_grpc_is_named() {
    fn not_found(_: http::Request<Incoming>) -> BoxFuture<'static, Response> {
        let mut response = Response::new(Body::from("nothing here"));
        *response.status_mut() = http::StatusCode::NOT_FOUND;
        Box::pin(std::future::ready(response))
    }
    let fake = with_app(not_found).await;
    let answer = raw(plain(&fake), "/x.Y/Z", &[("dapr-app-id", "app")], &[b"x"]).await;
    let text = "unexpected HTTP status code received from server: 404 (Not Found)";
    assert_eq!(answer.status(), (12, text.to_owned()));
}

#[tokio::test]
async fn calls_of_others_are_forwarded_with_their_frames_and_status() {
    let fake = Fake::new();
    let metadata = [
        ("dapr-app-id", "other.ns"),
        ("x-mine", "v"),
        ("dapr-callee-app-id", "other.ns"),
    ];
    let answer = raw(plain(&fake), "/x.Y/Z", &metadata, &[b"one", b""]).await;
    assert_eq!(answer.status(), (20, "odd".to_owned()));
    assert_eq!(answer.head["x-head"], "h");
    assert_eq!(answer.trailers["x-trailer"], "t");
    assert_eq!(answer.body, &b"\0\0\0\0\x03one\0\0\0\0\0"[..]);

    let (id, headers) = fake.0.forwarded.lock().unwrap().pop().unwrap();
    assert_eq!(id, "other.ns");
    let values = |name: &str| {
        headers
            .get_all(name)
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(values("x-mine"), ["v"]);
    assert_eq!(values("dapr-app-id"), [""; 0]);
    assert_eq!(values("dapr-caller-app-id"), ["app"]);
    assert_eq!(values("dapr-callee-app-id"), ["other.ns", "other"]);
    assert_eq!(
        values("traceparent"),
        ["00-00000000000000000000000000000000-0000000000000000-00"]
    );
    assert_eq!(values("content-type"), ["application/grpc+proto"]);
    assert_eq!(values("te"), ["trailers"]);
}

#[tokio::test]
async fn a_call_without_a_message_is_answered_without_a_head() {
    let answer = raw(plain(&Fake::new()), "/x.Y/Z", &[("dapr-app-id", "other")], &[]).await;
    assert_eq!(answer.status(), (20, "odd".to_owned()));
    assert!(!answer.head.contains_key("x-head"));
    assert_eq!(answer.head["x-trailer"], "t");
}

#[tokio::test]
async fn a_foreign_call_must_name_its_app() {
    let untraced = raw(plain(&Fake::new()), "/x.Y/Z", &[], &[]).await;
    let text = "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found";
    assert_eq!(untraced.status(), (2, text.to_owned()));
    let traced = raw(
        stack_of(&Fake::new(), &settings(), Tracer::pass_through()),
        "/x.Y/Z",
        &[],
        &[],
    )
    .await;
    let text = "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata";
    assert_eq!(traced.status(), (2, text.to_owned()));
}

#[tokio::test]
async fn a_call_to_the_own_app_is_judged_first() {
    let stack = plain(&Fake::new());
    let own = [("dapr-app-id", "app")];
    assert_eq!(
        raw(stack.clone(), "/x.Y/Secret", &own, &[]).await.status(),
        (7, "denied".to_owned())
    );
    let no_app = raw(stack.clone(), "/x.Y/Z", &own, &[]).await;
    assert_eq!(no_app.status(), (13, "app channel is not initialized".to_owned()));
    let elsewhere = [("dapr-app-id", "app.other-namespace")];
    assert_eq!(raw(stack, "/x.Y/Secret", &elsewhere, &[]).await.status().0, 7);
}
