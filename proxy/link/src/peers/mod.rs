//! The pool of links to other sidecars. Source: specification, service invocation 10.1 and 14.

mod dial;
mod pool;
mod route;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, request};
use http_body::Body as _;
use outrigger_identity::{AnchorSource, SvidSource};
use outrigger_kit::backoff::{Pauses, Policy};
use outrigger_kit::duration::format_go;
use outrigger_svc::{Body, Connect};
use outrigger_telemetry::trace::TraceContext;
use tokio::time::Instant;

pub use self::dial::TcpConnect;
use self::pool::Pool;
pub use self::route::Route;
use crate::client::{Attempt, Checkout, Opened};
use crate::{CallError, Invocation, Link, PeerSettings, ReplayBody, Reply, Status, code};

/// Calls other sidecars over standing connections.
///
/// Each worker has links of its own, so that calls of different workers meet nowhere. Cheap to clone.
#[derive(Clone)]
pub struct Peers {
    pool: Arc<Pool>,
    on_discard: Option<Arc<Forget>>,
}

/// A sidecar to call: where it is and who it must be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddress {
    /// Resolved address of the internal port, `host:port`.
    pub address: Arc<str>,
    /// App id that the peer must prove to have.
    pub app_id: Arc<str>,
    /// Namespace that the peer must prove to be in.
    pub namespace: Arc<str>,
}

/// How links are secured.
#[derive(Clone)]
pub enum Security {
    /// Plain TCP.
    Plain,
    /// TLS in which both ends prove their identities.
    Mutual {
        /// The own identity, read anew for each connection.
        svid: SvidSource,
        /// Whom to trust.
        anchors: AnchorSource,
    },
}

/// Whether a call is made again if the peer is unavailable or does not know this side.
///
/// It is made at once if the route leads to a peer that the call has not tried, else after a pause.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Retries<'a> {
    /// Never; a body that is not at hand as a whole is not kept.
    None,
    /// `DaprBuiltInServiceRetries`: three times, a second apart. The body is kept until the answer begins.
    BuiltIn,
    /// The same with other pauses.
    Paused(&'a Policy),
}

/// A stream to the peer of a route, opened for a request whose body has not been touched.
///
/// Dropping it cancels the request.
#[derive(Debug)]
pub struct OpenStream<R> {
    opened: Opened,
    route: R,
}

/// Told of each peer whose link was given up.
type Forget = dyn Fn(&PeerAddress) + Send + Sync;

static BUILT_IN_RETRIES: Policy = Policy::Constant {
    pause: Duration::from_secs(1),
    max_retries: Some(3),
};
/// How log lines call the retries.
const RETRIES: &str = "DaprBuiltInServiceRetries";

const LOG: &str = "dapr.runtime.direct_messaging";
const RUNTIME: &str = "dapr.runtime";

// === impl Peers ===

impl Peers {
    /// A pool without links, which opens connections by `connect`.
    #[must_use]
    pub fn new(settings: PeerSettings, security: Security, connect: Arc<dyn Connect>) -> Self {
        Self {
            pool: Pool::new(settings, security, connect),
            on_discard: None,
        }
    }

    /// Has `forget` called for each peer whose link was given up, so that its address is resolved anew.
    #[must_use]
    pub fn on_discard(mut self, forget: impl Fn(&PeerAddress) + Send + Sync + 'static) -> Self {
        self.on_discard = Some(Arc::new(forget));
        self
    }

    /// Makes a call and returns when the answer has begun.
    ///
    /// The body of `call` is taken. A streaming call is never made again. `trace` is the span of the call;
    /// without one nothing is said of a trace. Dropping the future, or the body of the reply, cancels the call
    /// at the peer.
    ///
    /// # Errors
    /// The status that the peer ended the call with, or what went wrong on the way.
    pub async fn call(
        &self,
        mut route: impl Route,
        call: &mut Invocation,
        retries: Retries<'_>,
        trace: Option<&TraceContext>,
    ) -> Result<Reply, CallError> {
        let body = std::mem::take(&mut call.body);
        if call.upgrade {
            let body = ReplayBody::once(body);
            return self.attempt(&mut route, call, &body, trace).await;
        }
        let policy = match retries {
            Retries::BuiltIn if !call.streaming => &BUILT_IN_RETRIES,
            Retries::Paused(policy) if !call.streaming => policy,
            _ => {
                let body = ReplayBody::passing(body).await;
                return self.attempt(&mut route, call, &body, trace).await;
            }
        };
        let body = ReplayBody::keeping(body).await;
        // Only growing pauses are limited in time.
        let began = matches!(policy, Policy::Exponential(_)).then(Instant::now);
        let mut pauses = None;
        loop {
            let error = match self.attempt(&mut route, call, &body, trace).await {
                Err(error) if is_retriable(error.code()) => error,
                outcome => {
                    if let Some(pauses) = &pauses
                        && outcome.is_ok()
                    {
                        recovered(pauses);
                    }
                    return outcome;
                }
            };
            self.discard(route.peer());
            let pauses = pauses.get_or_insert_with(|| policy.start());
            let done = pauses.taken();
            let app_id = &route.peer().app_id;
            let error = error.wrapped(&format!(
                "failed to invoke target {app_id} after {done} retries. Error: "
            ));
            let elapsed = began.map_or(Duration::ZERO, |began| began.elapsed());
            let Some(pause) = pauses.next_pause(elapsed) else {
                return Err(error);
            };
            let pause = if route.advance() { Duration::ZERO } else { pause };
            if done == 0 {
                let shown = format_go(pause);
                tracing::warn!(target: RUNTIME, "Error processing operation {RETRIES}. Retrying in {shown}…");
                tracing::debug!(target: RUNTIME, "Error for operation {RETRIES} was: {error}");
            }
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// Passes a gRPC request on and returns when the response has begun; frames and trailers are not touched.
    ///
    /// If the stream cannot be opened because the peer is unavailable or does not know this side, the
    /// connection is made anew, or to the next peer of the route, and the stream opened once more. Dropping the
    /// body of the response cancels the request.
    ///
    /// # Errors
    /// If the peer cannot be reached, or resets the request before its response.
    pub async fn forward(
        &self,
        mut route: impl Route,
        request: Request<Body>,
    ) -> Result<Response<Body>, Status> {
        let (head, body) = request.into_parts();
        let stream = self.open_stream(&mut route, head, body.is_end_stream()).await?;
        stream.exchange(body).await
    }

    /// Opens the stream of a gRPC request, of which only the head is sent; `is_last` if it has no body.
    ///
    /// # Errors
    /// If no stream can be opened, as with [`forward`](Self::forward).
    pub async fn open_stream<R: Route>(
        &self,
        mut route: R,
        head: request::Parts,
        is_last: bool,
    ) -> Result<OpenStream<R>, Status> {
        let mut opened = self.open(route.peer(), head.clone(), is_last).await;
        if let Err(status) = &opened
            && is_retriable(status.code)
        {
            route.ended(Err(status.code));
            self.discard(route.peer());
            route.advance();
            opened = self.open(route.peer(), head, is_last).await;
        }
        match opened {
            Ok(opened) => Ok(OpenStream { opened, route }),
            Err(status) => {
                route.ended(Err(status.code));
                Err(status)
            }
        }
    }

    /// Gives up the links to a peer: new calls open a new one, running calls go on.
    pub fn discard(&self, peer: &PeerAddress) {
        self.pool.discard(peer);
        if let Some(forget) = &self.on_discard {
            forget(peer);
        }
    }

    /// Number of links that the current worker holds.
    #[must_use]
    pub fn links(&self) -> usize {
        self.pool.links()
    }

    /// Opens a stream to a peer for a request whose body has not been touched.
    async fn open(
        &self,
        peer: &PeerAddress,
        mut head: request::Parts,
        is_last: bool,
    ) -> Result<Opened, Status> {
        head.uri = dial::absolute(&head.uri, &peer.address)?;
        let (link, checkout) = self.pool.link(peer).await?;
        let opened = link.open(head, is_last, checkout).await;
        opened.map_err(|failure| failure.status)
    }

    async fn attempt(
        &self,
        route: &mut impl Route,
        call: &mut Invocation,
        body: &ReplayBody,
        trace: Option<&TraceContext>,
    ) -> Result<Reply, CallError> {
        let outcome = self.call_once(route.peer(), call, body, trace).await;
        route.ended(outcome.as_ref().map(drop).map_err(CallError::code));
        outcome
    }

    async fn call_once(
        &self,
        peer: &PeerAddress,
        call: &mut Invocation,
        body: &ReplayBody,
        trace: Option<&TraceContext>,
    ) -> Result<Reply, CallError> {
        let mut may_repeat = body.is_replayable();
        loop {
            let (link, checkout) = self.pool.link(peer).await?;
            let attempt = match link.attempt(call, body.replay(), trace, checkout).await {
                Ok(reply) => return Ok(reply),
                Err(attempt) => attempt,
            };
            if attempt.unprocessed && may_repeat {
                // The peer was saying goodbye; another connection takes the call.
                self.pool.discard(peer);
                may_repeat = false;
                continue;
            }
            return match attempt.error {
                CallError::Status(status) if call.upgrade && is_unknown_method(&status) => {
                    let app_id = &peer.app_id;
                    let text = format!("the sidecar of app '{app_id}' does not support WebSocket");
                    Err(CallError::text(text))
                }
                CallError::Status(status) if status.code == code::UNIMPLEMENTED => {
                    self.call_unary(peer, call, body, trace).await
                }
                error => Err(error),
            };
        }
    }

    /// Calls a peer that does not know streamed calls.
    async fn call_unary(
        &self,
        peer: &PeerAddress,
        call: &mut Invocation,
        body: &ReplayBody,
        trace: Option<&TraceContext>,
    ) -> Result<Reply, CallError> {
        let app_id = &peer.app_id;
        if !body.is_replayable() {
            return Err(CallError::text(format!(
                "target app '{app_id}' is running a version of Dapr that does not support streaming-based \
                 service invocation"
            )));
        }
        tracing::warn!(
            target: LOG,
            "App {app_id} does not support streaming-based service invocation, falling back to unary calls"
        );
        let data = outrigger_svc::collect_limited(body.replay(), usize::MAX).await;
        let data = data.map_err(|error| CallError::text(error.to_string()))?;
        let (link, _checkout) = self.pool.link(peer).await?;
        let attempt = link.attempt_unary(call, &data, trace).await;
        attempt.map_err(|Attempt { error, .. }| error)
    }
}

// === impl OpenStream ===

impl<R: Route> OpenStream<R> {
    /// Sends the body and waits for the start of the response; both stream independently of each other.
    ///
    /// # Errors
    /// If the peer resets the stream before its response.
    pub async fn exchange(mut self, body: Body) -> Result<Response<Body>, Status> {
        let outcome = self.opened.exchange(body).await;
        self.route
            .ended(outcome.as_ref().map(drop).map_err(|status| status.code));
        outcome
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peers")
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

// === impl Security ===

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Mutual { .. } => "Mutual",
        })
    }
}

const fn is_retriable(code: i32) -> bool {
    matches!(code, code::UNAVAILABLE | code::UNAUTHENTICATED)
}

fn recovered(pauses: &Pauses) {
    let attempts = pauses.taken() + 1;
    tracing::info!(target: RUNTIME, "Recovered processing operation {RETRIES} after {attempts} attempts");
}

/// Whether a peer does not know the method that it was asked for. The reference takes unknown methods for
/// those of apps, and then misses the name of the app.
fn is_unknown_method(status: &Status) -> bool {
    matches!(status.code, code::UNIMPLEMENTED | code::UNKNOWN)
}

/// A link, and the count of the call on it.
type Checked = (Arc<Link>, Checkout);
