//! What bytes a value is in etcd.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use outrigger_component::state::{Item, Json, Metadata, StateError, TTL_EXPIRE_TIME, Value};
use outrigger_kit::time::rfc3339;
use prost::Message as _;

use crate::generated::etcdserverpb::KeyValue;

/// How values are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// The bytes.
    V1,
    /// A message.
    V2,
}

/// A value of version 2.
#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(bytes = "bytes", tag = "1")]
    data: Bytes,
    /// When it was written.
    #[prost(message, optional, tag = "2")]
    written: Option<prost_types::Timestamp>,
    /// How long it lives; the reference writes an empty one for ever.
    #[prost(message, optional, tag = "3")]
    life: Option<prost_types::Duration>,
}

// === impl Layout ===

impl Layout {
    /// The bytes of a value that is written now and lives so many seconds.
    pub(super) fn encode(self, value: &Value, seconds: Option<i64>) -> Bytes {
        if self == Self::V1 {
            return value.as_bytes().clone();
        }
        let data = match value {
            Value::Bytes(bytes) => bytes.clone(),
            Value::Json(json) => plain(json),
        };
        let stored = Stored {
            data,
            written: Some(SystemTime::now().into()),
            life: seconds.map(|seconds| prost_types::Duration { seconds, nanos: 0 }),
        };
        stored.encode_to_vec().into()
    }

    /// The value of a key.
    pub(super) fn item(self, found: KeyValue) -> Result<Item, StateError> {
        let etag = Some(found.mod_revision.to_string());
        let (data, expiry) = match self {
            Self::V1 => (found.value, None),
            Self::V2 => {
                let stored = Stored::decode(found.value).map_err(StateError::other)?;
                let expiry = stored.expiry();
                (stored.data, expiry)
            }
        };
        let shown = expiry.map(|expiry| (TTL_EXPIRE_TIME.to_owned(), rfc3339(expiry)));
        Ok(Item {
            data: Some(data),
            etag,
            metadata: Metadata::from_iter(shown),
            content_type: None,
        })
    }
}

// === impl Stored ===

impl Stored {
    fn expiry(&self) -> Option<SystemTime> {
        let written = SystemTime::try_from(self.written?).ok()?;
        let life = Duration::try_from(self.life?)
            .ok()
            .filter(|life| !life.is_zero())?;
        written.checked_add(life)
    }
}

/// The text of version 2: nothing is escaped for HTML, and a number by itself has no exponent.
///
/// The reference escapes nothing but quotes in a text by itself, so that one with a control character or a
/// backslash is no JSON when it is read. Here it is.
fn plain(json: &Json) -> Bytes {
    let text = json.text();
    let is_number = text
        .first()
        .is_some_and(|first| *first == b'-' || first.is_ascii_digit());
    if is_number && text.contains(&b'e') {
        let number = std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse::<f64>().ok());
        if let Some(number) = number {
            return number.to_string().into();
        }
    }
    json.plain_text()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored(value: impl Into<Value>, seconds: Option<i64>) -> Stored {
        Stored::decode(Layout::V2.encode(&value.into(), seconds)).unwrap()
    }

    #[test]
    fn version_one_is_bytes_and_the_text_of_json() {
        let encode = |value: Value| Layout::V1.encode(&value, Some(5));
        assert_eq!(encode(Bytes::from_static(b"\0\xff").into()), &b"\0\xff"[..]);
        assert_eq!(encode(json!("<").into()), "\"\\u003c\"");
    }

    #[test]
    fn version_two_is_a_message_with_the_time_of_writing() {
        for (value, text) in [
            (json!("a<\"b\""), r#""a<\"b\"""#),
            (json!(1e21), "1000000000000000000000"),
            (json!(-1.5e-7), "-0.00000015"),
            (json!(12), "12"),
            (json!(true), "true"),
            (json!(null), "null"),
            (json!({ "b": "&", "a": [1e21] }), r#"{"a":[1e+21],"b":"&"}"#),
        ] {
            assert_eq!(stored(value, None).data, text);
        }
        let bytes = stored(Bytes::from_static(b"\xff"), Some(60));
        assert_eq!(bytes.data, &b"\xff"[..]);
        let (written, life) = (bytes.written.unwrap(), bytes.life.unwrap());
        assert!(written.seconds > 1_700_000_000);
        assert_eq!((life.seconds, life.nanos), (60, 0));
        assert_eq!(stored(json!(1), None).life, None);
    }

    #[test]
    fn a_life_of_no_time_is_none() {
        let written = Some(prost_types::Timestamp {
            seconds: 1_767_323_045,
            nanos: 900_000_000,
        });
        let item = |life| {
            let data = Bytes::from_static(b"x");
            let value = Stored { data, written, life }.encode_to_vec().into();
            let found = KeyValue {
                value,
                mod_revision: 7,
                ..KeyValue::default()
            };
            Layout::V2.item(found).unwrap()
        };
        assert!(item(Some(prost_types::Duration::default())).metadata.is_empty());
        assert!(item(None).metadata.is_empty());
        let minute = prost_types::Duration {
            seconds: 60,
            nanos: 0,
        };
        let item = item(Some(minute));
        assert_eq!(item.metadata["ttlExpireTime"], "2026-01-02T03:05:05Z");
        assert_eq!(
            (item.data.unwrap(), item.etag.as_deref()),
            (Bytes::from_static(b"x"), Some("7"))
        );
    }
}
