//! gRPC messages out of the pieces that HTTP/2 delivers.

use bytes::{Buf, Bytes, BytesMut};

use super::PREFIX;
use crate::{Status, code};

/// Collects received bytes and cuts them into gRPC messages.
///
/// A message that lies in one received piece is a slice of it; only one that lies in several is copied.
#[derive(Debug)]
pub struct Assembler {
    max: usize,
    /// The last piece received, or what is left of it.
    piece: Bytes,
    /// A message that began in an earlier piece, with its prefix.
    partial: BytesMut,
}

/// Memory that a mere announcement of a long message may take.
const MAX_RESERVED: usize = 128 << 10;

// === impl Assembler ===

impl Assembler {
    /// An assembler that refuses messages of more than `max` bytes, and of 2 GiB or more in any case.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self {
            max: max.min(i32::MAX as usize),
            piece: Bytes::new(),
            partial: BytesMut::new(),
        }
    }

    /// Adds the next received bytes. All messages must have been taken before.
    pub fn push(&mut self, piece: Bytes) {
        debug_assert!(
            self.piece.is_empty(),
            "messages are taken before more bytes are added"
        );
        self.piece = piece;
    }

    /// Takes the next whole message, without its prefix; none if more bytes are needed.
    ///
    /// # Errors
    /// ResourceExhausted for a message over the limit, Internal or Unimplemented for a compressed one.
    pub fn next_message(&mut self) -> Result<Option<Bytes>, Status> {
        if self.partial.is_empty() {
            if self.piece.is_empty() {
                return Ok(None);
            }
            if let Some(len) = self.announced(&self.piece)?
                && self.piece.len() >= PREFIX + len
            {
                self.piece.advance(PREFIX);
                return Ok(Some(self.piece.split_to(len)));
            }
        }
        while !self.piece.is_empty() {
            let wanted = match self.announced(&self.partial)? {
                Some(len) => PREFIX + len,
                None => PREFIX,
            };
            self.partial
                .reserve((wanted - self.partial.len()).min(MAX_RESERVED));
            let taken = self
                .piece
                .split_to(self.piece.len().min(wanted - self.partial.len()));
            self.partial.extend_from_slice(&taken);
            if let Some(len) = self.announced(&self.partial)?
                && self.partial.len() == PREFIX + len
            {
                let mut message = std::mem::take(&mut self.partial).freeze();
                message.advance(PREFIX);
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Whether a message has begun that is not whole.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.partial.is_empty() || !self.piece.is_empty()
    }

    /// The length in the prefix, once that is there.
    fn announced(&self, bytes: &[u8]) -> Result<Option<usize>, Status> {
        let Some(&[flag, a, b, c, d]) = bytes.first_chunk() else {
            return Ok(None);
        };
        match flag {
            0 => {}
            1 => {
                let text = "grpc: compressed flag set with identity or empty encoding";
                return Err(Status::internal(text));
            }
            other => {
                let text = format!("grpc: received unexpected payload format {other}");
                return Err(Status::internal(text));
            }
        }
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        if len > self.max {
            let text = format!("grpc: received message larger than max ({len} vs. {})", self.max);
            return Err(Status::new(code::RESOURCE_EXHAUSTED, text));
        }
        Ok(Some(len))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop};
    use proptest::proptest;

    use super::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        let mut out = vec![0];
        out.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
        out.extend_from_slice(message);
        out
    }

    #[test]
    fn a_message_in_one_piece_is_a_slice_of_it() {
        let piece = Bytes::from(framed(b"hello"));
        let mut assembler = Assembler::new(5);
        assembler.push(piece.clone());
        let message = assembler.next_message().unwrap().unwrap();
        assert_eq!(message.as_ptr(), piece[PREFIX..].as_ptr());
        assert_eq!(assembler.next_message(), Ok(None));
        assert!(!assembler.is_partial());
    }

    #[test]
    fn a_message_over_the_limit_is_refused_by_its_prefix() {
        let mut assembler = Assembler::new(4);
        assembler.push(Bytes::from_static(b"\0\0\0\0\x05"));
        let refused = assembler.next_message().unwrap_err();
        assert_eq!(
            refused,
            Status::new(8, "grpc: received message larger than max (5 vs. 4)")
        );
    }

    #[test]
    fn compressed_messages_are_refused() {
        let mut assembler = Assembler::new(4);
        assembler.push(Bytes::from_static(b"\x01\0\0\0\0"));
        assert_eq!(assembler.next_message().unwrap_err().code, code::INTERNAL);
    }

    proptest! {
        #[test]
        fn messages_come_out_whole_however_they_arrive(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cuts in prop::collection::vec(1_usize..30, 1..20),
        ) {
            let mut bytes = Bytes::from(messages.iter().flat_map(|message| framed(message)).collect::<Vec<_>>());
            let mut assembler = Assembler::new(64);
            let mut received = Vec::new();
            for cut in cuts.iter().cycle() {
                if bytes.is_empty() {
                    break;
                }
                assembler.push(bytes.split_to(bytes.len().min(*cut)));
                while let Some(message) = assembler.next_message().unwrap() {
                    received.push(message.to_vec());
                }
            }
            assert_eq!(received, messages);
            assert!(!assembler.is_partial());
        }
    }
}
