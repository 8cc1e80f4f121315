//! The statements of a store.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Value as Field};
use outrigger_component::state::{
    DeleteRequest, Item, KeysLike, KeysPage, Like, Metadata, Operation, SetRequest, StateError,
    TTL_EXPIRE_TIME, Value, ttl_in_seconds,
};
use outrigger_kit::id::uuid;
use outrigger_kit::number;

use crate::database::DatabaseError;
use crate::settings::Settings;

/// The texts of all statements.
#[derive(Debug)]
pub(super) struct Statements {
    select: String,
    is_there: String,
    replace: String,
    insert: String,
    update: String,
    delete: String,
    delete_with_etag: String,
    list: String,
    take_turn: String,
    sweep: String,
}

/// A write, with all that a statement needs.
#[derive(Clone, Debug)]
pub(super) enum Write {
    Set {
        key: String,
        value: String,
        is_binary: bool,
        seconds: Option<i32>,
        condition: Condition,
    },
    Delete {
        key: String,
        etag: Option<String>,
    },
}

/// What a value must be that is written over.
#[derive(Clone, Debug)]
pub(super) enum Condition {
    Anything,
    Nothing,
    Etag(String),
}

/// Key, value, whether it is binary, etag and expiry.
type Row = (String, Vec<u8>, bool, String, Option<String>);

const IS_ALIVE: &str = "(expiredate IS NULL OR expiredate > CURRENT_TIMESTAMP)";
/// A number that is null makes a time that is null.
const EXPIRY: &str = "DATE_ADD(CURRENT_TIMESTAMP, INTERVAL ? SECOND)";

// === impl Statements ===

impl Statements {
    pub(super) fn new(settings: &Settings) -> Self {
        let Settings {
            table,
            metadata_table,
            ..
        } = settings;
        Self {
            select: format!(
                "SELECT id, value, isbinary, eTag, DATE_FORMAT(expiredate, '%Y-%m-%dT%H:%i:%sZ') \
                 FROM {table} WHERE {IS_ALIVE} AND id"
            ),
            is_there: format!("SELECT 1 FROM {table} WHERE id = ? AND {IS_ALIVE} LOCK IN SHARE MODE"),
            replace: format!(
                "REPLACE INTO {table} (id, value, isbinary, eTag, expiredate) VALUES (?, ?, ?, ?, {EXPIRY})"
            ),
            insert: format!(
                "INSERT INTO {table} (id, value, isbinary, eTag, expiredate) \
                 SELECT ?, ?, ?, ?, {EXPIRY} FROM (SELECT 1) AS one \
                 WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE id = ? AND {IS_ALIVE})"
            ),
            update: format!(
                "UPDATE {table} SET value = ?, isbinary = ?, eTag = ?, expiredate = {EXPIRY} \
                 WHERE id = ? AND eTag = ? AND {IS_ALIVE}"
            ),
            delete: format!("DELETE FROM {table} WHERE id = ?"),
            delete_with_etag: format!("DELETE FROM {table} WHERE id = ? AND eTag = ?"),
            list: format!(
                "SELECT row_id, id FROM {table} WHERE id LIKE ? AND row_id > ? AND {IS_ALIVE} \
                 ORDER BY row_id LIMIT ?"
            ),
            take_turn: format!(
                "INSERT INTO {metadata_table} (id, value) VALUES ('last-cleanup', CURRENT_TIMESTAMP) \
                 ON DUPLICATE KEY UPDATE value = IF(CURRENT_TIMESTAMP > DATE_ADD(value, INTERVAL ? SECOND), \
                 CURRENT_TIMESTAMP, value)"
            ),
            sweep: format!(
                "DELETE FROM {table} WHERE expiredate IS NOT NULL AND expiredate <= CURRENT_TIMESTAMP"
            ),
        }
    }

    pub(super) async fn get(&self, connection: &mut Conn, key: &str) -> Result<Option<Item>, StateError> {
        let select = format!("{} = ?", self.select);
        let row: Option<Row> = connection.exec_first(select, (key,)).await.map_err(failed)?;
        row.map(|row| item(row).1).transpose()
    }

    /// The values of those keys that are there.
    pub(super) async fn get_several(
        &self,
        connection: &mut Conn,
        keys: &[String],
    ) -> Result<HashMap<String, Result<Item, StateError>>, StateError> {
        let places = vec!["?"; keys.len()].join(", ");
        let select = format!("{} IN ({places})", self.select);
        let keys: Vec<_> = keys.iter().map(Field::from).collect();
        let rows: Vec<Row> = connection.exec(select, keys).await.map_err(failed)?;
        Ok(rows.into_iter().map(item).collect())
    }

    pub(super) async fn write(&self, on: &mut impl Queryable, write: &Write) -> Result<(), StateError> {
        let changed = match write {
            Write::Set {
                key,
                value,
                is_binary,
                seconds,
                condition,
            } => {
                let etag = uuid();
                match condition {
                    Condition::Anything => {
                        let values = (key, value, is_binary, etag, seconds);
                        execute(on, &self.replace, values).await?;
                        return Ok(());
                    }
                    Condition::Nothing => {
                        let values = (key, value, is_binary, etag, seconds, key);
                        match execute(on, &self.insert, values).await {
                            // Another write came between, unless it is a row that has expired.
                            Err(error) if error.is_duplicate() && self.is_there(on, key).await? => 0,
                            outcome => outcome?,
                        }
                    }
                    Condition::Etag(wanted) => {
                        let values = (value, is_binary, etag, seconds, key, wanted);
                        execute(on, &self.update, values).await?
                    }
                }
            }
            Write::Delete { key, etag: None } => {
                execute(on, &self.delete, (key,)).await?;
                return Ok(());
            }
            Write::Delete {
                key,
                etag: Some(etag),
            } => execute(on, &self.delete_with_etag, (key, etag)).await?,
        };
        match changed {
            0 => Err(StateError::mismatch(
                "rows affected error: no rows match given key and eTag",
            )),
            _ => Ok(()),
        }
    }

    async fn is_there(&self, on: &mut impl Queryable, key: &str) -> Result<bool, DatabaseError> {
        let found: Option<i64> = on.exec_first(&*self.is_there, (key,)).await?;
        Ok(found.is_some())
    }

    pub(super) async fn keys_like(
        &self,
        connection: &mut Conn,
        request: &KeysLike,
    ) -> Result<KeysPage, StateError> {
        // Only to refuse an empty one: the server has patterns of its own.
        Like::parse(&request.pattern)?;
        let after = match request.token.as_deref() {
            None | Some("") => 0,
            Some(token) => number::parse_uint(token)
                .map_err(|error| StateError::other(format!("invalid continuation token: {error}")))?,
        };
        let size = request.page_size.filter(|size| *size > 0).map(u64::from);
        // One more than wanted tells whether there are more.
        let limit = size.map_or(u64::MAX, |size| size + 1);
        let values = (&request.pattern, after, limit);
        let mut rows: Vec<(u64, String)> = connection.exec(&*self.list, values).await.map_err(failed)?;
        let has_more = size.is_some_and(|size| rows.len() as u64 > size);
        if has_more {
            rows.pop();
        }
        let last = rows.last().filter(|_| has_more);
        Ok(KeysPage {
            token: last.map(|(row, _)| row.to_string()),
            keys: rows.into_iter().map(|(_, key)| key).collect(),
        })
    }

    /// Deletes what has expired if it is the turn of this process.
    pub(super) async fn sweep(
        &self,
        connection: &mut Conn,
        age: Duration,
    ) -> Result<Option<u64>, DatabaseError> {
        // Timestamps are whole seconds, so the difference of two may be one less than what has passed.
        let age = age.as_secs().saturating_sub(1);
        if execute(connection, &self.take_turn, (age,)).await? == 0 {
            return Ok(None);
        }
        execute(connection, &self.sweep, ()).await.map(Some)
    }
}

// === impl Write ===

impl Write {
    pub(super) fn set(request: &SetRequest) -> Result<Self, StateError> {
        request.options.check()?;
        let (value, is_binary) = match &request.value {
            Value::Bytes(bytes) => (format!("\"{}\"", STANDARD.encode(bytes)), true),
            Value::Json(json) => (String::from_utf8_lossy(json.text()).into_owned(), false),
        };
        let condition = match &request.etag {
            Some(etag) => Condition::Etag(etag.clone()),
            None if request.options.is_first_write() => Condition::Nothing,
            None => Condition::Anything,
        };
        Ok(Self::Set {
            key: request.key.clone(),
            value,
            is_binary,
            seconds: ttl_in_seconds(&request.metadata)?.filter(|seconds| *seconds > 0),
            condition,
        })
    }

    pub(super) fn delete(request: &DeleteRequest) -> Result<Self, StateError> {
        request.options.check()?;
        Ok(Self::Delete {
            key: request.key.clone(),
            etag: request.etag.clone(),
        })
    }

    pub(super) fn operation(operation: &Operation) -> Result<Self, StateError> {
        match operation {
            Operation::Set(request) => Self::set(request),
            Operation::Delete(request) => Self::delete(request),
        }
    }
}

/// Runs a statement and says how many rows it changed.
async fn execute(
    on: &mut impl Queryable,
    statement: &str,
    values: impl Into<mysql_async::Params> + Send,
) -> Result<u64, DatabaseError> {
    let mut result = on.exec_iter(statement, values.into()).await?;
    let changed = result.affected_rows();
    result.for_each(drop).await?;
    Ok(changed)
}

fn failed(error: mysql_async::Error) -> StateError {
    DatabaseError::from(error).into()
}

/// What a row holds; text that should be base64 and is not is the value's own error.
fn item((key, value, is_binary, etag, expiry): Row) -> (String, Result<Item, StateError>) {
    let data = match is_binary {
        false => Ok(Bytes::from(value)),
        true => decode(&value),
    };
    let shown = expiry.map(|expiry| (TTL_EXPIRE_TIME.to_owned(), expiry));
    let item = data.map(|data| Item {
        data: Some(data),
        etag: Some(etag),
        metadata: Metadata::from_iter(shown),
        content_type: None,
    });
    (key, item)
}

/// The bytes of a JSON text with base64 in it.
fn decode(value: &[u8]) -> Result<Bytes, StateError> {
    let text: String = serde_json::from_slice(value).map_err(StateError::other)?;
    let bytes = STANDARD.decode(text).map_err(StateError::other)?;
    Ok(bytes.into())
}
