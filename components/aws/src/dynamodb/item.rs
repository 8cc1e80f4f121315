//! What a value is in the table.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use outrigger_component::state::{
    Item, Metadata, SetRequest, StateError, TTL_EXPIRE_TIME, TTL_IN_SECONDS, Value,
};
use outrigger_kit::{number, time};

/// Names of the attributes that a table chooses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Attribute of the key.
    pub(super) partition_key: String,
    /// Attribute of the end of a value, in seconds since 1970; none if values do not expire.
    pub(super) ttl: Option<String>,
}

type Attributes = HashMap<String, AttributeValue>;

const VALUE: &str = "value";
const ETAG: &str = "etag";

// === impl Layout ===

impl Layout {
    /// What names an item.
    pub(super) fn key(&self, key: &str) -> Attributes {
        HashMap::from([(self.partition_key.clone(), AttributeValue::S(key.to_owned()))])
    }

    /// The key of an item.
    pub(super) fn key_of<'a>(&self, item: &'a Attributes) -> Option<&'a str> {
        let key = item.get(&self.partition_key)?;
        key.as_s().ok().map(String::as_str)
    }

    /// The item of a value, with a new tag.
    pub(super) fn encode(&self, request: &SetRequest) -> Result<Attributes, StateError> {
        let mut item = self.key(&request.key);
        let value = match &request.value {
            Value::Bytes(bytes) => AttributeValue::B(Blob::new(&**bytes)),
            Value::Json(json) => AttributeValue::S(String::from_utf8_lossy(json.text()).into_owned()),
        };
        item.insert(VALUE.to_owned(), value);
        let etag = format!("{:x}", fastrand::u64(..));
        item.insert(ETAG.to_owned(), AttributeValue::S(etag));
        if let (Some(name), Some(text)) = (&self.ttl, request.metadata.get(TTL_IN_SECONDS)) {
            let seconds = number::atoi(text)
                .map_err(|error| StateError::other(format!("failed to parse ttlInSeconds: {error}")))?;
            let end = now().saturating_add(seconds);
            item.insert(name.clone(), AttributeValue::N(end.to_string()));
        }
        Ok(item)
    }

    /// The value of an item; none if it has expired and the service has not yet removed it.
    pub(super) fn decode(&self, mut item: Attributes) -> Result<Option<Item>, StateError> {
        let mut metadata = Metadata::new();
        if let Some(end) = self.ttl.as_ref().and_then(|name| item.get(name)) {
            let end = end.as_n().ok().and_then(|text| text.parse::<i64>().ok());
            let end = end.ok_or_else(|| StateError::other("the expiry of an item is not a whole number"))?;
            if end <= now() {
                return Ok(None);
            }
            let moment = UNIX_EPOCH + Duration::from_secs(end.unsigned_abs());
            metadata.insert(TTL_EXPIRE_TIME.to_owned(), time::rfc3339(moment));
        }
        let data = match item.remove(VALUE) {
            None => None,
            Some(AttributeValue::B(blob)) => Some(Bytes::from(blob.into_inner())),
            Some(AttributeValue::S(text)) => Some(Bytes::from(text)),
            Some(_) => Some(Bytes::new()),
        };
        let etag = match item.remove(ETAG) {
            Some(AttributeValue::S(etag)) => Some(etag),
            _ => None,
        };
        Ok(Some(Item {
            data,
            etag,
            metadata,
            content_type: None,
        }))
    }
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn layout() -> Layout {
        Layout {
            partition_key: "id".to_owned(),
            ttl: Some("end".to_owned()),
        }
    }

    #[test]
    fn bytes_are_binary_and_json_is_text() {
        let layout = layout();
        let item = layout
            .encode(&SetRequest::new("k", Bytes::from_static(b"\0raw")))
            .unwrap();
        assert_eq!(item["id"], AttributeValue::S("k".to_owned()));
        assert_eq!(item["value"], AttributeValue::B(Blob::new(b"\0raw")));
        let etag = item["etag"].as_s().unwrap();
        assert!(
            u64::from_str_radix(etag, 16).is_ok() && (etag == "0" || !etag.starts_with('0')),
            "{etag}"
        );
        assert_eq!(item.len(), 3);

        let item = layout
            .encode(&SetRequest::new("k", json!({ "b": 1, "a": "x" })))
            .unwrap();
        assert_eq!(item["value"], AttributeValue::S(r#"{"a":"x","b":1}"#.to_owned()));
    }

    #[test]
    fn an_expiry_is_a_second_in_the_future() {
        let layout = layout();
        let mut request = SetRequest::new("k", json!(1));
        request
            .metadata
            .insert("ttlInSeconds".to_owned(), "60".to_owned());
        let item = layout.encode(&request).unwrap();
        let end: i64 = item["end"].as_n().unwrap().parse().unwrap();
        assert!((59..=61).contains(&(end - now())), "{end}");
        let read = layout.decode(item).unwrap().unwrap();
        assert!(read.metadata["ttlExpireTime"].ends_with('Z'));

        request
            .metadata
            .insert("ttlInSeconds".to_owned(), "-1".to_owned());
        let item = layout.encode(&request).unwrap();
        assert_eq!(layout.decode(item).unwrap(), None, "it has ended before it began");

        request
            .metadata
            .insert("ttlInSeconds".to_owned(), "soon".to_owned());
        assert!(layout.encode(&request).is_err());
        let without = Layout { ttl: None, ..layout };
        assert_eq!(without.encode(&request).unwrap().len(), 3, "nobody looks at it");
    }

    #[test]
    fn items_of_others_are_read_whatever_they_have() {
        let layout = layout();
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let bare = HashMap::from([("id".to_owned(), text("k"))]);
        assert_eq!(layout.key_of(&bare), Some("k"));
        assert_eq!(layout.decode(bare).unwrap(), Some(Item::default()));
        let odd = HashMap::from([
            ("value".to_owned(), AttributeValue::Bool(true)),
            ("etag".to_owned(), text("f")),
        ]);
        let item = layout.decode(odd).unwrap().unwrap();
        assert_eq!(
            (item.data.as_deref(), item.etag.as_deref()),
            (Some(&b""[..]), Some("f"))
        );
        let broken = HashMap::from([("end".to_owned(), text("tomorrow"))]);
        assert!(layout.decode(broken).is_err());
    }
}
