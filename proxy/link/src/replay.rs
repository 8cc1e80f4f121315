//! Bodies that can be sent again.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use outrigger_svc::{Body, BoxError};

use crate::body::next_data;

/// A body that is kept while it is read, so that an attempt to send it can be repeated from the start.
///
/// Keeping is incremental: an attempt reads again what earlier attempts have read, then goes on with the
/// rest of the client's body. A body that is at hand as a whole costs nothing. One attempt at a time.
///
/// Source: specification, service invocation 10.1.
#[derive(Debug)]
pub struct ReplayBody(Inner);

#[derive(Debug)]
enum Inner {
    Whole(Bytes),
    Shared(Arc<Mutex<Kept>>),
    /// A body that is passed on once; its first bytes in front.
    Once(Mutex<Option<Body>>),
}

#[derive(Debug)]
struct Kept {
    read: Vec<Bytes>,
    rest: Body,
    /// Set when the rest failed: what was read of it is not the whole body.
    failed: bool,
}

/// One pass over a [`ReplayBody`].
struct Pass {
    kept: Arc<Mutex<Kept>>,
    next: usize,
}

// === impl ReplayBody ===

impl ReplayBody {
    /// Waits for the first bytes of `body`, and keeps what is read unless they are all of it.
    ///
    /// A body that fails at once is kept as one that fails: the attempt that reads it sees the error.
    pub async fn keeping(body: Body) -> Self {
        match start(body).await {
            Start::Whole(bytes) => Self(Inner::Whole(bytes)),
            Start::Partial(first, rest) => Self(Inner::Shared(Arc::new(Mutex::new(Kept {
                read: first.into_iter().collect(),
                rest,
                failed: false,
            })))),
        }
    }

    /// Waits for the first bytes of `body`; if there are more, the body can be sent once only.
    pub async fn passing(body: Body) -> Self {
        Self(match start(body).await {
            Start::Whole(bytes) => Inner::Whole(bytes),
            Start::Partial(first, rest) => Inner::Once(Mutex::new(Some(Body::new(Rejoined { first, rest })))),
        })
    }

    /// Keeps what is read of `body`, without a wait for its first bytes.
    #[must_use]
    pub fn keeping_later(body: Body) -> Self {
        if body.is_end_stream() {
            return Self(Inner::Whole(Bytes::new()));
        }
        Self(Inner::Shared(Arc::new(Mutex::new(Kept {
            read: Vec::new(),
            rest: body,
            failed: false,
        }))))
    }

    /// Passes `body` on as it is, to one attempt.
    #[must_use]
    pub fn once(body: Body) -> Self {
        Self(Inner::Once(Mutex::new(Some(body))))
    }

    /// The body from its start, for one attempt.
    ///
    /// A body that can be sent once only fails on the second attempt.
    #[must_use]
    pub fn replay(&self) -> Body {
        match &self.0 {
            Inner::Whole(bytes) => Body::from(bytes.clone()),
            Inner::Shared(kept) => Body::new(Pass {
                kept: Arc::clone(kept),
                next: 0,
            }),
            Inner::Once(body) => {
                let body = body.lock().unwrap_or_else(PoisonError::into_inner).take();
                body.unwrap_or_else(|| Body::new(Failing(Some("the body has been sent".into()))))
            }
        }
    }

    /// Whether the body can be sent more than once.
    #[must_use]
    pub const fn is_replayable(&self) -> bool {
        !matches!(self.0, Inner::Once(_))
    }
}

/// A body of which the first bytes were read.
enum Start {
    Whole(Bytes),
    Partial(Option<Bytes>, Body),
}

async fn start(mut body: Body) -> Start {
    match next_data(&mut body).await {
        None => Start::Whole(Bytes::new()),
        Some(Ok(data)) if body.is_end_stream() => Start::Whole(data),
        Some(Ok(data)) => Start::Partial(Some(data), body),
        Some(Err(error)) => Start::Partial(None, Body::new(Failing(Some(error)))),
    }
}

// === impl Pass ===

impl HttpBody for Pass {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let mut kept = this.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bytes) = kept.read.get(this.next) {
            this.next += 1;
            return Poll::Ready(Some(Ok(Frame::data(bytes.clone()))));
        }
        if kept.failed {
            return Poll::Ready(Some(Err("the body failed in an earlier attempt".into())));
        }
        loop {
            match ready!(Pin::new(&mut kept.rest).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => {
                    kept.failed = true;
                    return Poll::Ready(Some(Err(error)));
                }
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    kept.read.push(data.clone());
                    this.next += 1;
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.read.len() == self.next && kept.rest.is_end_stream() && !kept.failed
    }

    fn size_hint(&self) -> SizeHint {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead: usize = kept.read.iter().skip(self.next).map(Bytes::len).sum();
        let mut hint = kept.rest.size_hint();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + ahead as u64);
        }
        hint.set_lower(hint.lower() + ahead as u64);
        hint
    }
}

/// A body with the bytes that were read of it in front.
struct Rejoined {
    first: Option<Bytes>,
    rest: Body,
}

// === impl Rejoined ===

impl HttpBody for Rejoined {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match this.first.take() {
            Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
            None => Pin::new(&mut this.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }
}

/// A body that fails once.
struct Failing(Option<BoxError>);

// === impl Failing ===

impl HttpBody for Failing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.get_mut().0.take().map(Err))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use http_body_util::{BodyExt, StreamBody};
    use outrigger_svc::collect_limited;

    use super::*;

    fn in_pieces(pieces: &'static [&'static str]) -> Body {
        let frames = pieces
            .iter()
            .map(|piece| Ok::<_, BoxError>(Frame::data(Bytes::from_static(piece.as_bytes()))));
        Body::new(StreamBody::new(stream::iter(frames)))
    }

    #[tokio::test]
    async fn a_body_is_read_again_from_the_start() {
        let body = ReplayBody::keeping(in_pieces(&["ab", "cd", "ef"])).await;
        let mut first = body.replay();
        for expected in ["ab", "cd"] {
            assert_eq!(
                first.frame().await.unwrap().unwrap().into_data().unwrap(),
                expected
            );
        }
        drop(first);
        assert_eq!(collect_limited(body.replay(), 100).await.unwrap(), "abcdef");
        assert_eq!(collect_limited(body.replay(), 100).await.unwrap(), "abcdef");
    }

    #[tokio::test]
    async fn a_whole_body_is_not_wrapped() {
        for (body, len) in [(Body::empty(), 0), (Body::from("hello"), 5)] {
            let body = ReplayBody::keeping(body).await;
            assert!(matches!(body.0, Inner::Whole(_)));
            assert_eq!(body.replay().size_hint().exact(), Some(len));
        }
    }

    #[tokio::test]
    async fn a_body_that_is_passed_on_is_not_kept() {
        let body = ReplayBody::passing(in_pieces(&["ab", "cd"])).await;
        assert!(!body.is_replayable());
        assert_eq!(collect_limited(body.replay(), 100).await.unwrap(), "abcd");
        assert!(collect_limited(body.replay(), 100).await.is_err());
        assert!(ReplayBody::passing(Body::from("x")).await.is_replayable());
    }

    #[tokio::test]
    async fn a_body_is_kept_without_a_wait_for_it() {
        let body = ReplayBody::keeping_later(in_pieces(&["ab", "cd"]));
        assert_eq!(collect_limited(body.replay(), 100).await.unwrap(), "abcd");
        assert_eq!(collect_limited(body.replay(), 100).await.unwrap(), "abcd");
        let body = ReplayBody::keeping_later(Body::empty());
        assert!(body.replay().is_end_stream());
        let body = ReplayBody::once(in_pieces(&["ab"]));
        assert_eq!(collect_limited(body.replay(), 100).await.unwrap(), "ab");
        assert!(collect_limited(body.replay(), 100).await.is_err());
    }

    #[tokio::test]
    async fn a_body_that_fails_is_never_taken_for_whole() {
        let frames = stream::iter([Ok(Frame::data(Bytes::from("ab"))), Err(BoxError::from("cut"))]);
        let body = ReplayBody::keeping(Body::new(StreamBody::new(frames.boxed()))).await;
        assert_eq!(
            collect_limited(body.replay(), 9).await.unwrap_err().to_string(),
            "cut"
        );
        assert!(collect_limited(body.replay(), 9).await.is_err());
    }
}
