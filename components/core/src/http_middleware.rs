//! HTTP middleware: handlers around the API of the sidecar and around its calls to the app.
//!
//! ```text
//! request ──▶ first ──▶ second ──▶ last ──▶ what is inside
//! answer  ◀── first ◀── second ◀── last ◀──
//! ```
//!
//! Source: specification, HTTP middleware 1.

use std::fmt;
use std::sync::Arc;

use outrigger_svc::{BoxError, BoxFuture, Request, Response};

/// One handler of a chain: it may answer, or hand the request on and change the answer.
///
/// Bodies are streams. A handler that does not read them passes them on as they come.
pub trait HttpMiddleware: fmt::Debug + Send + Sync + 'static {
    /// Handles one request; `next` is the rest of the chain.
    ///
    /// # Errors
    /// Those of `next`, and a body that the handler needs but cannot read.
    fn call<'a>(&'a self, request: Request, next: Next<'a>) -> BoxFuture<'a, Result<Response, BoxError>>;
}

/// The handlers of one pipeline, the outermost first. Cheap to clone, free when empty.
#[derive(Clone, Debug)]
pub struct Chain(Arc<[Arc<dyn HttpMiddleware>]>);

/// What comes after a handler.
pub struct Next<'a> {
    handlers: &'a [Arc<dyn HttpMiddleware>],
    last: Last<'a>,
}

type Last<'a> = Box<dyn FnOnce(Request) -> BoxFuture<'a, Result<Response, BoxError>> + Send + 'a>;

// === impl Chain ===

impl Chain {
    /// A chain of handlers, the outermost first.
    #[must_use]
    pub fn new(handlers: Vec<Arc<dyn HttpMiddleware>>) -> Self {
        Self(handlers.into())
    }

    /// Whether there is no handler.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Runs a request through the handlers; `last` is what is inside of them.
    ///
    /// # Errors
    /// What a handler or `last` says.
    pub async fn run<'a, F, L>(&'a self, request: Request, last: L) -> Result<Response, BoxError>
    where
        L: FnOnce(Request) -> F + Send + 'a,
        F: Future<Output = Result<Response, BoxError>> + Send + 'a,
    {
        let next = Next {
            handlers: &self.0,
            last: Box::new(move |request| Box::pin(last(request))),
        };
        next.run(request).await
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

// === impl Next ===

impl<'a> Next<'a> {
    /// Runs the rest of the chain.
    ///
    /// # Errors
    /// What a handler or the end of the chain says.
    pub fn run(self, request: Request) -> BoxFuture<'a, Result<Response, BoxError>> {
        match self.handlers.split_first() {
            None => (self.last)(request),
            Some((first, handlers)) => first.call(
                request,
                Next {
                    handlers,
                    last: self.last,
                },
            ),
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use outrigger_svc::Body;

    use super::*;

    #[derive(Debug)]
    struct Mark(&'static str);

    #[derive(Debug)]
    struct Refuse;

    impl HttpMiddleware for Mark {
        fn call<'a>(
            &'a self,
            mut request: Request,
            next: Next<'a>,
        ) -> BoxFuture<'a, Result<Response, BoxError>> {
            Box::pin(async move {
                request
                    .headers_mut()
                    .append("seen", HeaderValue::from_static(self.0));
                let mut response = next.run(request).await?;
                response
                    .headers_mut()
                    .append("passed", HeaderValue::from_static(self.0));
                Ok(response)
            })
        }
    }

    impl HttpMiddleware for Refuse {
        fn call<'a>(&'a self, _: Request, _: Next<'a>) -> BoxFuture<'a, Result<Response, BoxError>> {
            Box::pin(async { Ok(Response::new(Body::from("refused"))) })
        }
    }

    async fn run(handlers: Vec<Arc<dyn HttpMiddleware>>) -> Response {
        let echo = async |request: Request| {
            let mut response = Response::new(Body::from("inside"));
            *response.headers_mut() = request.headers().clone();
            Ok(response)
        };
        let chain = Chain::new(handlers);
        chain.run(Request::default(), echo).await.unwrap()
    }

    fn values(response: &Response, name: &str) -> Vec<String> {
        let values = response.headers().get_all(name).iter();
        values.map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    #[tokio::test]
    async fn the_first_handler_sees_the_request_first_and_the_answer_last() {
        let response = run(vec![Arc::new(Mark("a")), Arc::new(Mark("b"))]).await;
        assert_eq!(values(&response, "seen"), ["a", "b"]);
        assert_eq!(values(&response, "passed"), ["b", "a"]);
    }

    #[tokio::test]
    async fn a_handler_that_answers_ends_the_way() {
        let response = run(vec![Arc::new(Mark("a")), Arc::new(Refuse), Arc::new(Mark("b"))]).await;
        assert_eq!(values(&response, "seen"), [""; 0]);
        assert_eq!(values(&response, "passed"), ["a"]);
    }

    #[tokio::test]
    async fn an_empty_chain_is_what_is_inside() {
        assert!(Chain::default().is_empty());
        assert_eq!(values(&run(Vec::new()).await, "passed"), [""; 0]);
    }
}
