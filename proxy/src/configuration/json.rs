//! Items and updates as HTTP shows them: members without content are left out.

use std::collections::BTreeMap;

use outrigger_component::configuration::{ConfigurationItem, ConfigurationItems, ConfigurationUpdate};
use outrigger_kit::json::to_go_vec;
use serde::Serialize;

/// An item on the wire.
#[derive(Debug, Serialize)]
pub(crate) struct ShownItem<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    value: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct ShownUpdate<'a> {
    id: &'a str,
    items: BTreeMap<&'a str, ShownItem<'a>>,
}

/// The items as they are to be written.
pub(crate) fn shown(items: &ConfigurationItems) -> BTreeMap<&str, ShownItem<'_>> {
    items
        .iter()
        .map(|(key, item)| (key.as_str(), ShownItem::from(item)))
        .collect()
}

/// The body that tells the app of an update.
pub(super) fn body_of(update: &ConfigurationUpdate) -> Vec<u8> {
    let mut body = to_go_vec(&ShownUpdate {
        id: &update.id,
        items: shown(&update.items),
    });
    body.push(b'\n');
    body
}

// === impl ShownItem ===

impl<'a> From<&'a ConfigurationItem> for ShownItem<'a> {
    fn from(item: &'a ConfigurationItem) -> Self {
        let metadata = item.metadata.iter();
        Self {
            value: &item.value,
            version: &item.version,
            metadata: metadata
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect(),
        }
    }
}
