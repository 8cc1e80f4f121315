//! HTTP/1.1 connections to one server, kept alive for the next request.
//!
//! Each worker has a pool of its own, so that taking and returning a connection meets no other thread. The
//! connection that was used last is taken first: it is the least likely to have been closed meanwhile.
//! The number of connections is limited over all workers; beyond it a request waits until one is returned
//! or ends.

use std::collections::VecDeque;
use std::error::Error as _;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use outrigger_svc::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use super::dial::{Dialer, Origin};
use super::send_error::SendError;

/// One worker's connections to one origin.
#[derive(Debug)]
pub(crate) struct Pool(Arc<Lane>);

/// The body of an answer; its connection goes back to the pool when the body has ended.
pub(crate) struct PooledBody {
    inner: Incoming,
    checkout: Option<Checkout>,
    /// Whether the server said how long the body is. One that is shorter is taken as complete: what a server
    /// says about lengths ends here.
    has_length: bool,
}

/// Limits of a pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolSettings {
    /// Most connections, over all workers; 1024.
    pub(crate) max_connections: usize,
    /// Most connections that wait for work, a worker; 64 divided by the workers.
    pub(crate) max_idle: usize,
    /// Time that a connection waits for work before it is closed; 90 s.
    pub(crate) idle_timeout: Duration,
    /// Most bytes of the head of an answer; 4 KiB.
    pub(crate) max_head: usize,
}

/// What the pools of all workers share.
#[derive(Debug)]
struct Shared {
    origin: Origin,
    dialer: Dialer,
    settings: PoolSettings,
    connections: Arc<Semaphore>,
    waiting: Waiting,
    lanes: Mutex<Vec<Weak<Lane>>>,
}

/// The idle connections of one worker, the one used last at the back. Requests count this, not what is shared.
#[derive(Debug)]
struct Lane {
    shared: Arc<Shared>,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    queue: VecDeque<(SendRequest<Body>, Instant)>,
    is_swept: bool,
}

/// Requests that wait because the limit of connections is reached.
#[derive(Debug, Default)]
struct Waiting {
    count: AtomicUsize,
    queue: Mutex<VecDeque<oneshot::Sender<SendRequest<Body>>>>,
}

struct Checkout {
    sender: SendRequest<Body>,
    lane: Arc<Lane>,
}

// === impl PoolSettings ===

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_idle: 64,
            idle_timeout: Duration::from_secs(90),
            max_head: 4096,
        }
    }
}

// === impl Pool ===

impl Pool {
    /// A pool without connections; none is opened before the first request.
    pub(crate) fn new(origin: Origin, dialer: Dialer, settings: PoolSettings) -> Self {
        let connections = Arc::new(Semaphore::new(settings.max_connections));
        let lanes = Mutex::default();
        let shared = Shared {
            origin,
            dialer,
            settings,
            connections,
            waiting: Waiting::default(),
            lanes,
        };
        Self::lane_of(Arc::new(shared))
    }

    /// A pool for another worker: connections of its own, the same limit.
    pub(crate) fn for_worker(&self) -> Self {
        Self::lane_of(Arc::clone(&self.0.shared))
    }

    /// Sends a request whose URI is a path and returns the answer as soon as its head has arrived.
    ///
    /// A request that met a connection which ended before anything was sent goes to another one.
    ///
    /// # Errors
    /// [`SendError`] if no connection could be opened or the one in use failed.
    pub(crate) async fn send(
        &self,
        mut request: http::Request<Body>,
    ) -> Result<http::Response<PooledBody>, SendError> {
        while let Some(mut sender) = self.0.take() {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(self.answer(response, sender)),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(SendError::Transport(failed.into_error())),
                },
            }
        }
        // Boxed: most requests find a connection and should not carry the way of opening one.
        let mut sender = Box::pin(self.open()).await?;
        match sender.send_request(request).await {
            Ok(response) => Ok(self.answer(response, sender)),
            Err(error) => Err(SendError::Transport(error)),
        }
    }

    /// Sends a request on a new connection, which nobody else will use.
    ///
    /// # Errors
    /// [`SendError`] if it could not be opened or failed.
    pub(crate) async fn send_alone(
        &self,
        request: http::Request<Body>,
    ) -> Result<http::Response<PooledBody>, SendError> {
        let connections = Arc::clone(&self.0.shared.connections);
        let permit = connections.acquire_owned().await.map_err(|_| SendError::Closed)?;
        let mut sender = self.connect(permit).await?;
        let response = sender.send_request(request).await.map_err(SendError::Transport)?;
        Ok(response.map(PooledBody::alone))
    }

    fn lane_of(shared: Arc<Shared>) -> Self {
        let idle = Mutex::default();
        let lane = Arc::new(Lane { shared, idle });
        let mut lanes = lock(&lane.shared.lanes);
        lanes.retain(|lane| lane.strong_count() > 0);
        lanes.push(Arc::downgrade(&lane));
        drop(lanes);
        Self(lane)
    }

    fn answer(
        &self,
        response: http::Response<Incoming>,
        sender: SendRequest<Body>,
    ) -> http::Response<PooledBody> {
        let checkout = Checkout {
            sender,
            lane: Arc::clone(&self.0),
        };
        response.map(|inner| PooledBody::new(inner, checkout))
    }

    async fn open(&self) -> Result<SendRequest<Body>, SendError> {
        let connections = Arc::clone(&self.0.shared.connections);
        match connections.try_acquire_owned() {
            Ok(permit) => self.connect(permit).await,
            Err(_) => match self.0.shared.steal() {
                Some(sender) => Ok(sender),
                None => self.wait().await,
            },
        }
    }

    /// Waits until a connection is returned or one ends, whichever comes first.
    async fn wait(&self) -> Result<SendRequest<Body>, SendError> {
        let returned = self.0.shared.waiting.enter();
        let ended = Arc::clone(&self.0.shared.connections).acquire_owned();
        tokio::select! {
            Ok(sender) = returned => Ok(sender),
            Ok(permit) = ended => self.connect(permit).await,
            else => Err(SendError::Closed),
        }
    }

    async fn connect(&self, permit: OwnedSemaphorePermit) -> Result<SendRequest<Body>, SendError> {
        let stream = self.0.shared.dialer.dial(&self.0.shared.origin).await?;
        let (sender, connection) = http1::Builder::new()
            .title_case_headers(true)
            .max_header_size(self.0.shared.settings.max_head)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(SendError::Transport)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(target: "dapr.runtime.channels", "a connection to the app ended: {error}");
            }
            drop(permit);
        });
        Ok(sender)
    }
}

// === impl Shared ===

impl Shared {
    /// Takes an idle connection from any worker.
    fn steal(&self) -> Option<SendRequest<Body>> {
        let lanes = lock(&self.lanes);
        lanes
            .iter()
            .filter_map(Weak::upgrade)
            .find_map(|lane| lane.take())
    }
}

// === impl Lane ===

impl Lane {
    /// Takes the connection that was used last of those that can be used now.
    fn take(&self) -> Option<SendRequest<Body>> {
        let mut idle = lock(&self.idle);
        for index in (0..idle.queue.len()).rev() {
            let (sender, _) = &idle.queue[index];
            // One that is neither closed nor ready is still at the end of its last exchange: pass it by.
            if sender.is_closed() {
                idle.queue.remove(index);
            } else if sender.is_ready() {
                return idle.queue.remove(index).map(|(sender, _)| sender);
            }
        }
        None
    }

    fn put(self: &Arc<Self>, sender: SendRequest<Body>) {
        let settings = &self.shared.settings;
        let mut idle = lock(&self.idle);
        if idle.queue.len() >= settings.max_idle {
            idle.queue.pop_front();
        }
        if settings.max_idle > 0 {
            idle.queue.push_back((sender, Instant::now()));
        }
        if !std::mem::replace(&mut idle.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self), settings.idle_timeout));
        }
    }

    /// Closes what has waited too long; returns when to look again, none if nothing waits.
    fn expire(&self, idle_timeout: Duration) -> Option<Instant> {
        let mut idle = lock(&self.idle);
        while let Some((_, since)) = idle.queue.front() {
            if since.elapsed() < idle_timeout {
                return Some(*since + idle_timeout);
            }
            idle.queue.pop_front();
        }
        idle.is_swept = false;
        None
    }
}

async fn sweep(lane: Weak<Lane>, idle_timeout: Duration) {
    while let Some(next) = lane.upgrade().and_then(|lane| lane.expire(idle_timeout)) {
        tokio::time::sleep_until(next).await;
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idle")
            .field("connections", &self.queue.len())
            .finish_non_exhaustive()
    }
}

// === impl Waiting ===

impl Waiting {
    fn enter(&self) -> oneshot::Receiver<SendRequest<Body>> {
        let (give, returned) = oneshot::channel();
        self.count.fetch_add(1, Ordering::Relaxed);
        lock(&self.queue).push_back(give);
        returned
    }

    /// Gives a returned connection to the request that has waited longest, if there is one.
    fn offer(&self, mut sender: SendRequest<Body>) -> Option<SendRequest<Body>> {
        while self.count.load(Ordering::Relaxed) > 0 {
            let Some(waiter) = lock(&self.queue).pop_front() else {
                break;
            };
            self.count.fetch_sub(1, Ordering::Relaxed);
            match waiter.send(sender) {
                Ok(()) => return None,
                Err(unwanted) => sender = unwanted,
            }
        }
        Some(sender)
    }
}

// === impl Checkout ===

impl Checkout {
    fn give_back(self) {
        if self.sender.is_closed() {
            return;
        }
        if let Some(sender) = self.lane.shared.waiting.offer(self.sender) {
            self.lane.put(sender);
        }
    }
}

// === impl PooledBody ===

impl PooledBody {
    fn new(inner: Incoming, checkout: Checkout) -> Self {
        let has_length = inner.size_hint().exact().is_some();
        let mut body = Self {
            inner,
            checkout: Some(checkout),
            has_length,
        };
        body.give_back_at_end();
        body
    }

    /// A body whose connection serves no other request.
    fn alone(inner: Incoming) -> Self {
        let has_length = inner.size_hint().exact().is_some();
        Self {
            inner,
            checkout: None,
            has_length,
        }
    }

    fn give_back_at_end(&mut self) {
        if self.inner.is_end_stream()
            && let Some(checkout) = self.checkout.take()
        {
            checkout.give_back();
        }
    }
}

impl HttpBody for PooledBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => {
                if let Some(checkout) = self.checkout.take() {
                    checkout.give_back();
                }
            }
            Poll::Ready(Some(Ok(_))) => self.give_back_at_end(),
            Poll::Ready(Some(Err(error))) => {
                self.checkout = None;
                if self.has_length && is_cut_off(error) {
                    return Poll::Ready(None);
                }
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl fmt::Debug for PooledBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PooledBody")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// Whether a body ended because its connection did.
fn is_cut_off(error: &hyper::Error) -> bool {
    let system = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    system.is_some_and(|source| source.kind() == io::ErrorKind::UnexpectedEof)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
