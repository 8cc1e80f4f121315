//! A small HTTP/1.1 server for documents that are answered at once.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use outrigger_svc::{Connection, Drain, DrainSignal};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// The body of an answer.
pub(crate) type Answer = Full<Bytes>;

/// How long a client may take to send the head of a request, or to shake hands.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long answers in flight may take once the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// How long accepting pauses when the process has no more file descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Yields the TLS settings of the next connection; nothing for plain HTTP.
pub(crate) type TlsSource = Arc<dyn Fn() -> Option<Arc<rustls::ServerConfig>> + Send + Sync>;

/// Serves connections until `stop`, then lets answers in flight finish.
pub(crate) async fn serve<H>(listener: TcpListener, tls: TlsSource, handler: H, stop: CancellationToken)
where
    H: Fn(&Request<Incoming>) -> Response<Answer> + Send + Sync + 'static,
{
    let handler = Arc::new(handler);
    let drain = Drain::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (tls, handler, signal) = (tls(), handler.clone(), drain.signal());
        let connection = {
            let signal = signal.clone();
            async move {
                let Some(config) = tls else {
                    return serve_connection(stream, &*handler, signal).await;
                };
                let shaken = tokio::time::timeout(HEAD_TIMEOUT, TlsAcceptor::from(config).accept(stream));
                if let Ok(Ok(stream)) = shaken.await {
                    serve_connection(stream, &*handler, signal).await;
                }
            }
        };
        tokio::spawn(signal.track(connection));
    }
    drop(listener);
    drain.run(Some(GRACE)).await;
}

/// The answer to a path that is not served.
pub(crate) fn not_found() -> Response<Answer> {
    plain(StatusCode::NOT_FOUND, "404 page not found")
}

/// An error as plain text.
pub(crate) fn plain(status: StatusCode, text: &str) -> Response<Answer> {
    let mut response = Response::new(Answer::from(format!("{text}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn serve_connection<S, H>(stream: S, handler: &H, signal: DrainSignal)
where
    S: Connection,
    H: Fn(&Request<Incoming>) -> Response<Answer>,
{
    let service = service_fn(|request| ready(Ok::<_, Infallible>(handler(&request))));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    // How a connection ends is its client's affair.
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = signal.stopping() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(target: "dapr.sentry", "HTTP connection failed: {error}");
    }
}
