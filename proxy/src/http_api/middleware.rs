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

use arc_swap::ArcSwap;
use outrigger_svc::{BoxFuture, Layer, Response, Service, layer_fn};
use pin_project::pin_project;

use super::Call;

/// One handler of a chain: it may answer, or hand the call on and change the answer.
pub(crate) trait HttpMiddleware: fmt::Debug + Send + Sync + 'static {
    /// Handles one call; `next` is the rest of the chain.
    fn call<'a>(&'a self, call: Call, next: Next<'a>) -> BoxFuture<'a, Response>;
}

/// The handlers of a pipeline, the outermost first. Swapping them concerns the next request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain(Arc<ArcSwap<Vec<Arc<dyn HttpMiddleware>>>>);

/// What comes after a handler.
pub(crate) struct Next<'a> {
    handlers: &'a [Arc<dyn HttpMiddleware>],
    last: Box<dyn FnOnce(Call) -> BoxFuture<'a, Response> + Send + 'a>,
}

/// Runs the user's chain before what is inside.
#[derive(Clone, Debug)]
pub(crate) struct UserMiddleware<S> {
    inner: S,
    chain: Arc<Chain>,
}

/// The answer of [`UserMiddleware`].
#[pin_project(project = Projected)]
pub(crate) enum MiddlewareFuture<F> {
    /// No handler is configured: the answer of what is inside.
    Direct(#[pin] F),
    /// The answer of the chain.
    Chained(BoxFuture<'static, Response>),
}

// === impl Chain ===

impl Chain {
    /// Replaces the handlers; requests in flight keep theirs.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "called when middleware components are loaded")
    )]
    pub(crate) fn replace(&self, handlers: Vec<Arc<dyn HttpMiddleware>>) {
        self.0.store(Arc::new(handlers));
    }
}

// === impl Next ===

impl<'a> Next<'a> {
    /// Runs the rest of the chain.
    pub(crate) async fn run(self, call: Call) -> Response {
        match self.handlers.split_first() {
            None => (self.last)(call).await,
            Some((first, handlers)) => {
                first
                    .call(
                        call,
                        Next {
                            handlers,
                            last: self.last,
                        },
                    )
                    .await
            }
        }
    }
}

impl fmt::Debug for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Next")
            .field("handlers", &self.handlers)
            .finish_non_exhaustive()
    }
}

// === impl UserMiddleware ===

impl<S> UserMiddleware<S> {
    /// The layer.
    pub(crate) fn layer(chain: Chain) -> impl Layer<S, Service = Self> + Clone {
        // The stack is copied for every request: its counts must be the worker's own.
        let chain = Arc::new(chain);
        layer_fn(move |inner| Self {
            inner,
            chain: Arc::clone(&chain),
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
        let handlers = self.chain.0.load();
        if handlers.is_empty() {
            return MiddlewareFuture::Direct(self.inner.call(call));
        }
        let handlers = Arc::clone(&handlers);
        // The ready instance goes with the call, its clone stays.
        let waiting = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, waiting);
        call.pin_route();
        let inner = Box::pin(async move {
            let last = Box::new(move |call| {
                let answer = ready.call(call);
                Box::pin(async { answer.await.unwrap_or_else(|never| match never {}) }) as BoxFuture<'_, _>
            });
            Next {
                handlers: &handlers,
                last,
            }
            .run(call)
            .await
        });
        MiddlewareFuture::Chained(inner)
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
