//! The protobuf wire format: varints, tags, and a reader that never panics.

use std::ops::Range;

/// Why a received message cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are no protobuf message.
    #[error("grpc: failed to unmarshal the received message: proto: cannot parse invalid wire-format data")]
    Malformed,
    /// A string field holds bytes that are not UTF-8.
    #[error("grpc: failed to unmarshal the received message: string field contains invalid UTF-8")]
    NotUtf8,
}

/// A field of a message; positions are those of the whole received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Varint(u32, u64),
    Bytes(u32, Range<usize>),
    /// A field of fixed size or a group: none of the hot messages has one, so it is unknown.
    Other,
}

/// Reads the fields of one message, nested messages included.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
pub(super) const LEN: u32 = 2;
const GROUP: u32 = 3;
const END_GROUP: u32 = 4;
const FIXED32: u32 = 5;

/// Groups inside groups that are still skipped.
const MAX_DEPTH: usize = 64;

// === impl DecodeError ===

impl From<DecodeError> for crate::Status {
    fn from(error: DecodeError) -> Self {
        Self::internal(error.to_string())
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            at: 0,
            end: bytes.len(),
        }
    }

    /// A reader of a nested message, whose range came from [`Field::Bytes`].
    pub(super) const fn nested(&self, range: &Range<usize>) -> Self {
        Self {
            bytes: self.bytes,
            at: range.start,
            end: range.end,
        }
    }

    pub(super) fn next_field(&mut self) -> Result<Option<Field>, DecodeError> {
        if self.at >= self.end {
            return Ok(None);
        }
        let (number, kind) = self.tag()?;
        let field = match kind {
            VARINT => Field::Varint(number, self.varint()?),
            LEN => Field::Bytes(number, self.length_delimited()?),
            other => {
                self.skip(number, other, 0)?;
                Field::Other
            }
        };
        Ok(Some(field))
    }

    /// The bytes of a field.
    pub(super) fn bytes(&self, range: &Range<usize>) -> &'a [u8] {
        &self.bytes[range.clone()]
    }

    /// Checks that a string field is UTF-8.
    pub(super) fn check_utf8(&self, range: &Range<usize>) -> Result<(), DecodeError> {
        let bytes = self.bytes(range);
        if bytes.is_ascii() || std::str::from_utf8(bytes).is_ok() {
            return Ok(());
        }
        Err(DecodeError::NotUtf8)
    }

    fn tag(&mut self) -> Result<(u32, u32), DecodeError> {
        let tag = u32::try_from(self.varint()?).map_err(|_| DecodeError::Malformed)?;
        let number = tag >> 3;
        if number == 0 {
            return Err(DecodeError::Malformed);
        }
        Ok((number, tag & 7))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, DecodeError> {
        // Most are lengths and tags of one byte.
        match self.bytes[..self.end].get(self.at) {
            Some(byte) if *byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes[..self.end]
                .get(self.at)
                .ok_or(DecodeError::Malformed)?;
            self.at += 1;
            // The tenth byte has room for one bit.
            if shift == 63 && byte > 1 {
                return Err(DecodeError::Malformed);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Malformed)
    }

    fn length_delimited(&mut self) -> Result<Range<usize>, DecodeError> {
        let len = usize::try_from(self.varint()?).map_err(|_| DecodeError::Malformed)?;
        self.take(len)
    }

    fn take(&mut self, len: usize) -> Result<Range<usize>, DecodeError> {
        if len > self.end - self.at {
            return Err(DecodeError::Malformed);
        }
        let range = self.at..self.at + len;
        self.at = range.end;
        Ok(range)
    }

    fn skip(&mut self, number: u32, kind: u32, depth: usize) -> Result<(), DecodeError> {
        match kind {
            VARINT => self.varint().map(drop),
            FIXED64 => self.take(8).map(drop),
            LEN => self.length_delimited().map(drop),
            FIXED32 => self.take(4).map(drop),
            GROUP if depth < MAX_DEPTH => loop {
                let (inner, kind) = self.tag()?;
                if kind == END_GROUP {
                    break if inner == number {
                        Ok(())
                    } else {
                        Err(DecodeError::Malformed)
                    };
                }
                self.skip(inner, kind, depth + 1)?;
            },
            _ => Err(DecodeError::Malformed),
        }
    }
}

/// Number of bytes that a varint takes.
pub(super) const fn varint_len(value: u64) -> usize {
    // 7 bits a byte: (bits * 9 + 64) / 64 is ceil(bits / 7) for 1 to 64 bits.
    ((63 - (value | 1).leading_zeros() as usize) * 9 + 73) / 64
}

/// Number of bytes of a length-delimited field with a one-byte tag, tag and length included.
pub(super) const fn field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

/// The same for a field that is left out when it is empty.
pub(super) const fn optional_len(len: usize) -> usize {
    if len == 0 { 0 } else { field_len(len) }
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// Writes tag and length of a field with a number below 16.
pub(super) fn put_head(out: &mut Vec<u8>, number: u8, len: usize) {
    out.push(number << 3 | LEN as u8);
    put_varint(out, len as u64);
}

pub(super) fn put_field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    put_head(out, number, bytes.len());
    out.extend_from_slice(bytes);
}

pub(super) fn put_optional(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_field(out, number, bytes);
    }
}

/// Writes a number field, which is left out when it is 0.
pub(super) fn put_number(out: &mut Vec<u8>, number: u8, value: u64) {
    if value != 0 {
        out.push(number << 3);
        put_varint(out, value);
    }
}

/// Number of bytes that [`put_number`] writes.
pub(super) const fn number_len(value: u64) -> usize {
    if value == 0 { 0 } else { 1 + varint_len(value) }
}

/// The form of an int32 or enum on the wire: sign-extended.
pub(super) const fn int32(value: i32) -> u64 {
    (value as i64).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_as_long_as_announced() {
        let mut cases: Vec<u64> = (0..64).flat_map(|bit| [1 << bit, (1 << bit) - 1]).collect();
        cases.push(u64::MAX);
        for value in cases {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value), "{value}");
            assert_eq!(Reader::new(&out).varint(), Ok(value));
        }
    }

    #[test]
    fn unknown_fields_of_every_kind_are_skipped() {
        // Fields 9 fixed32, 9 fixed64, 9 group with a varint and a nested group, then field 1 varint.
        let message = b"\x4d1234\x4912345678\x4b\x08\x01\x53\x54\x4c\x08\x07";
        let mut reader = Reader::new(message);
        for _ in 0..3 {
            assert_eq!(reader.next_field(), Ok(Some(Field::Other)));
        }
        assert_eq!(reader.next_field(), Ok(Some(Field::Varint(1, 7))));
        assert_eq!(reader.next_field(), Ok(None));
    }

    #[test]
    fn broken_messages_are_errors() {
        let cases: [&[u8]; 8] = [
            b"\x08",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
            b"\x0a\x05abc",
            b"\x00\x01",
            b"\x4b\x08\x01",
            b"\x4b\x54",
            b"\x0c",
            b"\x0f",
        ];
        for case in cases {
            let mut reader = Reader::new(case);
            assert_eq!(reader.next_field(), Err(DecodeError::Malformed), "{case:?}");
        }
    }

    #[test]
    fn groups_nest_only_so_deep() {
        let deep = vec![0x0b; 100_000];
        assert_eq!(Reader::new(&deep).next_field(), Err(DecodeError::Malformed));
    }
}
