//! What the tests of this crate share: real loopback connections, an app in the same process.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture as Answer;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use outrigger_config::daprd::{AppProtocol, AppSettings};
use outrigger_link::TcpConnect;
use outrigger_resolver::LookupAddresses;
use outrigger_svc::{Body, BoxFuture, collect_limited};
use outrigger_telemetry::metrics::Metrics;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::dial::Dialer;
use super::{AppChannel, AppNetwork};
use crate::components::Handlers;

/// A resolver that knows no name: tests speak to addresses.
struct NoNames;

/// What an app does with a request.
pub(crate) type Handler = fn(Request<Incoming>) -> Answer<'static, Response<Body>>;

impl LookupAddresses for NoNames {
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, Result<Vec<IpAddr>, String>> {
        Box::pin(std::future::ready(Err(format!("{host} is not known here"))))
    }
}

/// Opens real connections to addresses.
pub(crate) fn dialer() -> Dialer {
    Dialer::new(Arc::new(NoNames), Arc::new(TcpConnect))
}

/// The network of one worker.
pub(crate) fn network(metrics: Metrics) -> AppNetwork {
    AppNetwork {
        lookup: Arc::new(NoNames),
        connect: Arc::new(TcpConnect),
        crypto: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        workers: 1,
        proxies: Arc::default(),
        read_buffer_size: 4096,
        metrics,
        handlers: Handlers::default(),
    }
}

/// Settings of an app that speaks HTTP.
pub(crate) fn settings(port: u16) -> AppSettings {
    AppSettings {
        port,
        protocol: AppProtocol::Http,
        channel_address: "127.0.0.1".to_owned(),
        max_concurrency: None,
        api_token: None,
        health: None,
        binding_options_timeout: std::time::Duration::from_secs(3),
    }
}

/// A channel to the app on this port.
pub(crate) fn channel(port: u16) -> AppChannel {
    AppChannel::open(&settings(port), 4 << 20, &network(Metrics::disabled()))
        .unwrap()
        .unwrap()
}

/// Starts an app; it ends with the test's runtime.
pub(crate) async fn start_app(handler: Handler) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer =
                service_fn(move |request| async move { Ok::<_, Infallible>(handler(request).await) });
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                // Clients hang up as they like.
                drop(server.serve_connection(TokioIo::new(stream), answer).await);
            });
        }
    });
    address
}

/// Starts an echo by TLS with a certificate for a name, which it is returned with.
pub(crate) async fn start_secure(name: &str) -> (SocketAddr, String) {
    let certified = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(network(Metrics::disabled()).crypto)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let answer = service_fn(|request| async { Ok::<_, Infallible>(echo(request).await) });
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
                drop(connection.await);
            });
        }
    });
    (address, certified.cert.pem())
}

/// An app that answers with what it got: method and target, headers by name, the length of the body.
pub(crate) fn echo(request: Request<Incoming>) -> Answer<'static, Response<Body>> {
    Box::pin(async move {
        let mut text = format!("{} {}\n", request.method(), request.uri());
        let mut headers: Vec<_> = request.headers().iter().collect();
        headers.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        for (name, value) in headers {
            text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
        }
        let body = collect_limited(request.into_body(), 1 << 30).await.unwrap();
        text.push_str(&format!("\n{} bytes", body.len()));
        let response = Response::builder()
            .header("content-type", "text/plain")
            .header("x-app", "yes");
        response.body(Body::from(text)).unwrap()
    })
}

/// The whole body as text.
pub(crate) async fn text(body: Body) -> String {
    let bytes = collect_limited(body, 1 << 30).await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A body in pieces, of unknown length.
pub(crate) fn streamed(pieces: &'static [&'static str]) -> Body {
    let frames = pieces.iter().map(|piece| {
        Ok::<_, outrigger_svc::BoxError>(http_body::Frame::data(Bytes::from_static(piece.as_bytes())))
    });
    Body::new(http_body_util::StreamBody::new(futures_util::stream::iter(
        frames,
    )))
}
