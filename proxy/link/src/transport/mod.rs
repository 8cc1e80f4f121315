//! Streams of one HTTP/2 connection, whichever implementation carries them.
//!
//! Both ends see a stream as two halves. The sender is asked for room first ([`SendHalf::poll_ready`]), then
//! takes one message of any size; so a stream never holds more than about one message that the peer gave no
//! window for. The receiver gives the window back as its bytes are taken. A stream whose halves are dropped
//! before its end is reset.
//!
//! Hot calls and raw ones differ only in their heads and trailers: of a hot call nothing but the gRPC status
//! and the trace is of interest, of a raw one everything.

mod failure;
mod grpc;
mod h2;

use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http::{request, response};
use outrigger_telemetry::trace::TraceContext;

pub(crate) use self::failure::{CANCEL, Failure, INTERNAL_ERROR, io_text};
pub(crate) use self::grpc::{GRPC, USER_AGENT, no_trailers, refusal_of, trace_of, wrong_head};
pub(crate) use self::h2::{H2Acceptor, connect_h2};
use crate::Status;
use crate::codec::EncodeError;
use crate::framing::{OwnClient, OwnRecv, OwnResponder, OwnSend};

/// The hot methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rpc {
    /// `CallLocalStream`.
    Stream,
    /// `CallLocal`.
    Unary,
    /// `CallLocalStream` for a call that leaves HTTP. Only sidecars of this kind know it.
    Upgrade,
}

/// A handle of a client connection.
#[derive(Clone, Debug)]
pub(crate) enum Client {
    H2(h2::H2Client),
    Own(OwnClient),
}

/// The sending half of a stream.
#[derive(Debug)]
pub(crate) enum SendHalf {
    H2(h2::H2Send),
    Own(OwnSend),
}

/// The receiving half of a stream.
#[derive(Debug)]
pub(crate) enum RecvHalf {
    H2(h2::H2Recv),
    Own(OwnRecv),
}

/// The server's right to answer one request.
#[derive(Debug)]
pub(crate) enum Responder {
    H2(h2::H2Responder),
    Own(OwnResponder),
}

/// A request that a server received.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) request: Request,
    pub(crate) responder: Responder,
    pub(crate) body: RecvHalf,
}

/// The head of a received request.
#[derive(Debug)]
pub(crate) enum Request {
    /// A hot call.
    Call(Call),
    /// Any other request.
    Raw(Box<request::Parts>),
}

/// The head of a received hot call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) rpc: Rpc,
    /// The trace that the metadata of the call names.
    pub(crate) trace: Option<TraceContext>,
    /// Why the call cannot be taken, if so.
    pub(crate) refusal: Option<Status>,
}

/// What a server answered before its first message.
#[derive(Debug)]
pub(crate) enum Head {
    /// Messages follow.
    Started,
    /// The call ended without a message.
    Ended(Status),
    /// The head of the answer to a raw request.
    Raw(Box<response::Parts>),
}

/// What a server said after its last message.
#[derive(Debug)]
pub(crate) enum Trailers {
    Status(Status),
    Raw(Option<HeaderMap>),
}

/// One message to send: how to write its head, and its payload, which follows as it is.
#[derive(Debug)]
pub(crate) struct Outgoing<F> {
    pub(crate) head: F,
    pub(crate) payload: Bytes,
    pub(crate) is_last: bool,
}

// === impl Client ===

impl Client {
    /// Opens a stream for a hot call and sends its first message.
    pub(crate) async fn call<F>(
        &mut self,
        rpc: Rpc,
        trace: Option<&TraceContext>,
        first: Outgoing<F>,
    ) -> Result<(SendHalf, RecvHalf), CallFailure>
    where
        F: FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    {
        match self {
            Self::H2(client) => client.call(rpc, trace, first).await,
            Self::Own(client) => client.call(rpc, trace, first).await,
        }
    }

    /// Whether streams can still be opened, as far as the client knows.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::H2(_) => true,
            Self::Own(client) => client.is_open(),
        }
    }

    /// Opens a stream for a raw request.
    pub(crate) async fn request(
        &mut self,
        head: request::Parts,
        is_last: bool,
    ) -> Result<(SendHalf, RecvHalf), Failure> {
        match self {
            Self::H2(client) => client.request(head, is_last).await,
            Self::Own(client) => client.request(head, is_last).await,
        }
    }
}

/// Why a stream was not opened: the peer or the message.
#[derive(Debug)]
pub(crate) enum CallFailure {
    Transport(Failure),
    Encode(EncodeError),
}

// === impl SendHalf ===

impl SendHalf {
    /// Waits until one more message may be taken.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        match self {
            Self::H2(send) => send.poll_ready(cx),
            Self::Own(send) => send.poll_ready(cx),
        }
    }

    /// Waits until the peer gives the stream up.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        match self {
            Self::H2(send) => send.poll_reset(cx),
            Self::Own(send) => send.poll_reset(cx),
        }
    }

    /// Sends one gRPC message. What goes wrong with the stream is seen by the other methods.
    pub(crate) fn message<F>(&mut self, message: Outgoing<F>) -> Result<(), EncodeError>
    where
        F: FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    {
        match self {
            Self::H2(send) => send.message(message),
            Self::Own(send) => send.message(message),
        }
    }

    /// Sends bytes as they are.
    pub(crate) fn data(&mut self, data: Bytes, is_last: bool) {
        match self {
            Self::H2(send) => send.data(data, is_last),
            Self::Own(send) => send.data(data, is_last),
        }
    }

    /// Ends an answer with its status.
    pub(crate) fn finish(&mut self, status: &Status) {
        match self {
            Self::H2(send) => send.finish(status),
            Self::Own(send) => send.finish(status),
        }
    }

    /// Ends the stream with trailers.
    pub(crate) fn trailers(&mut self, trailers: HeaderMap) {
        match self {
            Self::H2(send) => send.trailers(trailers),
            Self::Own(send) => send.trailers(trailers),
        }
    }

    /// Gives the stream up with an HTTP/2 error code.
    pub(crate) fn reset(&mut self, reason: u32) {
        match self {
            Self::H2(send) => send.reset(reason),
            Self::Own(send) => send.reset(reason),
        }
    }
}

// === impl RecvHalf ===

impl RecvHalf {
    /// Waits for the head of the answer. Clients call this first.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Failure>> {
        match self {
            Self::H2(recv) => recv.poll_head(cx),
            Self::Own(recv) => recv.poll_head(cx),
        }
    }

    /// Waits for the next bytes; none at the end.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Failure>>> {
        match self {
            Self::H2(recv) => recv.poll_data(cx),
            Self::Own(recv) => recv.poll_data(cx),
        }
    }

    /// Waits for the trailers, after the end of the bytes.
    pub(crate) fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Result<Trailers, Failure>> {
        match self {
            Self::H2(recv) => recv.poll_trailers(cx),
            Self::Own(recv) => Poll::Ready(Ok(recv.trailers())),
        }
    }

    /// Whether the peer has ended the stream and everything was taken.
    pub(crate) fn is_end(&self) -> bool {
        match self {
            Self::H2(recv) => recv.is_end(),
            Self::Own(recv) => recv.is_end(),
        }
    }
}

// === impl Responder ===

impl Responder {
    /// Starts the answer to a gRPC call.
    pub(crate) fn start(self) -> SendHalf {
        match self {
            Self::H2(responder) => SendHalf::H2(responder.start()),
            Self::Own(responder) => SendHalf::Own(responder.start()),
        }
    }

    /// Ends a gRPC call without a message.
    pub(crate) fn refuse(self, status: &Status) {
        match self {
            Self::H2(responder) => responder.refuse(status),
            Self::Own(responder) => responder.refuse(status),
        }
    }

    /// Starts the answer to a raw request.
    pub(crate) fn respond(self, head: response::Parts, is_last: bool) -> SendHalf {
        match self {
            Self::H2(responder) => SendHalf::H2(responder.respond(head, is_last)),
            Self::Own(responder) => SendHalf::Own(responder.respond(&head, is_last)),
        }
    }

    /// Waits until the peer gives the stream up.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        match self {
            Self::H2(responder) => responder.poll_reset(cx),
            Self::Own(responder) => responder.poll_reset(cx),
        }
    }
}

// === impl CallFailure ===

impl From<Failure> for CallFailure {
    fn from(failure: Failure) -> Self {
        Self::Transport(failure)
    }
}

impl From<EncodeError> for CallFailure {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}
