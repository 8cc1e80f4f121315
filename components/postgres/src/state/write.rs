//! One write: which statement, with which values, and what it means if no row is changed.

use outrigger_component::state::{DeleteRequest, Operation, SetRequest, StateError, ttl_in_seconds};
use tokio_postgres::types::ToSql;

use super::layout::{Layout, Statements};
use super::values::{Stored, Tag};
use crate::database::{Connection, DatabaseError, Sql};

/// A write that is ready to be sent.
#[derive(Debug)]
pub(crate) struct Write<'a> {
    sql: &'a Sql,
    key: &'a str,
    value: Option<(Stored, Option<i64>)>,
    tag: Option<Tag>,
    without_rows: WithoutRows,
}

/// What it means that a write changed no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WithoutRows {
    /// There was none to change.
    Fine,
    /// Another value is there, or none.
    Mismatch,
    /// A value is there already.
    NotUpdated,
}

// === impl Write ===

impl<'a> Write<'a> {
    /// The write of an operation.
    pub(crate) fn new(
        layout: Layout,
        statements: &'a Statements,
        operation: &'a Operation,
    ) -> Result<Self, StateError> {
        match operation {
            Operation::Set(request) => Self::set(layout, statements, request),
            Operation::Delete(request) => Self::delete(layout, statements, request),
        }
    }

    /// Writes a value.
    pub(crate) fn set(
        layout: Layout,
        statements: &'a Statements,
        request: &'a SetRequest,
    ) -> Result<Self, StateError> {
        request.options.check()?;
        let key = named(&request.key, "set")?;
        let ttl = ttl_in_seconds(&request.metadata)?.filter(|&seconds| seconds > 0);
        let stored = match layout.has_json() {
            true => Stored::json(&request.value),
            false => Stored::raw(&request.value),
        };
        let tag = request.etag.as_deref();
        let tag = tag.map(|tag| Tag::parse(layout.tags(), tag)).transpose()?;
        let (sql, without_rows) = match tag {
            Some(_) => (&statements.set_tagged, WithoutRows::Mismatch),
            None if request.options.is_first_write() => (&statements.set_first, WithoutRows::NotUpdated),
            None => (&statements.set, WithoutRows::NotUpdated),
        };
        Ok(Self {
            sql,
            key,
            value: Some((stored, ttl.map(i64::from))),
            tag,
            without_rows,
        })
    }

    /// Deletes a value.
    pub(crate) fn delete(
        layout: Layout,
        statements: &'a Statements,
        request: &'a DeleteRequest,
    ) -> Result<Self, StateError> {
        let key = named(&request.key, "delete")?;
        let tag = request.etag.as_deref();
        let tag = tag.map(|tag| Tag::parse(layout.tags(), tag)).transpose()?;
        let (sql, without_rows) = match tag {
            Some(_) => (&statements.delete_tagged, WithoutRows::Mismatch),
            None => (&statements.delete, WithoutRows::Fine),
        };
        Ok(Self {
            sql,
            key,
            value: None,
            tag,
            without_rows,
        })
    }

    /// Its statement.
    pub(crate) const fn sql(&self) -> &Sql {
        self.sql
    }

    /// Sends it on a connection and waits for how many rows it changed.
    pub(crate) async fn send(&self, connection: &Connection) -> Result<u64, tokio_postgres::Error> {
        let mut values: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(5);
        values.push(&self.key);
        if let Some((stored, ttl)) = &self.value {
            match stored {
                Stored::Json(text, _) => values.push(text),
                Stored::Raw(bytes) => values.push(bytes),
            }
            values.push(ttl);
            if let Stored::Json(_, is_binary) = stored {
                values.push(is_binary);
            }
        }
        if let Some(tag) = &self.tag {
            values.push(tag);
        }
        connection.execute(self.sql, &values).await
    }

    /// What it means that so many rows were changed.
    pub(crate) fn judge(&self, rows: u64) -> Result<(), StateError> {
        match (rows, self.without_rows) {
            (1.., _) | (0, WithoutRows::Fine) => Ok(()),
            (0, WithoutRows::Mismatch) => Err(StateError::EtagMismatch(None)),
            (0, WithoutRows::NotUpdated) => Err(StateError::other("no item was updated")),
        }
    }

    /// Both at once, where an answer is there.
    pub(crate) fn outcome(&self, answer: Result<u64, tokio_postgres::Error>) -> Result<(), StateError> {
        self.judge(answer.map_err(DatabaseError::from)?)
    }
}

/// A key, which must not be empty.
pub(crate) fn named<'a>(key: &'a str, operation: &str) -> Result<&'a str, StateError> {
    if key.is_empty() {
        return Err(StateError::other(format!("missing key in {operation} operation")));
    }
    Ok(key)
}
