//! WebSocket from app to app: the step out of HTTP/1.1, and the bytes behind it.
//!
//! ```text
//! client ──GET, Upgrade──▶ API port ══ a call with open bodies ══▶ callee ──GET, Upgrade──▶ app
//! client ◀────── 101 ───── Switch   ◀═════════════════════════════        ◀────── 101 ───── app
//! client ◀═ bytes ══════════════════════════════════════════════════════════════════ bytes ═▶ app
//! ```
//!
//! Up to the 101 it is a call like any other: its token, its rights and its target are checked, it is measured
//! and traced, and it has its place among the calls in flight until the connection ends. What comes behind the
//! 101 is not looked at. Each direction is held back by its own reader. A client that ends its half lets the app
//! speak on; when the app ends its own, the call is over.
//!
//! Both sidecars must be of this kind. The specification knows no WebSocket and has the request stripped.

use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use outrigger_svc::{Body, BoxError, DrainSignal, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::oneshot;
use tokio_util::io::ReaderStream;

/// A client's connection that leaves HTTP if the answer to its request is 101. Travels with the request.
#[derive(Clone, Debug)]
pub(crate) struct Switch {
    upgrade: OnUpgrade,
    drain: DrainSignal,
}

/// A [`Switch`] whose incoming bytes are promised to a call.
#[derive(Debug)]
pub(crate) struct Promised {
    switch: Switch,
    give: oneshot::Sender<Reader>,
}

pub(crate) type Reader = ReadHalf<TokioIo<Upgraded>>;
pub(crate) type Writer = WriteHalf<TokioIo<Upgraded>>;

const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");
/// Bytes that are read at once; an idle connection holds no more at an end.
const PIECE: usize = 16 << 10;

/// Whether a request asks for WebSocket: `GET` by HTTP/1.1 with both tokens and without a body.
///
/// Source: RFC 6455 section 4.1, RFC 9110 section 7.8.
pub(crate) fn is_asked(request: &Request) -> bool {
    let headers = request.headers();
    request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && has_token(headers, &UPGRADE, "websocket")
        && has_token(headers, &CONNECTION, "upgrade")
        && !headers.contains_key(TRANSFER_ENCODING)
        && headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0")
}

/// Asks for WebSocket.
pub(crate) fn ask(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
}

/// The halves of a connection that has left HTTP.
pub(crate) fn halves(upgraded: Upgraded) -> (Reader, Writer) {
    tokio::io::split(TokioIo::new(upgraded))
}

/// A body of the bytes that come in, as they come; `guard` lives as long.
pub(crate) fn body_of<G: Send + 'static>(reader: impl AsyncRead + Send + 'static, guard: G) -> Body {
    let pieces = ReaderStream::with_capacity(reader, PIECE).map_ok(move |piece| {
        let _ = &guard;
        Frame::data(piece)
    });
    Body::new(StreamBody::new(pieces))
}

/// Writes a body to its end, each piece at once, and then ends that half of the connection.
///
/// # Errors
/// If the body breaks off or the connection does.
pub(crate) async fn pour(mut body: Body, mut writer: impl AsyncWrite + Unpin) -> Result<(), BoxError> {
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            writer.write_all(&data).await?;
            writer.flush().await?;
        }
    }
    Ok(writer.shutdown().await?)
}

/// Whether a header lists a token, in any letter case.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}

// === impl Switch ===

impl Switch {
    /// Lets a request take its connection out of HTTP. The connection counts as work of `drain` from then on.
    pub(crate) fn offer(request: &mut Request, drain: &DrainSignal) {
        let switch = Self {
            upgrade: hyper::upgrade::on(&mut *request),
            drain: drain.clone(),
        };
        request.extensions_mut().insert(switch);
    }

    /// Takes what was offered.
    pub(crate) fn take(extensions: &mut Extensions) -> Option<Self> {
        extensions.remove()
    }

    /// The bytes that the client will send, as a body that has none before, and ends if the client stays.
    pub(crate) fn promise(self) -> (Body, Promised) {
        let (give, reader) = oneshot::channel::<Reader>();
        let pieces = reader.map(|reader| match reader {
            Ok(reader) => ReaderStream::with_capacity(reader, PIECE)
                .map_ok(Frame::data)
                .left_stream(),
            Err(_) => stream::empty().right_stream(),
        });
        let pieces = pieces.flatten_stream();
        (
            Body::new(StreamBody::new(pieces)),
            Promised { switch: self, give },
        )
    }
}

// === impl Promised ===

impl Promised {
    /// Turns the answer into the 101 that lets the connection leave HTTP. Its body follows to the client from
    /// there on, and the promise is kept.
    pub(crate) fn keep(self, mut answer: Response, body: Body) -> Response {
        *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        ask(answer.headers_mut());
        let Self { switch, give } = self;
        let Switch { upgrade, drain } = switch;
        tokio::spawn(drain.track(async move {
            if let Err(error) = carry(upgrade, give, body).await {
                tracing::debug!(target: "dapr.runtime.http", "a WebSocket connection ended: {error}");
            }
        }));
        answer
    }
}

async fn carry(upgrade: OnUpgrade, give: oneshot::Sender<Reader>, body: Body) -> Result<(), BoxError> {
    let (reader, writer) = halves(upgrade.await?);
    // If the call takes no more bytes, its body is about to say why.
    drop(give.send(reader));
    pour(body, writer).await
}
