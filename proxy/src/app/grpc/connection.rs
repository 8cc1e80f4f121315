//! HTTP/2 connections to an app that speaks gRPC.

use std::error::Error;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::Shared;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use outrigger_kit::backoff::{Exponential, Policy};
use outrigger_link::{Status, code};
use outrigger_svc::{Body, BoxConnection, BoxFuture, Request};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use crate::app::dial::{Dialer, Origin};

/// The standing connections to one origin.
#[derive(Debug)]
pub(crate) struct Connections {
    origin: Origin,
    dialer: Dialer,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Vec<Link>,
    /// The attempt that is under way; all who want a connection wait for the same one.
    attempt: Option<Shared<BoxFuture<'static, Result<Link, Status>>>>,
}

/// One connection; clones share it.
#[derive(Clone)]
struct Link {
    sender: SendRequest<Body>,
    calls: Arc<AtomicUsize>,
    ended: CancellationToken,
}

/// A place among the calls of a connection, given back when dropped.
struct Place(Arc<AtomicUsize>);

/// A body that keeps its place among the calls until it has been read.
struct Held {
    inner: Incoming,
    _place: Place,
}

/// A connection that notices the first byte of the app.
struct Greeted {
    inner: BoxConnection,
    greeted: Arc<AtomicBool>,
}

/// Connections that are tried for a request which none has taken.
const ATTEMPTS: usize = 3;
/// Calls that one connection carries at once before another is opened.
const MAX_CALLS: usize = 2048;
/// Time that the app has to accept a connection and to greet on it.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes that the app may send before they are taken, on one stream and on all.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Most bytes of an answer's header list.
const MAX_HEADER_LIST: u32 = 16 << 20;
const SCOPE: &str = "dapr.runtime.grpc";

// === impl Connections ===

impl Connections {
    /// No connection yet.
    pub(crate) fn new(origin: Origin, dialer: Dialer) -> Self {
        Self {
            origin,
            dialer,
            state: Mutex::default(),
        }
    }

    /// Sends a request whose URI has a scheme and an authority.
    ///
    /// # Errors
    /// Unavailable if no connection could be opened or the one in use failed before an answer came.
    pub(crate) async fn send(&self, mut request: Request) -> Result<http::Response<Body>, Status> {
        // A connection may end just when it is chosen: a request that it did not take goes to another one.
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let mut link = self.link().await?;
            let place = Place::take(&link.calls);
            match link.sender.try_send_request(request).await {
                Ok(response) => return Ok(response.map(|inner| Body::new(Held { inner, _place: place }))),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => {
                        link.ended.cancel();
                        request = unsent;
                        last = Some(failed.into_error());
                    }
                    None => return Err(broken(&failed.into_error())),
                },
            }
        }
        Err(last
            .as_ref()
            .map_or_else(|| Status::unavailable("no connection to the app"), broken))
    }

    /// Opens a connection, and opens it again whenever it has ended; never resolves.
    pub(crate) async fn keep_warm(&self) {
        let mut pauses = Policy::from(Exponential::grpc_reconnect()).start();
        loop {
            match self.link().await {
                Ok(link) => {
                    pauses.reset();
                    link.ended.cancelled().await;
                }
                Err(status) => {
                    tracing::debug!(target: SCOPE, "the app cannot be reached: {}", status.message);
                    let pause = pauses.next_pause(Duration::ZERO).unwrap_or(PATIENCE);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// The connection to use next.
    async fn link(&self) -> Result<Link, Status> {
        let attempt = {
            let mut state = self.lock();
            state.open.retain(|link| !link.has_ended());
            if let Some(link) = state.open.iter().find(|link| link.has_room()) {
                return Ok(link.clone());
            }
            match &state.attempt {
                Some(attempt) if attempt.peek().is_none() => attempt.clone(),
                _ => {
                    let attempt = open(self.origin.clone(), self.dialer.clone()).boxed().shared();
                    state.attempt.insert(attempt).clone()
                }
            }
        };
        let link = attempt.await?;
        let mut state = self.lock();
        if !state
            .open
            .iter()
            .any(|open| Arc::ptr_eq(&open.calls, &link.calls))
        {
            state.open.push(link.clone());
        }
        Ok(link)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens one connection.
async fn open(origin: Origin, dialer: Dialer) -> Result<Link, Status> {
    let dialer = dialer.with_timeouts(PATIENCE, PATIENCE);
    let stream = dialer.dial(&origin).await.map_err(|error| {
        let text = format!("connection error: desc = \"transport: Error while dialing: {error}\"");
        Status::unavailable(text)
    })?;
    let greeted = Arc::new(AtomicBool::new(false));
    let stream = Greeted {
        inner: stream,
        greeted: Arc::clone(&greeted),
    };
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    let ended = CancellationToken::new();
    let guard = ended.clone().drop_guard();
    tokio::spawn(async move {
        let mut connection = std::pin::pin!(connection);
        let silent = async {
            tokio::time::sleep(PATIENCE).await;
            if greeted.load(Ordering::Relaxed) {
                std::future::pending().await
            }
        };
        let outcome = tokio::select! {
            outcome = connection.as_mut() => outcome.map_err(|error| error.to_string()),
            () = silent => Err("the app did not greet in time".to_owned()),
        };
        if let Err(error) = outcome {
            tracing::debug!(target: SCOPE, "a connection to the app ended: {error}");
        }
        drop(guard);
    });
    Ok(Link {
        sender,
        calls: Arc::default(),
        ended,
    })
}

/// The status that gRPC gives a call whose stream or connection has failed.
fn broken(error: &hyper::Error) -> Status {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(stream) = current.downcast_ref::<h2::Error>()
            && stream.is_reset()
            && let Some(reason) = stream.reason()
        {
            return reset(reason);
        }
        cause = current.source();
    }
    Status::unavailable(format!("error reading from server: {}", Root(error)))
}

/// The status of a stream that the app has reset.
fn reset(reason: h2::Reason) -> Status {
    let (code, name) = match reason {
        h2::Reason::NO_ERROR => (code::INTERNAL, "NO_ERROR"),
        h2::Reason::PROTOCOL_ERROR => (code::INTERNAL, "PROTOCOL_ERROR"),
        h2::Reason::INTERNAL_ERROR => (code::INTERNAL, "INTERNAL_ERROR"),
        h2::Reason::FLOW_CONTROL_ERROR => (code::RESOURCE_EXHAUSTED, "FLOW_CONTROL_ERROR"),
        h2::Reason::REFUSED_STREAM => (code::UNAVAILABLE, "REFUSED_STREAM"),
        h2::Reason::CANCEL => (code::CANCELED, "CANCEL"),
        h2::Reason::ENHANCE_YOUR_CALM => (code::RESOURCE_EXHAUSTED, "ENHANCE_YOUR_CALM"),
        h2::Reason::INADEQUATE_SECURITY => (code::PERMISSION_DENIED, "INADEQUATE_SECURITY"),
        other => {
            let text = format!(
                "stream terminated by RST_STREAM with error code: {}",
                u32::from(other)
            );
            return Status::internal(text);
        }
    };
    Status::new(
        code,
        format!("stream terminated by RST_STREAM with error code: {name}"),
    )
}

/// The innermost cause of an error.
struct Root<'a>(&'a hyper::Error);

impl fmt::Display for Root<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cause: &dyn Error = self.0;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        fmt::Display::fmt(cause, f)
    }
}

// === impl Link ===

impl Link {
    fn has_ended(&self) -> bool {
        self.ended.is_cancelled() || self.sender.is_closed()
    }

    fn has_room(&self) -> bool {
        self.calls.load(Ordering::Relaxed) < MAX_CALLS
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("open", &self.open.len())
            .finish_non_exhaustive()
    }
}

// === impl Place ===

impl Place {
    fn take(calls: &Arc<AtomicUsize>) -> Self {
        calls.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(calls))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Held ===

impl HttpBody for Held {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(cx));
        Poll::Ready(frame.map(|frame| frame.map_err(|error| broken(&error))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

// === impl Greeted ===

impl AsyncRead for Greeted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if buffer.filled().len() > before && !self.greeted.load(Ordering::Relaxed) {
            self.greeted.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Greeted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
