//! API logging: one line a call, whatever the log level.
//!
//! Source: specification, gRPC API 2 and observability 9.1.

use std::convert::Infallible;
use std::task::{Context, Poll};

use http::{HeaderValue, header};
use outrigger_link::Status;
use outrigger_svc::{Layer, Response, Service, layer_fn};
use outrigger_telemetry::trace::Position;
use tokio::time::Instant;

use super::call::Call;
use super::observe::{Observed, Observer, observe};

/// Logs each call, if that is asked for.
#[derive(Clone, Debug)]
pub(crate) struct LogCalls<S> {
    inner: S,
    wanted: bool,
}

/// A line that is written when the call has ended.
#[derive(Debug)]
pub(crate) struct Line {
    method: String,
    user_agent: Option<HeaderValue>,
    began: Instant,
    position: Position,
}

// === impl LogCalls ===

impl<S> LogCalls<S> {
    /// The layer that logs each call.
    pub(crate) fn layer(wanted: ApiLog) -> impl Layer<S, Service = Self> + Clone {
        layer_fn(move |inner| Self {
            inner,
            wanted: wanted == ApiLog::On,
        })
    }
}

/// Whether calls are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ApiLog {
    /// One line a call.
    On,
    /// None.
    Off,
}

impl<S> Service<Call> for LogCalls<S>
where
    S: Service<Call, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Observed<S::Future, Line>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let line = self.wanted.then(|| Line {
            method: call.method().to_owned(),
            user_agent: call.request.headers().get(header::USER_AGENT).cloned(),
            began: Instant::now(),
            position: Position::current(),
        });
        observe(self.inner.call(call), line)
    }
}

// === impl Line ===

impl Observer for Line {
    fn end(&mut self, status: &Status) {
        let user_agent = self
            .user_agent
            .as_ref()
            .map(|value| String::from_utf8_lossy(value.as_bytes()));
        self.position.during(|| {
            tracing::info!(
                target: "dapr.runtime.grpc.api-info",
                method = self.method.as_str(),
                useragent = user_agent.as_deref(),
                duration = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
                code = status.code,
                "gRPC API Called"
            );
        });
    }
}
