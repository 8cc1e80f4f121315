//! Serving one connection: HTTP/1.1 and h2c on the API ports, HTTP/2 on the gRPC port.

use std::convert::Infallible;
use std::error::Error;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{self, Either, Ready};
use http::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use http::{HeaderValue, StatusCode, Version};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use outrigger_svc::{
    BoxConnection, BoxedService, CallContext, DrainSignal, Request, Response, Service, Surface,
};

use crate::h2c::{self, Replayed};
use crate::listen::AsyncServe;
use crate::opening::{Opened, Running, Watched};
use crate::websocket::{self, Switch};

/// A stack that answers every request; its errors have become responses inside.
pub(crate) type HttpService = BoxedService<Request, Response, Infallible>;

/// How the HTTP ports speak: HTTP/1.1 with Go's spelling of header names, and h2c where it is on.
#[derive(Clone, Debug)]
pub(crate) struct ServeHttp {
    surface: Surface,
    builder: auto::Builder<TokioExecutor>,
    /// Serves connections where h2c is off.
    http1: http1::Builder,
    h2c: bool,
    head_limit: usize,
}

/// How the public gRPC port speaks: HTTP/2 with prior knowledge.
#[derive(Clone, Debug)]
pub(crate) struct ServeGrpc {
    builder: hyper::server::conn::http2::Builder<TokioExecutor>,
}

const HTTP: &str = "dapr.runtime.http";
/// Windows of an API connection: enough for a body in flight, not more than a client may make us hold.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Time without a call after which a gRPC client is asked to connect anew.
const IDLE: Duration = Duration::from_secs(180);
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));
/// Headers beyond the configured limit that are still read before the request is refused.
const HEADER_SLOP: usize = 4096;
/// The least that the HTTP/1 parser can be told to hold.
const LEAST_HEADER_BUFFER: usize = 8192;
/// The parser holds so many times the limit, so that a head that is too long is refused in words and not by the parser.
const HEADER_ROOM: usize = 8;
const TOO_LARGE: &str = "431 Request Header Fields Too Large";

// === impl ServeHttp ===

impl ServeHttp {
    /// `read_buffer` is the limit of request line and headers in bytes, to which 4096 are added.
    pub(crate) fn new(surface: Surface, read_buffer: usize, h2c: bool) -> Self {
        let head_limit = read_buffer.saturating_add(HEADER_SLOP);
        let max_buffer = head_limit.saturating_mul(HEADER_ROOM).max(LEAST_HEADER_BUFFER);
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .title_case_headers(true)
            // A client that has gone away ends the work on its request.
            .half_close(false)
            .max_buf_size(max_buffer);
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .title_case_headers(true)
            .half_close(false)
            .max_buf_size(max_buffer);
        builder
            .http2()
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(head_limit).unwrap_or(u32::MAX));
        Self {
            surface,
            builder,
            http1,
            h2c,
            head_limit,
        }
    }
}

impl AsyncServe<HttpService> for ServeHttp {
    fn serve(
        &self,
        server: HttpService,
        connection: BoxConnection,
        remote: Option<SocketAddr>,
        drain: DrainSignal,
    ) -> impl Future<Output = ()> + Send + 'static {
        let context = CallContext {
            surface: self.surface,
            remote,
            peer: None,
        };
        let (builder, http1, h2c) = (self.builder.clone(), self.http1.clone(), self.h2c);
        let head_limit = self.head_limit;
        async move {
            let upgrade = Some(Upgrade {
                builder: h2c.then(|| builder.clone()),
                drain: drain.clone(),
            });
            let opened = Opened::default();
            let answer = Answer {
                server,
                context,
                upgrade,
                opened: opened.clone(),
                head_limit,
            };
            let connection = TokioIo::new(Watched::new(connection, opened.clone(), drain.clone()));
            let outcome = if h2c {
                let connection = builder.serve_connection_with_upgrades(connection, answer);
                drive(
                    connection,
                    |connection| connection.graceful_shutdown(),
                    &opened,
                    drain.stopping(),
                )
                .await
            } else {
                let connection = http1.serve_connection(connection, answer).with_upgrades();
                drive(
                    connection,
                    |connection| connection.graceful_shutdown(),
                    &opened,
                    drain.stopping(),
                )
                .await
                .map_err(Into::into)
            };
            if let Err(error) = outcome {
                tell(&*error);
            }
        }
    }
}

/// Serves a connection to its end, which the client, its silence or `ending` brings about.
async fn drive<C, E>(
    connection: C,
    graceful_shutdown: impl FnOnce(Pin<&mut C>),
    opened: &Opened,
    ending: impl Future<Output = ()>,
) -> Result<(), E>
where
    C: Future<Output = Result<(), E>>,
{
    let mut connection = std::pin::pin!(connection);
    let mut ending = std::pin::pin!(ending);
    let mut settled = std::pin::pin!(opened.settled());
    let mut is_settled = false;
    // The connection comes first and what is rarely ready last: all of it is asked whenever the connection wakes.
    loop {
        tokio::select! {
            biased;
            outcome = connection.as_mut() => return outcome,
            () = ending.as_mut() => break,
            is_silent = settled.as_mut(), if !is_settled => {
                if is_silent {
                    return Ok(());
                }
                is_settled = true;
            }
        }
    }
    graceful_shutdown(connection.as_mut());
    tokio::select! {
        biased;
        outcome = connection => outcome,
        () = opened.forsaken() => Ok(()),
    }
}

/// Logs why a connection broke. Only invocation answers with bodies that can.
fn tell(error: &(dyn Error + 'static)) {
    let own = error
        .downcast_ref::<hyper::Error>()
        .filter(|error| error.is_user());
    match own.and_then(Error::source) {
        Some(cause) => {
            tracing::warn!(target: HTTP, "HTTP service invocation failed to complete with error: {cause}");
        }
        None => tracing::debug!(target: HTTP, "a connection ended: {error}"),
    }
}

// === impl ServeGrpc ===

impl ServeGrpc {
    /// `read_buffer` x 1024 is the limit of a header list in bytes.
    pub(crate) fn new(read_buffer: usize) -> Self {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .auto_date_header(false)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(None)
            .keep_alive_interval(KEEP_ALIVE.0)
            .keep_alive_timeout(KEEP_ALIVE.1)
            .max_header_list_size(u32::try_from(read_buffer.saturating_mul(1024)).unwrap_or(u32::MAX));
        Self { builder }
    }
}

impl AsyncServe<HttpService> for ServeGrpc {
    fn serve(
        &self,
        server: HttpService,
        connection: BoxConnection,
        remote: Option<SocketAddr>,
        drain: DrainSignal,
    ) -> impl Future<Output = ()> + Send + 'static {
        let context = CallContext {
            surface: Surface::Api,
            remote,
            peer: None,
        };
        let builder = self.builder.clone();
        async move {
            let opened = Opened::http2();
            let answer = Answer {
                server,
                context,
                upgrade: None,
                opened: opened.clone(),
                head_limit: usize::MAX,
            };
            let connection = builder.serve_connection(TokioIo::new(connection), answer);
            let ending = async {
                tokio::select! {
                    () = drain.stopping() => {}
                    () = opened.idle(IDLE) => {}
                }
            };
            let outcome = drive(
                connection,
                |connection| connection.graceful_shutdown(),
                &opened,
                ending,
            )
            .await;
            if let Err(error) = outcome {
                tracing::debug!(target: "dapr.runtime.grpc.api", "a connection ended: {error}");
            }
        }
    }
}

/// Gives each request of a connection the call context and the one body type.
#[derive(Clone)]
struct Answer {
    server: HttpService,
    context: CallContext,
    upgrade: Option<Upgrade>,
    opened: Opened,
    /// Most bytes of the head of an HTTP/1 request.
    head_limit: usize,
}

/// Waits for the answer to a request, which counts until the answer has been sent.
struct Answering {
    answer: <HttpService as Service<Request>>::Future,
    running: Option<Running>,
}

/// What it takes to go on with another protocol on the same connection.
#[derive(Clone)]
struct Upgrade {
    /// How HTTP/2 is spoken; none where h2c is off.
    builder: Option<auto::Builder<TokioExecutor>>,
    drain: DrainSignal,
}

// === impl Answer ===

impl hyper::service::Service<http::Request<Incoming>> for Answer {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<Answering, Ready<Result<Response, Infallible>>>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        self.opened.set();
        let running = (request.version() == Version::HTTP_2).then(|| self.opened.run());
        if running.is_none() && head_length(&request) > self.head_limit {
            return Either::Right(future::ready(Ok(too_large())));
        }
        let mut request = request.map(outrigger_svc::Body::from);
        if let Some(upgrade) = &self.upgrade
            && request.version() == Version::HTTP_11
            && request.headers().contains_key(UPGRADE)
        {
            if let Some(builder) = &upgrade.builder
                && h2c::is_asked(&request)
            {
                let frame = h2c::as_headers_frame(&request);
                let answer = Self {
                    upgrade: None,
                    ..self.clone()
                };
                let upgraded = hyper::upgrade::on(&mut request);
                let (builder, drain) = (builder.clone().http2_only(), upgrade.drain.clone());
                let work = go_on(builder, drain.clone(), upgraded, frame, answer);
                tokio::spawn(drain.track(work));
                return Either::Right(future::ready(Ok(h2c::switching())));
            }
            if websocket::is_asked(&request) {
                Switch::offer(&mut request, &upgrade.drain);
            }
        }
        request.extensions_mut().insert(self.context.clone());
        // Stacks of this crate are always ready: back pressure is the connection's own.
        let mut server = self.server.clone();
        let ready = future::poll_fn(|cx| server.poll_ready(cx)).now_or_never();
        debug_assert!(matches!(ready, Some(Ok(()))), "a stack was not ready");
        Either::Left(Answering {
            answer: server.call(request),
            running,
        })
    }
}

/// Bytes of request line and headers as HTTP/1 writes them.
fn head_length<B>(request: &http::Request<B>) -> usize {
    const LINE: usize = "  HTTP/1.1\r\n\r\n".len();
    const FIELD: usize = ": \r\n".len();
    let target = request
        .uri()
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    let fields = request.headers().iter();
    let fields: usize = fields
        .map(|(name, value)| name.as_str().len() + value.len() + FIELD)
        .sum();
    LINE + request.method().as_str().len() + target + fields
}

/// The answer to a head that is too long, after which the connection ends.
fn too_large() -> Response {
    let mut response = Response::new(TOO_LARGE.into());
    *response.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

// === impl Answering ===

impl Future for Answering {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Ok(response) = ready!(Pin::new(&mut self.answer).poll(cx));
        Poll::Ready(Ok(match self.running.take() {
            Some(running) => response.map(|body| running.until_sent(body)),
            None => response,
        }))
    }
}

/// Serves HTTP/2 on a connection once the `101` is written; `frame` is the first request.
async fn go_on(
    builder: auto::Builder<TokioExecutor>,
    drain: DrainSignal,
    upgraded: hyper::upgrade::OnUpgrade,
    frame: Bytes,
    answer: Answer,
) {
    let opened = answer.opened.clone();
    opened.set_http2();
    let outcome = match upgraded.await {
        Ok(upgraded) => {
            let replayed = TokioIo::new(Replayed::new(TokioIo::new(upgraded), frame));
            let connection = builder.serve_connection(replayed, answer);
            drive(
                connection,
                |connection| connection.graceful_shutdown(),
                &opened,
                drain.stopping(),
            )
            .await
        }
        Err(error) => Err(error.into()),
    };
    if let Err(error) = outcome {
        tracing::debug!(target: HTTP, "an upgraded connection ended: {error}");
    }
}
