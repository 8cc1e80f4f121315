//! Answers of hot calls: the head with the first bytes, then more bytes as the app yields them.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Body as _;
use outrigger_svc::{Body, BoxError, collect_limited};

use super::{Callee, Shared};
use crate::body::{next_data, poll_data};
use crate::codec::{Piece, encode_response, encode_response_chunk, encode_tail_chunk, piece_size};
use crate::transport::{Outgoing, Responder, SendHalf};
use crate::{Reply, Status};

/// Most bytes of one message of a stream of events.
const EVENT: usize = 1024;

// === impl Shared ===

impl<C: Callee> Shared<C> {
    pub(super) async fn send_stream(&self, mut reply: Reply, events: bool, mut responder: Responder) {
        let mut body = std::mem::take(&mut reply.body);
        let max = self.settings.max_message_size;
        let limit = if events { EVENT } else { piece_size(max) };

        let first = if reply.status.is_switching() {
            // Either end may be the first to speak, so the client must know at once.
            None
        } else {
            tokio::select! {
                biased;
                data = next_data(&mut body) => data,
                _ = poll_fn(|cx| responder.poll_reset(cx)) => return,
            }
        };
        let mut data = match first.transpose() {
            Ok(data) => data,
            Err(error) => return responder.refuse(&broken(&error)),
        };
        let mut send = responder.start();
        let piece = data.as_mut().map(|data| data.split_to(data.len().min(limit)));
        let message = Outgoing {
            head: |out: &mut Vec<u8>| {
                let piece = piece.as_ref().map(|piece| Piece {
                    len: piece.len(),
                    seq: 0,
                });
                encode_response_chunk(out, max, &reply, events, piece)
            },
            payload: piece.clone().unwrap_or_default(),
            is_last: false,
        };
        if let Err(error) = send.message(message) {
            return send.finish(&error.into());
        }
        drop(reply);

        let mut seq = u64::from(piece.is_some());
        let mut rest = data.unwrap_or_default();
        loop {
            while !rest.is_empty() {
                if poll_fn(|cx| send.poll_ready(cx)).await.is_err() {
                    return;
                }
                let payload = rest.split_to(rest.len().min(limit));
                let piece = Piece {
                    len: payload.len(),
                    seq,
                };
                let message = Outgoing {
                    head: |out: &mut Vec<u8>| encode_tail_chunk(out, max, events, piece),
                    payload,
                    is_last: false,
                };
                if let Err(error) = send.message(message) {
                    return send.finish(&error.into());
                }
                seq += 1;
            }
            if body.is_end_stream() {
                return send.finish(&Status::default());
            }
            match poll_fn(|cx| poll_data_or_reset(&mut body, &mut send, cx)).await {
                Some(Ok(Some(data))) => rest = data,
                Some(Ok(None)) => return send.finish(&Status::default()),
                Some(Err(error)) => return send.finish(&broken(&error)),
                None => return,
            }
        }
    }

    pub(super) async fn send_unary(&self, mut reply: Reply, mut responder: Responder) {
        let max = self.settings.max_message_size;
        let body = std::mem::take(&mut reply.body);
        let data = tokio::select! {
            biased;
            data = collect_limited(body, max) => data,
            _ = poll_fn(|cx| responder.poll_reset(cx)) => return,
        };
        let data = match data {
            Ok(data) => data,
            Err(error) => return responder.refuse(&broken(&error.into())),
        };
        let mut send = responder.start();
        let message = Outgoing {
            head: |out: &mut Vec<u8>| encode_response(out, max, &reply, &data),
            payload: Bytes::new(),
            is_last: false,
        };
        let outcome = send.message(message);
        send.finish(&outcome.err().map(Status::from).unwrap_or_default());
    }
}

/// The next bytes of a body; none if the caller gave up.
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

/// The status of an answer whose body broke off.
fn broken(error: &BoxError) -> Status {
    match error.downcast_ref::<crate::CallError>() {
        Some(error) => error.clone().into(),
        None => Status::internal(error.to_string()),
    }
}
