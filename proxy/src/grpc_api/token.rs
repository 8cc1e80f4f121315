//! The API token.
//!
//! Source: specification, gRPC API 2.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{Either, Ready, ready};
use http::HeaderName;
use outrigger_error::Error;
use outrigger_kit::token;
use outrigger_svc::{Layer, Response, Service, layer_fn};

use super::answer::{answer, status};
use super::call::Call;

/// Refuses a call whose API token is missing or wrong, and keeps the token from what is inside.
#[derive(Clone)]
pub(crate) struct RequireToken<S> {
    inner: S,
    token: Option<Arc<str>>,
}

/// The metadata key that carries a token, to the sidecar and to the app.
pub(crate) const API_TOKEN: HeaderName = HeaderName::from_static("dapr-api-token");

// === impl RequireToken ===

impl<S> RequireToken<S> {
    /// The layer; every call must bring this token, or none if there is none.
    pub(crate) fn layer(token: Option<Arc<str>>) -> impl Layer<S, Service = Self> + Clone {
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
        let Some(expected) = &self.token else {
            return Either::Left(self.inner.call(call));
        };
        let detail = match call.request.headers_mut().remove(API_TOKEN) {
            Some(given) if token::equal(given.as_bytes(), expected.as_bytes()) => {
                return Either::Left(self.inner.call(call));
            }
            Some(_) => "authentication error: api token mismatch",
            None => "missing api token in request metadata",
        };
        let error = Error::HttpStatus {
            status: 401,
            detail: detail.to_owned(),
        };
        Either::Right(ready(Ok(answer(&status(&error)))))
    }
}

impl<S: std::fmt::Debug> std::fmt::Debug for RequireToken<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequireToken")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
