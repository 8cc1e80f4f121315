//! What the tests share.

use outrigger_component::crypto::KeyUse;

/// The bytes of hexadecimal digits.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    digits
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// The use of a key by an algorithm, with nothing else.
pub(crate) fn key_use(algorithm: &str) -> KeyUse<'_> {
    KeyUse {
        name: "key",
        algorithm,
        nonce: &[],
        tag: &[],
        associated_data: &[],
    }
}
