//! Rows of the table, and which of several rows of a key counts.

use std::cmp::Ordering;

use outrigger_component::configuration::{ConfigurationItem, ConfigurationItems};
use outrigger_component::state::Metadata;
use outrigger_kit::number;
use serde_json::{Map, Value};

/// A row as texts, where a column without value is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConfigurationRow {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) version: String,
    /// An object of texts, in JSON.
    pub(crate) metadata: String,
}

/// A row with metadata that are no object of texts.
#[derive(Debug, thiserror::Error)]
#[error("invalid metadata of the key {key}: {reason}")]
pub(crate) struct RowError {
    key: String,
    reason: String,
}

// === impl ConfigurationRow ===

impl ConfigurationRow {
    /// The row that a notification tells of, under `data`; letter case of the names does not count.
    pub(crate) fn from_notification(payload: &str) -> Option<Self> {
        let payload: Map<String, Value> = serde_json::from_str(payload).ok()?;
        let Value::Object(data) = member(&payload, "data")? else {
            return None;
        };
        let text = |name| match member(data, name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let row = Self {
            key: text("key"),
            value: text("value"),
            version: text("version"),
            metadata: text("metadata"),
        };
        (!row.key.is_empty()).then_some(row)
    }

    /// The row as a value.
    pub(crate) fn into_item(self) -> Result<ConfigurationItem, RowError> {
        let metadata = match self.metadata.as_str() {
            "" | "null" => Ok(Metadata::new()),
            text => {
                // A text may be null, and is empty then.
                let read = serde_json::from_str::<std::collections::HashMap<String, Option<String>>>(text);
                read.map(|texts| {
                    let texts = texts.into_iter();
                    texts
                        .map(|(name, text)| (name, text.unwrap_or_default()))
                        .collect()
                })
            }
        };
        Ok(ConfigurationItem {
            value: self.value,
            version: self.version,
            metadata: metadata.map_err(|error| RowError {
                key: self.key,
                reason: error.to_string(),
            })?,
        })
    }

    fn number(&self) -> i64 {
        number::atoi(&self.version).unwrap_or(-1)
    }
}

/// The values of rows: of several with one key the one with the highest version, of equals the first.
pub(crate) fn newest(
    rows: impl IntoIterator<Item = ConfigurationRow>,
) -> Result<ConfigurationItems, RowError> {
    let mut newest: std::collections::BTreeMap<String, ConfigurationRow> = std::collections::BTreeMap::new();
    for row in rows {
        let known = newest.get(&row.key).map(ConfigurationRow::number);
        if known.is_none_or(|known| row.number().cmp(&known) == Ordering::Greater) {
            newest.insert(row.key.clone(), row);
        }
    }
    let items = newest.into_iter().map(|(key, row)| Ok((key, row.into_item()?)));
    items.collect()
}

/// A member whatever the case of its name, the exact one first.
fn member<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let folded = || object.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    object.get(name).or_else(|| folded().map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, value: &str, version: &str) -> ConfigurationRow {
        ConfigurationRow {
            key: key.to_owned(),
            value: value.to_owned(),
            version: version.to_owned(),
            metadata: String::new(),
        }
    }

    #[test]
    fn the_highest_version_of_a_key_counts() {
        let rows = [
            row("a", "first", "x"),
            row("a", "equal", "y"),
            row("b", "9", "9"),
            row("b", "10", "10"),
            row("b", "none", ""),
        ];
        let items = newest(rows).unwrap();
        let values: Vec<_> = items
            .iter()
            .map(|(key, item)| (key.as_str(), item.value.as_str()))
            .collect();
        assert_eq!(values, [("a", "first"), ("b", "10")]);
    }

    #[test]
    fn notifications_hold_a_row() {
        let payload = r#"{"table":"t","action":"INSERT","Data":{"Key":"k","value":"v","version":2,"metadata":{"a":null,"b":"c"}}}"#;
        let row = ConfigurationRow::from_notification(payload).unwrap();
        let item = row.into_item().unwrap();
        assert_eq!((item.value.as_str(), item.version.as_str()), ("v", "2"));
        let expected = [("a", ""), ("b", "c")].map(|(name, text)| (name.to_owned(), text.to_owned()));
        assert_eq!(item.metadata, Metadata::from(expected));
        for payload in ["", "[]", "{}", r#"{"data":1}"#, r#"{"data":{"value":"v"}}"#] {
            assert_eq!(ConfigurationRow::from_notification(payload), None, "{payload}");
        }
    }

    #[test]
    fn metadata_are_an_object_of_texts() {
        let mut row = row("k", "v", "1");
        row.metadata = "[1]".to_owned();
        let error = row.into_item().unwrap_err().to_string();
        assert!(error.starts_with("invalid metadata of the key k: "), "{error}");
    }
}
