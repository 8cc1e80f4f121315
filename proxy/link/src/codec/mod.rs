//! The four hot messages and the frames that carry them.
//!
//! ```text
//! InternalInvokeRequestStream   1 request, 2 payload      caller ──▶ callee
//! InternalInvokeResponseStream  1 response, 2 payload     caller ◀── callee
//! InternalInvokeRequest / InternalInvokeResponse          the same heads with the body inside (CallLocal)
//! ```
//!
//! Encoding measures first and then writes, so that nothing is moved or allocated on the way; the bytes of a
//! payload come last and are not touched. Decoding borrows from the received message. Unknown fields are
//! skipped. Tests compare both ways with a generated codec.

mod assemble;
mod decode;
mod encode;
#[cfg(test)]
mod oracle;
mod wire;

pub use assemble::Assembler;
pub use decode::{
    RequestChunk, RequestHead, ResponseChunk, ResponseHead, decode_request, decode_request_chunk,
    decode_response, decode_response_chunk,
};
pub use encode::{
    encode_request, encode_request_chunk, encode_response, encode_response_chunk, encode_tail_chunk,
};
pub use wire::DecodeError;

use bytes::Bytes;

/// The one version of the contract between sidecars.
pub const V1: i32 = 1;

/// Bytes in front of each gRPC message: a flag and the length.
pub const PREFIX: usize = 5;

/// One piece of a streamed body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// The bytes.
    pub data: Bytes,
    /// Number of the piece, counted from 0.
    pub seq: u64,
}

/// Length and number of a piece whose bytes follow the encoded message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Number of bytes.
    pub len: usize,
    /// Number of the piece, counted from 0.
    pub seq: u64,
}

/// Why a message cannot be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The message is longer than the limit.
    #[error("trying to send message larger than max ({len} vs. {max})")]
    TooLarge {
        /// Length of the encoded message.
        len: usize,
        /// The limit.
        max: usize,
    },
    /// A header or metadata value is not UTF-8, which the contract demands.
    #[error("grpc: error while marshaling: string field contains invalid UTF-8")]
    NotUtf8,
}

/// Most bytes of a body in one message, where the limit of messages allows it.
const PIECE: usize = 64 << 10;

/// Most bytes of a body in one message for peers that are strict about the length of messages.
const SMALL_PIECE: usize = 2048;

/// Most bytes of a body that go into one message.
///
/// Peers usually have the same limit of messages as this side, so a low one here asks for small pieces.
pub(crate) const fn piece_size(max_message_size: usize) -> usize {
    if max_message_size < 4 * PIECE {
        SMALL_PIECE
    } else {
        PIECE
    }
}

/// The longest message that is taken from a call in pieces.
///
/// The peer does not know this side's limit, and its pieces say nothing of the body's length: a low limit must not
/// refuse a piece of usual size.
pub(crate) fn piece_limit(max_message_size: usize) -> usize {
    max_message_size.max(2 * PIECE)
}

// === impl EncodeError ===

impl From<EncodeError> for crate::Status {
    fn from(error: EncodeError) -> Self {
        let code = match error {
            EncodeError::TooLarge { .. } => crate::code::RESOURCE_EXHAUSTED,
            EncodeError::NotUtf8 => crate::code::INTERNAL,
        };
        Self::new(code, error.to_string())
    }
}
