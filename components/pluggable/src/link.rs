//! One connection to the process behind a socket.

use std::error::Error;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderName, HeaderValue, Request, Response, Uri};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Bytes;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use outrigger_kit::quote::go_quote;
use outrigger_kit::system;
use outrigger_svc::BoxFuture;
use tokio::net::UnixStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use tower::Service;

use crate::SCOPE;

/// Metadata that names the component which a call is meant for.
const INSTANCE: HeaderName = HeaderName::from_static("x-component-instance");
/// Bytes that a component may send before they are taken, on one stream and on all.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// An open connection. It closes when the last clone is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    sender: http2::SendRequest<tonic::body::Body>,
    socket: Arc<Path>,
    instance: Option<HeaderValue>,
    ended: CancellationToken,
}

/// A file as it was when it was connected to: a process that is started anew makes it anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
    modified: (i64, i64),
}

/// A request that failed.
pub(crate) struct Failed {
    /// The request, if nothing of it was sent.
    pub(crate) unsent: Option<Request<tonic::body::Body>>,
    /// Why.
    pub(crate) status: Status,
}

pub(crate) type Reply = Response<UnsyncBoxBody<Bytes, Status>>;

// === impl Link ===

impl Link {
    /// Connects once.
    ///
    /// # Errors
    /// Unavailable, in the words of gRPC.
    pub(crate) async fn open(
        socket: &Arc<Path>,
        instance: Option<HeaderValue>,
    ) -> Result<(Self, Identity), Status> {
        let refused = |error: &io::Error| {
            let socket = socket.display();
            let reason = format!(
                "transport: Error while dialing: dial unix {socket}: connect: {}",
                system::text(error)
            );
            Status::unavailable(format!("connection error: desc = {}", go_quote(&reason)))
        };
        let identity = Identity::of(socket).map_err(|error| refused(&error))?;
        let stream = UnixStream::connect(socket)
            .await
            .map_err(|error| refused(&error))?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(socket, &error))?;
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(target: SCOPE, "a connection to a component ended: {error}");
            }
            drop(guard);
        });
        let link = Self {
            sender,
            socket: Arc::clone(socket),
            instance,
            ended,
        };
        Ok((link, identity))
    }

    /// Whether it takes requests.
    pub(crate) fn is_open(&self) -> bool {
        !self.ended.is_cancelled() && !self.sender.is_closed()
    }

    /// Resolves when it is no more.
    pub(crate) fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Sends a request.
    pub(crate) async fn send(&mut self, mut request: Request<tonic::body::Body>) -> Result<Reply, Failed> {
        if let Some(instance) = &self.instance {
            request.headers_mut().insert(INSTANCE, instance.clone());
        }
        let socket = Arc::clone(&self.socket);
        match self.sender.try_send_request(request).await {
            Ok(response) => {
                Ok(response.map(|body| body.map_err(move |error| broken(&socket, &error)).boxed_unsync()))
            }
            Err(mut failed) => Err(Failed {
                unsent: failed.take_message(),
                status: broken(&socket, failed.error()),
            }),
        }
    }
}

impl Service<Request<tonic::body::Body>> for Link {
    type Response = Reply;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Reply, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let mut link = self.clone();
        Box::pin(async move { link.send(request).await.map_err(|failed| failed.status) })
    }
}

// === impl Identity ===

impl Identity {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

/// The authority that gRPC gives to servers on Unix sockets.
pub(crate) fn origin() -> Uri {
    Uri::from_static("http://localhost")
}

/// The status that gRPC gives a call whose stream or connection has failed.
fn broken(socket: &Path, error: &hyper::Error) -> Status {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(stream) = current.downcast_ref::<h2::Error>()
            && stream.is_reset()
            && let Some(reason) = stream.reason()
        {
            return reset(reason);
        }
        if let Some(error) = current.downcast_ref::<io::Error>()
            && error.kind() == io::ErrorKind::ConnectionReset
        {
            let (socket, reason) = (socket.display(), system::text(error));
            let text = format!("error reading from server: read unix @->{socket}: read: {reason}");
            return Status::unavailable(text);
        }
        cause = current.source();
    }
    Status::unavailable("error reading from server: EOF")
}

/// The status of a stream that the component has reset.
fn reset(reason: h2::Reason) -> Status {
    let code = match reason {
        h2::Reason::REFUSED_STREAM => Code::Unavailable,
        h2::Reason::CANCEL => Code::Cancelled,
        h2::Reason::ENHANCE_YOUR_CALM | h2::Reason::FLOW_CONTROL_ERROR => Code::ResourceExhausted,
        h2::Reason::INADEQUATE_SECURITY => Code::PermissionDenied,
        _ => Code::Internal,
    };
    Status::new(
        code,
        format!("stream terminated by RST_STREAM with error code: {reason:?}"),
    )
}
