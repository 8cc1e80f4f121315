//! Encryption of values at rest: AES-GCM by keys that a component names.
//!
//! ```text
//! stored = base64( nonce[12] ‖ ciphertext ‖ tag[16] ) || name of the key
//! ```
//!
//! The name tells by which key a value was written, so that a component with a new primary key, and the old one as
//! its secondary, reads both.
//!
//! Source: specification, state API 8.

use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::aead::{
    AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use outrigger_component::state::Value;

/// The keys of a store. Their debug form has the names only.
#[derive(Debug)]
pub(crate) struct Keys {
    primary: Key,
    secondary: Option<Key>,
}

/// A key that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    /// Its text is no hexadecimal number.
    #[error("encoding/hex: invalid byte in the key {0}")]
    Hex(String),
    /// It is too short or too long.
    #[error("crypto/aes: invalid key size {0}")]
    Size(usize),
}

struct Key {
    name: String,
    key: LessSafeKey,
}

const SEPARATOR: &[u8] = b"||";

// === impl Keys ===

impl Keys {
    /// The keys by their names and their hexadecimal texts of 16, 24 or 32 bytes.
    ///
    /// # Errors
    /// A text that is no such key.
    pub(crate) fn new(primary: (&str, &str), secondary: Option<(&str, &str)>) -> Result<Self, KeyError> {
        Ok(Self {
            primary: Key::new(primary)?,
            secondary: secondary.map(Key::new).transpose()?,
        })
    }

    /// What is stored in place of a value.
    pub(super) fn seal(&self, value: &Value) -> Bytes {
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).expect("the system has random numbers");
        self.primary.seal(nonce, &plain(value))
    }

    /// The value of what is stored.
    ///
    /// # Errors
    /// It was written without a key, by another key, or is damaged; `store` is the store's name.
    pub(super) fn open(&self, stored: &Bytes, store: &str) -> Result<Bytes, String> {
        if stored.is_empty() {
            return Ok(Bytes::new());
        }
        let failed = |cause: &str| format!("could not decrypt data for state store {store}: {cause}");
        let split = stored.windows(2).rposition(|pair| pair == SEPARATOR);
        let (sealed, name) = match split {
            Some(at) => (&stored[..at], &stored[at + SEPARATOR.len()..]),
            None => (&stored[..], &stored[stored.len()..]),
        };
        if name.is_empty() && self.key_of(name).is_none() {
            return Err(failed("encryption key name not found on record"));
        }
        let key = self.key_of(name).ok_or_else(|| {
            failed(&format!(
                "encryption key {} not found",
                String::from_utf8_lossy(name)
            ))
        })?;
        key.open(sealed).map_err(|cause| failed(&cause))
    }

    fn key_of(&self, name: &[u8]) -> Option<&Key> {
        let keys = std::iter::once(&self.primary).chain(&self.secondary);
        keys.into_iter().find(|key| key.name.as_bytes() == name)
    }
}

// === impl Key ===

impl Key {
    fn new((name, text): (&str, &str)) -> Result<Self, KeyError> {
        let bytes = decode_hex(text).ok_or_else(|| KeyError::Hex(name.to_owned()))?;
        let algorithm = match bytes.len() {
            16 => &AES_128_GCM,
            24 => &AES_192_GCM,
            32 => &AES_256_GCM,
            size => return Err(KeyError::Size(size)),
        };
        let key = UnboundKey::new(algorithm, &bytes).map_err(|_| KeyError::Size(bytes.len()))?;
        Ok(Self {
            name: name.to_owned(),
            key: LessSafeKey::new(key),
        })
    }

    fn seal(&self, nonce: [u8; NONCE_LEN], plain: &[u8]) -> Bytes {
        let mut sealed = plain.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
            .expect("a value in memory is not too long for the cipher");
        let mut whole = nonce.to_vec();
        whole.append(&mut sealed);
        let mut stored = STANDARD.encode(whole);
        stored.push_str("||");
        stored.push_str(&self.name);
        stored.into()
    }

    fn open(&self, sealed: &[u8]) -> Result<Bytes, String> {
        let mut whole = STANDARD.decode(sealed).map_err(|error| error.to_string())?;
        let Some((nonce, sealed)) = whole.split_first_chunk_mut::<NONCE_LEN>() else {
            return Err("the value is too short".to_owned());
        };
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.key.open_in_place(nonce, Aad::empty(), sealed);
        let plain = plain.map_err(|_| "cipher: message authentication failed".to_owned())?;
        Ok(Bytes::copy_from_slice(plain))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.name).finish()
    }
}

/// What is encrypted of a value: bytes as they are, a text without its quotes, other JSON as its text.
fn plain(value: &Value) -> Cow<'_, [u8]> {
    match value {
        Value::Bytes(bytes) => Cow::Borrowed(bytes),
        Value::Json(json) if json.text().starts_with(b"\"") => match json.decode() {
            serde_json::Value::String(text) => Cow::Owned(text.into_bytes()),
            _ => Cow::Borrowed(json.text()),
        },
        Value::Json(json) => Cow::Borrowed(json.text()),
    }
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<_>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits?;
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    pairs
        .iter()
        .map(|[high, low]| u8::try_from(high << 4 | low).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use outrigger_component::state::Json;
    use serde_json::json;

    use super::*;

    const KEY: &str = "000102030405060708090a0b0c0d0e0f";
    const OTHER: &str = "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff000102030405060708090a0b0c0d0e0f";

    fn open(keys: &Keys, stored: &[u8]) -> Result<Bytes, String> {
        keys.open(&Bytes::copy_from_slice(stored), "s")
    }

    #[test]
    fn a_value_is_stored_as_the_specification_shows() {
        let key = Key::new(("pg", KEY)).unwrap();
        let nonce = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let stored = key.seal(nonce, b"value1");
        assert_eq!(stored, "AQIDBAUGBwgJCgsMcGQEU1bElKFbbkBQr6Yxk0XrfZr73A==||pg");
        let keys = Keys::new(("pg", KEY), None).unwrap();
        assert_eq!(open(&keys, &stored).unwrap(), "value1");
    }

    #[test]
    fn each_value_has_a_nonce_of_its_own() {
        let keys = Keys::new(("pg", KEY), None).unwrap();
        let value = Value::from(Bytes::from("v"));
        assert_ne!(keys.seal(&value), keys.seal(&value));
    }

    #[test]
    fn values_of_the_old_key_are_read_after_a_rotation() {
        let (new, old) = (("new", OTHER), ("old", KEY));
        let before = Keys::new(old, None).unwrap();
        let after = Keys::new(new, Some(old)).unwrap();
        let value = Value::from(Bytes::from("v||w"));
        let stored = before.seal(&value);
        assert_eq!(open(&after, &stored).unwrap(), "v||w");
        let stored = after.seal(&value);
        assert!(stored.ends_with(b"||new"));
        assert_eq!(open(&after, &stored).unwrap(), "v||w");
        assert_eq!(
            open(&before, &stored).unwrap_err(),
            "could not decrypt data for state store s: encryption key new not found"
        );
    }

    #[test]
    fn what_was_not_encrypted_by_these_keys_is_refused() {
        let keys = Keys::new(("pg", KEY), None).unwrap();
        let table: [(&[u8], &str); 5] = [
            (b"plain", "encryption key name not found on record"),
            (b"AQID||", "encryption key name not found on record"),
            (b"AQID||other", "encryption key other not found"),
            (b"AQID||pg", "the value is too short"),
            (
                b"AQIDBAUGBwgJCgsMcGQEU1bElKFbbkBQr6Yxk0XrfZr83A==||pg",
                "cipher: message authentication failed",
            ),
        ];
        for (stored, expected) in table {
            let error = open(&keys, stored).unwrap_err();
            let prefix = "could not decrypt data for state store s: ";
            assert_eq!(error.strip_prefix(prefix), Some(expected));
        }
        assert_eq!(open(&keys, b"").unwrap(), "");
    }

    #[test]
    fn texts_lose_their_quotes_and_other_json_stays() {
        let table = [
            (json!("a \"b\" <"), "a \"b\" <"),
            (json!(1.5e6), "1500000"),
            (json!({ "b": 1, "a": null }), r#"{"a":null,"b":1}"#),
            (json!(null), "null"),
        ];
        for (value, expected) in table {
            assert_eq!(&*plain(&Value::Json(Json::new(value))), expected.as_bytes());
        }
    }

    #[test]
    fn keys_are_hexadecimal_and_of_three_sizes() {
        for size in [16, 24, 32] {
            assert!(Keys::new(("k", &"aB".repeat(size)), None).is_ok());
        }
        let error = |text: &str| Keys::new(("k", text), None).unwrap_err().to_string();
        assert_eq!(error("abcd"), "crypto/aes: invalid key size 2");
        assert_eq!(error("xy"), "encoding/hex: invalid byte in the key k");
        assert_eq!(error("abc"), "encoding/hex: invalid byte in the key k");
        let keys = Keys::new(("k", KEY), Some(("l", OTHER))).unwrap();
        assert_eq!(
            format!("{keys:?}"),
            r#"Keys { primary: Key("k"), secondary: Some(Key("l")) }"#
        );
    }
}
