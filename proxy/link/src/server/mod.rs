//! The callee's end of a link.

mod answer;
mod call;
mod raw;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use outrigger_svc::{Body, BoxFuture, CallContext, Connection, DrainSignal};
use outrigger_telemetry::trace::TraceContext;
use tokio::time::{Instant, sleep, timeout};

use crate::framing::Driver;
use crate::transport::{Accepted, H2Acceptor, Request};
use crate::{Framing, Invocation, LinkSettings, Reply, Status};

/// What a sidecar does with the calls of its peers.
pub trait Callee: Send + Sync + 'static {
    /// Whether calls can be taken at all; asked before a call is looked into.
    ///
    /// # Errors
    /// The status that every call is answered with meanwhile, such as that of a missing app channel.
    fn admit(&self) -> Result<(), Status> {
        Ok(())
    }

    /// Answers a call of `CallLocalStream` or `CallLocal`.
    ///
    /// The body of the call is still coming in while this runs. The future is dropped if the caller gives up.
    fn invoke(
        &self,
        scope: CallScope,
        call: Invocation,
    ) -> impl Future<Output = Result<Reply, Status>> + Send;

    /// Answers any other request; body frames and trailers pass unchanged.
    ///
    /// The request has the [`CallContext`] of the connection in its extensions.
    fn other(&self, request: http::Request<Body>) -> impl Future<Output = http::Response<Body>> + Send;
}

/// Where a call comes from.
#[derive(Clone, Debug)]
pub struct CallScope {
    /// The connection that the call came in by.
    pub context: CallContext,
    /// The span of the caller; none if the call names none.
    pub trace: Option<TraceContext>,
    /// By which method the call came.
    pub form: CallForm,
}

/// How the body of a call travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallForm {
    /// In pieces, by `CallLocalStream`.
    #[default]
    Stream,
    /// As a whole, by `CallLocal`: the way of old callers.
    Unary,
}

/// What all calls of one connection share.
#[derive(Debug)]
struct Shared<C> {
    settings: Arc<LinkSettings>,
    callee: Arc<C>,
    context: CallContext,
    /// Requests that are being answered.
    running: AtomicUsize,
}

/// Time that a client has to greet.
const GREETING: Duration = Duration::from_secs(30);

/// Serves the calls of one connection until the peer leaves or the drain is over.
///
/// The greeting of the server is sent before that of the client is read. After [`LinkSettings::idle_after`]
/// without requests, and when the drain begins, the peer is told to go elsewhere; running requests end first.
pub async fn serve<IO, C>(
    io: IO,
    settings: Arc<LinkSettings>,
    context: CallContext,
    callee: Arc<C>,
    drain: DrainSignal,
) where
    IO: Connection,
    C: Callee,
{
    let shared = Arc::new(Shared {
        settings,
        callee,
        context,
        running: AtomicUsize::new(0),
    });
    match shared.settings.framing {
        Framing::H2 => serve_h2(io, shared, drain).await,
        Framing::Own => serve_own(io, shared, drain).await,
    }
}

async fn serve_own<IO: Connection, C: Callee>(io: IO, shared: Arc<Shared<C>>, drain: DrainSignal) {
    let settings = Arc::clone(&shared.settings);
    let (handle, driver) = Driver::server(io, &settings, move |accepted| Arc::clone(&shared).spawn(accepted));
    let mut driver = pin!(driver);
    tokio::select! {
        biased;
        () = &mut driver => return,
        () = drain.stopping() => handle.shut_down(),
    }
    driver.await;
}

async fn serve_h2<IO: Connection, C: Callee>(io: IO, shared: Arc<Shared<C>>, drain: DrainSignal) {
    let accepted = timeout(GREETING, H2Acceptor::accept(io, &shared.settings)).await;
    let Ok(Ok(mut acceptor)) = accepted else { return };
    let idle_after = shared.settings.idle_after;
    let mut keep_alive = pin!(acceptor.keep_alive(&shared.settings));
    let mut stopping = pin!(drain.stopping());
    let mut idle = pin!(sleep(idle_after));
    let mut is_leaving = false;
    loop {
        tokio::select! {
            accepted = std::future::poll_fn(|cx| acceptor.poll_request(cx)) => {
                let Some(Ok(accepted)) = accepted else { return };
                idle.as_mut().reset(Instant::now() + idle_after);
                shared.clone().spawn(accepted);
            }
            () = &mut idle, if !is_leaving => {
                if shared.running.load(Ordering::Relaxed) == 0 {
                    is_leaving = true;
                    acceptor.shut_down();
                } else {
                    idle.as_mut().reset(Instant::now() + idle_after);
                }
            }
            () = &mut stopping, if !is_leaving => {
                is_leaving = true;
                acceptor.shut_down();
            }
            () = &mut keep_alive => return,
        }
    }
}

// === impl Shared ===

impl<C: Callee> Shared<C> {
    fn spawn(self: Arc<Self>, accepted: Accepted) {
        let Accepted {
            request,
            responder,
            body,
        } = accepted;
        // Boxed: a future is moved several times on its way into a task, and these are large.
        let work: BoxFuture<'static, ()> = match request {
            Request::Call(call) => Box::pin(self.call(call, responder, body)),
            Request::Raw(head) => Box::pin(self.raw(head, responder, body)),
        };
        tokio::spawn(work);
    }
}

/// Counts one request as over when it is dropped.
struct Running<'a>(&'a AtomicUsize);

// === impl Running ===

impl<'a> Running<'a> {
    fn count(running: &'a AtomicUsize) -> Self {
        running.fetch_add(1, Ordering::Relaxed);
        Self(running)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
