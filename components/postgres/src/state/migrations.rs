//! Tables that are made and changed step by step, whoever comes first.
//!
//! The metadata table says how many steps are done. It is shared with every other sidecar, also of other makes: the
//! level is never lowered, and a level beyond ours is fine.
//!
//! Source: specification, state stores 3.2, 4 and 5.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use super::layout::{Layout, TableName};
use crate::database::{Connector, DatabaseError};

/// The tables of a state store, and where it is written down how far they are made.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    /// What the columns are.
    pub(crate) layout: Layout,
    /// The values.
    pub(crate) state: TableName,
    /// The level, the lock, and when expired rows were last deleted.
    pub(crate) metadata: TableName,
    /// Key of the level.
    pub(crate) level_key: String,
    /// Key of the last cleanup.
    pub(crate) cleanup_key: String,
    /// Whether the server is one that cannot change a table and its rows in one transaction.
    pub(crate) is_cockroach: bool,
}

/// Why the tables could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MigrationError {
    /// A level that is no number.
    #[error("invalid migration level found in metadata table: {0}")]
    Level(String),
    /// Another holds the lock.
    #[error("failed to acquire the lock of the metadata table: context deadline exceeded")]
    Lock,
    /// What the server says.
    #[error("{doing}: {error}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        error: DatabaseError,
    },
}

/// Longest wait for another that makes the tables.
const LOCK_LIMIT: Duration = Duration::from_secs(60);

/// Tries and pause where two make the metadata table at once.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(50);

// === impl Tables ===

impl Tables {
    /// Makes what is missing.
    pub(crate) async fn migrate(&self, connector: &Connector) -> Result<(), MigrationError> {
        let client = connector.connect().await.map_err(failed("failed to connect"))?;
        self.make_metadata(&client).await?;
        if self.layout == Layout::Cockroach1 {
            let done = run(&client, &self.cockroach1()).await;
            return done.map_err(failed("failed to create the state table"));
        }
        let metadata = self.metadata.as_str();
        let insert = format!(
            "INSERT INTO {metadata} (key, value) VALUES ('lock', 'lock') ON CONFLICT (key) DO NOTHING"
        );
        let inserted = run(&client, &insert).await;
        inserted.map_err(failed("failed to insert the row of the lock"))?;
        let lock = format!("BEGIN; SELECT value FROM {metadata} WHERE key = 'lock' FOR UPDATE");
        match timeout(LOCK_LIMIT, run(&client, &lock)).await {
            Ok(outcome) => outcome.map_err(failed("failed to acquire the lock of the metadata table"))?,
            Err(_) => return Err(MigrationError::Lock),
        }
        let worker = connector.connect().await.map_err(failed("failed to connect"))?;
        let outcome = self.step(&worker).await;
        run(&client, "ROLLBACK").await.ok();
        outcome
    }

    /// Does the steps that are not done yet; the lock is held.
    async fn step(&self, client: &Client) -> Result<(), MigrationError> {
        let metadata = self.metadata.as_str();
        let select = format!("SELECT value FROM {metadata} WHERE key = $1");
        let row = client.query_opt(&select, &[&self.level_key]).await;
        let row = row.map_err(|error| failed("failed to read the migration level")(error.into()))?;
        let level = match row {
            Some(row) => {
                let text: String = row.get(0);
                text.parse().map_err(|_| MigrationError::Level(text))?
            }
            None => 0_i64,
        };
        let steps = self.steps();
        let done = usize::try_from(level).unwrap_or(0);
        for (number, step) in steps.iter().enumerate().skip(done) {
            tracing::info!(
                target: crate::SCOPE,
                "Performing migration {} of the table {}",
                number + 1,
                self.state.as_str()
            );
            self.run_step(client, step).await?;
            let level = (number + 1).to_string();
            let write = format!(
                "INSERT INTO {metadata} (key, value) VALUES ($1, $2) \
                 ON CONFLICT (key) DO UPDATE SET value = excluded.value"
            );
            let written = client.execute(&write, &[&self.level_key, &level]).await;
            written.map_err(|error| failed("failed to update the migration level")(error.into()))?;
        }
        Ok(())
    }

    /// Runs a step as a whole where the server can.
    async fn run_step(&self, client: &Client, step: &[String]) -> Result<(), MigrationError> {
        if !self.is_cockroach {
            let whole = format!("BEGIN; {}; COMMIT", step.join("; "));
            let outcome = run(client, &whole).await;
            if outcome.is_err() {
                run(client, "ROLLBACK").await.ok();
            }
            return match outcome {
                // Another made the table at the same time, without asking for the lock.
                Err(error) if error.is_duplicate() => Ok(()),
                outcome => outcome.map_err(failed("failed to perform a migration")),
            };
        }
        for statement in step {
            let outcome = run(client, statement).await;
            outcome.map_err(failed("failed to perform a migration"))?;
        }
        Ok(())
    }

    async fn make_metadata(&self, client: &Client) -> Result<(), MigrationError> {
        let create = format!(
            "CREATE TABLE IF NOT EXISTS {} (key text NOT NULL PRIMARY KEY, value text NOT NULL)",
            self.metadata.as_str()
        );
        let mut tries = 1;
        loop {
            match run(client, &create).await {
                Err(error) if error.is_duplicate() && tries < TRIES => {
                    tries += 1;
                    sleep(PAUSE).await;
                }
                outcome => return outcome.map_err(failed("failed to create the metadata table")),
            }
        }
    }

    /// The steps, each with its statements.
    fn steps(&self) -> Vec<Vec<String>> {
        let table = self.state.as_str();
        match self.layout {
            Layout::Version1 => {
                let create = format!(
                    "CREATE TABLE IF NOT EXISTS {table} (\
                     key text NOT NULL PRIMARY KEY, \
                     value jsonb NOT NULL, \
                     isbinary boolean NOT NULL, \
                     insertdate TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(), \
                     updatedate TIMESTAMP WITH TIME ZONE NULL)"
                );
                let expiry = format!(
                    "ALTER TABLE {table} ADD COLUMN IF NOT EXISTS expiredate TIMESTAMP WITH TIME ZONE"
                );
                vec![vec![create], vec![expiry], self.row_numbers("insertdate")]
            }
            Layout::Cockroach1 => Vec::new(),
            Layout::Version2 => {
                let create = format!(
                    "CREATE TABLE IF NOT EXISTS {table} (\
                     key text NOT NULL PRIMARY KEY, \
                     value bytea NOT NULL, \
                     etag uuid NOT NULL DEFAULT gen_random_uuid(), \
                     created_at TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT now(), \
                     updated_at TIMESTAMP WITH TIME ZONE, \
                     expires_at TIMESTAMP WITH TIME ZONE)"
                );
                let index = format!("CREATE INDEX ON {table} (expires_at)");
                vec![vec![create, index], self.row_numbers("created_at")]
            }
        }
    }

    /// Numbers the rows in the order in which they came.
    fn row_numbers(&self, created: &str) -> Vec<String> {
        let table = self.state.as_str();
        let literal = self.state.as_str().replace('\'', "''");
        let index = self.state.index("_row_id_uidx");
        // Whether the column is an identity already is asked for, since making it one again is an error.
        let identity = format!(
            "DO $$ BEGIN \
             IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = '{literal}'::regclass \
             AND attname = 'row_id' AND attidentity <> '') THEN \
             ALTER TABLE {table} ALTER COLUMN row_id ADD GENERATED BY DEFAULT AS IDENTITY; \
             END IF; END $$"
        );
        let identity = match self.is_cockroach {
            true => format!("ALTER TABLE {table} ALTER COLUMN row_id ADD GENERATED BY DEFAULT AS IDENTITY"),
            false => identity,
        };
        vec![
            format!("ALTER TABLE {table} ADD COLUMN IF NOT EXISTS row_id bigint"),
            format!(
                "UPDATE {table} SET row_id = numbered.number FROM \
                 (SELECT key, row_number() OVER (ORDER BY {created}, key) AS number FROM {table}) AS numbered \
                 WHERE {table}.key = numbered.key AND {table}.row_id IS NULL"
            ),
            format!("ALTER TABLE {table} ALTER COLUMN row_id SET NOT NULL"),
            identity,
            format!(
                "SELECT setval(pg_get_serial_sequence('{literal}', 'row_id'), \
                 (SELECT COALESCE(MAX(row_id), 0) + 1 FROM {table}), false)"
            ),
            format!("CREATE UNIQUE INDEX IF NOT EXISTS {index} ON {table} (row_id)"),
        ]
    }

    /// All that the older layout of CockroachDB needs.
    fn cockroach1(&self) -> String {
        let table = self.state.as_str();
        let (expiry, rows) = (
            self.state.index("_expiredate_idx"),
            self.state.index("_row_id_uidx"),
        );
        format!(
            "CREATE TABLE IF NOT EXISTS {table} (\
             key text NOT NULL PRIMARY KEY, \
             value jsonb NOT NULL, \
             isbinary boolean NOT NULL, \
             etag INT8, \
             insertdate TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(), \
             updatedate TIMESTAMP WITH TIME ZONE NULL, \
             expiredate TIMESTAMP WITH TIME ZONE NULL, \
             row_id INT8 NOT NULL DEFAULT unique_rowid()); \
             ALTER TABLE {table} ADD COLUMN IF NOT EXISTS expiredate TIMESTAMP WITH TIME ZONE NULL; \
             ALTER TABLE {table} ADD COLUMN IF NOT EXISTS row_id INT8 NOT NULL DEFAULT unique_rowid(); \
             CREATE UNIQUE INDEX IF NOT EXISTS {rows} ON {table} (row_id); \
             CREATE INDEX IF NOT EXISTS {expiry} ON {table} (expiredate)"
        )
    }
}

async fn run(client: &Client, text: &str) -> Result<(), DatabaseError> {
    Ok(client.batch_execute(text).await?)
}

fn failed(doing: &'static str) -> impl Fn(DatabaseError) -> MigrationError {
    move |error| MigrationError::Database { doing, error }
}
