//! The step from HTTP/1.1 to cleartext HTTP/2 on one connection (`Upgrade: h2c`, RFC 7540 section 3.2).
//!
//! After the `101` the client speaks HTTP/2, and its first request, already read, counts as stream 1. The
//! HTTP/2 server knows nothing of that, so the request is put back in front of it: a HEADERS frame for
//! stream 1 is slipped in behind the client's preface and first SETTINGS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use outrigger_svc::Body;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::websocket::has_token;

/// A connection whose first request is given to the HTTP/2 server as stream 1.
#[derive(Debug)]
pub(crate) struct Replayed<T> {
    inner: T,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Collects the preface and the first SETTINGS frame; the frame waits behind them.
    Opening { seen: BytesMut, frame: Bytes },
    /// Bytes to be read before the connection's own.
    Giving(Bytes),
    /// Nothing is left to slip in.
    Through,
}

const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 1;
const END_STREAM_AND_HEADERS: u8 = 0x5;
/// A first SETTINGS frame longer than this is no client's; the connection ends.
const LONGEST_OPENING: usize = 16 * 1024;

/// Whether a request asks for h2c in the form that is granted: both tokens, valid settings, no body.
pub(crate) fn is_asked(request: &Request<Body>) -> bool {
    let headers = request.headers();
    has_token(headers, &UPGRADE, "h2c")
        && has_token(headers, &CONNECTION, "upgrade")
        && has_token(headers, &CONNECTION, "http2-settings")
        && headers
            .get(&HTTP2_SETTINGS)
            .is_some_and(|value| URL_SAFE_NO_PAD.decode(trim(value)).is_ok())
        && !headers.contains_key(TRANSFER_ENCODING)
        && headers.get(CONTENT_LENGTH).is_none_or(|length| length == "0")
}

/// The answer that opens the way: exactly `Connection: Upgrade` and `Upgrade: h2c`.
pub(crate) fn switching() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    response
        .headers_mut()
        .insert(UPGRADE, HeaderValue::from_static("h2c"));
    response
}

/// The request as a HEADERS frame of stream 1, literal fields only, connection headers left out.
pub(crate) fn as_headers_frame(request: &Request<Body>) -> Bytes {
    let mut block = BytesMut::with_capacity(512);
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let host = request
        .headers()
        .get(HOST)
        .map_or(&b""[..], HeaderValue::as_bytes);
    put_field(&mut block, b":method", request.method().as_str().as_bytes());
    put_field(&mut block, b":scheme", b"http");
    put_field(&mut block, b":authority", host);
    put_field(&mut block, b":path", target.as_bytes());
    for (name, value) in request.headers() {
        let hop = [CONNECTION, UPGRADE, HTTP2_SETTINGS, HOST, TRANSFER_ENCODING].contains(name);
        if !hop && !matches!(name.as_str(), "keep-alive" | "proxy-connection" | "te") {
            put_field(&mut block, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    let mut frame = BytesMut::with_capacity(FRAME_HEAD + block.len());
    frame.put_uint(block.len() as u64, 3);
    frame.put_u8(HEADERS);
    frame.put_u8(END_STREAM_AND_HEADERS);
    frame.put_u32(1);
    frame.put(block);
    frame.freeze()
}

// === impl Replayed ===

impl<T> Replayed<T> {
    /// Puts `frame` behind the opening bytes that `inner` still has to give.
    pub(crate) fn new(inner: T, frame: Bytes) -> Self {
        Self {
            inner,
            state: State::Opening {
                seen: BytesMut::new(),
                frame,
            },
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Replayed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.state {
                State::Through => return Pin::new(&mut this.inner).poll_read(cx, buf),
                State::Giving(bytes) if bytes.is_empty() => this.state = State::Through,
                State::Giving(bytes) => {
                    let count = bytes.len().min(buf.remaining());
                    buf.put_slice(&bytes[..count]);
                    bytes.advance(count);
                    return Poll::Ready(Ok(()));
                }
                State::Opening { seen, frame } => {
                    if let Some(end) = opening_end(seen) {
                        let mut all = BytesMut::with_capacity(seen.len() + frame.len());
                        all.put_slice(&seen[..end]);
                        all.put_slice(frame);
                        all.put_slice(&seen[end..]);
                        this.state = State::Giving(all.freeze());
                        continue;
                    }
                    if seen.len() > LONGEST_OPENING {
                        return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                    }
                    let mut chunk = [0; 1024];
                    let mut chunk = ReadBuf::new(&mut chunk);
                    ready!(Pin::new(&mut this.inner).poll_read(cx, &mut chunk))?;
                    if chunk.filled().is_empty() {
                        return Poll::Ready(Ok(()));
                    }
                    seen.put_slice(chunk.filled());
                }
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Replayed<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Where the preface and the first frame end, once they are there.
fn opening_end(seen: &[u8]) -> Option<usize> {
    let head = seen.get(PREFACE.len()..PREFACE.len() + FRAME_HEAD)?;
    let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
    let end = PREFACE.len() + FRAME_HEAD + length;
    (seen.len() >= end).then_some(end)
}

/// A literal header field without indexing (RFC 7541 section 6.2.2).
fn put_field(block: &mut BytesMut, name: &[u8], value: &[u8]) {
    block.put_u8(0);
    put_string(block, name);
    put_string(block, value);
}

fn put_string(block: &mut BytesMut, text: &[u8]) {
    const PREFIX: usize = 127;
    let mut rest = text.len();
    if rest < PREFIX {
        block.put_slice(&[u8::try_from(rest).unwrap_or(0)]);
    } else {
        block.put_u8(127);
        rest -= PREFIX;
        while rest >= 128 {
            block.put_u8(u8::try_from(rest % 128).unwrap_or(0) | 128);
            rest /= 128;
        }
        block.put_u8(u8::try_from(rest).unwrap_or(0));
    }
    block.put_slice(text);
}

/// Base64 as clients send it, with or without padding.
fn trim(value: &HeaderValue) -> &[u8] {
    let bytes = value.as_bytes();
    let end = bytes
        .iter()
        .rposition(|byte| *byte != b'=')
        .map_or(0, |last| last + 1);
    &bytes[..end]
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn asking() -> Request<Body> {
        Request::builder()
            .uri("/v1.0/healthz")
            .header("host", "localhost")
            .header("connection", "Upgrade, HTTP2-Settings")
            .header("upgrade", "h2c")
            .header("http2-settings", "AAMAAABkAAQAAP__")
            .body(Body::empty())
            .unwrap()
    }

    #[test]
    fn only_the_whole_form_without_a_body_asks_for_h2c() {
        assert!(is_asked(&asking()));
        for name in ["upgrade", "connection", "http2-settings"] {
            let mut request = asking();
            request.headers_mut().remove(name);
            assert!(!is_asked(&request), "without {name}");
        }
        let mut request = asking();
        request
            .headers_mut()
            .insert("content-length", HeaderValue::from_static("3"));
        assert!(!is_asked(&request));
    }

    #[tokio::test]
    async fn the_first_request_is_stream_1_of_the_http2_server() {
        let frame = as_headers_frame(&asking());
        let (client, server) = tokio::io::duplex(64 * 1024);
        let served = tokio::spawn(async move {
            let mut connection = h2::server::handshake(Replayed::new(server, frame)).await.unwrap();
            let (request, mut respond) = connection.accept().await.unwrap().unwrap();
            respond.send_response(Response::new(()), true).unwrap();
            let uri = request.uri().clone();
            tokio::spawn(async move { while connection.accept().await.is_some() {} });
            uri
        });
        let mut client = client;
        client.write_all(PREFACE).await.unwrap();
        client.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        assert_eq!(served.await.unwrap().to_string(), "http://localhost/v1.0/healthz");
        let mut answered = false;
        while !answered {
            let mut head = [0; FRAME_HEAD];
            client.read_exact(&mut head).await.unwrap();
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            client.read_exact(&mut payload).await.unwrap();
            answered = head[3] == HEADERS && head[8] == 1;
        }
    }

    #[test]
    fn long_strings_carry_their_length_in_pieces() {
        let mut block = BytesMut::new();
        put_string(&mut block, &[b'a'; 300]);
        assert_eq!(&block[..3], [127, 173, 1]);
    }
}
