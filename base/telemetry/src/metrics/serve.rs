//! The endpoint that Prometheus scrapes.

use std::convert::Infallible;
use std::io::{self, Write};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::{Form, Metrics};

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
    let form = accepted_form(headers);
    let text = metrics.encode_as(form);
    let packed = if accepts_gzip(headers) {
        gzip(&text).ok()
    } else {
        None
    };
    let is_packed = packed.is_some();
    let mut response = Response::new(Full::new(packed.unwrap_or(text)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
    if is_packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// OpenMetrics if the scraper likes it at least as much as the form that everybody knows.
fn accepted_form(headers: &HeaderMap) -> Form {
    let quality = |kind| {
        let qualities = offers(headers, &ACCEPT).filter_map(|offer| quality_of(offer, kind));
        qualities.fold(0.0, f64::max)
    };
    let open = quality("application/openmetrics-text");
    if open > 0.0 && open >= quality("text/plain") {
        Form::OpenMetrics
    } else {
        Form::Text
    }
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    offers(headers, &ACCEPT_ENCODING)
        .filter_map(|offer| quality_of(offer, "gzip"))
        .any(|quality| quality > 0.0)
}

/// The members of the lists of a header.
fn offers<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
}

/// How much `wanted` is liked, 0 to 1; none if the member of the list is about something else.
fn quality_of(offer: &str, wanted: &str) -> Option<f64> {
    let mut parts = offer.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(wanted) {
        return None;
    }
    let quality = parts.find_map(|part| part.strip_prefix("q="));
    Some(quality.map_or(1.0, |quality| quality.parse().unwrap_or(0.0)))
}

fn gzip(text: &[u8]) -> io::Result<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    encoder.write_all(text)?;
    encoder.finish().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::SocketAddr;

    use flate2::read::GzDecoder;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::super::MetricsSettings;
    use super::*;

    struct Server {
        address: SocketAddr,
        stop: oneshot::Sender<()>,
        task: JoinHandle<()>,
    }

    async fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Metrics::new(&MetricsSettings::default()).unwrap();
        metrics.sentry().signed();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, metrics, async { drop(stopped.await) }));
        Server { address, stop, task }
    }

    /// Head and body of the answer to a request that ends its connection.
    async fn ask(address: SocketAddr, request: &str) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(format!("{request}Connection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let end = answer
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap();
        let body = answer.split_off(end + 4);
        (String::from_utf8(answer).unwrap(), body)
    }

    #[tokio::test]
    async fn every_path_and_method_is_answered_with_all_series() {
        let server = start().await;
        for line in [
            "GET / HTTP/1.1",
            "GET /metrics?x=1 HTTP/1.1",
            "POST /any/thing HTTP/1.1",
            "DELETE /x HTTP/1.1",
        ] {
            let (head, body) = ask(server.address, &format!("{line}\r\nHost: a\r\n")).await;
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
            assert!(
                head.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"),
                "{head}"
            );
            let body = String::from_utf8(body).unwrap();
            assert!(
                body.contains("\ndapr_sentry_cert_sign_success_total 1\n"),
                "{body}"
            );
            assert!(body.contains("\nprocess_resident_memory_bytes "), "{body}");
        }
        server.stop.send(()).unwrap();
        server.task.await.unwrap();
        assert!(TcpStream::connect(server.address).await.is_err());
    }

    #[tokio::test]
    async fn answers_are_compressed_if_the_client_accepts_it() {
        let server = start().await;
        let (head, body) = ask(
            server.address,
            "GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: deflate, gzip;q=0.5\r\n",
        )
        .await;
        assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
        let mut text = String::new();
        GzDecoder::new(body.as_slice()).read_to_string(&mut text).unwrap();
        assert!(text.contains("\ndapr_sentry_cert_sign_success_total 1\n"));
        let (head, _) = ask(
            server.address,
            "GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip;q=0, br\r\n",
        )
        .await;
        assert!(!head.contains("content-encoding"), "{head}");
    }

    #[test]
    fn the_form_is_the_one_that_the_scraper_likes_most() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let table = [
            ("", Form::Text),
            ("*/*", Form::Text),
            ("text/plain", Form::Text),
            ("application/json", Form::Text),
            (prometheus, Form::OpenMetrics),
            ("application/openmetrics-text", Form::OpenMetrics),
            (
                "text/plain, Application/OpenMetrics-Text; version=1.0.0",
                Form::OpenMetrics,
            ),
            ("text/plain, application/openmetrics-text;q=0.5", Form::Text),
            ("application/openmetrics-text;q=0", Form::Text),
            ("application/openmetrics-text;q=much", Form::Text),
        ];
        for (accept, form) in table {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(accepted_form(&headers), form, "{accept}");
        }
        assert_eq!(accepted_form(&HeaderMap::new()), Form::Text);
    }

    #[tokio::test]
    async fn the_open_form_says_what_it_is_and_ends_with_a_mark() {
        let server = start().await;
        let request = "GET / HTTP/1.1\r\nHost: a\r\nAccept: application/openmetrics-text;version=1.0.0\r\n";
        let (head, body) = ask(server.address, request).await;
        let kind = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";
        assert!(head.contains(kind), "{head}");
        let body = String::from_utf8(body).unwrap();
        assert!(
            body.contains("\n# TYPE dapr_sentry_cert_sign_success counter\n"),
            "{body}"
        );
        assert!(
            body.contains("\ndapr_sentry_cert_sign_success_total 1\n"),
            "{body}"
        );
        assert!(body.ends_with("\n# EOF\n"), "{body}");
    }

    #[tokio::test]
    async fn a_request_that_does_not_come_in_time_is_given_up() {
        let server = start().await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
        tokio::time::pause();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"),
            "{:?}",
            String::from_utf8_lossy(&answer)
        );
    }
}
