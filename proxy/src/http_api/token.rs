//! The API token.
//!
//! Source: specification, HTTP API 4.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{Either, Ready, ready};
use http::{HeaderName, Method, StatusCode};
use outrigger_error::Error;
use outrigger_kit::token;
use outrigger_svc::{Layer, Response, Service, layer_fn};

use super::Call;
use super::rescue::answer;

/// Refuses a request whose API token is missing or wrong, and keeps the token from what is inside.
///
/// Health checks need none.
#[derive(Clone)]
pub(crate) struct RequireToken<S> {
    inner: S,
    token: Option<Arc<str>>,
}

/// The header that carries the token.
pub(crate) const API_TOKEN: HeaderName = HeaderName::from_static("dapr-api-token");

// === impl RequireToken ===

impl<S> RequireToken<S> {
    /// The layer; every request must bring this token. Without one the layer does nothing.
    pub(crate) fn layer(token: Option<Arc<str>>) -> impl Layer<S, Service = Self> + Clone {
        // The stack is copied for every request: its counts must be the worker's own.
        let token = token.map(|token| Arc::from(&*token));
        layer_fn(move |inner| Self {
            inner,
            token: token.clone(),
        })
    }
}

impl<S> Service<Call> for RequireToken<S>
where
    S: Service<Call, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        let Some(token) = &self.token else {
            return Either::Left(self.inner.call(call));
        };
        let exempt = is_exempt(&call);
        let given = call.request.headers_mut().remove(API_TOKEN);
        let is_right = given.is_some_and(|given| token::equal(given.as_bytes(), token.as_bytes()));
        if exempt || is_right {
            return Either::Left(self.inner.call(call));
        }
        let refusal = Error::Text {
            http: StatusCode::UNAUTHORIZED,
            text: "invalid api token".to_owned(),
        };
        Either::Right(ready(Ok(answer(&refusal))))
    }
}

impl<S: std::fmt::Debug> std::fmt::Debug for RequireToken<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequireToken")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

fn is_exempt(call: &Call) -> bool {
    let path = call.route_path().trim_matches('/');
    call.request.method() == Method::GET && matches!(path, "v1.0/healthz" | "v1.0/healthz/outbound")
}
