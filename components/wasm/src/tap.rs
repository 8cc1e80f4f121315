//! A body that a module may read from on its way.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use outrigger_svc::{Body, BoxError};

/// A body, and what was taken out of it.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    rest: Body,
    /// Read from the body, not yet given to the module.
    ahead: Bytes,
    /// Given to the module, and kept for whoever comes next.
    seen: VecDeque<Bytes>,
    keeps: bool,
}

/// Pieces, then a body.
struct Joined {
    front: VecDeque<Bytes>,
    rest: Body,
}

// === impl Tap ===

impl Tap {
    /// A body of which nothing was read; `keeps` tells whether what is read stays in it.
    pub(crate) fn new(rest: Body, keeps: bool) -> Self {
        Self {
            rest,
            keeps,
            ..Self::default()
        }
    }

    /// The next bytes, at most `limit`, and whether they are the last.
    pub(crate) async fn read(&mut self, limit: usize) -> Result<(Bytes, bool), BoxError> {
        while self.ahead.is_empty() {
            match self.rest.frame().await {
                None => return Ok((Bytes::new(), true)),
                Some(frame) => self.ahead = frame?.into_data().unwrap_or_default(),
            }
        }
        let piece = self.ahead.split_to(limit.min(self.ahead.len()));
        if self.keeps && !piece.is_empty() {
            self.seen.push_back(piece.clone());
        }
        let is_last = self.ahead.is_empty() && self.rest.is_end_stream();
        Ok((piece, is_last))
    }

    /// The body as whoever comes next finds it.
    pub(crate) fn into_body(mut self) -> Body {
        if !self.ahead.is_empty() {
            self.seen.push_back(self.ahead);
        }
        if self.seen.is_empty() {
            return self.rest;
        }
        Body::new(Joined {
            front: self.seen,
            rest: self.rest,
        })
    }
}

// === impl Joined ===

impl HttpBody for Joined {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        match this.front.pop_front() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None => Pin::new(&mut this.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.front.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
