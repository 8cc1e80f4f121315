//! The standing way to one component: a connection that is opened again when it is lost.
//!
//! ```text
//! Open ──the connection ends──▶ Down ──a call, or the end of a pause──▶ try ──▶ Open
//!                                 ▲                                      │
//!                                 └────────────── it fails ──────────────┘
//! ```

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{HeaderValue, Request};
use outrigger_component::{Condition, Init};
use outrigger_kit::backoff::{Exponential, Policy};
use outrigger_svc::{BoxError, BoxFuture};
use tokio::sync::{Notify, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;
use tower::Service;

use crate::link::{Identity, Link, Reply};
use crate::refusal::RpcError;

/// Requests to one component. Clones share the connection.
#[derive(Clone, Debug)]
pub(crate) struct Channel(Arc<Shared>);

/// Tells a component its settings.
pub(crate) type Greet = dyn Fn(Link) -> BoxFuture<'static, Result<(), Status>> + Send + Sync;

#[derive(Debug)]
struct Shared {
    state: watch::Receiver<State>,
    /// Wakes the keeper of a connection that is down.
    wanted: Arc<Notify>,
    closed: CancellationToken,
    _closes: DropGuard,
}

#[derive(Clone, Debug)]
enum State {
    Open(Link),
    Down {
        /// How many times it was tried to open the connection.
        tries: u64,
        /// Why the last try failed.
        reason: Status,
    },
    Closed,
}

/// What it takes to open the connection again.
struct Keeper {
    dial: Dial,
    known: Identity,
    condition: Condition,
    state: watch::Sender<State>,
    wanted: Arc<Notify>,
    closed: CancellationToken,
}

struct Dial {
    socket: Arc<Path>,
    instance: HeaderValue,
    greet: Arc<Greet>,
}

/// Connections that are tried for a request which none has taken.
const ATTEMPTS: usize = 3;
/// How long one try to open a connection again may take, settings included.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest pause between two tries while nobody calls.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

// === impl Channel ===

impl Channel {
    /// Connects, and tells the component its settings.
    ///
    /// # Errors
    /// If nobody answers at the socket, or the component refuses its settings.
    pub(crate) async fn open(socket: &Arc<Path>, init: &Init, greet: Arc<Greet>) -> Result<Self, BoxError> {
        let dial = Dial {
            socket: Arc::clone(socket),
            instance: HeaderValue::from_bytes(init.name.as_bytes())?,
            greet,
        };
        let (link, known) = dial.open(None).await.map_err(RpcError::from)?;
        let (sender, receiver) = watch::channel(State::Open(link));
        let (wanted, closed) = (Arc::new(Notify::new()), CancellationToken::new());
        let keeper = Keeper {
            dial,
            known,
            condition: init.condition.clone(),
            state: sender,
            wanted: Arc::clone(&wanted),
            closed: closed.clone(),
        };
        tokio::spawn(keeper.run());
        Ok(Self(Arc::new(Shared {
            state: receiver,
            wanted,
            _closes: closed.clone().drop_guard(),
            closed,
        })))
    }

    /// Takes no more requests; those that run go on.
    pub(crate) fn close(&self) {
        self.0.closed.cancel();
    }

    /// The connection to use next. While it is down each call has it tried once more, and fails with the try.
    async fn link(&self) -> Result<Link, Status> {
        let shared = &*self.0;
        let mut state = shared.state.clone();
        let mut first = None;
        loop {
            match &*state.borrow_and_update() {
                State::Open(link) if link.is_open() => return Ok(link.clone()),
                State::Open(_) => {}
                State::Down { tries, reason } => {
                    if first.is_some_and(|first| *tries > first) {
                        return Err(reason.clone());
                    }
                    first.get_or_insert(*tries);
                    shared.wanted.notify_one();
                }
                State::Closed => return Err(closing()),
            }
            if state.changed().await.is_err() {
                return Err(closing());
            }
        }
    }

    async fn send(self, mut request: Request<tonic::body::Body>) -> Result<Reply, Status> {
        // A connection may end just when it is chosen: a request that it did not take goes to the next one.
        let mut status = closing();
        for _ in 0..ATTEMPTS {
            let mut link = self.link().await?;
            let failed = match link.send(request).await {
                Ok(reply) => return Ok(reply),
                Err(failed) => failed,
            };
            status = failed.status;
            match failed.unsent {
                Some(unsent) => request = unsent,
                None => break,
            }
        }
        Err(status)
    }
}

impl Service<Request<tonic::body::Body>> for Channel {
    type Response = Reply;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Reply, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

// === impl Keeper ===

impl Keeper {
    /// Keeps the connection open until the component is closed.
    async fn run(mut self) {
        let closed = self.closed.clone();
        closed.run_until_cancelled(self.keep()).await;
        self.state.send_replace(State::Closed);
    }

    async fn keep(&mut self) {
        let mut tries = 0;
        loop {
            let link = match &*self.state.borrow() {
                State::Open(link) => link.ended(),
                State::Down { .. } | State::Closed => return,
            };
            link.cancelled().await;
            let mut reason = Status::unavailable("the connection to the component is lost");
            let mut pauses = Policy::from(Exponential {
                max_interval: LONGEST_PAUSE,
                initial: Duration::from_millis(100),
                ..Exponential::grpc_reconnect()
            })
            .start();
            loop {
                self.condition.degraded(reason.message());
                self.state.send_replace(State::Down { tries, reason });
                if pauses.taken() > 0 {
                    let pause = pauses.next_pause(Duration::ZERO).unwrap_or(LONGEST_PAUSE);
                    // Ends early when somebody calls.
                    tokio::time::timeout(pause, self.wanted.notified()).await.ok();
                } else {
                    pauses.next_pause(Duration::ZERO);
                }
                tries += 1;
                let opened = tokio::time::timeout(PATIENCE, self.dial.open(Some(self.known))).await;
                match opened {
                    Ok(Ok((link, known))) => {
                        self.known = known;
                        self.state.send_replace(State::Open(link));
                        self.condition.well();
                        break;
                    }
                    Ok(Err(status)) => reason = status,
                    Err(_) => reason = Status::deadline_exceeded("context deadline exceeded"),
                }
            }
        }
    }
}

// === impl Dial ===

impl Dial {
    /// Connects. A process that is not the one already known is told the settings.
    async fn open(&self, known: Option<Identity>) -> Result<(Link, Identity), Status> {
        let (link, identity) = Link::open(&self.socket, Some(self.instance.clone())).await?;
        if known != Some(identity) {
            (self.greet)(link.clone()).await?;
        }
        Ok((link, identity))
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("socket", &self.dial.socket)
            .finish_non_exhaustive()
    }
}

/// What gRPC says to a call on a connection that its owner has closed.
fn closing() -> Status {
    Status::cancelled("grpc: the client connection is closing")
}
