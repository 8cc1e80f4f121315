//! Values as callers give them: bytes, or JSON.

use std::borrow::Cow;

use bytes::Bytes;
use outrigger_kit::json::{self, Raw, ReadError};

/// A value that is to be stored.
///
/// gRPC callers give bytes, HTTP callers give JSON; what a store makes of either is its contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Bytes as they are.
    Bytes(Bytes),
    /// A decoded JSON value.
    Json(Json),
}

/// A JSON value in the one text that this sidecar writes for it: members sorted by their bytes, no spaces,
/// floats in their shortest form, `<`, `>`, `&`, U+2028 and U+2029 escaped.
///
/// Source: specification, state API 4.1, serialiser "J".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(Bytes);

// === impl Value ===

impl Value {
    /// What a store keeps whose contract is serialiser "F": the bytes, or the text of the JSON without the escapes
    /// that only HTML needs.
    #[must_use]
    pub fn to_plain_bytes(&self) -> Bytes {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Json(json) => json.plain_text(),
        }
    }

    /// What a store without types keeps: the bytes, or the text of the JSON.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Json(json) => &json.0,
        }
    }
}

impl From<Bytes> for Value {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        Self::Json(Json::new(value))
    }
}

// === impl Json ===

impl Json {
    /// The text of a decoded value, whose numbers are read as 64-bit floats.
    #[must_use]
    pub fn new(value: serde_json::Value) -> Self {
        Self(json::to_go_vec(&json::sorted(value)).into())
    }

    /// The value that a part of `body` holds; a text that has the one form already is not copied.
    ///
    /// # Errors
    /// A number that no float holds.
    pub fn read(body: &Bytes, raw: Raw<'_>) -> Result<Self, ReadError> {
        Ok(Self(match json::canonical(raw)? {
            Cow::Borrowed(text) => body.slice_ref(text),
            Cow::Owned(text) => text.into(),
        }))
    }

    /// The value whose text is `body` as a whole.
    ///
    /// # Errors
    /// It is no JSON, or has a number that no float holds.
    pub fn parse(body: &Bytes) -> Result<Self, ReadError> {
        Self::read(body, json::whole(body)?)
    }

    /// The value `null`.
    #[must_use]
    pub const fn null() -> Self {
        Self(Bytes::from_static(b"null"))
    }

    /// The text.
    #[must_use]
    pub const fn text(&self) -> &Bytes {
        &self.0
    }

    /// The text without the escapes of `<`, `>` and `&`, for stores whose contract is without them.
    ///
    /// Source: specification, state API 4.1, serialiser "F", and etcd.
    #[must_use]
    pub fn plain_text(&self) -> Bytes {
        let text = &self.0;
        if !text.contains(&b'\\') {
            return text.clone();
        }
        let mut plain = Vec::with_capacity(text.len());
        let mut rest = &text[..];
        while let [first, tail @ ..] = rest {
            let (taken, written) = match (first, tail) {
                (b'\\', [b'u', b'0', b'0', b'3', b'c', ..]) => (6, &b"<"[..]),
                (b'\\', [b'u', b'0', b'0', b'3', b'e', ..]) => (6, &b">"[..]),
                (b'\\', [b'u', b'0', b'0', b'2', b'6', ..]) => (6, &b"&"[..]),
                (b'\\', [_, ..]) => (2, &rest[..2]),
                _ => (1, &rest[..1]),
            };
            plain.extend_from_slice(written);
            rest = &rest[taken..];
        }
        plain.into()
    }

    /// The decoded value.
    #[must_use]
    pub fn decode(&self) -> serde_json::Value {
        json::whole(&self.0).map(json::to_value).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_json_value_has_one_text() {
        let json = Json::new(json!({ "b": [1.5, null, true], "a": { "z": "<&>", "y": 5 } }));
        let text = r#"{"a":{"y":5,"z":"\u003c\u0026\u003e"},"b":[1.5,null,true]}"#;
        assert_eq!(json.text(), text);
        assert_eq!(json.decode()["a"]["z"], "<&>");
        assert_eq!(Value::from(json!("text")).as_bytes(), "\"text\"");
    }

    #[test]
    fn a_text_is_read_as_the_decoded_value_is() {
        let body = Bytes::from_static(br#" {"b":1.50,"a":"<"} "#);
        let json = Json::parse(&body).unwrap();
        assert_eq!(json, Json::new(json!({ "a": "<", "b": 1.5 })));
        let body = Bytes::from_static(br#"{"a":1}"#);
        let json = Json::parse(&body).unwrap();
        assert_eq!(json.text().as_ptr(), body.as_ptr());
        assert_eq!(
            Json::parse(&Bytes::new()).unwrap_err().to_string(),
            "unexpected end of JSON input"
        );
        assert_eq!(Json::null(), Json::new(serde_json::Value::Null));
    }

    #[test]
    fn escapes_that_only_html_needs_can_be_left_out() {
        for (value, text) in [
            (json!("<a> & \"b\""), r#""<a> & \"b\"""#),
            (json!("\\u003c \n"), r#""\\u003c \n""#),
            (json!({ "<": ["\u{2028}", "ü"] }), r#"{"<":["\u2028","ü"]}"#),
            (json!(1.5), "1.5"),
        ] {
            assert_eq!(Json::new(value).plain_text(), text);
        }
    }
}
