//! A body that keeps something alive while it is read.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body as HttpBody, Frame, SizeHint};

/// A body that drops a guard as soon as it has been read to its end, or is dropped itself.
#[derive(Debug)]
pub struct Held<B, G> {
    inner: B,
    guard: Option<G>,
}

// === impl Held ===

impl<B, G> Held<B, G> {
    /// Keeps `guard` while `inner` is read.
    pub fn new(inner: B, guard: G) -> Self {
        Self {
            inner,
            guard: Some(guard),
        }
    }
}

impl<B: HttpBody + Unpin, G: Unpin> HttpBody for Held<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        let has_ended = match &polled {
            Poll::Ready(Some(Ok(_))) => this.inner.is_end_stream(),
            Poll::Ready(_) => true,
            Poll::Pending => false,
        };
        if has_ended {
            this.guard = None;
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};

    use super::*;

    #[tokio::test]
    async fn the_guard_goes_with_the_last_byte() {
        let guard = Arc::new(());
        let mut body = Held::new(Full::new(Bytes::from_static(b"x")), Arc::clone(&guard));
        assert_eq!(Arc::strong_count(&guard), 2);
        body.frame().await.unwrap().unwrap();
        assert_eq!(Arc::strong_count(&guard), 1);
    }

    #[test]
    fn the_guard_goes_with_a_body_that_nobody_reads() {
        let guard = Arc::new(());
        drop(Held::new(Full::new(Bytes::from_static(b"x")), Arc::clone(&guard)));
        assert_eq!(Arc::strong_count(&guard), 1);
    }
}
