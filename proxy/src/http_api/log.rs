//! API logging: one line a request, whatever the log level.
//!
//! Source: specification, HTTP API 4 and observability 9.1.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{HeaderValue, header};
use outrigger_kit::percent::decode_form_text;
use outrigger_svc::{Layer, Response, Service, layer_fn};
use outrigger_telemetry::trace::Position;
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::Call;
use super::observe::observe;
use super::router::Router;
use super::table::Operation;
use crate::invoke::Target;

/// Logs each call.
#[derive(Clone, Debug)]
pub(crate) struct LogCalls<S> {
    inner: S,
    settings: Option<Arc<ApiLogSettings>>,
}

/// What the lines show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ApiLogging {
    /// Shows the name of the operation in place of method and path.
    pub(crate) obfuscate_urls: bool,
    /// Leaves health checks out.
    pub(crate) omit_health_checks: bool,
}

#[derive(Debug)]
struct ApiLogSettings {
    logging: ApiLogging,
    router: Arc<Router>,
}

pin_project! {
    /// The answer of [`LogCalls`].
    #[derive(Debug)]
    pub(crate) struct LogFuture<F> {
        #[pin]
        inner: F,
        line: Option<Line>,
    }
}

#[derive(Debug)]
struct Line {
    method: String,
    user_agent: Option<HeaderValue>,
    began: Instant,
    /// Where in its trace the call is: a body may end when nobody works on the span.
    position: Position,
}

// === impl LogCalls ===

impl<S> LogCalls<S> {
    /// The layer; the router names the operations. Without settings it does nothing.
    pub(crate) fn layer(
        logging: Option<ApiLogging>,
        router: Arc<Router>,
    ) -> impl Layer<S, Service = Self> + Clone {
        let settings = logging.map(|logging| Arc::new(ApiLogSettings { logging, router }));
        layer_fn(move |inner| Self {
            inner,
            settings: settings.clone(),
        })
    }
}

impl<S> Service<Call> for LogCalls<S>
where
    S: Service<Call, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = LogFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let method = self.settings.as_ref().and_then(|settings| settings.method(&call));
        let line = method.map(|method| Line {
            method,
            user_agent: call.request.headers().get(header::USER_AGENT).cloned(),
            began: Instant::now(),
            position: Position::current(),
        });
        LogFuture {
            inner: self.inner.call(call),
            line,
        }
    }
}

impl<F> Future for LogFuture<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = ready!(this.inner.poll(cx));
        Poll::Ready(outcome.map(|response| match this.line.take() {
            Some(line) => {
                let code = response.status().as_u16();
                observe(response, move |size| {
                    line.position.during(|| line.write(code, size))
                })
            }
            None => response,
        }))
    }
}

// === impl ApiLogSettings ===

impl ApiLogSettings {
    /// What the line calls the request; none if it is not to be logged.
    fn method(&self, call: &Call) -> Option<String> {
        let request = &call.request;
        let found = self.router.find(request.method(), call.route_path()).ok();
        let operation = found.map_or(Operation::InvokeService, |matched| matched.route.operation);
        if self.logging.omit_health_checks && operation.is_health() {
            return None;
        }
        if !self.logging.obfuscate_urls {
            return Some(format!("{} {}", request.method(), request.uri().path()));
        }
        Some(match (operation, found) {
            (Operation::InvokeService, _) => {
                let target = Target::of(request.uri().path(), request.headers()).ok().flatten();
                let app_id = target.map(|target| target.id.into_owned()).unwrap_or_default();
                format!("{operation}/{app_id}")
            }
            (Operation::InvokeActor, Some(matched)) => {
                let text = |index| decode_form_text(matched.value(index)).unwrap_or_default();
                format!("{operation}/{}.{}", text(0), text(1))
            }
            _ => operation.to_string(),
        })
    }
}

// === impl Line ===

impl Line {
    fn write(&self, code: u16, size: u64) {
        let user_agent = self
            .user_agent
            .as_ref()
            .map(|value| String::from_utf8_lossy(value.as_bytes()));
        tracing::info!(
            target: "dapr.runtime.http-info",
            method = self.method.as_str(),
            useragent = user_agent.as_deref(),
            code,
            size,
            duration = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "HTTP API Called"
        );
    }
}
