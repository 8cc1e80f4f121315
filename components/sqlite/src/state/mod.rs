//! `state.sqlite`: values in a table of a file. Source: specification, state stores 6.
//!
//! Rows and levels are those of the reference, so sidecars of both kinds share a file at the same time.

mod settings;
mod statements;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use outrigger_component::sql::{Sweep, Sweeper};
use outrigger_component::state::{
    BulkError, BulkItem, DeleteRequest, GetRequest, Item, ItemError, KeysLike, KeysPage, Listing, SetRequest,
    StateError, StateStore, Transaction, Transactions,
};
use outrigger_component::{Feature, Init};
use outrigger_svc::{BoxError, BoxFuture};
use rusqlite::{Connection, TransactionBehavior};
use tokio::time::timeout;

use self::settings::Settings;
use self::statements::{Statements, Write};
use crate::database::{Database, DatabaseError};
use crate::migrations::Migrations;

/// Values in a file that several sidecars may share.
#[derive(Debug)]
pub struct SqliteStore {
    table: Arc<Table>,
    sweeper: Sweeper,
}

/// The table with the values.
#[derive(Debug)]
struct Table {
    database: Database,
    statements: Arc<Statements>,
    timeout: Duration,
}

static FEATURES: [Feature; 4] = [
    Feature::ETAG,
    Feature::TRANSACTIONAL,
    Feature::TTL,
    Feature::KEYS_LIKE,
];

/// Key of the row with the level of the tables; it is shared with the reference.
const LEVEL_KEY: &str = "migrations";

/// Opens the file and begins to sweep it.
pub(crate) async fn make(init: Init) -> Result<Arc<dyn StateStore>, BoxError> {
    let store = SqliteStore::open(Settings::parse(&init.properties)?).await?;
    Ok(Arc::new(store))
}

// === impl SqliteStore ===

impl SqliteStore {
    async fn open(settings: Settings) -> Result<Self, BoxError> {
        let database = Database::open(settings.connection.clone()).await?;
        let statements = Statements::new(&settings);
        let migrations = Migrations {
            metadata_table: &settings.metadata_table,
            key: LEVEL_KEY,
            steps: std::slice::from_ref(&statements.create),
        };
        migrations.run(&database).await?;
        let table = Arc::new(Table {
            database,
            statements: Arc::new(statements),
            timeout: settings.timeout,
        });
        let sweeper = Sweeper::start(settings.cleanup_interval, Arc::clone(&table));
        Ok(Self { table, sweeper })
    }
}

impl StateStore for SqliteStore {
    fn features(&self) -> &[Feature] {
        &FEATURES
    }

    fn get<'a>(&'a self, request: &'a GetRequest) -> BoxFuture<'a, Result<Option<Item>, StateError>> {
        Box::pin(async {
            let key = request.key.clone();
            self.table
                .run(move |statements, connection| statements.get(connection, &key))
                .await
        })
    }

    fn set<'a>(&'a self, request: &'a SetRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async { self.table.write(Write::set(request)?).await })
    }

    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async { self.table.write(Write::delete(request)?).await })
    }

    fn bulk_get<'a>(
        &'a self,
        requests: &'a [GetRequest],
        _: usize,
    ) -> BoxFuture<'a, Result<Vec<BulkItem>, StateError>> {
        Box::pin(async {
            let keys: Vec<_> = requests.iter().map(|request| request.key.clone()).collect();
            self.table.read_several(keys).await
        })
    }

    fn bulk_set<'a>(&'a self, requests: &'a [SetRequest]) -> BoxFuture<'a, Result<(), BulkError>> {
        let writes = requests
            .iter()
            .map(|request| (request.key.clone(), Write::set(request)));
        self.table.write_several(writes.collect())
    }

    fn bulk_delete<'a>(&'a self, requests: &'a [DeleteRequest]) -> BoxFuture<'a, Result<(), BulkError>> {
        let writes = requests
            .iter()
            .map(|request| (request.key.clone(), Write::delete(request)));
        self.table.write_several(writes.collect())
    }

    fn transactions(&self) -> Option<&dyn Transactions> {
        Some(self)
    }

    fn listing(&self) -> Option<&dyn Listing> {
        Some(self)
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async {
            let ping = |_: &Statements, connection: &mut Connection| {
                connection
                    .execute_batch("SELECT 1")
                    .map_err(|error| DatabaseError::from(error).into())
            };
            Ok(self.table.run(ping).await?)
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        self.sweeper.stop();
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Transactions for SqliteStore {
    fn transact<'a>(&'a self, transaction: &'a Transaction) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async {
            let writes = transaction.operations.iter().map(Write::operation);
            let mut writes: Vec<_> = writes.collect::<Result<_, _>>()?;
            match (writes.pop(), writes.is_empty()) {
                (None, _) => Ok(()),
                (Some(only), true) => self.table.write(only).await,
                (Some(last), false) => {
                    writes.push(last);
                    self.table.write_all(writes).await
                }
            }
        })
    }
}

impl Listing for SqliteStore {
    fn keys_like<'a>(&'a self, request: &'a KeysLike) -> BoxFuture<'a, Result<KeysPage, StateError>> {
        Box::pin(async {
            let request = request.clone();
            self.table
                .run(move |statements, connection| statements.keys_like(connection, &request))
                .await
        })
    }
}

// === impl Table ===

impl Table {
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Statements, &mut Connection) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, StateError> {
        let statements = Arc::clone(&self.statements);
        let run = self
            .database
            .run_as(move |connection| job(&statements, connection));
        let outcome = timeout(self.timeout, run).await;
        outcome.unwrap_or_else(|_| Err(StateError::other("context deadline exceeded")))
    }

    async fn write(&self, write: Write) -> Result<(), StateError> {
        self.run(move |statements, connection| statements.write(connection, &write))
            .await
    }

    /// Writes all or nothing.
    async fn write_all(&self, writes: Vec<Write>) -> Result<(), StateError> {
        self.run(move |statements, connection| {
            let transaction = begin(connection, TransactionBehavior::Immediate)?;
            for write in &writes {
                statements.write(&transaction, write)?;
            }
            commit(transaction)
        })
        .await
    }

    /// Writes each by itself, and all to the disk at once.
    fn write_several(
        &self,
        writes: Vec<(String, Result<Write, StateError>)>,
    ) -> BoxFuture<'_, Result<(), BulkError>> {
        Box::pin(async {
            let write = move |statements: &Statements, connection: &mut Connection| {
                let transaction = begin(connection, TransactionBehavior::Immediate)?;
                let mut failed = Vec::new();
                for (key, write) in writes {
                    if let Err(error) = write.and_then(|write| statements.write(&transaction, &write)) {
                        failed.push(ItemError {
                            key: Some(key),
                            error,
                        });
                    }
                }
                commit(transaction)?;
                Ok(failed)
            };
            let failed = self.run(write).await.map_err(BulkError::Whole)?;
            match failed.is_empty() {
                true => Ok(()),
                false => Err(BulkError::Items(failed)),
            }
        })
    }

    /// Reads several values as they are at one moment, those found first.
    async fn read_several(&self, keys: Vec<String>) -> Result<Vec<BulkItem>, StateError> {
        self.run(|statements, connection| {
            let snapshot = begin(connection, TransactionBehavior::Deferred)?;
            let (mut found, mut missing) = (Vec::new(), Vec::new());
            for key in keys {
                let outcome = statements.get(&snapshot, &key);
                let answers = match &outcome {
                    Ok(None) => &mut missing,
                    _ => &mut found,
                };
                answers.push(BulkItem { key, outcome });
            }
            found.append(&mut missing);
            Ok(found)
        })
        .await
    }
}

impl Sweep for Table {
    fn sweep(&self, age: Duration) -> BoxFuture<'_, Result<Option<u64>, BoxError>> {
        let statements = Arc::clone(&self.statements);
        Box::pin(async move {
            let sweep = self
                .database
                .transact(move |transaction| statements.sweep(transaction, age));
            Ok(sweep.await?)
        })
    }
}

fn begin(
    connection: &mut Connection,
    behavior: TransactionBehavior,
) -> Result<rusqlite::Transaction<'_>, StateError> {
    let transaction = connection.transaction_with_behavior(behavior);
    transaction.map_err(|error| DatabaseError::from(error).into())
}

fn commit(transaction: rusqlite::Transaction<'_>) -> Result<(), StateError> {
    let committed = transaction.commit();
    committed.map_err(|error| DatabaseError::from(error).into())
}

impl From<DatabaseError> for StateError {
    fn from(error: DatabaseError) -> Self {
        Self::other(error)
    }
}
