//! The table of a configuration.

use outrigger_component::configuration::ConfigurationItems;
use tokio_postgres::types::Type;

use super::rows::{ConfigurationRow, newest};
use crate::database::{Database, DatabaseError, Sql};

/// A table and the statements on it.
#[derive(Debug)]
pub(crate) struct Table {
    database: Database,
    schema: Option<String>,
    name: String,
    find: Sql,
    all: Sql,
    exists: Sql,
}

// === impl Table ===

impl Table {
    /// A table of a checked name, perhaps with its schema.
    pub(crate) fn new(database: Database, name: &str) -> Self {
        let (schema, name) = match name.split_once('.') {
            Some((schema, name)) => (Some(schema.to_owned()), name.to_owned()),
            None => (None, name.to_owned()),
        };
        let quoted = match &schema {
            Some(schema) => format!("\"{schema}\".\"{name}\""),
            None => format!("\"{name}\""),
        };
        let select = format!("SELECT key::text, value::text, version::text, metadata::text FROM {quoted}");
        let sql = |slot, text, types| Sql { slot, text, types };
        Self {
            find: sql(0, format!("{select} WHERE key = ANY($1)"), vec![Type::TEXT_ARRAY]),
            all: sql(1, select, Vec::new()),
            exists: sql(
                2,
                "SELECT FROM pg_tables WHERE tablename = $1 AND ($2::text IS NULL OR schemaname = $2)"
                    .to_owned(),
                vec![Type::TEXT, Type::TEXT],
            ),
            database,
            schema,
            name,
        }
    }

    /// The connections to its server.
    pub(crate) const fn database(&self) -> &Database {
        &self.database
    }

    /// Whether the table is there.
    pub(crate) async fn exists(&self) -> Result<bool, DatabaseError> {
        let rows = self
            .database
            .query(&self.exists, &[&self.name, &self.schema])
            .await?;
        Ok(!rows.is_empty())
    }

    /// The values of keys, of all if none is named.
    pub(crate) async fn get(&self, keys: &[String]) -> Result<ConfigurationItems, DatabaseError> {
        let rows = match keys {
            [] => self.database.query(&self.all, &[]).await?,
            keys => self.database.query(&self.find, &[&keys]).await?,
        };
        let rows: Result<Vec<_>, tokio_postgres::Error> = rows
            .iter()
            .map(|row| {
                let text = |index| Ok(row.try_get::<_, Option<String>>(index)?.unwrap_or_default());
                Ok(ConfigurationRow {
                    key: text(0)?,
                    value: text(1)?,
                    version: text(2)?,
                    metadata: text(3)?,
                })
            })
            .collect();
        newest(rows?).map_err(|error| DatabaseError::Server {
            text: error.to_string(),
            code: None,
        })
    }
}
