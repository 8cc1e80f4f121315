//! The place of the user's middleware, `httpPipeline` of the Configuration.
//!
//! A chain runs for every request, health checks and unknown paths included. It cannot change the route,
//! which was decided on the path as received; it can change what service invocation sees.
//!
//! Source: specification, HTTP middleware 1.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::StatusCode;
use outrigger_svc::{BoxFuture, Layer, Response, Service, layer_fn};
use pin_project::pin_project;

use super::Call;
use super::reply::text;
use super::rescue::answer;
use crate::components::Handlers;

/// Runs the user's chain before what is inside.
#[derive(Clone, Debug)]
pub(crate) struct UserMiddleware<S> {
    inner: S,
    handlers: Arc<Handlers>,
}

/// The answer of [`UserMiddleware`].
#[pin_project(project = Projected)]
pub(crate) enum MiddlewareFuture<F> {
    /// No handler is configured: the answer of what is inside.
    Direct(#[pin] F),
    /// The answer of the chain.
    Chained(BoxFuture<'static, Response>),
}

// === impl UserMiddleware ===

impl<S> UserMiddleware<S> {
    /// The layer.
    pub(crate) fn layer(handlers: Handlers) -> impl Layer<S, Service = Self> + Clone {
        // The stack is copied for every request: its counts must be the worker's own.
        let handlers = Arc::new(handlers);
        layer_fn(move |inner| Self {
            inner,
            handlers: Arc::clone(&handlers),
        })
    }
}

impl<S> Service<Call> for UserMiddleware<S>
where
    S: Service<Call, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = MiddlewareFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        let Some(chain) = self.handlers.chain() else {
            return MiddlewareFuture::Direct(self.inner.call(call));
        };
        // The ready instance goes with the call, its clone stays.
        let waiting = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, waiting);
        call.pin_route();
        MiddlewareFuture::Chained(Box::pin(async move {
            let mut request = std::mem::take(&mut call.request);
            // Handlers may ask who called.
            request.extensions_mut().insert(call.context.clone());
            let inside = async move |request| {
                call.request = request;
                Ok(ready.call(call).await.unwrap_or_else(|never| match never {}))
            };
            chain.run(request, inside).await.unwrap_or_else(|error| {
                tracing::error!(target: "dapr.runtime.http", "an HTTP middleware failed: {error}");
                answer(&text(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"))
            })
        }))
    }
}

// === impl MiddlewareFuture ===

impl<F> Future for MiddlewareFuture<F>
where
    F: Future<Output = Result<Response, Infallible>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projected::Direct(inner) => inner.poll(cx),
            Projected::Chained(inner) => inner.as_mut().poll(cx).map(Ok),
        }
    }
}

impl<F> fmt::Debug for MiddlewareFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MiddlewareFuture").finish_non_exhaustive()
    }
}
