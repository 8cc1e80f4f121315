//! Hot calls at the callee. Source: specification, service invocation 6.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use outrigger_svc::Body;

use super::{CallForm, CallScope, Callee, Running, Shared};
use crate::codec::{RequestHead, decode_request, decode_request_chunk, piece_limit};
use crate::pieces::{Messages, Pieces, Side};
use crate::transport::{Call, RecvHalf, Responder, Rpc};
use crate::{Invocation, Reply, Status, code};

const NO_RESPONSE: &str = "error invoking app channel: no response received from stream";

// === impl Shared ===

impl<C: Callee> Shared<C> {
    pub(super) async fn call(self: Arc<Self>, call: Call, mut responder: Responder, body: RecvHalf) {
        let _running = Running::count(&self.running);
        let is_unary = call.rpc == Rpc::Unary;
        let answer = tokio::select! {
            biased;
            answer = self.answer(call, body) => answer,
            _ = poll_fn(|cx| responder.poll_reset(cx)) => return,
        };
        match answer {
            Err(status) => responder.refuse(&status),
            Ok(Answer { reply, .. }) if is_unary => self.send_unary(reply, responder).await,
            Ok(Answer { reply, events }) => self.send_stream(reply, events, responder).await,
        }
    }

    async fn answer(&self, call: Call, body: RecvHalf) -> Result<Answer, Status> {
        if let Some(refusal) = call.refusal {
            return Err(refusal);
        }
        self.callee.admit()?;
        let scope = CallScope {
            context: self.context.clone(),
            trace: call.trace,
            form: match call.rpc {
                Rpc::Stream | Rpc::Upgrade => CallForm::Stream,
                Rpc::Unary => CallForm::Unary,
            },
        };
        let max = self.settings.max_message_size;
        let limit = match call.rpc {
            Rpc::Unary => max,
            Rpc::Stream | Rpc::Upgrade => piece_limit(max),
        };
        let messages = Messages::new(body, Side::Callee, limit);
        let call = match call.rpc {
            Rpc::Stream => read_stream(messages).await?,
            Rpc::Unary => read_unary(messages).await?,
            Rpc::Upgrade => Invocation {
                streaming: true,
                upgrade: true,
                ..read_stream(messages).await?
            },
        };
        let events = call.wants_events();
        let reply = self.callee.invoke(scope, call).await?;
        if events && !(200..300).contains(&reply.status.code) {
            return Err(Status::internal(NO_RESPONSE));
        }
        Ok(Answer { reply, events })
    }
}

struct Answer {
    reply: Reply,
    /// Whether the body is a stream of server-sent events.
    events: bool,
}

async fn read_stream(mut messages: Messages) -> Result<Invocation, Status> {
    let chunk = decode_request_chunk(&first(&mut messages).await?)?;
    let head = chunk.request.filter(|head| head.has_metadata && head.has_message);
    let Some(RequestHead { mut call, .. }) = head else {
        return Err(bad_request(
            "request does not contain the required fields in the leading chunk",
        ));
    };
    call.body = Pieces::into_body(messages, chunk.payload, ());
    Ok(call)
}

async fn read_unary(mut messages: Messages) -> Result<Invocation, Status> {
    let head = decode_request(&first(&mut messages).await?)?;
    if !head.has_message {
        return Err(bad_request("field Message is nil"));
    }
    let mut call = head.call;
    call.body = Body::from(head.data);
    Ok(call)
}

/// The first message of a call; without one the call has no request.
async fn first(messages: &mut Messages) -> Result<Bytes, Status> {
    let message = poll_fn(|cx| messages.poll_message(cx)).await;
    message.unwrap_or_else(|| Err(Status::internal("EOF")))
}

fn bad_request(reason: &str) -> Status {
    Status::new(
        code::INVALID_ARGUMENT,
        format!("parsing InternalInvokeRequest error: {reason}"),
    )
}
