//! Values as documents of RedisJSON, and what is found among them.

use std::collections::HashMap;

use bytes::Bytes;
use outrigger_component::state::{Item, Metadata, Query, QueryAnswer, QueryItem, StateError};
use outrigger_kit::json;
use outrigger_kit::quote::go_quote;
use redis::{Cmd, Value};
use serde_json::Value as Document;

use super::RedisStore;
use super::hash::command;
use super::query::Search;
use crate::error::Error;
use crate::link::{Again, Client};
use crate::value;

/// The document of a key.
pub(super) async fn get(client: &Client, key: &str) -> Result<Option<Item>, Error> {
    document(client.one(key, &read(key), Again::Yes).await?)
}

/// The command that reads a document.
pub(super) fn read(key: &str) -> Cmd {
    command("JSON.GET", key)
}

/// A document as a value: what is in `data`, and `version` as its tag.
pub(super) fn document(answer: Value) -> Result<Option<Item>, Error> {
    if answer == Value::Nil {
        return Ok(None);
    }
    let text = value::bytes(answer)?;
    let unreadable =
        |error: serde_json::Error| Error::Server(format!("error parsing document: {error}").into());
    let mut document: Document = serde_json::from_slice(&text).map_err(unreadable)?;
    let data = document.get_mut("data").map(Document::take);
    let version = document.get("version").filter(|version| !version.is_null());
    Ok(Some(Item {
        data: data.map(|data| json::to_go_vec(&json::sorted(data)).into()),
        etag: version.map(plain),
        ..Item::default()
    }))
}

// === impl RedisStore ===

impl RedisStore {
    pub(super) async fn search(&self, query: &Query, metadata: &Metadata) -> Result<QueryAnswer, StateError> {
        if !self.has_documents {
            return Err(StateError::other(
                "redis-json server support is required for query capability",
            ));
        }
        let name = metadata
            .get("queryIndexName")
            .ok_or_else(|| StateError::other("query index not found"))?;
        let index = self.indexes.find(name).ok_or_else(|| {
            let name = go_quote(name);
            StateError::other(format!("query index schema {name} not found"))
        })?;
        let search = Search::new(query, index).map_err(StateError::other)?;
        let answer = self.client.one(name, &search.command(index), Again::Yes).await;
        let items = found(answer.map_err(StateError::other)?).map_err(StateError::other)?;
        Ok(QueryAnswer {
            token: search.token(items.len()),
            items,
            metadata: Metadata::new(),
        })
    }
}

/// The documents of an answer in either protocol.
pub(super) fn found(answer: Value) -> Result<Vec<QueryItem>, Error> {
    match answer {
        Value::Map(members) => {
            let results = members.into_iter().find(|(name, _)| is(name, "results"));
            let results = results.map_or(Ok(Vec::new()), |(_, results)| value::elements(results))?;
            results.into_iter().map(result).collect()
        }
        answer => {
            let mut parts = value::elements(answer)?.into_iter().skip(1);
            let mut items = Vec::new();
            while let Some(key) = parts.next() {
                let fields = value::elements(parts.next().unwrap_or(Value::Nil))?;
                items.push(item(value::text(&key)?, pairs(fields))?);
            }
            Ok(items)
        }
    }
}

/// A document of an answer in RESP3.
fn result(result: Value) -> Result<QueryItem, Error> {
    let members = match result {
        Value::Map(members) => members,
        other => return Err(Error::unexpected(&other)),
    };
    let (mut key, mut fields) = (String::new(), Vec::new());
    for (name, member) in members {
        if is(&name, "id") {
            key = value::text(&member)?;
        } else if is(&name, "extra_attributes") {
            fields = match member {
                Value::Map(fields) => fields,
                other => pairs(value::elements(other)?),
            };
        }
    }
    item(key, fields)
}

fn item(key: String, fields: Vec<(Value, Value)>) -> Result<QueryItem, Error> {
    let mut texts: HashMap<String, Bytes> = HashMap::new();
    for (name, field) in fields {
        texts.insert(value::text(&name)?, value::bytes(field)?);
    }
    let version = texts.get("$.version");
    Ok(QueryItem {
        key,
        data: texts.get("$.data").cloned().unwrap_or_default(),
        etag: version.map(|version| String::from_utf8_lossy(version).into_owned()),
        ..QueryItem::default()
    })
}

fn pairs(flat: Vec<Value>) -> Vec<(Value, Value)> {
    let mut flat = flat.into_iter();
    std::iter::from_fn(|| Some((flat.next()?, flat.next()?))).collect()
}

fn is(name: &Value, wanted: &str) -> bool {
    value::text(name).is_ok_and(|name| name == wanted)
}

/// A version as the text that it is compared as.
fn plain(version: &Document) -> String {
    match version {
        Document::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(answer: &str) -> Value {
        redis::parse_redis_value(answer.as_bytes()).unwrap()
    }

    #[test]
    fn a_document_is_its_data_and_its_version() {
        let text = r#"{"version":3,"data":{"b":1,"a":"x"},"first-write":0}"#;
        let item = document(Value::BulkString(text.into())).unwrap().unwrap();
        assert_eq!(item.data.as_deref(), Some(&br#"{"a":"x","b":1}"#[..]));
        assert_eq!(item.etag.as_deref(), Some("3"));
        assert_eq!(document(Value::Nil).unwrap(), None);
        assert!(document(Value::BulkString("{".into())).is_err());
    }

    #[test]
    fn documents_are_found_in_answers_of_both_protocols() {
        let flat =
            "*3\r\n:1\r\n$1\r\nk\r\n*4\r\n$6\r\n$.data\r\n$7\r\n{\"a\":1}\r\n$9\r\n$.version\r\n$1\r\n2\r\n";
        let map = "%2\r\n$13\r\ntotal_results\r\n:1\r\n$7\r\nresults\r\n*1\r\n%2\r\n$2\r\nid\r\n$1\r\nk\r\n\
                   $16\r\nextra_attributes\r\n%2\r\n$6\r\n$.data\r\n$7\r\n{\"a\":1}\r\n$9\r\n$.version\r\n$1\r\n2\r\n";
        for answer in [flat, map] {
            let items = found(parsed(answer)).unwrap();
            assert_eq!(items.len(), 1);
            assert_eq!(
                (items[0].key.as_str(), &items[0].data[..]),
                ("k", &b"{\"a\":1}"[..])
            );
            assert_eq!(items[0].etag.as_deref(), Some("2"));
        }
        assert_eq!(found(parsed("*1\r\n:0\r\n")).unwrap(), []);
        assert!(found(parsed(":1\r\n")).is_err());
    }
}
