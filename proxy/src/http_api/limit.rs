//! The limit of request bodies.
//!
//! It is enforced while a body is read: the first byte beyond it is the error `stream too large`, which
//! each route reports as a failure to read. There is no 413.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use outrigger_svc::{Body, BoxError, CollectError, Layer, Response, Service, layer_fn};

use super::Call;

/// Limits the body of each request.
#[derive(Clone, Debug)]
pub(crate) struct BodyLimit<S> {
    inner: S,
    limit: Option<u64>,
}

/// A body that fails beyond its limit.
#[derive(Debug)]
struct Limited {
    inner: Body,
    left: u64,
}

// === impl BodyLimit ===

impl<S> BodyLimit<S> {
    /// The layer; `limit` in bytes, none for no limit.
    pub(crate) fn layer(limit: Option<u64>) -> impl Layer<S, Service = Self> + Clone {
        layer_fn(move |inner| Self { inner, limit })
    }
}

impl<S> Service<Call> for BodyLimit<S>
where
    S: Service<Call, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        if let Some(limit) = self.limit {
            let body = call.request.body_mut();
            // A body of known length is cut there by the connection: it needs no second watch.
            let fits = body.size_hint().upper().is_some_and(|most| most <= limit);
            if !fits {
                let inner = std::mem::take(body);
                *body = Body::new(Limited { inner, left: limit });
            }
        }
        self.inner.call(call)
    }
}

// === impl Limited ===

impl HttpBody for Limited {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(frame) = ready!(Pin::new(&mut self.inner).poll_frame(cx)) else {
            return Poll::Ready(None);
        };
        let frame = frame?;
        let length = frame.data_ref().map_or(0, |data| data.len() as u64);
        Poll::Ready(Some(match self.left.checked_sub(length) {
            Some(left) => {
                self.left = left;
                Ok(frame)
            }
            None => Err(CollectError::TooLarge.into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
