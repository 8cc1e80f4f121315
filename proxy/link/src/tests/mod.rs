//! Whole links over pipes and over loopback, with either framing.

mod calls;
mod failures;
mod peers;
mod raw;
mod tls;
mod upgrade;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use outrigger_svc::{Body, BoxError, BoxFuture, CallContext, Connection, Drain, Surface, collect_limited};
use tokio::sync::mpsc;

use crate::{CallScope, Callee, Framing, Invocation, Link, LinkSettings, Reply, ReplyStatus, Status, serve};

type Answer = BoxFuture<'static, Result<Reply, Status>>;

/// A callee made of closures.
pub(crate) struct App {
    invoke: Box<dyn Fn(CallScope, Invocation) -> Answer + Send + Sync>,
    other: Box<dyn Fn(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send + Sync>,
    admission: Result<(), Status>,
}

/// The framings of both ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framings {
    pub(crate) client: Framing,
    pub(crate) server: Framing,
}

/// Each framing as the oracle of the other.
pub(crate) const FRAMINGS: [Framings; 4] = [
    Framings::of(Framing::H2, Framing::H2),
    Framings::of(Framing::Own, Framing::H2),
    Framings::of(Framing::H2, Framing::Own),
    Framings::of(Framing::Own, Framing::Own),
];

// === impl Framings ===

impl Framings {
    const fn of(client: Framing, server: Framing) -> Self {
        Self { client, server }
    }

    /// Whether neither end is the `h2` crate's.
    pub(crate) fn is_own(self) -> bool {
        self.client == Framing::Own && self.server == Framing::Own
    }

    pub(crate) fn client(self) -> LinkSettings {
        settings(self.client)
    }

    pub(crate) fn server(self) -> LinkSettings {
        settings(self.server)
    }
}

// === impl App ===

impl App {
    pub(crate) fn new<F, R>(invoke: F) -> Self
    where
        F: Fn(CallScope, Invocation) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Reply, Status>> + Send + 'static,
    {
        Self {
            invoke: Box::new(move |scope, call| Box::pin(invoke(scope, call))),
            other: Box::new(|_| Box::pin(async { Response::new(Body::empty()) })),
            admission: Ok(()),
        }
    }

    /// Answers with the body of the call, piece by piece, and with its metadata as headers.
    pub(crate) fn echo() -> Self {
        Self::new(|_, call| async move {
            Ok(Reply {
                status: ReplyStatus::new(200),
                headers: call.metadata,
                content_type: call.content_type,
                body: call.body,
                ..Reply::default()
            })
        })
    }

    /// Answers other requests, too.
    pub(crate) fn with_other<F, R>(mut self, other: F) -> Self
    where
        F: Fn(Request<Body>) -> R + Send + Sync + 'static,
        R: Future<Output = Response<Body>> + Send + 'static,
    {
        self.other = Box::new(move |request| Box::pin(other(request)));
        self
    }

    pub(crate) fn refusing(status: Status) -> Self {
        Self {
            admission: Err(status),
            ..Self::echo()
        }
    }
}

impl Callee for App {
    fn admit(&self) -> Result<(), Status> {
        self.admission.clone()
    }

    fn invoke(
        &self,
        scope: CallScope,
        call: Invocation,
    ) -> impl Future<Output = Result<Reply, Status>> + Send {
        (self.invoke)(scope, call)
    }

    fn other(&self, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send {
        (self.other)(request)
    }
}

pub(crate) fn settings(framing: Framing) -> LinkSettings {
    LinkSettings {
        framing,
        ..LinkSettings::default()
    }
}

pub(crate) fn context() -> CallContext {
    CallContext {
        surface: Surface::Internal,
        remote: None,
        peer: None,
    }
}

/// A link to a callee in the same process, and the drain of the callee.
pub(crate) async fn pair_with(
    app: App,
    framings: Framings,
    change: impl Fn(&mut LinkSettings),
) -> (Link, Drain) {
    let (mut client, mut server) = (framings.client(), framings.server());
    change(&mut client);
    change(&mut server);
    let (near, far) = tokio::io::duplex(64 << 10);
    let drain = Drain::new();
    spawn_server(far, app, server, &drain);
    let link = Link::connect(near, "callee:1".into(), Arc::new(client))
        .await
        .unwrap();
    (link, drain)
}

pub(crate) fn spawn_server<IO: Connection>(io: IO, app: App, settings: LinkSettings, drain: &Drain) {
    let serving = serve(io, Arc::new(settings), context(), Arc::new(app), drain.signal());
    tokio::spawn(drain.signal().track(serving));
}

pub(crate) async fn pair(app: App, framings: Framings) -> Link {
    pair_with(app, framings, |_| {}).await.0
}

/// A call with the metadata that every call has.
pub(crate) fn call_of(method: &'static str, body: Body) -> Invocation {
    let mut call = Invocation::new(method);
    call.metadata.push("dapr-caller-app-id", "caller");
    call.body = body;
    call
}

/// A body that is fed by the test.
pub(crate) fn fed() -> (mpsc::UnboundedSender<Result<Bytes, BoxError>>, Body) {
    let (feed, mut food) = mpsc::unbounded_channel::<Result<Bytes, BoxError>>();
    let frames = futures_util::stream::poll_fn(move |cx| food.poll_recv(cx));
    let frames = futures_util::StreamExt::map(frames, |piece| piece.map(Frame::data));
    (feed, Body::new(StreamBody::new(frames)))
}

/// Bytes that are not all the same.
pub(crate) fn noise(len: usize) -> Bytes {
    let mut state = 1_u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}

pub(crate) async fn read(body: Body) -> Result<Bytes, String> {
    collect_limited(body, usize::MAX)
        .await
        .map_err(|error| error.to_string())
}

/// Fails a test that waits for what never comes.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work)
        .await
        .expect("it takes too long")
}
