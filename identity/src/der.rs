//! DER, the encoding of certificates: what it takes to write one byte for byte and to cut one apart.
//!
//! Source: X.690.

/// Tags of the types that certificates are made of.
pub mod tag {
    #![allow(missing_docs, reason = "the names are those of ASN.1")]
    pub const BOOLEAN: u8 = 0x01;
    pub const INTEGER: u8 = 0x02;
    pub const BIT_STRING: u8 = 0x03;
    pub const OCTET_STRING: u8 = 0x04;
    pub const NULL: u8 = 0x05;
    pub const OBJECT_IDENTIFIER: u8 = 0x06;
    pub const UTF8_STRING: u8 = 0x0c;
    pub const PRINTABLE_STRING: u8 = 0x13;
    pub const UTC_TIME: u8 = 0x17;
    pub const GENERALIZED_TIME: u8 = 0x18;
    pub const SEQUENCE: u8 = 0x30;
    pub const SET: u8 = 0x31;
}

/// One value cut off the start of an encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// First byte of the value; tags of more than one byte are not read.
    pub tag: u8,
    /// The bytes behind tag and length.
    pub contents: &'a [u8],
    /// Tag, length and contents.
    pub raw: &'a [u8],
}

/// Cuts the first value off an encoding; returns it and what follows it.
///
/// `None` when the encoding ends too early, or a length is indefinite, too long or not minimal.
#[must_use]
pub fn read(encoding: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let (&tag, rest) = encoding.split_first()?;
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let count = usize::from(first & 0x7f);
        if !(1..=4).contains(&count) {
            return None;
        }
        let (bytes, rest) = rest.split_at_checked(count)?;
        let length = bytes
            .iter()
            .fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
        if length < 0x80 || length_bytes(length).len() != count {
            return None;
        }
        (length, rest)
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    let raw = encoding.split_at(encoding.len() - rest.len()).0;
    Some((Value { tag, contents, raw }, rest))
}

/// Writes a value of any kind.
#[must_use]
pub fn value(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut encoding = Vec::with_capacity(contents.len() + 6);
    encoding.push(tag);
    match u8::try_from(contents.len()) {
        Ok(length) if length < 0x80 => encoding.push(length),
        _ => {
            let length = length_bytes(contents.len());
            let count = u8::try_from(length.len()).expect("a length has at most eight bytes");
            encoding.push(0x80 | count);
            encoding.extend(length);
        }
    }
    encoding.extend_from_slice(contents);
    encoding
}

/// Writes a sequence of values that are already encoded.
#[must_use]
pub fn sequence(values: &[&[u8]]) -> Vec<u8> {
    value(tag::SEQUENCE, &values.concat())
}

/// Writes a number that is given as its big-endian bytes and never negative.
#[must_use]
pub fn unsigned_integer(bytes: &[u8]) -> Vec<u8> {
    let significant = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    let bytes = bytes.split_at(significant).1;
    match bytes.first() {
        None => value(tag::INTEGER, &[0]),
        Some(first) if *first >= 0x80 => value(tag::INTEGER, &[&[0], bytes].concat()),
        Some(_) => value(tag::INTEGER, bytes),
    }
}

/// Writes a string of whole bytes as bits.
#[must_use]
pub fn bit_string(bytes: &[u8]) -> Vec<u8> {
    value(tag::BIT_STRING, &[&[0], bytes].concat())
}

/// Writes a value with an explicit or implicit context tag, `[number]`, that holds other values.
///
/// `number` is at most 30.
#[must_use]
pub fn context(number: u8, contents: &[u8]) -> Vec<u8> {
    value(0xa0 | number, contents)
}

/// The big-endian bytes of a length without leading zeros.
fn length_bytes(length: usize) -> Vec<u8> {
    let bytes = length.to_be_bytes();
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn lengths_are_minimal() {
        assert_eq!(value(4, &[7; 3]), [4, 3, 7, 7, 7]);
        assert_eq!(value(4, &[7; 200])[..3], [4, 0x81, 200]);
        assert_eq!(value(4, &[7; 300])[..4], [4, 0x82, 1, 44]);
        for refused in [
            &[4, 0x81, 3, 7, 7, 7][..],
            &[4, 0x82, 0, 200],
            &[4, 0x80, 0, 0],
            &[4, 0x85, 0, 0, 0, 0, 1, 7],
            &[4, 2, 7],
            &[4],
            &[],
            &[0x1f, 1, 0],
        ] {
            assert_eq!(read(refused), None, "{refused:02x?}");
        }
    }

    #[test]
    fn integers_are_minimal_and_never_negative() {
        assert_eq!(unsigned_integer(&[]), [2, 1, 0]);
        assert_eq!(unsigned_integer(&[0, 0, 5]), [2, 1, 5]);
        assert_eq!(unsigned_integer(&[0x80]), [2, 2, 0, 0x80]);
    }

    proptest! {
        #[test]
        fn a_value_is_read_back_as_written(
            contents in proptest::collection::vec(any::<u8>(), 0..400),
            rest in proptest::collection::vec(any::<u8>(), 0..5),
        ) {
            let encoding = [value(tag::OCTET_STRING, &contents), rest.clone()].concat();
            let (found, remainder) = read(&encoding).unwrap();
            prop_assert_eq!(found.tag, tag::OCTET_STRING);
            prop_assert_eq!(found.contents, contents);
            prop_assert_eq!(remainder, rest);
        }

        #[test]
        fn no_encoding_makes_the_reader_panic(encoding in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some((found, rest)) = read(&encoding) {
                prop_assert!(found.raw.len() + rest.len() == encoding.len());
            }
        }
    }
}
