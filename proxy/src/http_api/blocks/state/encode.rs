//! Values among other JSON: checked, compact, and with Go's escapes.

use std::collections::BTreeMap;

use bytes::Bytes;
use outrigger_component::state::{Item, Metadata, QueryAnswer};
use outrigger_kit::json::{self, write_go_string};

use crate::state::Found;

/// An object that is written.
struct Object<'a> {
    out: &'a mut Vec<u8>,
    is_empty: bool,
}

/// The answer to a request for several values.
pub(super) fn found(found: Vec<Found>) -> Bytes {
    let mut out = Vec::with_capacity(64 * found.len() + 4);
    out.push(b'[');
    for (index, Found { key, outcome }) in found.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let mut object = Object::begin(&mut out);
        object.text("key", &key);
        let (item, mut error) = match outcome {
            Ok(item) => (item.unwrap_or_default(), None),
            Err(error) => (Item::default(), Some(error)),
        };
        let data = item.data.filter(|data| !data.is_empty());
        if let Some(Err(text)) = data.map(|data| object.value("data", &data)) {
            error = Some(text);
        }
        if error.is_none() {
            object.text_if("etag", &item.etag.unwrap_or_default());
            object.metadata(item.metadata);
        }
        object.text_if("error", &error.unwrap_or_default());
        object.end();
    }
    out.extend_from_slice(b"]\n");
    out.into()
}

/// The answer to a query that has found something.
pub(super) fn answer(answer: QueryAnswer) -> Bytes {
    let mut out = Vec::with_capacity(64 * answer.items.len() + 16);
    let mut object = Object::begin(&mut out);
    object.name("results");
    object.out.push(b'[');
    for (index, mut item) in answer.items.into_iter().enumerate() {
        if index > 0 {
            object.out.push(b',');
        }
        let mut result = Object::begin(object.out);
        result.text("key", &item.key);
        if let Err(text) = result.value("data", &item.data) {
            result.name("data");
            result.out.extend_from_slice(b"null");
            item.error.get_or_insert(text);
        }
        result.text_if("etag", &item.etag.unwrap_or_default());
        result.text_if("error", &item.error.unwrap_or_default());
        result.end();
    }
    object.out.push(b']');
    object.text_if("token", &answer.token.unwrap_or_default());
    object.metadata(answer.metadata);
    object.end();
    out.push(b'\n');
    out.into()
}

// === impl Object ===

impl<'a> Object<'a> {
    fn begin(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_empty: true }
    }

    fn name(&mut self, name: &str) {
        if !self.is_empty {
            self.out.push(b',');
        }
        self.is_empty = false;
        write_go_string(self.out, name);
        self.out.push(b':');
    }

    fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        write_go_string(self.out, text);
    }

    fn text_if(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.text(name, text);
        }
    }

    /// A value as it is stored; none is written if that is no JSON.
    fn value(&mut self, name: &str, data: &[u8]) -> Result<(), String> {
        let (length, was_empty) = (self.out.len(), self.is_empty);
        self.name(name);
        json::compact(self.out, data).map_err(|error| {
            self.out.truncate(length);
            self.is_empty = was_empty;
            format!("the value is not JSON: {error}")
        })
    }

    fn metadata(&mut self, metadata: Metadata) {
        if metadata.is_empty() {
            return;
        }
        self.name("metadata");
        let mut object = Object::begin(self.out);
        for (name, value) in metadata.into_iter().collect::<BTreeMap<_, _>>() {
            object.text(&name, &value);
        }
        object.end();
    }

    fn end(self) {
        self.out.push(b'}');
    }
}
