//! Hot calls at the caller. Source: specification, service invocation 5.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body as _;
use outrigger_svc::{Body, BoxError, BoxFuture};
use outrigger_telemetry::trace::TraceContext;

use super::{AbortOnDrop, Attempt, Checkout, Link};
use crate::body::{next_data, poll_data};
use crate::codec::{
    EncodeError, Piece, decode_response, decode_response_chunk, encode_request, encode_request_chunk,
    encode_tail_chunk, piece_limit, piece_size,
};
use crate::pieces::{Messages, Pieces, Side};
use crate::transport::{CallFailure, Head, Outgoing, RecvHalf, Rpc, SendHalf};
use crate::{CallError, Invocation, Reply, Status, code};

/// What lives as long as the body of an answer.
#[derive(Debug)]
struct Guard {
    _checkout: Checkout,
    /// Sends the rest of the request, if the answer began before its end.
    _sending: Option<AbortOnDrop>,
}

/// An answer that has not begun.
struct Waiting {
    messages: Messages,
    has_started: bool,
}

// === impl Link ===

impl Link {
    /// Makes a call by `CallLocalStream` and returns when the answer has begun.
    ///
    /// The body of `call` is taken. `trace` is the span of the call; without one nothing is said of a trace.
    /// Dropping the future, or the body of the reply, cancels the call at the peer.
    ///
    /// # Errors
    /// The status that the peer ended the call with, or what went wrong on the way.
    pub async fn call(
        &self,
        call: &mut Invocation,
        trace: Option<&TraceContext>,
    ) -> Result<Reply, CallError> {
        let body = std::mem::take(&mut call.body);
        self.attempt(call, body, trace, self.checkout())
            .await
            .map_err(|attempt| attempt.error)
    }

    pub(crate) async fn attempt(
        &self,
        call: &mut Invocation,
        mut body: Body,
        trace: Option<&TraceContext>,
        checkout: Checkout,
    ) -> Result<Reply, Attempt> {
        let max = self.settings.max_message_size;
        let (rpc, data) = if call.upgrade {
            // The client has nothing to say before it has the answer.
            (Rpc::Upgrade, None)
        } else {
            (Rpc::Stream, next_data(&mut body).await)
        };
        let mut data = data.transpose().map_err(|error| unreadable(&error))?;
        let piece = data
            .as_mut()
            .map(|data| data.split_to(data.len().min(piece_size(max))));
        let rest = data.unwrap_or_default();
        let sent = u64::from(piece.is_some());
        let is_last = rest.is_empty() && body.is_end_stream();
        let first = Outgoing {
            head: {
                // Exclusive, though only read: a shared reference to a body may not move between threads.
                let call = &mut *call;
                let piece = piece.as_ref().map(|piece| Piece {
                    len: piece.len(),
                    seq: 0,
                });
                move |out: &mut Vec<u8>| encode_request_chunk(out, max, call, piece)
            },
            payload: piece.unwrap_or_default(),
            is_last,
        };
        let (send, recv) = self.client.clone().call(rpc, trace, first).await?;
        let mut sending: Option<BoxFuture<'static, _>> = None;
        if !is_last {
            sending = Some(Box::pin(send_rest(send, body, rest, sent, max)));
        }

        let mut waiting = Waiting::new(recv, piece_limit(max));
        let first = poll_fn(|cx| {
            if let Some(work) = &mut sending
                && let Poll::Ready(sent) = work.as_mut().poll(cx)
            {
                sending = None;
                if let Err(error) = sent {
                    return Poll::Ready(Err(error.into()));
                }
            }
            waiting.poll_first(cx)
        });
        let chunk = decode_response_chunk(&first.await?).map_err(Status::from)?;
        let Some(head) = chunk.response.filter(|head| head.has_status) else {
            let text = "response does not contain the required fields in the leading chunk";
            return Err(CallError::text(text).into());
        };
        let mut reply = head.reply;
        if reply.status.code == 0 && call.wants_events() {
            reply.status.code = 200;
        }
        let guard = Guard {
            _checkout: checkout,
            _sending: sending.map(|work| AbortOnDrop::spawn(async move { drop(work.await) })),
        };
        reply.body = Pieces::into_body(waiting.messages, chunk.payload, guard);
        Ok(reply)
    }

    /// Makes a call by `CallLocal`, for peers that know nothing better.
    pub(crate) async fn attempt_unary(
        &self,
        call: &mut Invocation,
        data: &Bytes,
        trace: Option<&TraceContext>,
    ) -> Result<Reply, Attempt> {
        let max = self.settings.max_message_size;
        let first = Outgoing {
            head: move |out: &mut Vec<u8>| encode_request(out, max, call, data),
            payload: Bytes::new(),
            is_last: true,
        };
        let (_send, recv) = self.client.clone().call(Rpc::Unary, trace, first).await?;
        let mut waiting = Waiting::new(recv, max);
        let message = poll_fn(|cx| waiting.poll_first(cx)).await?;
        let head = decode_response(&message).map_err(Status::from)?;
        match poll_fn(|cx| waiting.messages.poll_message(cx)).await {
            None => {}
            Some(Err(status)) => return Err(status.into()),
            Some(Ok(_)) => return Err(Status::internal("cardinality violation: expected one message").into()),
        }
        let mut reply = head.reply;
        reply.body = Body::from(head.data);
        Ok(reply)
    }
}

// === impl Waiting ===

impl Waiting {
    fn new(recv: RecvHalf, max: usize) -> Self {
        Self {
            messages: Messages::new(recv, Side::Caller, max),
            has_started: false,
        }
    }

    /// Waits for the first message.
    fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Attempt>> {
        if !self.has_started {
            match ready!(self.messages.recv().poll_head(cx))? {
                Head::Ended(status) if status.code != code::OK => {
                    return Poll::Ready(Err(status.into()));
                }
                Head::Ended(_) => return Poll::Ready(Err(end_of_stream())),
                Head::Started | Head::Raw(_) => self.has_started = true,
            }
        }
        Poll::Ready(match ready!(self.messages.poll_message(cx)) {
            Some(Ok(message)) => Ok(message),
            Some(Err(status)) => Err(status.into()),
            None => Err(end_of_stream()),
        })
    }
}

/// Sends what the first message did not hold. Ends early without an error if the peer has ended the stream:
/// the reason is found by the receiver.
async fn send_rest(
    mut send: SendHalf,
    mut body: Body,
    mut rest: Bytes,
    mut seq: u64,
    max: usize,
) -> Result<(), CallError> {
    let limit = piece_size(max);
    loop {
        while !rest.is_empty() {
            if poll_fn(|cx| send.poll_ready(cx)).await.is_err() {
                return Ok(());
            }
            let payload = rest.split_to(rest.len().min(limit));
            let piece = Piece {
                len: payload.len(),
                seq,
            };
            let is_last = rest.is_empty() && body.is_end_stream();
            let message = Outgoing {
                head: |out: &mut Vec<u8>| encode_tail_chunk(out, max, false, piece),
                payload,
                is_last,
            };
            send.message(message).map_err(unsendable)?;
            if is_last {
                return Ok(());
            }
            seq += 1;
        }
        match poll_fn(|cx| poll_data_or_reset(&mut body, &mut send, cx)).await {
            Some(Ok(Some(data))) => rest = data,
            Some(Ok(None)) => {
                send.data(Bytes::new(), true);
                return Ok(());
            }
            Some(Err(error)) => return Err(unreadable(&error)),
            None => return Ok(()),
        }
    }
}

/// The next bytes of a body; none if the peer ended the stream.
fn poll_data_or_reset(
    body: &mut Body,
    send: &mut SendHalf,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Option<Bytes>, BoxError>>> {
    if let Poll::Ready(data) = poll_data(body, cx) {
        return Poll::Ready(Some(data.transpose()));
    }
    send.poll_reset(cx).map(|_| None)
}

/// The body of the own client broke off.
fn unreadable(error: &BoxError) -> CallError {
    CallError::text(error.to_string())
}

fn unsendable(error: EncodeError) -> CallError {
    CallError::from(Status::from(error)).wrapped("error sending message: ")
}

fn end_of_stream() -> Attempt {
    CallError::text("EOF").into()
}

impl From<CallFailure> for Attempt {
    fn from(failure: CallFailure) -> Self {
        match failure {
            CallFailure::Transport(failure) => failure.into(),
            CallFailure::Encode(error) => unsendable(error).into(),
        }
    }
}
