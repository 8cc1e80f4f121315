//! Requests that pass unchanged.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use outrigger_svc::{Body, BoxError, CallContext};

use super::{App, FRAMINGS, fed, noise, pair, read, soon};

/// Answers with the frames of the request, then with trailers.
fn mirror() -> App {
    App::echo().with_other(|request| async move {
        let (head, body) = request.into_parts();
        assert!(head.extensions.get::<CallContext>().is_some());
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("20"));
        trailers.insert("grpc-message", HeaderValue::from_static("odd%0A"));
        trailers.append("x-trailer", HeaderValue::from_static("1"));
        trailers.append("x-trailer", HeaderValue::from_static("2"));
        let end = futures_util::stream::iter([Ok::<_, BoxError>(Frame::trailers(trailers))]);
        let frames = futures_util::StreamExt::chain(body.into_data_stream_frames(), end);
        let mut response = Response::new(Body::new(StreamBody::new(frames)));
        *response.headers_mut() = head.headers;
        response
            .headers_mut()
            .insert("x-path", HeaderValue::from_str(head.uri.path()).unwrap());
        response.headers_mut().remove("te");
        response
    })
}

trait Frames {
    fn into_data_stream_frames(
        self,
    ) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, BoxError>> + Send;
}

impl Frames for Body {
    fn into_data_stream_frames(
        self,
    ) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, BoxError>> + Send {
        futures_util::StreamExt::map(self.into_data_stream(), |data| data.map(Frame::data))
    }
}

fn request(body: Body) -> Request<Body> {
    Request::post("http://callee:1/some.Service/Method")
        .header("content-type", "application/grpc+proto")
        .header("te", "trailers")
        .header("x-many", "1")
        .header("x-many", "2")
        .header("data-bin", "AAE")
        .body(body)
        .unwrap()
}

#[tokio::test]
async fn heads_frames_and_trailers_are_not_touched() {
    for framing in FRAMINGS {
        let link = pair(mirror(), framing).await;
        for len in [0, 5, 100_000, 1 << 20] {
            let sent = noise(len);
            let response = soon(link.forward(request(Body::from(sent.clone()))))
                .await
                .unwrap();
            let headers = response.headers().clone();
            assert_eq!(headers["x-path"], "/some.Service/Method");
            assert_eq!(headers["content-type"], "application/grpc+proto");
            assert_eq!(headers["data-bin"], "AAE");
            assert_eq!(headers.get_all("x-many").iter().collect::<Vec<_>>(), ["1", "2"]);
            let collected = soon(response.into_body().collect()).await.unwrap();
            let trailers = collected.trailers().unwrap().clone();
            assert_eq!(trailers["grpc-status"], "20");
            assert_eq!(trailers["grpc-message"], "odd%0A");
            assert_eq!(trailers.get_all("x-trailer").iter().count(), 2);
            assert!(collected.to_bytes() == sent, "{len} bytes");
        }
        assert_eq!(link.calls(), 0);
    }
}

#[tokio::test]
async fn both_directions_stream_independently() {
    for framing in FRAMINGS {
        let link = pair(mirror(), framing).await;
        let (feed, body) = fed();
        let mut response = soon(link.forward(request(body))).await.unwrap();
        for piece in ["a", "b", "c"] {
            feed.send(Ok(Bytes::from(piece))).unwrap();
            let frame = soon(response.body_mut().frame()).await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), piece);
        }
        drop(feed);
        let frame = soon(response.body_mut().frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_trailers().unwrap()["grpc-status"], "20");
        assert!(soon(response.body_mut().frame()).await.is_none());
    }
}

#[tokio::test]
async fn an_answer_of_headers_only_has_no_body() {
    for framing in FRAMINGS {
        let app = App::echo().with_other(|_| async {
            let mut response = Response::new(Body::empty());
            response
                .headers_mut()
                .insert("grpc-status", HeaderValue::from_static("7"));
            response
        });
        let link = pair(app, framing).await;
        let response = soon(link.forward(request(Body::from("x")))).await.unwrap();
        assert_eq!(response.headers()["grpc-status"], "7");
        assert!(read(response.into_body()).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn giving_up_a_response_ends_the_request() {
    for framing in FRAMINGS {
        let link = pair(mirror(), framing).await;
        let (feed, body) = fed();
        let response = soon(link.forward(request(body))).await.unwrap();
        drop(response);
        soon(feed.closed()).await;
        assert_eq!(link.calls(), 0);
    }
}

#[tokio::test]
async fn a_request_whose_body_breaks_off_ends_with_an_error() {
    for framing in FRAMINGS {
        let app = App::echo().with_other(|request| async move {
            // Answers only to a whole request.
            match request.into_body().collect().await {
                Ok(_) => Response::new(Body::empty()),
                Err(_) => std::future::pending().await,
            }
        });
        let link = pair(app, framing).await;
        let (feed, body) = fed();
        feed.send(Ok(Bytes::from("begun"))).unwrap();
        let forwarding = tokio::spawn(async move { link.forward(request(body)).await });
        feed.send(Err("too large".into())).unwrap();
        assert!(soon(forwarding).await.unwrap().is_err());
    }
}
