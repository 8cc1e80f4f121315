//! Bodies that are passed on frame by frame.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use outrigger_svc::{Body, BoxError};

use crate::transport::{Failure, INTERNAL_ERROR, RecvHalf, SendHalf, Trailers};

/// The body of a received message, with its trailers.
#[derive(Debug)]
pub(crate) struct RawBody<G> {
    recv: RecvHalf,
    stage: Stage,
    /// Kept as long as the body is.
    _guard: G,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Data,
    Trailers,
    Over,
}

/// Sends a body to its end. Whether it was sent whole is told by the other half of the stream.
///
/// A body that fails resets the stream.
pub(crate) async fn send_body(mut body: Body, send: &mut SendHalf) {
    loop {
        let Some(frame) = poll_fn(|cx| poll_frame_or_reset(&mut body, send, cx)).await else {
            return;
        };
        match frame {
            None => return send.data(Bytes::new(), true),
            Some(Err(_)) => return send.reset(INTERNAL_ERROR),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let is_last = body.is_end_stream();
                    send.data(data, is_last);
                    if is_last || poll_fn(|cx| send.poll_ready(cx)).await.is_err() {
                        return;
                    }
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        return send.trailers(trailers);
                    }
                }
            },
        }
    }
}

type Frames = Option<Result<Frame<Bytes>, BoxError>>;

/// The next frame; none if the peer gave up.
fn poll_frame_or_reset(body: &mut Body, send: &mut SendHalf, cx: &mut Context<'_>) -> Poll<Option<Frames>> {
    if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
        return Poll::Ready(Some(frame));
    }
    send.poll_reset(cx).map(|_| None)
}

// === impl RawBody ===

impl<G> RawBody<G> {
    pub(crate) const fn new(recv: RecvHalf, guard: G) -> Self {
        Self {
            recv,
            stage: Stage::Data,
            _guard: guard,
        }
    }
}

impl<G: Send + Unpin + 'static> HttpBody for RawBody<G> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let fail = |stage: &mut Stage, failure: Failure| {
            *stage = Stage::Over;
            Poll::Ready(Some(Err(BoxError::from(failure.status))))
        };
        if this.stage == Stage::Data {
            match ready!(this.recv.poll_data(cx)) {
                Some(Ok(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Some(Err(failure)) => return fail(&mut this.stage, failure),
                None => this.stage = Stage::Trailers,
            }
        }
        if this.stage == Stage::Trailers {
            match ready!(this.recv.poll_trailers(cx)) {
                Ok(Trailers::Raw(Some(trailers))) => {
                    this.stage = Stage::Over;
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Ok(_) => this.stage = Stage::Over,
                Err(failure) => return fail(&mut this.stage, failure),
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.stage == Stage::Over || self.recv.is_end()
    }
}
