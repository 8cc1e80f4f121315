//! The indexes that queries use, as the component configures them.

use redis::Cmd;
use serde::Deserialize;

use crate::error::Error;
use crate::link::{Again, Client};

/// Indexes by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexes(Vec<Index>);

/// One index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) name: String,
    fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    path: String,
    kind: String,
}

/// Why the text of the indexes is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("redis store: error parsing query index schema: {0}")]
pub(super) struct IndexesError(String);

#[derive(Deserialize)]
struct Schema {
    #[serde(default)]
    name: String,
    #[serde(default)]
    indexes: Vec<SchemaField>,
}

#[derive(Deserialize)]
struct SchemaField {
    #[serde(default)]
    key: String,
    #[serde(default, rename = "type")]
    kind: String,
}

// === impl Indexes ===

impl Indexes {
    /// Reads the text of the component; an empty one has none.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, IndexesError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let schemas: Vec<Schema> =
            serde_json::from_str(text).map_err(|error| IndexesError(error.to_string()))?;
        let mut indexes: Vec<Index> = Vec::with_capacity(schemas.len());
        for Schema {
            name,
            indexes: fields,
        } in schemas
        {
            if name.is_empty() {
                return Err(IndexesError("empty query schema name".to_owned()));
            }
            if indexes.iter().any(|index| index.name == name) {
                return Err(IndexesError(format!("duplicate schema name {name}")));
            }
            for field in &fields {
                for (what, text) in [("key", &field.key), ("type", &field.kind)] {
                    if text.is_empty() {
                        return Err(IndexesError(format!("empty {what} in query schema {name}")));
                    }
                }
            }
            let fields = fields.into_iter().map(|field| Field {
                path: field.key,
                kind: field.kind,
            });
            indexes.push(Index {
                name,
                fields: fields.collect(),
            });
        }
        Ok(Self(indexes))
    }

    /// The index of a name.
    pub(super) fn find(&self, name: &str) -> Option<&Index> {
        self.0.iter().find(|index| index.name == name)
    }

    /// Makes them at the servers, anew where they exist.
    pub(super) async fn create(&self, client: &Client) -> Result<(), Error> {
        for index in &self.0 {
            let create = index.creation();
            let created = client.one(&index.name, &create, Again::Yes).await;
            match created {
                Err(Error::Server(line)) if &*line == "Index already exists" => {
                    let mut drop = Cmd::new();
                    drop.arg("FT.DROPINDEX").arg(&index.name);
                    client.one(&index.name, &drop, Again::Yes).await?;
                    client.one(&index.name, &create, Again::Yes).await?;
                }
                Err(Error::Server(line)) => {
                    let line = format!("redis store: error registering query schemas: {line}");
                    return Err(Error::Server(line.into()));
                }
                created => {
                    created?;
                }
            }
        }
        Ok(())
    }
}

// === impl Index ===

impl Index {
    /// The name that a path has in queries.
    pub(super) fn variable(&self, path: &str) -> Option<String> {
        let place = self.fields.iter().position(|field| field.path == path)?;
        Some(format!("var{place}"))
    }

    fn creation(&self) -> Cmd {
        let mut command = Cmd::new();
        command
            .arg("FT.CREATE")
            .arg(&self.name)
            .arg("ON")
            .arg("JSON")
            .arg("SCHEMA");
        for (place, field) in self.fields.iter().enumerate() {
            command
                .arg(format!("$.data.{}", field.path))
                .arg("AS")
                .arg(format!("var{place}"))
                .arg(&field.kind)
                .arg("SORTABLE");
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_named_once_and_whole() {
        let error = |text: &str| Indexes::parse(text).unwrap_err().0;
        assert_eq!(Indexes::parse(""), Ok(Indexes::default()));
        assert_eq!(error(r#"[{"indexes":[]}]"#), "empty query schema name");
        assert_eq!(error(r#"[{"name":"a"},{"name":"a"}]"#), "duplicate schema name a");
        assert_eq!(
            error(r#"[{"name":"a","indexes":[{"type":"TEXT"}]}]"#),
            "empty key in query schema a"
        );
        assert_eq!(
            error(r#"[{"name":"a","indexes":[{"key":"b"}]}]"#),
            "empty type in query schema a"
        );
        let whole = Indexes::parse("no json").unwrap_err().to_string();
        assert!(
            whole.starts_with("redis store: error parsing query index schema: "),
            "{whole}"
        );
    }

    #[test]
    fn an_index_is_made_of_the_paths_within_values() {
        let text = r#"[{"name":"i","indexes":[{"key":"a.b","type":"TEXT"},{"key":"c","type":"NUMERIC"}]}]"#;
        let indexes = Indexes::parse(text).unwrap();
        let index = indexes.find("i").unwrap();
        assert_eq!(index.variable("c").as_deref(), Some("var1"));
        assert_eq!(index.variable("b"), None);
        let redis::Value::Array(words) =
            redis::parse_redis_value(&index.creation().get_packed_command()).unwrap()
        else {
            panic!("a command is an array");
        };
        let words: Vec<_> = words
            .iter()
            .map(|word| crate::value::text(word).unwrap())
            .collect();
        assert_eq!(
            words.join(" "),
            "FT.CREATE i ON JSON SCHEMA $.data.a.b AS var0 TEXT SORTABLE $.data.c AS var1 NUMERIC SORTABLE"
        );
    }
}
