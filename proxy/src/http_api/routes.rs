//! From a path to an operation, and from there to what does it.
//!
//! A path or method that the table does not know belongs to service invocation, so there is never a 405 on
//! the API port. Only where that is missing (the public port, or a rule has removed it) a miss is a miss.
//!
//! Source: specification, HTTP API 2 and 5.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::StatusCode;
use outrigger_error::Error;
use outrigger_kit::percent::decode_form_text;
use outrigger_svc::{BoxFuture, Request, Response, Service};

use super::blocks::Blocks;
use super::reply::{empty, json, no_content, read, text};
use super::router::{Matched, Miss, Router};
use super::table::{Operation, Route};
use super::{Call, query};
use crate::health::Health;
use crate::invoke::HttpInvoke;
use crate::metadata::MetadataStore;

/// The innermost service of the API: routes a call and does what it asks for.
#[derive(Clone, Debug)]
pub(crate) struct Routes(Arc<Shared>);

/// What the routes need. All of it is cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RouteParts {
    /// The routes that exist.
    pub(crate) router: Arc<Router>,
    /// Service invocation; none on the public port.
    pub(crate) invoke: Option<HttpInvoke>,
    /// Health of the sidecar.
    pub(crate) health: Health,
    /// What the metadata API shows.
    pub(crate) metadata: MetadataStore,
    /// What happens on a shutdown request.
    pub(crate) shutdown: ShutdownHook,
    /// The building blocks.
    pub(crate) blocks: Blocks,
}

/// Ends the sidecar at the wish of a client.
#[derive(Clone)]
pub(crate) struct ShutdownHook(Arc<dyn Fn(ShutdownKind) + Send + Sync>);

/// How a client wants the sidecar to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShutdownKind {
    /// As by a signal, without blocking.
    Graceful,
    /// At once, exit code 1.
    Forced,
}

#[derive(Debug)]
struct Shared {
    parts: RouteParts,
    /// The prefix test of the hot path holds only while no rule has removed invocation.
    invokes: bool,
}

const INVOKE: &str = "/v1.0/invoke/";

// === impl Routes ===

impl Routes {
    /// The routes of one port.
    #[must_use]
    pub(crate) fn new(parts: RouteParts) -> Self {
        let invokes = parts.invoke.is_some() && parts.router.has_invocation();
        Self(Arc::new(Shared { parts, invokes }))
    }
}

impl Service<Call> for Routes {
    type Response = Response;
    type Error = Error;
    type Future = BoxFuture<'static, Result<Response, Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        if self.0.invokes
            && call.route_path().starts_with(INVOKE)
            && let Some(invoke) = &self.0.parts.invoke
        {
            return invoke.serve(call);
        }
        let shared = Arc::clone(&self.0);
        Box::pin(async move { shared.route(call).await })
    }
}

// === impl Shared ===

impl Shared {
    async fn route(&self, call: Call) -> Result<Response, Error> {
        let found = self.parts.router.find(call.request.method(), call.route_path());
        let (operation, values) = match found {
            Ok(matched) => {
                let values = decoded(&matched)?;
                if call.span.is_recording() {
                    describe(&call, matched.route, values.first());
                }
                (matched.route.operation, values)
            }
            Err(miss) => return self.miss(miss, call).await,
        };
        match operation {
            Operation::GetMetadata => Ok(json(&self.parts.metadata.snapshot())),
            Operation::PutMetadata => self.put_metadata(values, call.request).await,
            Operation::Healthz => self.healthz(&call.request),
            Operation::HealthzOutbound => self.outbound(),
            Operation::Shutdown => Ok(self.shutdown(&call.request)),
            other => self.parts.blocks.answer(other, values, call.request).await,
        }
    }

    async fn miss(&self, miss: Miss, call: Call) -> Result<Response, Error> {
        match (&self.parts.invoke, miss) {
            (Some(invoke), _) if self.invokes => invoke.serve(call).await,
            (_, Miss::Path) => Err(text(StatusCode::NOT_FOUND, "404 page not found")),
            (_, Miss::Method) => Ok(empty(StatusCode::METHOD_NOT_ALLOWED)),
        }
    }

    async fn put_metadata(&self, values: Vec<String>, request: Request) -> Result<Response, Error> {
        let body = read(request.into_body()).await.map_err(Error::BodyRead)?;
        let key = values.into_iter().next().unwrap_or_default();
        self.parts
            .metadata
            .set_extended(key, String::from_utf8_lossy(&body));
        Ok(no_content())
    }

    fn healthz(&self, request: &Request) -> Result<Response, Error> {
        self.parts
            .health
            .check()
            .map_err(|unready| Error::NotReady(unready.to_string()))?;
        match query::first(request.uri().query(), "appid") {
            Some(app_id) if app_id != *self.parts.blocks.app_id => Err(Error::AppIdMismatch),
            _ => Ok(no_content()),
        }
    }

    fn outbound(&self) -> Result<Response, Error> {
        if self.parts.health.is_outbound_ready() {
            Ok(no_content())
        } else {
            Err(Error::OutboundNotReady)
        }
    }

    fn shutdown(&self, request: &Request) -> Response {
        let force = request.headers().get("dapr-force-shutdown");
        let is_forced = force.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
        let kind = if is_forced {
            ShutdownKind::Forced
        } else {
            ShutdownKind::Graceful
        };
        self.parts.shutdown.call(kind);
        no_content()
    }
}

// === impl ShutdownHook ===

impl ShutdownHook {
    /// Wraps what is to be done; it must return at once.
    pub(crate) fn new(hook: impl Fn(ShutdownKind) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    /// Tells of the wish.
    pub(crate) fn call(&self, kind: ShutdownKind) {
        (self.0)(kind);
    }
}

impl std::fmt::Debug for ShutdownHook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShutdownHook").finish_non_exhaustive()
    }
}

/// Tells the span of a call which store it is about (specification: observability 4).
fn describe(call: &Call, route: &Route, store: Option<&String>) {
    let (Some(store), "state" | "secrets" | "bindings") = (store, route.group) else {
        return;
    };
    call.span.change(|span| {
        span.set_attribute("db.system", route.group);
        span.set_attribute("db.connection_string", route.group);
        let (method, path) = (call.request.method(), call.request.uri().path());
        span.set_attribute("db.statement", format!("{method} {path}"));
        span.set_attribute("db.name", store.as_str());
    });
}

/// The parameters of a route, form-decoded: `+` is a space.
fn decoded(matched: &Matched<'_>) -> Result<Vec<String>, Error> {
    if !matched.route.decodes() {
        return Ok(Vec::new());
    }
    let values = matched
        .parameters()
        .map(|(name, value)| match decode_form_text(value) {
            Ok(value) => Ok(value.into_owned()),
            Err(error) => Err(text(
                StatusCode::BAD_REQUEST,
                format!("failed to unescape request parameter \"{name}\". Error: {error}"),
            )),
        });
    values.collect()
}
