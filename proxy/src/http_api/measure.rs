//! The `http_server` metrics.
//!
//! Each request counts once, with its final status, when the last byte of its answer goes out.
//!
//! Source: specification, observability 7.2.

use std::borrow::Cow;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Method, Uri, header};
use outrigger_kit::percent::decode_path_text;
use outrigger_svc::{Layer, Request, Response, Service, layer_fn};
use outrigger_telemetry::metrics::Metrics;
use outrigger_telemetry::trace::Position;
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::Call;
use super::observe::observe;

/// Counts and times each call.
#[derive(Clone, Debug)]
pub(crate) struct Measure<S> {
    inner: S,
    metrics: Option<Arc<Metrics>>,
}

pin_project! {
    /// The answer of [`Measure`].
    #[derive(Debug)]
    pub(crate) struct MeasureFuture<F> {
        #[pin]
        inner: F,
        measured: Option<Measured>,
    }
}

/// What a record needs of the request.
#[derive(Debug)]
struct Measured {
    metrics: Arc<Metrics>,
    method: Method,
    uri: Uri,
    request_bytes: u64,
    began: Instant,
    /// Where in its trace the call is: a body may end when nobody works on the span.
    position: Position,
}

// === impl Measure ===

impl<S> Measure<S> {
    /// The layer; without metrics it does nothing.
    pub(crate) fn layer(metrics: Option<Metrics>) -> impl Layer<S, Service = Self> + Clone {
        // The stack is copied for every request: its counts must be the worker's own.
        let metrics = metrics.map(Arc::new);
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
    type Future = MeasureFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, call: Call) -> Self::Future {
        let measured = self
            .metrics
            .clone()
            .map(|metrics| Measured::begin(metrics, &call.request));
        MeasureFuture {
            inner: self.inner.call(call),
            measured,
        }
    }
}

impl<F> Future for MeasureFuture<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = ready!(this.inner.poll(cx));
        Poll::Ready(outcome.map(|response| match this.measured.take() {
            Some(measured) => {
                let status = response.status().as_u16();
                observe(response, move |bytes| measured.record(status, bytes))
            }
            None => response,
        }))
    }
}

// === impl Measured ===

impl Measured {
    fn begin(metrics: Arc<Metrics>, request: &Request) -> Self {
        let length = request.headers().get(header::CONTENT_LENGTH);
        let length = length
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.parse().ok());
        Self {
            metrics,
            method: request.method().clone(),
            uri: request.uri().clone(),
            request_bytes: length.unwrap_or(0),
            began: Instant::now(),
            position: Position::current(),
        }
    }

    fn record(&self, status: u16, response_bytes: u64) {
        let path = self.uri.path();
        let path = decode_path_text(path).unwrap_or(Cow::Borrowed(path));
        self.position.during(|| {
            self.metrics.http_server().record(
                self.method.as_str(),
                &path,
                status,
                self.request_bytes,
                response_bytes,
                self.began.elapsed(),
            );
        });
    }
}
