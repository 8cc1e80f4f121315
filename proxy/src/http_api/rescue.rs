//! The one place where an error becomes a response.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use outrigger_error::Error;
use outrigger_svc::{Body, Layer, Response, Service, layer_fn};
use outrigger_telemetry::metrics::Metrics;
use pin_project_lite::pin_project;

use super::Call;

/// Answers the errors of the routes, and counts them by code.
#[derive(Clone, Debug)]
pub(crate) struct Rescue<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

pin_project! {
    /// The answer of [`Rescue`].
    #[derive(Debug)]
    pub(crate) struct RescueFuture<F> {
        #[pin]
        inner: F,
        metrics: Arc<Metrics>,
    }
}

/// The response that an error is on the HTTP API.
pub(crate) fn answer(error: &Error) -> Response {
    http::Response::from(error).map(Body::from)
}

// === impl Rescue ===

impl<S> Rescue<S> {
    /// The layer.
    pub(crate) fn layer(metrics: Metrics) -> impl Layer<S, Service = Self> + Clone {
        // The stack is copied for every request: its counts must be the worker's own.
        let metrics = Arc::new(metrics);
        layer_fn(move |inner| Self {
            inner,
            metrics: Arc::clone(&metrics),
        })
    }
}

impl<S> Service<Call> for Rescue<S>
where
    S: Service<Call, Response = Response, Error = Error>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = RescueFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // The routes are ready at any time, and readiness has no error that could be answered.
        self.inner.poll_ready(cx).map(|_| Ok(()))
    }

    fn call(&mut self, call: Call) -> Self::Future {
        RescueFuture {
            inner: self.inner.call(call),
            metrics: Arc::clone(&self.metrics),
        }
    }
}

impl<F> Future for RescueFuture<F>
where
    F: Future<Output = Result<Response, Error>>,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = ready!(this.inner.poll(cx));
        Poll::Ready(Ok(outcome.unwrap_or_else(|error| {
            if !matches!(error, Error::Text { .. }) {
                this.metrics.error_code(error.face().code, error.category());
            }
            answer(&error)
        })))
    }
}
