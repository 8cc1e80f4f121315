//! Watching a response until its last byte.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use outrigger_svc::{Body, BoxError, Response};

/// A body that counts its bytes and reports them once, at its end or when it is dropped before.
struct Observed<F: FnOnce(u64)> {
    inner: Body,
    bytes: u64,
    done: Option<F>,
}

/// Calls `done` with the size of the response's body as soon as that is known: at once if the body is at
/// hand, else when its last byte goes out or it is given up.
pub(crate) fn observe<F>(response: Response, done: F) -> Response
where
    F: FnOnce(u64) + Send + Unpin + 'static,
{
    if let Some(size) = response.body().size_hint().exact() {
        done(size);
        return response;
    }
    response.map(|inner| {
        Body::new(Observed {
            inner,
            bytes: 0,
            done: Some(done),
        })
    })
}

// === impl Observed ===

impl<F: FnOnce(u64)> Observed<F> {
    fn finish(&mut self) {
        if let Some(done) = self.done.take() {
            done(self.bytes);
        }
    }
}

impl<F: FnOnce(u64) + Unpin> HttpBody for Observed<F> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                this.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                if this.inner.is_end_stream() {
                    this.finish();
                }
            }
            Poll::Ready(_) => this.finish(),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<F: FnOnce(u64)> Drop for Observed<F> {
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    fn streamed(pieces: &'static [&'static str]) -> Response {
        let frames = pieces
            .iter()
            .map(|piece| Ok::<_, BoxError>(Frame::data(Bytes::from_static(piece.as_bytes()))));
        Response::new(Body::new(StreamBody::new(stream::iter(frames))))
    }

    fn observed(response: Response) -> (Response, Arc<Mutex<Vec<u64>>>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let report = Arc::clone(&seen);
        (
            observe(response, move |bytes| report.lock().unwrap().push(bytes)),
            seen,
        )
    }

    #[tokio::test]
    async fn a_streamed_body_is_reported_once_at_its_end() {
        let (response, seen) = observed(streamed(&["ab", "cde"]));
        assert!(seen.lock().unwrap().is_empty());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(bytes, "abcde");
        assert_eq!(*seen.lock().unwrap(), [5]);
    }

    #[tokio::test]
    async fn a_body_that_is_given_up_reports_what_went_out() {
        let (mut response, seen) = observed(streamed(&["ab", "cde"]));
        response.body_mut().frame().await.unwrap().unwrap();
        drop(response);
        assert_eq!(*seen.lock().unwrap(), [2]);
    }

    #[test]
    fn a_body_at_hand_is_reported_at_once() {
        let (_, seen) = observed(Response::new(Body::from("abc")));
        assert_eq!(*seen.lock().unwrap(), [3]);
        let (_, seen) = observed(Response::new(Body::empty()));
        assert_eq!(*seen.lock().unwrap(), [0]);
    }
}
