//! gRPC calls that are not ours: to the own app, or to the sidecar of another one.
//!
//! ```text
//! client ─▶ public server ─▶ not own app ─▶ policies ─▶ Network::forward ══▶ peer's internal server ─┐
//!               │                                                                                    ▼
//!               └─▶ own app ─▶ access control, token ─▶ GrpcApp::forward ◀──── own app ◀─────────────┘
//! ```
//!
//! Body frames and trailers are untouched and statuses are numbers, so that methods, message types, compression
//! and codes that nobody here knows get through.
//!
//! Source: specification, service invocation 13.

mod guarded;

use std::borrow::Cow;
use std::convert::Infallible;

use http::header::{CONTENT_TYPE, TE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, request};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use outrigger_error::code::reason_phrase;
use outrigger_kit::boolean::is_truthy;
use outrigger_kit::method::normalise;
use outrigger_link::{CallError, OpenStream, Status, code};
use outrigger_resilience::{Class, Policy};
use outrigger_svc::{Body, BoxError, BoxFuture, Request, Response, Surface};
use outrigger_telemetry::metrics::{Kind, Metrics};
use outrigger_telemetry::trace::{Position, TraceContext};
use tokio::time::Instant;

use crate::app::{GrpcApp, broken};
use crate::grpc_api::{Call, Observer, answer, answer_with, binary, observe, target_of};
use crate::invoke::Way;

/// What passing through asks of the runtime behind it.
pub(crate) trait Network: Clone + std::fmt::Debug + Send + Sync + 'static {
    /// Own app id.
    fn app_id(&self) -> &str;

    /// Whether the peer, if one is known, may call this operation of the own app, whatever the verb.
    ///
    /// # Errors
    /// The refusal of access control.
    fn permit(&self, peer: Option<&str>, operation: &str) -> Result<(), Status>;

    /// The own app, if it speaks gRPC.
    fn app(&self) -> Option<&GrpcApp>;

    /// Finds the sidecar of the app that `id` names and forwards a request to its internal server.
    ///
    /// # Errors
    /// When the request did not get there.
    fn forward(&self, id: &str, request: Request)
    -> impl Future<Output = Result<Response, CallError>> + Send;

    /// Finds the sidecar like [`forward`](Self::forward) and opens the stream of a request, without its body.
    ///
    /// # Errors
    /// When the stream could not be opened.
    fn open(
        &self,
        id: &str,
        head: request::Parts,
        is_last: bool,
    ) -> impl Future<Output = Result<OpenStream<Way>, CallError>> + Send;

    /// The policies of calls of a method of another app, if any apply.
    fn policy<'a>(&'a self, app_id: &'a str, method: &str) -> Option<Policy<'a>> {
        let _ = (app_id, method);
        None
    }

    /// Where calls are counted.
    fn metrics(&self) -> &Metrics;
}

/// Passes calls through.
#[derive(Clone, Debug)]
pub(crate) struct Passthrough<N> {
    network: N,
}

/// Whom a call goes to.
#[derive(Clone, Copy, Debug)]
struct Peer<'a> {
    /// Id as written.
    target: &'a str,
    /// The same without namespace.
    app_id: &'a str,
    kind: Kind,
}

/// An answer that is a status other than success and nothing else, or what stands in for one.
#[derive(Debug)]
struct Failed {
    status: Status,
    response: Response,
    class: Class,
}

/// Counts the answer of another app.
#[derive(Debug)]
struct Received {
    metrics: Metrics,
    app_id: String,
    kind: Kind,
    began: Instant,
    position: Position,
}

const APP_ID: HeaderName = HeaderName::from_static("dapr-app-id");
const CALLER_APP_ID: HeaderName = HeaderName::from_static("dapr-caller-app-id");
const CALLEE_APP_ID: HeaderName = HeaderName::from_static("dapr-callee-app-id");
const STREAM: HeaderName = HeaderName::from_static("dapr-stream");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const GRPC_TRACE: HeaderName = HeaderName::from_static("grpc-trace-bin");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_PROTO: HeaderValue = HeaderValue::from_static("application/grpc+proto");

// === impl Passthrough ===

impl<N: Network> Passthrough<N> {
    pub(crate) fn new(network: N) -> Self {
        Self { network }
    }

    /// Passes a call through and its answer back.
    pub(crate) fn call(&self, call: Call) -> BoxFuture<'static, Result<Response, Infallible>> {
        let this = self.clone();
        Box::pin(async move {
            let outcome = this.pass(call).await;
            Ok(match outcome {
                Ok(response) => response,
                Err(status) => answer(&status),
            })
        })
    }

    async fn pass(&self, call: Call) -> Result<Response, Status> {
        let Some(target) = target_of(call.request.headers()).map(str::to_owned) else {
            let text =
                "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found";
            return Err(Status::new(code::UNKNOWN, text));
        };
        let app_id = target.split_once('.').map_or(target.as_str(), |(id, _)| id);
        if app_id == self.network.app_id() {
            self.to_app(call).await
        } else if call.context.surface == Surface::Internal && call.context.peer.is_some() {
            // The callee would take it for a call of this app: whoever is let in here would be let in there.
            let text = format!(
                "a call for app {app_id} came to the sidecar of app {}",
                self.network.app_id()
            );
            Err(Status::new(code::PERMISSION_DENIED, text))
        } else {
            self.to_peer(&target, app_id, call).await
        }
    }

    async fn to_app(&self, call: Call) -> Result<Response, Status> {
        // With its query: what a question mark hides must not reach the app unjudged.
        let method = call.request.uri().path_and_query();
        let operation = normalise(method.map_or("/", PathAndQuery::as_str))
            .map_err(|error| Status::new(code::INVALID_ARGUMENT, format!("invalid method: {error}")))?;
        self.network.permit(call.context.peer.as_deref(), &operation)?;
        let path = PathAndQuery::try_from(operation.as_ref())
            .map_err(|error| Status::new(code::INVALID_ARGUMENT, format!("invalid method: {error}")))?;
        let app = self
            .network
            .app()
            .ok_or_else(|| Status::internal("app channel is not initialized"))?;

        let mut request = outgoing(call.request);
        *request.uri_mut() = Uri::from(path);
        app.set_token(request.headers_mut());
        deliver(app.forward(request).await?).await
    }

    async fn to_peer(&self, target: &str, app_id: &str, call: Call) -> Result<Response, Status> {
        let headers = call.request.headers();
        let kind = headers.get(STREAM).and_then(|value| value.to_str().ok());
        let kind = if kind.is_some_and(is_truthy) {
            Kind::Streaming
        } else {
            Kind::Unary
        };
        // Policies are those of the app that this header names, whoever else is called.
        let named = headers.get(APP_ID).and_then(|value| value.to_str().ok());
        let named = named.map(|id| match id == target {
            true => Cow::Borrowed(target),
            false => Cow::Owned(id.to_owned()),
        });
        let policy = named
            .as_deref()
            .and_then(|id| self.network.policy(id, call.method()));

        let mut request = outgoing(call.request);
        let headers = request.headers_mut();
        append_trace(headers, &call.facts.trace);
        append(headers, CALLER_APP_ID, self.network.app_id());
        append(headers, CALLEE_APP_ID, app_id);
        let peer = Peer { target, app_id, kind };
        match policy {
            None => Ok(match self.send(&peer, request).await {
                Ok((response, received)) => watched(response, received).await,
                Err(failed) => failed.response,
            }),
            Some(policy) => Ok(Box::pin(self.send_under(policy, &peer, request)).await),
        }
    }

    /// Sends a request once; the answer is counted when it ends.
    async fn send(&self, peer: &Peer<'_>, request: Request) -> Result<(Response, Received), Failed> {
        let mut received = Received::begin(self.network.metrics(), peer);
        let outcome = match self.network.forward(peer.target, request).await {
            Ok(response) => deliver(response).await.map_err(CallError::from),
            Err(error) => Err(error),
        };
        let failed = match outcome {
            Ok(response) => match Status::from_trailers(response.headers()) {
                Some(status) if status.code != code::OK => Failed {
                    class: Class::Code(status.code),
                    status,
                    response,
                },
                _ => return Ok((response, received)),
            },
            Err(error) => Failed::from(error),
        };
        received.end(&failed.status);
        Err(failed)
    }
}

/// Counts the answer when it has ended.
async fn watched(response: Response, received: Received) -> Response {
    let Ok(response) = observe(std::future::ready(Ok(response)), Some(received)).await;
    response
}

// === impl Received ===

impl Received {
    /// Counts a request to another app.
    fn begin(metrics: &Metrics, peer: &Peer<'_>) -> Self {
        metrics.invocation().request_sent(peer.app_id, peer.kind);
        Self {
            metrics: metrics.clone(),
            app_id: peer.app_id.to_owned(),
            kind: peer.kind,
            began: Instant::now(),
            position: Position::current(),
        }
    }
}

impl Observer for Received {
    fn end(&mut self, status: &Status) {
        let invocation = self.metrics.invocation();
        invocation.response_received(&self.app_id, status.code, self.kind);
        if self.kind == Kind::Unary {
            let elapsed = self.began.elapsed();
            self.position
                .during(|| invocation.response_latency(&self.app_id, status.code, elapsed));
        }
    }
}

// === impl Failed ===

impl Failed {
    fn new(status: Status, class: Class) -> Self {
        Self {
            response: answer(&status),
            status,
            class,
        }
    }
}

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        let class = match &error {
            CallError::Status(status) => Class::Code(status.code),
            CallError::Text { .. } => Class::Plain,
        };
        Self::new(error.into(), class)
    }
}

/// The request as it goes on: the target is decided and is not the next one's business.
fn outgoing(mut request: Request) -> Request {
    let headers = request.headers_mut();
    headers.remove(APP_ID);
    headers.insert(CONTENT_TYPE, GRPC_PROTO);
    headers.insert(TE, HeaderValue::from_static("trailers"));
    let mut next = Request::new(std::mem::take(request.body_mut()));
    *next.method_mut() = http::Method::POST;
    *next.version_mut() = http::Version::HTTP_2;
    *next.uri_mut() = Uri::from(request.uri().path_and_query().cloned().unwrap_or_else(root));
    *next.headers_mut() = std::mem::take(request.headers_mut());
    next
}

fn root() -> PathAndQuery {
    PathAndQuery::from_static("/")
}

fn append_trace(headers: &mut HeaderMap, trace: &TraceContext) {
    headers.append(TRACEPARENT, trace.to_header());
    headers.append(GRPC_TRACE, binary(trace));
}

fn append(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.append(name, value);
    }
}

/// The answer as the client gets it: its head waits for the first message, and a call without one has no head.
async fn deliver(response: Response) -> Result<Response, Status> {
    if response.headers().contains_key(GRPC_STATUS) {
        return Ok(response);
    }
    if response.status() != StatusCode::OK {
        return Err(not_grpc(response.status()));
    }
    let (head, mut body) = response.into_parts();
    loop {
        let frame = match body.frame().await {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Err(broken(&error)),
            None => {
                return Err(Status::internal(
                    "server closed the stream without sending trailers",
                ));
            }
        };
        match frame.into_trailers() {
            Ok(trailers) => {
                let missing = || Status::internal("server closed the stream without sending trailers");
                let status = Status::from_trailers(&trailers).ok_or_else(missing)?;
                return Ok(answer_with(&status, trailers));
            }
            Err(frame) if frame.data_ref().is_none_or(bytes::Bytes::is_empty) => {}
            Err(frame) => return Ok(Response::from_parts(head, resumed(frame, body))),
        }
    }
}

/// A body whose first frame was taken out and is put back.
fn resumed(first: Frame<bytes::Bytes>, rest: Body) -> Body {
    let first = futures_util::stream::iter([Ok::<_, BoxError>(first)]);
    let rest = futures_util::stream::unfold(rest, |mut rest| async {
        rest.frame().await.map(|frame| (frame, rest))
    });
    Body::new(StreamBody::new(futures_util::StreamExt::chain(first, rest)))
}

/// What an answer that is not gRPC means.
fn not_grpc(http: StatusCode) -> Status {
    let number = http.as_u16();
    let code = match number {
        400 => code::INTERNAL,
        401 => code::UNAUTHENTICATED,
        403 => code::PERMISSION_DENIED,
        404 => code::UNIMPLEMENTED,
        429 | 502..=504 => code::UNAVAILABLE,
        _ => code::UNKNOWN,
    };
    let phrase = reason_phrase(number);
    Status::new(
        code,
        format!("unexpected HTTP status code received from server: {number} ({phrase})"),
    )
}
