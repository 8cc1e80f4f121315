//! The reply of an app as the answer to an HTTP client.
//!
//! Source: specification, service invocation 3.5, 7.3 and 8.1.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use outrigger_error::{Error, code};
use outrigger_link::Reply;
use outrigger_svc::{Body, BoxError, Response};
use outrigger_telemetry::trace::TraceContext;

use super::status_json::status_json;

/// Facts of the request that decide how its answer looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// HTTP version of the client.
    pub(super) version: Version,
    /// Whether the request's body had no known length.
    pub(super) is_streaming: bool,
    /// Whether the client asked for server-sent events.
    pub(super) wants_events: bool,
    /// Whether the client is told of a trace that it has not named itself.
    pub(super) is_traced: bool,
}

/// A body that is logged when it breaks off: the client has its head and can only be left without the rest.
struct Watched(Body);

/// A body with bytes in front that were read from it.
struct Rejoined {
    front: Option<Bytes>,
    rest: Body,
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const NO_TRACE: &str = "00-00000000000000000000000000000000-0000000000000000-00";

/// Most bytes of an app's error answer that are held to tell their length; longer ones stream.
const MOST_HELD: usize = 4 << 20;

/// The answer to the client.
///
/// # Errors
/// If the status of a gRPC app has no JSON form, or the body of an app's error answer breaks off.
pub(super) async fn response(
    reply: Reply,
    asked: Asked,
    trace: &TraceContext,
) -> Result<Response, OutcomeError> {
    let mut headers = reply.headers.to_http_headers(trace);
    if !asked.is_traced {
        forget_no_trace(&mut headers);
    }
    if !reply.status.is_http() {
        return grpc_response(reply, headers, asked);
    }
    let status = u16::try_from(reply.status.code).unwrap_or(500);
    if asked.wants_events && (200..300).contains(&status) {
        return Ok(events(headers, reply.body, asked.version));
    }
    set_content_type(&mut headers, &reply);
    let is_success = (200..400).contains(&status);
    let (body, length) = if is_success || asked.is_streaming {
        (reply.body, None)
    } else {
        headers
            .entry(CONTENT_TYPE)
            .or_insert(HeaderValue::from_static("application/json"));
        hold(reply.body).await.map_err(OutcomeError::Body)?
    };
    if let Some(length) = length {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    Ok(assemble(status_of(status), headers, body, asked.version))
}

/// Why a reply could not be answered.
#[derive(Debug)]
pub(super) enum OutcomeError {
    /// The body of the reply broke off before its first byte went out.
    Body(BoxError),
    /// An error of the API.
    Api(Error),
}

// === impl OutcomeError ===

impl OutcomeError {
    /// The error of the API; `failed` makes that of a call from its cause and from whether it was denied.
    pub(super) fn of(self, failed: impl FnOnce(String, bool) -> Error) -> Error {
        match self {
            Self::Body(error) => failed(error.to_string(), false),
            Self::Api(error) => error,
        }
    }
}

/// A gRPC app's answer: its code becomes an HTTP status, and anything but success its own body.
fn grpc_response(reply: Reply, mut headers: HeaderMap, asked: Asked) -> Result<Response, OutcomeError> {
    let status = code::http_from_grpc(reply.status.code);
    if status == 200 {
        set_content_type(&mut headers, &reply);
        return Ok(assemble(StatusCode::OK, headers, reply.body, asked.version));
    }
    let body = status_json(&reply.status)
        .map_err(|error| OutcomeError::Api(Error::MalformedResponse(error.to_string())))?;
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    Ok(assemble(
        status_of(status),
        headers,
        Body::from(body),
        asked.version,
    ))
}

fn events(mut headers: HeaderMap, body: Body, version: Version) -> Response {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if version < Version::HTTP_2 {
        headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
    }
    assemble(StatusCode::OK, headers, body, version)
}

/// Drops the context that stands for none: while tracing is off, clients must not see it.
fn forget_no_trace(headers: &mut HeaderMap) {
    if headers
        .get(TRACEPARENT)
        .is_some_and(|context| context == NO_TRACE)
    {
        headers.remove(TRACEPARENT);
    }
}

fn set_content_type(headers: &mut HeaderMap, reply: &Reply) {
    if !reply.type_url.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    } else if !reply.content_type.is_empty()
        && let Ok(value) = HeaderValue::from_maybe_shared(reply.content_type.clone().into_bytes())
    {
        headers.insert(CONTENT_TYPE, value);
    }
}

/// A body goes out in the chunks it comes in, without a length, unless one is set or there is no body.
fn assemble(status: StatusCode, mut headers: HeaderMap, body: Body, version: Version) -> Response {
    let has_length = headers.contains_key(CONTENT_LENGTH) || body.is_end_stream();
    if version == Version::HTTP_11 && !has_length {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let is_at_hand = body.size_hint().exact().is_some();
    let mut response = Response::new(if is_at_hand {
        body
    } else {
        Body::new(Watched(body))
    });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Reads a body so that its length is known; what is too long to be held goes on as a stream.
pub(super) async fn hold(mut body: Body) -> Result<(Body, Option<u64>), BoxError> {
    let mut held = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        held.extend_from_slice(&data);
        if held.len() > MOST_HELD {
            return Ok((
                Body::new(Rejoined {
                    front: Some(held.freeze()),
                    rest: body,
                }),
                None,
            ));
        }
    }
    let length = held.len() as u64;
    Ok((Body::from(held.freeze()), Some(length)))
}

// === impl Watched ===

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.get_mut().0).poll_frame(cx);
        if let Poll::Ready(Some(Err(error))) = &polled {
            tracing::warn!(
                target: "dapr.runtime.http",
                "HTTP service invocation failed to complete with error: {error}"
            );
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

// === impl Rejoined ===

impl HttpBody for Rejoined {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match this.front.take() {
            Some(front) => Poll::Ready(Some(Ok(Frame::data(front)))),
            None => Pin::new(&mut this.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.front.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use outrigger_link::{Metadata, ReplyStatus};
    use outrigger_svc::collect_limited;

    use super::*;

    const PLAIN: Asked = Asked {
        version: Version::HTTP_11,
        is_streaming: false,
        wants_events: false,
        is_traced: true,
    };

    fn reply(code: i32, headers: &[(&str, &str)], content_type: &str, body: &'static str) -> Reply {
        Reply {
            status: ReplyStatus::new(code),
            headers: headers.iter().copied().collect::<Metadata>(),
            content_type: content_type.into(),
            body: Body::from(body),
            ..Reply::default()
        }
    }

    async fn answered(reply: Reply, asked: Asked) -> (u16, String, String) {
        let response = response(reply, asked, &TraceContext::ZERO).await.unwrap();
        let headers = response.headers();
        let mut names: Vec<_> = headers
            .iter()
            .filter(|(name, _)| *name != "traceparent")
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        names.sort();
        let (status, names) = (response.status().as_u16(), names.join("; "));
        let body = collect_limited(response.into_body(), 1024).await.unwrap();
        (status, names, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn an_http_apps_answer_reaches_the_client() {
        let streaming = Asked {
            is_streaming: true,
            ..PLAIN
        };
        let http2 = Asked {
            version: Version::HTTP_2,
            ..PLAIN
        };
        let events = Asked {
            wants_events: true,
            ..PLAIN
        };
        let dated = [("Date", "d"), ("Content-Type", "ignored")];
        let table = [
            (
                reply(200, &dated, "t", "x"),
                PLAIN,
                200,
                "content-type: t; date: d; transfer-encoding: chunked",
                "x",
            ),
            (reply(200, &[], "t", "x"), http2, 200, "content-type: t", "x"),
            (reply(201, &[], "", ""), PLAIN, 201, "", ""),
            (
                reply(302, &[("Location", "/l")], "", "x"),
                PLAIN,
                302,
                "location: /l; transfer-encoding: chunked",
                "x",
            ),
            (
                reply(418, &[], "t", "short"),
                PLAIN,
                418,
                "content-length: 5; content-type: t",
                "short",
            ),
            (
                reply(500, &[], "", ""),
                PLAIN,
                500,
                "content-length: 0; content-type: application/json",
                "",
            ),
            (
                reply(101, &[], "", ""),
                PLAIN,
                101,
                "content-length: 0; content-type: application/json",
                "",
            ),
            (
                reply(999, &[], "t", "x"),
                PLAIN,
                999,
                "content-length: 1; content-type: t",
                "x",
            ),
            (
                reply(500, &[], "t", "x"),
                streaming,
                500,
                "content-type: t; transfer-encoding: chunked",
                "x",
            ),
            (
                reply(201, &[("X-A", "b")], "t", "data: 1\n\n"),
                events,
                200,
                "cache-control: no-cache; connection: keep-alive; content-type: text/event-stream; \
                 transfer-encoding: chunked; x-a: b",
                "data: 1\n\n",
            ),
        ];
        for (reply, asked, status, headers, body) in table {
            let expected = (status, headers.to_owned(), body.to_owned());
            assert_eq!(answered(reply, asked).await, expected);
        }
    }

    #[tokio::test]
    async fn a_grpc_apps_status_becomes_an_http_status() {
        let table = [
            (1, 408),
            (2, 500),
            (3, 400),
            (5, 404),
            (7, 403),
            (8, 429),
            (12, 501),
            (14, 503),
            (16, 401),
            (20, 500),
        ];
        for (code, status) in table {
            let mut reply = reply(code, &[], "t", "ignored");
            reply.status.message = "m".into();
            let expected = (
                status,
                "content-type: text/plain; charset=utf-8; transfer-encoding: chunked".to_owned(),
                format!(r#"{{"code":{code},"message":"m"}}"#),
            );
            assert_eq!(answered(reply, PLAIN).await, expected);
        }
        let mut success = reply(0, &[], "application/grpc", "x");
        success.type_url = "type.googleapis.com/x.Y".into();
        let (status, headers, body) = answered(success, PLAIN).await;
        assert_eq!((status, body.as_str()), (200, "x"));
        assert_eq!(
            headers,
            "content-type: application/x-protobuf; transfer-encoding: chunked"
        );
    }

    #[tokio::test]
    async fn a_long_error_answer_is_not_held() {
        let frames = (0..5).map(|_| Ok::<_, BoxError>(Frame::data(Bytes::from(vec![b'x'; 1 << 20]))));
        let body = Body::new(http_body_util::StreamBody::new(futures_util::stream::iter(
            frames,
        )));
        let reply = Reply {
            status: ReplyStatus::new(500),
            body,
            ..Reply::default()
        };
        let response = response(reply, PLAIN, &TraceContext::ZERO).await.unwrap();
        assert!(!response.headers().contains_key(CONTENT_LENGTH));
        let body = collect_limited(response.into_body(), 6 << 20).await.unwrap();
        assert_eq!(body.len(), 5 << 20);
    }
}
