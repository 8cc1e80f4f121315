//! Bytes on their way out.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Frames that wait to be written, in order.
///
/// Small things are written one behind the other; a large payload is kept as it is, without a copy.
#[derive(Debug, Default)]
pub(super) struct Output {
    before: VecDeque<Bytes>,
    /// Bytes behind everything in `before`.
    last: Vec<u8>,
    /// Bytes in `before`.
    before_len: usize,
}

/// What the driver is writing.
#[derive(Debug, Default)]
pub(super) struct Writing {
    before: VecDeque<Bytes>,
    last: Vec<u8>,
    /// Bytes of `last` that are written.
    at: usize,
}

/// Payloads of this many bytes are not copied.
const LARGE: usize = 4096;

/// A buffer that has grown beyond this is not kept.
const KEPT: usize = 256 << 10;

// === impl Output ===

impl Output {
    /// The buffer to append to.
    pub(super) const fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.last
    }

    /// Appends a payload.
    pub(super) fn put(&mut self, payload: Bytes) {
        if payload.len() < LARGE {
            self.last.extend_from_slice(&payload);
            return;
        }
        if !self.last.is_empty() {
            self.before_len += self.last.len();
            self.before.push_back(Bytes::from(std::mem::take(&mut self.last)));
        }
        self.before_len += payload.len();
        self.before.push_back(payload);
    }

    pub(super) fn len(&self) -> usize {
        self.before_len + self.last.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.before.is_empty() && self.last.is_empty()
    }

    /// Hands everything over to a writer that has nothing left to write.
    pub(super) fn hand_to(&mut self, writing: &mut Writing) {
        debug_assert!(!writing.has_remaining(), "one batch is written at a time");
        writing.last.clear();
        writing.at = 0;
        if writing.last.capacity() > KEPT {
            writing.last = Vec::new();
        }
        std::mem::swap(&mut self.before, &mut writing.before);
        std::mem::swap(&mut self.last, &mut writing.last);
        self.before_len = 0;
    }
}

// === impl Writing ===

impl Buf for Writing {
    fn remaining(&self) -> usize {
        self.before.iter().map(Bytes::len).sum::<usize>() + self.last.len() - self.at
    }

    fn chunk(&self) -> &[u8] {
        self.before.front().map_or(&self.last[self.at..], |first| first)
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(first) = self.before.front_mut() {
            if count < first.len() {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.before.pop_front();
        }
        self.at += count;
        assert!(self.at <= self.last.len(), "no more is written than there is");
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let last = Some(&self.last[self.at..]).filter(|last| !last.is_empty());
        let parts = self.before.iter().map(|part| &part[..]).chain(last);
        parts
            .zip(slices)
            .map(|(part, slice)| *slice = IoSlice::new(part))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_and_large_payloads_are_not_copied() {
        let mut output = Output::default();
        output.buffer().extend_from_slice(b"ab");
        output.put(Bytes::from_static(b"cd"));
        let large = Bytes::from(vec![b'x'; LARGE]);
        output.put(large.clone());
        output.buffer().extend_from_slice(b"ef");
        assert_eq!(output.len(), LARGE + 6);

        let mut writing = Writing::default();
        output.hand_to(&mut writing);
        assert!(output.is_empty());
        assert_eq!(writing.remaining(), LARGE + 6);
        let mut slices = [IoSlice::new(&[]); 8];
        assert_eq!(writing.chunks_vectored(&mut slices), 3);
        assert_eq!(slices[1].as_ptr(), large.as_ptr());

        writing.advance(3);
        assert_eq!(writing.chunk(), b"d");
        writing.advance(1 + LARGE);
        assert_eq!(writing.chunk(), b"ef");
        writing.advance(2);
        assert!(!writing.has_remaining());
    }
}
