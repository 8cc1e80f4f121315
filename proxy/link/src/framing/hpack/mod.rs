//! Header compression (RFC 7541).
//!
//! The decoder is complete. The encoder has the peer remember the few fields that every call repeats, so that
//! the head of a hot call is a handful of indexes, and sends everything else as it is.

mod decode;
mod encode;
mod huffman;
mod table;

pub(super) use decode::{Decoder, FieldList};
pub(super) use encode::Encoder;

/// Size of the dynamic table at the start of a connection, and the one that this side keeps to.
const TABLE_SIZE: usize = 4096;

/// Why a header block cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HpackError {
    #[error("malformed header block")]
    Malformed,
}

#[cfg(test)]
mod tests;
