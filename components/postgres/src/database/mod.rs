//! A PostgreSQL server and the connections to it.
//!
//! ```text
//! statement ─▶ Database ─▶ Pool ─▶ the connections of this thread's runtime ─▶ server
//!                            │         least busy first; several statements under way on each
//!                            └─▶ one connection alone, for a transaction
//! ```
//!
//! A connection belongs to the runtime that opened it, and a statement is sent by a connection of the runtime that
//! it comes from: no thread wakes another. Statements of one connection follow each other without waiting for
//! answers, so a statement costs one round trip and never waits for a free connection.

mod connect;
mod connection;
mod error;
mod keywords;
mod pool;
mod settings;
mod tls;

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

pub(crate) use self::connect::Connector;
#[cfg(test)]
pub(crate) use self::connection::SLOTS;
pub(crate) use self::connection::{Connection, Sql};
pub(crate) use self::error::DatabaseError;
pub(crate) use self::keywords::Keywords;
pub(crate) use self::pool::Pool;
pub(crate) use self::settings::{ConnectionSettings, SettingsError};

/// A server, and how long a statement may take.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    pool: Pool,
    timeout: Duration,
}

/// Values of a statement's parameters.
pub(crate) type Values<'a> = [&'a (dyn ToSql + Sync)];

// === impl Database ===

impl Database {
    /// A server; nothing is connected yet. A statement takes at most `timeout`, waiting for a connection included.
    pub(crate) const fn new(pool: Pool, timeout: Duration) -> Self {
        Self { pool, timeout }
    }

    /// Its connections.
    pub(crate) const fn pool(&self) -> &Pool {
        &self.pool
    }

    /// When something that begins now must be over.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// The rows that a statement finds.
    pub(crate) async fn query(&self, sql: &Sql, values: &Values<'_>) -> Result<Vec<Row>, DatabaseError> {
        self.with_connection(async |connection| connection.query(sql, values).await)
            .await
    }

    /// The rows that a statement finds which is made for this once, and may take long: it has its connection for
    /// itself. All parameters are texts.
    pub(crate) async fn query_once(&self, text: &str, values: &[String]) -> Result<Vec<Row>, DatabaseError> {
        timeout_at(self.deadline(), async {
            let connection = self.pool.exclusive().await?;
            let rows = connection.query_texts(text, values).await?;
            connection.finish();
            Ok(rows)
        })
        .await
        .unwrap_or(Err(DatabaseError::Deadline))
    }

    /// Does something on a connection that others use too.
    pub(crate) async fn with_connection<T>(
        &self,
        work: impl AsyncFnOnce(&Connection) -> Result<T, tokio_postgres::Error>,
    ) -> Result<T, DatabaseError> {
        let mut leased = None;
        let work = timeout_at(self.deadline(), async {
            let lease = leased.insert(self.pool.lease().await?);
            Ok(work(lease).await?)
        });
        match work.await {
            Ok(outcome) => outcome,
            Err(_) => {
                if let Some(lease) = &leased {
                    // Nobody knows what it waits for; others had better not.
                    lease.discard();
                }
                Err(DatabaseError::Deadline)
            }
        }
    }
}
