//! The connection to the certificate authority.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use http_body_util::combinators::MapErr;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use outrigger_api::sentry::ca_client::CaClient;
use outrigger_kit::backoff::{Exponential, Policy};
use outrigger_kit::quote::go_quote;
use outrigger_svc::{BoxFuture, Connect};
use rustls::ClientConfig;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tower::Service;

use crate::LOG;
use crate::tls::{self, HandshakeError};

/// How long one try to connect may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// Opens connections to the authority.
pub(super) struct Dialer {
    connect: Arc<dyn Connect>,
    address: String,
    host: String,
    origin: Uri,
    tls: Arc<ClientConfig>,
}

/// An open connection. It closes when the last clone is dropped.
#[derive(Clone, Debug)]
pub(super) struct Link(http2::SendRequest<tonic::body::Body>);

/// Why one try to connect failed.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No byte stream to the address.
    #[error(
        "transport: Error while dialing: dial tcp {address}: {}",
        network_reason(error)
    )]
    Network {
        /// The address.
        address: String,
        /// What is wrong.
        error: io::Error,
    },
    /// TLS failed, or at the other end is somebody else.
    #[error("transport: authentication handshake failed: {0}")]
    Handshake(#[from] HandshakeError),
    /// HTTP/2 could not start.
    #[error("transport: {0}")]
    Http2(#[from] hyper::Error),
    /// It took too long.
    #[error("transport: authentication handshake failed: context deadline exceeded")]
    TimedOut,
}

/// The wait for a connection was called off; `last` is why the last try failed.
#[derive(Debug)]
pub struct ConnectError {
    /// Why the last try failed, if one has.
    pub last: Option<DialError>,
}

// === impl Dialer ===

impl Dialer {
    pub(super) fn new(connect: Arc<dyn Connect>, address: &str, tls: ClientConfig) -> Self {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        // The authority of the URI is for show: the server does not look at it.
        let origin = format!("https://{address}")
            .parse()
            .unwrap_or_else(|_| Uri::from_static("https://sentry"));
        Self {
            connect,
            address: address.to_owned(),
            host: host.to_owned(),
            origin,
            tls: Arc::new(tls),
        }
    }

    /// Tries to connect until it succeeds, with growing pauses, or `cancel` comes.
    pub(super) async fn dial_until(&self, cancel: &CancellationToken) -> Result<Link, ConnectError> {
        let mut pauses = Policy::from(Exponential::grpc_reconnect()).start();
        let mut last: Option<DialError> = None;
        loop {
            let started = Instant::now();
            let outcome = tokio::select! {
                outcome = self.dial() => outcome,
                () = cancel.cancelled() => return Err(ConnectError { last }),
            };
            let error = match outcome {
                Ok(link) => return Ok(link),
                Err(error) => error,
            };
            let text = error.to_string();
            if last.as_ref().is_none_or(|last| last.to_string() != text) {
                tracing::warn!(target: LOG, "Failed to connect to sentry, trying again: {text}");
            }
            last = Some(error);
            let pause = pauses.next_pause(Duration::ZERO).unwrap_or_default();
            tokio::select! {
                () = tokio::time::sleep_until(started + pause) => {}
                () = cancel.cancelled() => return Err(ConnectError { last }),
            }
        }
    }

    /// Tries to connect once, for at most 20 s.
    pub(super) async fn dial(&self) -> Result<Link, DialError> {
        tokio::time::timeout(CONNECT_TIMEOUT, self.open())
            .await
            .unwrap_or(Err(DialError::TimedOut))
    }

    /// The gRPC client on a connection.
    pub(super) fn client(&self, link: &Link) -> CaClient<Link> {
        CaClient::with_origin(link.clone(), self.origin.clone())
    }

    async fn open(&self) -> Result<Link, DialError> {
        let stream = self
            .connect
            .connect(&self.address)
            .await
            .map_err(|error| DialError::Network {
                address: self.address.clone(),
                error,
            })?;
        let stream = tls::connect(self.tls.clone(), &self.host, stream).await?;
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(target: LOG, "connection to sentry ended: {error}");
            }
        });
        Ok(Link(sender))
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

// === impl Link ===

impl Link {
    pub(super) fn is_open(&self) -> bool {
        !self.0.is_closed()
    }
}

/// A connection that breaks makes the service unavailable, so that the request is sent again.
impl Service<Request<tonic::body::Body>> for Link {
    type Response = Response<MapErr<Incoming, fn(hyper::Error) -> Status>>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Self::Response, Status>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        self.0.poll_ready(cx).map_err(unavailable)
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let response = self.0.send_request(request);
        Box::pin(async move {
            let response = response.await.map_err(unavailable)?;
            Ok(response.map(|body| body.map_err(unavailable as fn(hyper::Error) -> Status)))
        })
    }
}

// === impl ConnectError ===

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("context canceled")?;
        match &self.last {
            Some(error) => write!(f, ": connection error: desc = {}", go_quote(&error.to_string())),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConnectError {}

#[allow(clippy::needless_pass_by_value, reason = "the shape that combinators ask for")]
fn unavailable(error: hyper::Error) -> Status {
    Status::unavailable(format!("error reading from server: {error}"))
}

fn network_reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
        io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        _ => error.to_string(),
    }
}
