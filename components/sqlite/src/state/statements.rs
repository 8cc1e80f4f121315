//! The statements of a store, run on the thread of the connection.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use outrigger_component::state::{
    DeleteRequest, Item, KeysLike, KeysPage, Like, LikePart, Metadata, Operation, SetRequest, StateError,
    TTL_EXPIRE_TIME, Value, ttl_in_seconds,
};
use outrigger_kit::id::uuid;
use outrigger_kit::number;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::settings::Settings;
use crate::database::DatabaseError;

/// The texts of all statements.
#[derive(Debug)]
pub(super) struct Statements {
    get: String,
    replace: String,
    insert: String,
    update: String,
    delete: String,
    delete_with_etag: String,
    list: String,
    take_turn: String,
    sweep: String,
    /// What makes the table.
    pub(super) create: String,
}

/// A write, with all that a statement needs.
#[derive(Debug)]
pub(super) enum Write {
    Set {
        key: String,
        value: String,
        is_binary: bool,
        /// What SQLite adds to the present moment.
        life: Option<String>,
        condition: Condition,
    },
    Delete {
        key: String,
        etag: Option<String>,
    },
}

/// What a value must be that is written over.
#[derive(Debug)]
pub(super) enum Condition {
    Anything,
    Nothing,
    Etag(String),
}

// === impl Statements ===

impl Statements {
    pub(super) fn new(settings: &Settings) -> Self {
        let Settings {
            table,
            metadata_table,
            ..
        } = settings;
        let is_alive = "(expiration_time IS NULL OR expiration_time > CURRENT_TIMESTAMP)";
        // An interval that is null makes a time that is null.
        let expiry = "DATETIME(CURRENT_TIMESTAMP, ?)";
        Self {
            get: format!(
                "SELECT value, is_binary, etag, expiration_time FROM {table} WHERE key = ? AND {is_alive}"
            ),
            replace: format!(
                "INSERT OR REPLACE INTO {table} (key, value, is_binary, etag, expiration_time, update_time) \
                 VALUES (?, ?, ?, ?, {expiry}, CURRENT_TIMESTAMP)"
            ),
            insert: format!(
                "INSERT OR REPLACE INTO {table} (key, value, is_binary, etag, expiration_time, update_time) \
                 SELECT ?1, ?2, ?3, ?4, DATETIME(CURRENT_TIMESTAMP, ?5), CURRENT_TIMESTAMP \
                 WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE key = ?1 AND {is_alive})"
            ),
            update: format!(
                "UPDATE {table} SET value = ?, is_binary = ?, etag = ?, expiration_time = {expiry}, \
                 update_time = CURRENT_TIMESTAMP WHERE key = ? AND etag = ? AND {is_alive}"
            ),
            delete: format!("DELETE FROM {table} WHERE key = ?"),
            delete_with_etag: format!("DELETE FROM {table} WHERE key = ? AND etag = ?"),
            list: format!(
                "SELECT rowid, key FROM {table} WHERE key GLOB ? AND rowid > ? AND {is_alive} \
                 ORDER BY rowid LIMIT ?"
            ),
            take_turn: format!(
                "INSERT INTO {metadata_table} (key, value) VALUES ('last-cleanup', CURRENT_TIMESTAMP) \
                 ON CONFLICT (key) DO UPDATE SET value = CURRENT_TIMESTAMP \
                 WHERE (julianday(CURRENT_TIMESTAMP) - julianday(value)) * 86400 > ?"
            ),
            sweep: format!(
                "DELETE FROM {table} WHERE expiration_time IS NOT NULL AND expiration_time < CURRENT_TIMESTAMP"
            ),
            // The order of the columns is part of the contract: others insert by it.
            create: format!(
                "CREATE TABLE IF NOT EXISTS {table} (
                    key TEXT NOT NULL PRIMARY KEY,
                    value TEXT NOT NULL,
                    is_binary BOOLEAN NOT NULL,
                    etag TEXT NOT NULL,
                    expiration_time TIMESTAMP DEFAULT NULL,
                    update_time TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
                )"
            ),
        }
    }

    pub(super) fn get(&self, connection: &Connection, key: &str) -> Result<Option<Item>, StateError> {
        let read = || {
            let mut statement = connection.prepare_cached(&self.get)?;
            statement.query_row(params![key], item).optional()
        };
        read().map_err(failed)?.transpose()
    }

    pub(super) fn write(&self, connection: &Connection, write: &Write) -> Result<(), StateError> {
        let changed = match write {
            Write::Set {
                key,
                value,
                is_binary,
                life,
                condition,
            } => {
                let etag = uuid();
                match condition {
                    Condition::Anything => {
                        execute(
                            connection,
                            &self.replace,
                            params![key, value, is_binary, etag, life],
                        )?;
                        return Ok(());
                    }
                    Condition::Nothing => execute(
                        connection,
                        &self.insert,
                        params![key, value, is_binary, etag, life],
                    )?,
                    Condition::Etag(wanted) => execute(
                        connection,
                        &self.update,
                        params![value, is_binary, etag, life, key, wanted],
                    )?,
                }
            }
            Write::Delete { key, etag: None } => {
                execute(connection, &self.delete, params![key])?;
                return Ok(());
            }
            Write::Delete {
                key,
                etag: Some(etag),
            } => execute(connection, &self.delete_with_etag, params![key, etag])?,
        };
        match changed {
            0 => Err(StateError::EtagMismatch(None)),
            _ => Ok(()),
        }
    }

    pub(super) fn keys_like(
        &self,
        connection: &Connection,
        request: &KeysLike,
    ) -> Result<KeysPage, StateError> {
        let pattern = glob(&Like::parse(&request.pattern)?);
        let after = match request.token.as_deref() {
            None | Some("") => 0,
            Some(token) => number::atoi(token)
                .map_err(|error| StateError::other(format!("invalid continuation token: {error}")))?,
        };
        let size = request.page_size.filter(|size| *size > 0);
        let limit = size.map_or(-1, i64::from);
        let read = || {
            let mut statement = connection.prepare_cached(&self.list)?;
            let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let rows = statement.query_map(params![pattern, after, limit], row)?;
            rows.collect::<rusqlite::Result<Vec<(i64, String)>>>()
        };
        let rows = read().map_err(failed)?;
        let is_full = size.is_some_and(|size| rows.len() as u64 >= u64::from(size));
        let last = rows.last().filter(|_| is_full);
        Ok(KeysPage {
            token: last.map(|(row, _)| row.to_string()),
            keys: rows.into_iter().map(|(_, key)| key).collect(),
        })
    }

    /// Deletes what has expired if it is the turn of this process.
    pub(super) fn sweep(&self, connection: &Connection, age: Duration) -> rusqlite::Result<Option<u64>> {
        // Timestamps are whole seconds, so the difference of two may be one less than what has passed.
        let age = (age.as_secs_f64() - 1.0).max(0.0);
        if connection.execute(&self.take_turn, params![age])? == 0 {
            return Ok(None);
        }
        let count = connection.execute(&self.sweep, params![])?;
        Ok(Some(count as u64))
    }
}

// === impl Write ===

impl Write {
    pub(super) fn set(request: &SetRequest) -> Result<Self, StateError> {
        request.options.check()?;
        let (value, is_binary) = match &request.value {
            Value::Bytes(bytes) => (STANDARD.encode(bytes), true),
            Value::Json(json) => (String::from_utf8_lossy(json.text()).into_owned(), false),
        };
        let life = ttl_in_seconds(&request.metadata)?.filter(|seconds| *seconds > 0);
        let condition = match &request.etag {
            Some(etag) => Condition::Etag(etag.clone()),
            None if request.options.is_first_write() => Condition::Nothing,
            None => Condition::Anything,
        };
        Ok(Self::Set {
            key: request.key.clone(),
            value,
            is_binary,
            life: life.map(|seconds| format!("+{seconds} seconds")),
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

fn execute(connection: &Connection, statement: &str, values: impl Params) -> Result<usize, StateError> {
    let run = || connection.prepare_cached(statement)?.execute(values);
    run().map_err(failed)
}

fn failed(error: rusqlite::Error) -> StateError {
    DatabaseError::Sqlite(error).into()
}

/// What a row holds; text that should be base64 and is not is the value's own error.
fn item(row: &Row<'_>) -> rusqlite::Result<Result<Item, StateError>> {
    let text: String = row.get(0)?;
    let is_binary: bool = row.get(1)?;
    let etag: String = row.get(2)?;
    let expiry: Option<String> = row.get(3)?;
    let data = match is_binary {
        false => Ok(text.into_bytes()),
        true => STANDARD.decode(text).map_err(StateError::other),
    };
    // `YYYY-MM-DD HH:MM:SS`, in UTC.
    let shown = expiry.map(|text| (TTL_EXPIRE_TIME.to_owned(), format!("{}Z", text.replace(' ', "T"))));
    Ok(data.map(|data| Item {
        data: Some(Bytes::from(data)),
        etag: Some(etag),
        metadata: Metadata::from_iter(shown),
        content_type: None,
    }))
}

/// The pattern as SQLite has it where the case of letters counts.
fn glob(like: &Like) -> String {
    let mut glob = String::new();
    for part in like.parts() {
        match part {
            LikePart::AnyText => glob.push('*'),
            LikePart::AnyOne => glob.push('?'),
            LikePart::Literal(special @ ('*' | '?' | '[')) => glob.extend(['[', *special, ']']),
            LikePart::Literal(literal) => glob.push(*literal),
        }
    }
    glob
}
