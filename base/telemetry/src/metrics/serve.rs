//! The endpoint that Prometheus scrapes.

use std::convert::Infallible;
use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::Metrics;

/// Limit for reading a request, and for the silence between two.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after a connection could not be accepted, so that a full descriptor table does not cost a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers every request, whatever its path and method, with all series, until `stop` resolves.
///
/// Connections are closed then; a scrape that is cut off is made again.
pub async fn serve(listener: TcpListener, metrics: Metrics, stop: impl Future<Output = ()>) {
    let mut connections = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            () = &mut stop => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(answer(stream, metrics.clone()));
                }
                Err(error) => {
                    tracing::warn!(target: "dapr.metrics", "failed to accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn answer(stream: TcpStream, metrics: Metrics) {
    let respond = service_fn(|request: http::Request<hyper::body::Incoming>| {
        let response = response(&metrics, request.headers());
        async { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(READ_TIMEOUT)
        .serve_connection(TokioIo::new(stream), respond);
    // The other end sees for itself that its connection has failed.
    connection.await.ok();
}

fn response(metrics: &Metrics, headers: &HeaderMap) -> Response<Full<Bytes>> {
    let text = metrics.encode();
    let packed = if accepts_gzip(headers) {
        gzip(&text).ok()
    } else {
        None
    };
    let is_packed = packed.is_some();
    let mut response = Response::new(Full::new(packed.unwrap_or(text)));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    if is_packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = quality
            .trim()
            .strip_prefix("q=")
            .is_some_and(|quality| quality.parse() == Ok(0.0));
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

fn gzip(text: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    encoder.write_all(text)?;
    encoder.finish().map(Bytes::from)
}
