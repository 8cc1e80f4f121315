//! Percent-coding of paths and form values, with Go's error texts.

use std::borrow::Cow;

use crate::quote::go_quote;

/// A `%` that two hexadecimal digits do not follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid URL escape {}", go_quote(.0))]
pub struct EscapeError(String);

/// Decodes `%XX` in a path segment; `+` stays. The result may be any bytes. Borrows when nothing changes.
///
/// # Errors
/// A broken escape.
pub fn decode_path(text: &[u8]) -> Result<Cow<'_, [u8]>, EscapeError> {
    decode(text, false)
}

/// Decodes `%XX` and `+` (a space) as in a form or a query. The result may be any bytes. Borrows when nothing changes.
///
/// # Errors
/// A broken escape.
pub fn decode_form(text: &[u8]) -> Result<Cow<'_, [u8]>, EscapeError> {
    decode(text, true)
}

/// Decodes a path segment into text; bytes that are not UTF-8 become the replacement character.
///
/// # Errors
/// A broken escape.
pub fn decode_path_text(text: &str) -> Result<Cow<'_, str>, EscapeError> {
    decode_path(text.as_bytes()).map(into_text)
}

/// Decodes a form value into text; bytes that are not UTF-8 become the replacement character.
///
/// # Errors
/// A broken escape.
pub fn decode_form_text(text: &str) -> Result<Cow<'_, str>, EscapeError> {
    decode_form(text.as_bytes()).map(into_text)
}

/// Escapes a decoded path as Go's `URL.EscapedPath` does; slashes stay.
#[must_use]
pub fn encode_path(decoded: &[u8]) -> String {
    encode(decoded, is_plain_in_path)
}

/// Escapes a text for a form or a query as Go's `url.QueryEscape` does; a space becomes `+`.
#[must_use]
pub fn encode_form(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~ ".contains(&byte);
    encode(text.as_bytes(), plain).replace(' ', "+")
}

/// What a path never escapes.
#[must_use]
pub fn is_plain_in_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&byte)
}

fn encode(bytes: &[u8], is_plain: impl Fn(u8) -> bool) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(bytes.len() + 8);
    for &byte in bytes {
        if is_plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(HEX[usize::from(byte >> 4)]));
            encoded.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    encoded
}

fn decode(text: &[u8], plus_is_space: bool) -> Result<Cow<'_, [u8]>, EscapeError> {
    let special = |byte: &u8| *byte == b'%' || (plus_is_space && *byte == b'+');
    let Some(first) = text.iter().position(special) else {
        return Ok(Cow::Borrowed(text));
    };
    let (plain, mut rest) = text.split_at(first);
    let mut decoded = Vec::with_capacity(text.len());
    decoded.extend_from_slice(plain);
    loop {
        rest = match rest {
            [] => return Ok(Cow::Owned(decoded)),
            [b'%', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                decoded.push(hex(*high) << 4 | hex(*low));
                after
            }
            [b'%', ..] => {
                let broken = rest.get(..3).unwrap_or(rest);
                return Err(EscapeError(String::from_utf8_lossy(broken).into_owned()));
            }
            [b'+', after @ ..] if plus_is_space => {
                decoded.push(b' ');
                after
            }
            [byte, after @ ..] => {
                decoded.push(*byte);
                after
            }
        }
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn into_text(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    match bytes {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Cow::Owned(text),
            Err(error) => Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_decoded_once() {
        assert_eq!(decode_path_text("a%2Fb%25").unwrap(), "a/b%");
        assert_eq!(decode_path_text("%2541").unwrap(), "%41");
        assert_eq!(decode_path_text("a+b").unwrap(), "a+b");
        assert_eq!(decode_form_text("a+b%20c").unwrap(), "a b c");
        assert_eq!(decode_form_text("%e2%98%BA").unwrap(), "☺");
        assert_eq!(decode_path(b"%ff").unwrap().as_ref(), [0xff]);
        assert_eq!(decode_path_text("%ff").unwrap(), "\u{fffd}");
        assert!(matches!(decode_form(b"plain"), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn broken_escapes_are_named_as_go_does() {
        let table = [
            ("%", "%"),
            ("a%1", "%1"),
            ("%zzz", "%zz"),
            ("123%45%6", "%6"),
            ("%%41", "%%4"),
        ];
        for (text, shown) in table {
            let error = decode_form_text(text).unwrap_err().to_string();
            assert_eq!(error, format!("invalid URL escape \"{shown}\""));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
            if let Ok(decoded) = decode_form(&bytes) {
                prop_assert!(decoded.len() <= bytes.len());
            }
        }

        #[test]
        fn escaped_bytes_come_back(bytes: Vec<u8>) {
            let escaped: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
            let decoded = decode_path(escaped.as_bytes()).unwrap().into_owned();
            prop_assert_eq!(decoded, bytes);
        }
    }
}
