//! Reading bodies frame by frame.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body as _;
use outrigger_svc::{Body, BoxError};

/// The next bytes of a body; none at its end.
pub(crate) async fn next_data(body: &mut Body) -> Option<Result<Bytes, BoxError>> {
    poll_fn(|cx| poll_data(body, cx)).await
}

/// Waits for the next bytes of a body. Trailers and empty frames are passed over.
pub(crate) fn poll_data(body: &mut Body, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
    loop {
        if body.is_end_stream() {
            return Poll::Ready(None);
        }
        match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            None => return Poll::Ready(None),
            Some(Err(error)) => return Poll::Ready(Some(Err(error))),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) if !data.is_empty() => return Poll::Ready(Some(Ok(data))),
                _ => {}
            },
        }
    }
}
