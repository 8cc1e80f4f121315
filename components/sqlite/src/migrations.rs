//! Tables that are made and changed step by step. The level is a row that is shared with the reference.

use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};

use crate::database::{Database, DatabaseError};

/// The steps to the present form of some tables.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Migrations<'a> {
    /// Table with the level.
    pub(crate) metadata_table: &'a str,
    /// Key of the row with the level.
    pub(crate) key: &'static str,
    /// Statements of each step; the level is how many have been taken.
    pub(crate) steps: &'a [String],
}

// === impl Migrations ===

impl Migrations<'_> {
    /// Takes the steps that are missing.
    pub(crate) async fn run(self, database: &Database) -> Result<(), DatabaseError> {
        let (table, key, steps) = (self.metadata_table.to_owned(), self.key, self.steps.to_vec());
        let migrate = move |transaction: &Transaction<'_>| migrate(transaction, &table, key, &steps);
        database
            .transact_as(TransactionBehavior::Exclusive, migrate)
            .await
    }
}

fn migrate(
    transaction: &Transaction<'_>,
    table: &str,
    key: &str,
    steps: &[String],
) -> Result<(), DatabaseError> {
    transaction.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {table} (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)"
    ))?;
    let select = format!("SELECT value FROM {table} WHERE key = ?");
    let level: Option<String> = transaction
        .query_row(&select, params![key], |row| row.get(0))
        .optional()?;
    let level: usize = match level {
        None => 0,
        Some(text) => text.parse().map_err(|_| DatabaseError::Level(text))?,
    };
    // A higher level is that of a later version, and is never lowered.
    for step in steps.iter().skip(level) {
        transaction.execute_batch(step)?;
    }
    if level < steps.len() {
        let replace = format!("REPLACE INTO {table} (key, value) VALUES (?, ?)");
        transaction.execute(&replace, params![key, steps.len().to_string()])?;
    }
    Ok(())
}
