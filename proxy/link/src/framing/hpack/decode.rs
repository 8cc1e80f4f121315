//! Reads header blocks.

use super::table::{DynamicTable, STATIC};
use super::{HpackError, TABLE_SIZE, huffman};

/// The fields of one header block, in one buffer that is used again for the next.
#[derive(Debug, Default)]
pub(crate) struct FieldList {
    text: Vec<u8>,
    /// Where each field begins, and the length of its name.
    fields: Vec<(usize, usize)>,
    /// Size as RFC 9113, 6.5.2 counts it.
    size: usize,
    max: usize,
    /// Whether fields were left out because the list grew beyond `max`.
    pub(crate) is_too_large: bool,
}

/// Reads the header blocks of one connection, in order.
#[derive(Debug)]
pub(crate) struct Decoder {
    table: DynamicTable,
}

/// Reads the parts of one block.
struct Reader<'a>(&'a [u8]);

// === impl Decoder ===

impl Decoder {
    pub(crate) const fn new() -> Self {
        Self {
            table: DynamicTable::new(TABLE_SIZE),
        }
    }

    /// Reads a whole block into `list`. An error leaves the connection unusable.
    pub(crate) fn decode(&mut self, block: &[u8], list: &mut FieldList) -> Result<(), HpackError> {
        list.clear();
        let mut reader = Reader(block);
        let mut may_resize = true;
        while let Some(first) = reader.peek() {
            if first & 0xe0 == 0x20 {
                let size = reader.integer(5)?;
                if !may_resize || size > TABLE_SIZE {
                    return Err(HpackError::Malformed);
                }
                self.table.resize(size);
                continue;
            }
            may_resize = false;
            if first & 0x80 != 0 {
                let index = reader.integer(7)?;
                let (name, value) = self.field(index)?;
                list.push(name, value);
                continue;
            }
            let is_remembered = first & 0x40 != 0;
            let index = reader.integer(if is_remembered { 6 } else { 4 })?;
            let start = list.text.len();
            if index == 0 {
                reader.string(&mut list.text)?;
            } else {
                list.text.extend_from_slice(self.field(index)?.0);
            }
            let name = list.text.len() - start;
            reader.string(&mut list.text)?;
            if is_remembered {
                let (name, value) = list.text[start..].split_at(name);
                self.table.insert(name, value);
            }
            list.count(start, name);
        }
        Ok(())
    }

    fn field(&self, index: usize) -> Result<(&[u8], &[u8]), HpackError> {
        let index = index.checked_sub(1).ok_or(HpackError::Malformed)?;
        if let Some((name, value)) = STATIC.get(index) {
            return Ok((name.as_bytes(), value.as_bytes()));
        }
        self.table.get(index - STATIC.len()).ok_or(HpackError::Malformed)
    }
}

// === impl FieldList ===

impl FieldList {
    /// A list that holds at most `max` bytes, as HTTP/2 counts them.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            ..Self::default()
        }
    }

    /// Names and values in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let ends = self
            .fields
            .iter()
            .skip(1)
            .map(|(start, _)| *start)
            .chain([self.text.len()]);
        self.fields
            .iter()
            .zip(ends)
            .map(|((start, name), end)| self.text[*start..end].split_at(*name))
    }

    fn clear(&mut self) {
        self.text.clear();
        self.fields.clear();
        self.size = 0;
        self.is_too_large = false;
    }

    fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.count(start, name.len());
    }

    /// Counts the field whose text begins at `start` and ends the buffer; drops it if the list is full.
    fn count(&mut self, start: usize, name: usize) {
        self.size += self.text.len() - start + 32;
        if self.size > self.max {
            self.is_too_large = true;
            self.text.truncate(start);
        } else {
            self.fields.push((start, name));
        }
    }
}

// === impl Reader ===

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn byte(&mut self) -> Result<u8, HpackError> {
        let (first, rest) = self.0.split_first().ok_or(HpackError::Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    /// An integer whose first bits are the lower `bits` of the next byte (RFC 7541, 5.1).
    fn integer(&mut self, bits: u32) -> Result<usize, HpackError> {
        let mask = (1_usize << bits) - 1;
        let mut value = usize::from(self.byte()?) & mask;
        if value < mask {
            return Ok(value);
        }
        // Nothing that a block can hold needs more than 28 bits.
        for shift in [0, 7, 14, 21] {
            let byte = usize::from(self.byte()?);
            value += (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(HpackError::Malformed)
    }

    /// A string (RFC 7541, 5.2), appended to `out`.
    fn string(&mut self, out: &mut Vec<u8>) -> Result<(), HpackError> {
        let is_coded = self.peek().ok_or(HpackError::Malformed)? & 0x80 != 0;
        let len = self.integer(7)?;
        if len > self.0.len() {
            return Err(HpackError::Malformed);
        }
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        if is_coded {
            return huffman::decode(text, out);
        }
        out.extend_from_slice(text);
        Ok(())
    }
}
