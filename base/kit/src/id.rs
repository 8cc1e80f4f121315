//! Random identifiers.

use std::fmt::Write;

/// A random UUID (version 4, RFC 9562) in lower-case text form.
///
/// It is unique, not secret: do not use it where an attacker must not guess it.
#[must_use]
pub fn uuid() -> String {
    let random = fastrand::u128(..);
    let stamped = random & !(0xf << 76) & !(0b11 << 62) | (4 << 76) | (0b10 << 62);
    let bytes = stamped.to_be_bytes();
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_has_the_form_of_version_4() {
        for _ in 0..100 {
            let text = uuid();
            let parts: Vec<_> = text.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12]);
            let bytes = text.as_bytes();
            assert_eq!(bytes[14], b'4');
            assert!(matches!(bytes[19], b'8' | b'9' | b'a' | b'b'));
        }
        assert_ne!(uuid(), uuid());
    }
}
