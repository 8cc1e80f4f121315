//! A small HTTP/1.1 server for documents that are answered at once.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use outrigger_svc::{Connection, DrainSignal};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::listen::{self, PATIENCE};

/// The body of an answer.
pub(crate) type Answer = Full<Bytes>;

/// Yields the TLS settings of the next connection; nothing for plain HTTP.
pub(crate) type TlsSource = Arc<dyn Fn() -> Option<Arc<rustls::ServerConfig>> + Send + Sync>;

/// Serves connections until `stop`, then lets answers in flight finish.
pub(crate) async fn serve<H>(listener: TcpListener, tls: TlsSource, handler: H, stop: CancellationToken)
where
    H: Fn(&Request<Incoming>) -> Response<Answer> + Send + Sync + 'static,
{
    let handler = Arc::new(handler);
    listen::accept(listener, stop, |stream, signal| {
        let (tls, handler) = (tls(), handler.clone());
        async move {
            let Some(config) = tls else {
                return serve_connection(stream, &*handler, signal).await;
            };
            let handshake = TlsAcceptor::from(config).accept(stream);
            if let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, handshake).await {
                serve_connection(stream, &*handler, signal).await;
            }
        }
    })
    .await;
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
        .title_case_headers(true)
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), service);
    listen::drive(connection, signal).await;
}
