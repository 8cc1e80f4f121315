//! Messages within the bytes of a gRPC body, and their limit.
//!
//! The limit is that of the reference, with its code and texts: the length in the prefix of a message
//! decides, before the message is read or sent.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::Map;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use outrigger_link::{Status, code};
use outrigger_svc::{Body, BoxError, Layer, Response, Service, layer_fn};

use super::answer::answer;
use super::call::{Call, Traffic};

/// Length of the prefix: a flag and the length of the message.
pub(crate) const PREFIX: usize = 5;

/// Finds the messages in a body that comes in pieces.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    prefix: [u8; PREFIX],
    /// Bytes of the prefix that were seen.
    seen: usize,
    /// Bytes of the message that are still to come.
    left: u64,
}

/// Limits the messages of each call, in both directions, and counts their bytes.
#[derive(Clone, Debug)]
pub(crate) struct MessageLimit<S> {
    inner: S,
    limit: u64,
}

/// A request body that fails at a message beyond the limit.
struct Received {
    inner: Body,
    scanner: Scanner,
    limit: u64,
    traffic: Arc<Traffic>,
}

/// A response body that ends with a status at a message beyond the limit, at one of the client, and where the
/// body breaks off.
struct Sent {
    inner: Body,
    scanner: Scanner,
    limit: u64,
    traffic: Arc<Traffic>,
    ended: bool,
}

// === impl Scanner ===

impl Scanner {
    /// Takes the next piece; `begin` is told the length of each message that begins.
    ///
    /// # Errors
    /// What `begin` refuses.
    pub(crate) fn scan<E>(
        &mut self,
        mut piece: &[u8],
        mut begin: impl FnMut(u32) -> Result<(), E>,
    ) -> Result<(), E> {
        while !piece.is_empty() {
            if self.left > 0 {
                let skipped = usize::try_from(self.left).unwrap_or(usize::MAX).min(piece.len());
                self.left -= skipped as u64;
                piece = piece.get(skipped..).unwrap_or_default();
                continue;
            }
            let wanted = (PREFIX - self.seen).min(piece.len());
            let (start, rest) = piece.split_at(wanted);
            self.prefix[self.seen..self.seen + wanted].copy_from_slice(start);
            self.seen += wanted;
            piece = rest;
            if self.seen == PREFIX {
                let [_, length @ ..] = self.prefix;
                let length = u32::from_be_bytes(length);
                self.seen = 0;
                self.left = length.into();
                begin(length)?;
            }
        }
        Ok(())
    }
}

// === impl MessageLimit ===

impl<S> MessageLimit<S> {
    /// The layer; `limit` in bytes of one message, 0 for none but empty ones.
    pub(crate) fn layer(limit: usize) -> impl Layer<S, Service = Self> + Clone {
        layer_fn(move |inner| Self {
            inner,
            limit: limit as u64,
        })
    }
}

impl<S> Service<Call> for MessageLimit<S>
where
    S: Service<Call, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future =
        Map<S::Future, Box<dyn FnOnce(Result<Response, Infallible>) -> Result<Response, Infallible> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut call: Call) -> Self::Future {
        let (limit, traffic) = (self.limit, Arc::clone(&call.facts.traffic));
        let inner = std::mem::take(call.request.body_mut());
        let received = Received {
            inner,
            scanner: Scanner::default(),
            limit,
            traffic: Arc::clone(&traffic),
        };
        *call.request.body_mut() = Body::new(received);
        self.inner.call(call).map(Box::new(move |outcome| {
            let Ok(response) = outcome;
            if let Some(refusal) = traffic.refusal() {
                return Ok(answer(&Status::new(code::RESOURCE_EXHAUSTED, refusal)));
            }
            if response.headers().contains_key("grpc-status") {
                return Ok(response);
            }
            Ok(response.map(|inner| {
                Body::new(Sent {
                    inner,
                    scanner: Scanner::default(),
                    limit,
                    traffic,
                    ended: false,
                })
            }))
        }))
    }
}

// === impl Received ===

impl HttpBody for Received {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let Some(frame) = ready!(Pin::new(&mut this.inner).poll_frame(cx)) else {
            return Poll::Ready(None);
        };
        let frame = frame?;
        if let Some(data) = frame.data_ref() {
            let (limit, traffic) = (this.limit, &this.traffic);
            let scanned = this.scanner.scan(data, |length| {
                let length = u64::from(length);
                if length > limit {
                    return Err(format!(
                        "grpc: received message larger than max ({length} vs. {limit})"
                    ));
                }
                traffic.count_received(length);
                Ok(())
            });
            if let Err(text) = scanned {
                traffic.refuse(text.clone());
                // The handlers of tonic answer with a status of theirs that a body fails with.
                return Poll::Ready(Some(Err(tonic::Status::resource_exhausted(text).into())));
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    /// Unknown: a client that knew it would send a length along, which gRPC does not.
    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

// === impl Sent ===

impl Sent {
    fn end(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.ended = true;
        self.inner = Body::empty();
        let mut trailers = HeaderMap::new();
        status.write_to(&mut trailers);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        if let Some(refusal) = this.traffic.refusal() {
            let status = Status::new(code::RESOURCE_EXHAUSTED, refusal);
            return this.end(&status);
        }
        let frame = match frame {
            None => {
                return this.end(&Status::internal(
                    "server closed the stream without sending trailers",
                ));
            }
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return this.end(&broken(&error)),
        };
        this.ended = frame.is_trailers();
        if let Some(data) = frame.data_ref() {
            let (limit, traffic) = (this.limit, &this.traffic);
            let scanned = this.scanner.scan(data, |length| {
                let length = u64::from(length);
                if length > limit {
                    return Err(format!(
                        "trying to send message larger than max ({length} vs. {limit})"
                    ));
                }
                traffic.count_sent(length);
                Ok(())
            });
            if let Err(text) = scanned {
                return this.end(&Status::new(code::RESOURCE_EXHAUSTED, text));
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// The status of a call whose response breaks off.
fn broken(error: &BoxError) -> Status {
    match error.downcast_ref::<tonic::Status>() {
        Some(status) => super::answer::status_of(status),
        None => crate::app::broken(error),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lengths(pieces: &[&[u8]]) -> Vec<u32> {
        let (mut scanner, mut lengths) = (Scanner::default(), Vec::new());
        for piece in pieces {
            let Ok(()) = scanner.scan(piece, |length| {
                lengths.push(length);
                Ok::<_, Infallible>(())
            });
        }
        lengths
    }

    #[test]
    fn messages_are_found_by_their_prefixes() {
        assert_eq!(lengths(&[b"\0\0\0\0\x02ab\x01\0\0\0\0\0\0\0\x01\0"]), [2, 0, 256]);
        assert_eq!(lengths(&[b"\0\0", b"\0\0\x02a", b"b\0\0\0", b"\0\x01"]), [2, 1]);
        assert_eq!(lengths(&[b"\0\xff\xff\xff\xff"]), [u32::MAX]);
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(sizes in prop::collection::vec(0_u32..40, 0..8), cut in 1_usize..16) {
            let mut body = Vec::new();
            for size in &sizes {
                body.push(0);
                body.extend(size.to_be_bytes());
                body.extend(std::iter::repeat_n(7, *size as usize));
            }
            let pieces: Vec<_> = body.chunks(cut).collect();
            prop_assert_eq!(lengths(&pieces), sizes);
        }
    }
}
