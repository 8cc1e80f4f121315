//! Values as callers give them: bytes, or JSON.

use bytes::Bytes;
use outrigger_kit::json;

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

    /// The text.
    #[must_use]
    pub const fn text(&self) -> &Bytes {
        &self.0
    }

    /// The decoded value.
    #[must_use]
    pub fn decode(&self) -> serde_json::Value {
        serde_json::from_slice(&self.0).unwrap_or_default()
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
}
