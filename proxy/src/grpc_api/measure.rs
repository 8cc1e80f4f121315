//! The `grpc_io` metrics of a server.
//!
//! Unary calls count with their bytes. Streams count only if they are proxied for the own app, and then
//! without bytes; on the internal server such a stream counts as one of a client.
//!
//! Source: specification, observability 7.3.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use outrigger_link::Status;
use outrigger_svc::{Layer, Response, Service, Surface, layer_fn};
use outrigger_telemetry::metrics::Metrics;
use outrigger_telemetry::trace::Position;
use tokio::time::Instant;

use super::call::{Call, MethodKind, Traffic};
use super::observe::{Observed, Observer, observe};

/// Counts and times each call.
#[derive(Clone, Debug)]
pub(crate) struct Measure<S> {
    inner: S,
    metrics: Metrics,
}

/// What a record needs of the call.
#[derive(Debug)]
pub(crate) struct Measured {
    metrics: Metrics,
    method: String,
    side: Side,
    traffic: Arc<Traffic>,
    began: Instant,
    position: Position,
}

/// How a call counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Unary,
    ServerStream,
    ClientStream,
}

// === impl Measure ===

impl<S> Measure<S> {
    /// The layer.
    pub(crate) fn layer(metrics: Metrics) -> impl Layer<S, Service = Self> + Clone {
        layer_fn(move |inner| Self {
            inner,
            metrics: metrics.clone(),
        })
    }
}

impl<S> Service<Call> for Measure<S>
where
    S: Service<Call, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Observed<S::Future, Measured>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let measured = side(&call).map(|side| Measured {
            metrics: self.metrics.clone(),
            method: call.method().to_owned(),
            side,
            traffic: Arc::clone(&call.facts.traffic),
            began: Instant::now(),
            position: Position::current(),
        });
        observe(self.inner.call(call), measured)
    }
}

// === impl Measured ===

impl Observer for Measured {
    fn end(&mut self, status: &Status) {
        let elapsed = self.began.elapsed();
        let (method, code) = (self.method.as_str(), status.code);
        self.position.during(|| match self.side {
            Side::Unary => {
                let (sent, received) = (self.traffic.sent(), self.traffic.received());
                self.metrics
                    .grpc_server()
                    .record(method, code, sent, received, elapsed);
            }
            Side::ServerStream => self.metrics.grpc_server().record_stream(method, code, elapsed),
            Side::ClientStream => self.metrics.grpc_client().record_stream(method, code, elapsed),
        });
    }
}

/// How a call counts; not at all for streams of our own.
fn side(call: &Call) -> Option<Side> {
    if call.kind == MethodKind::Unary {
        return Some(Side::Unary);
    }
    let proxied = call.request.headers().contains_key("dapr-app-id");
    proxied.then_some(match call.context.surface {
        Surface::Internal => Side::ClientStream,
        Surface::Api | Surface::Public => Side::ServerStream,
    })
}
