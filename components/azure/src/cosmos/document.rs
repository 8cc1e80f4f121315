//! What a value is in the container.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use outrigger_component::state::{
    Item, Metadata, SetRequest, StateError, TTL_EXPIRE_TIME, Value as Given, ttl_in_seconds,
};
use outrigger_kit::{json, time};
use serde_json::{Map, Value};

use crate::SCOPE;

/// What bytes become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// JSON where they are an object, else base64.
    Json,
    /// A text.
    Text,
    /// Base64.
    Binary,
}

// === impl Content ===

impl Content {
    /// What bytes become by the media type of a component.
    pub(super) fn of(media_type: &str) -> Self {
        let media_type = media_type
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        match media_type.as_str() {
            "" | "application/json" => Self::Json,
            "application/xml" => Self::Text,
            other if other.starts_with("text/") => Self::Text,
            _ => Self::Binary,
        }
    }

    /// The value as it is stored, and whether it is base64.
    fn encode(self, bytes: &Bytes) -> (Value, bool) {
        let own = match self {
            Self::Json => serde_json::from_slice(bytes).ok().filter(Value::is_object),
            // Without bytes there is nothing to tell a text from: base64 keeps it empty.
            Self::Text if bytes.is_empty() => None,
            Self::Text => std::str::from_utf8(bytes).ok().map(Value::from),
            Self::Binary => None,
        };
        match own {
            Some(value) => (value, false),
            None => (Value::from(STANDARD.encode(bytes)), true),
        }
    }
}

/// The document of a value.
pub(super) fn encode(request: &SetRequest, content: Content, partition: &str) -> Result<Value, StateError> {
    let (value, is_binary) = match &request.value {
        Given::Json(json) => (json.decode(), false),
        Given::Bytes(bytes) => content.encode(bytes),
    };
    let mut document = Map::new();
    document.insert("id".to_owned(), Value::from(request.key.as_str()));
    document.insert("value".to_owned(), value);
    document.insert("isBinary".to_owned(), Value::from(is_binary));
    document.insert("partitionKey".to_owned(), Value::from(partition));
    if let Some(seconds) = ttl_in_seconds(&request.metadata)? {
        document.insert("ttl".to_owned(), Value::from(seconds));
    }
    Ok(Value::Object(document))
}

/// The value of a document.
pub(super) fn decode(document: &Value) -> Item {
    let mut metadata = Metadata::new();
    let seconds = |name: &str| {
        document[name]
            .as_i64()
            .and_then(|seconds| u64::try_from(seconds).ok())
    };
    if let (Some(written), Some(ttl @ 1..)) = (seconds("_ts"), seconds("ttl")) {
        let end = UNIX_EPOCH + Duration::from_secs(written.saturating_add(ttl).min(LAST_SECOND));
        metadata.insert(TTL_EXPIRE_TIME.to_owned(), time::rfc3339(end));
    }
    let etag = document["_etag"].as_str().map(str::to_owned);
    let is_binary = document["isBinary"].as_bool().unwrap_or_default();
    Item {
        data: Some(data(&document["value"], is_binary)),
        etag,
        metadata,
        content_type: None,
    }
}

/// The key of a document.
pub(super) fn key(document: &Value) -> &str {
    document["id"].as_str().unwrap_or_default()
}

fn data(value: &Value, is_binary: bool) -> Bytes {
    if is_binary && let Value::String(text) = value {
        return match STANDARD.decode(text) {
            Ok(bytes) => bytes.into(),
            Err(error) => {
                tracing::warn!(target: SCOPE, "CosmosDB state store failed to decode a binary value: {error}");
                Bytes::from(text.clone())
            }
        };
    }
    json::to_go_vec(value).into()
}

/// The end of the year 9999.
const LAST_SECOND: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored(content: &str, value: impl Into<Given>) -> Value {
        encode(&SetRequest::new("k", value), Content::of(content), "p").unwrap()
    }

    #[test]
    fn what_bytes_become_depends_on_the_content_type() {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        for (content, given, value, is_binary) in [
            (
                "application/json",
                r#"{"b": 1, "a": [2.5]}"#,
                json!({ "b": 1, "a": [2.5] }),
                false,
            ),
            ("", r#"{"b": 1}"#, json!({ "b": 1 }), false),
            ("application/json", "[1]", json!("WzFd"), true),
            ("application/json", "\"x\"", json!("Ingi"), true),
            ("text/plain; charset=utf-8", "{}", json!("{}"), false),
            ("application/xml", "<a/>", json!("<a/>"), false),
            ("application/octet-stream", "{}", json!("e30="), true),
            ("text/plain", "", json!(""), true),
        ] {
            let document = stored(content, bytes(given));
            assert_eq!(
                (&document["value"], &document["isBinary"]),
                (&value, &json!(is_binary)),
                "{content} {given}"
            );
        }
        let document = stored("text/plain", Bytes::from_static(b"\xff"));
        assert_eq!(
            (&document["value"], &document["isBinary"]),
            (&json!("/w=="), &json!(true))
        );
        let document = stored("text/plain", json!([1, "a"]));
        let expected = json!({ "id": "k", "value": [1, "a"], "isBinary": false, "partitionKey": "p" });
        assert_eq!(document, expected);
    }

    #[test]
    fn documents_are_read_whoever_wrote_them() {
        let data = |document: Value| decode(&document).data.unwrap();
        assert_eq!(
            data(json!({ "value": { "b": "<", "a": 1 } })),
            r#"{"b":"\u003c","a":1}"#
        );
        assert_eq!(data(json!({ "value": "text", "isBinary": false })), "\"text\"");
        assert_eq!(data(json!({ "value": "/w==", "isBinary": true })), &b"\xff"[..]);
        assert_eq!(
            data(json!({ "value": "not base64!", "isBinary": true })),
            "not base64!"
        );
        assert_eq!(data(json!({ "value": null })), "null");
        let item = decode(&json!({ "value": 1, "_etag": "\"e\"", "_ts": 0, "ttl": 60 }));
        assert_eq!(item.etag.as_deref(), Some("\"e\""));
        assert_eq!(item.metadata["ttlExpireTime"], "1970-01-01T00:01:00Z");
        assert!(
            decode(&json!({ "value": 1, "_ts": 5, "ttl": -1 }))
                .metadata
                .is_empty()
        );
    }

    #[test]
    fn a_time_to_live_is_handed_on() {
        let mut request = SetRequest::new("k", json!(1));
        request
            .metadata
            .insert("ttlInSeconds".to_owned(), "-1".to_owned());
        assert_eq!(encode(&request, Content::Json, "p").unwrap()["ttl"], json!(-1));
        request.metadata.insert("ttlInSeconds".to_owned(), "x".to_owned());
        assert!(encode(&request, Content::Json, "p").is_err());
    }
}
