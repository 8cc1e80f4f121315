//! `state.mysql`: values in a table of MySQL or MariaDB. Source: specification, state stores 7.
//!
//! Rows are those of the reference, so sidecars of both kinds share a table at the same time.

mod schema;
mod statements;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use mysql_async::TxOpts;
use outrigger_component::sql::{Sweep, Sweeper};
use outrigger_component::state::{
    BulkItem, DeleteRequest, GetRequest, Item, KeysLike, KeysPage, Listing, SetRequest, StateError,
    StateStore, Transaction, Transactions,
};
use outrigger_component::{Feature, Init};
use outrigger_svc::{BoxError, BoxFuture};

use self::statements::{Statements, Write};
use crate::database::{Database, DatabaseError};
use crate::settings::Settings;

/// Values in a table that several sidecars may share.
#[derive(Debug)]
pub struct MysqlStore {
    table: Arc<Table>,
    sweeper: Sweeper,
}

/// The table with the values.
#[derive(Debug)]
struct Table {
    database: Database,
    statements: Statements,
}

static FEATURES: [Feature; 4] = [
    Feature::ETAG,
    Feature::TRANSACTIONAL,
    Feature::TTL,
    Feature::KEYS_LIKE,
];

/// How often writes are tried that others undo because both wait for each other.
const ATTEMPTS: usize = 8;

/// The most keys of one statement.
const KEYS_AT_ONCE: usize = 1000;

/// Connects, makes the tables and begins to sweep them.
pub(crate) async fn make(init: Init) -> Result<Arc<dyn StateStore>, BoxError> {
    let store = MysqlStore::connect(&Settings::parse(&init.properties)?).await?;
    Ok(Arc::new(store))
}

// === impl MysqlStore ===

impl MysqlStore {
    async fn connect(settings: &Settings) -> Result<Self, BoxError> {
        let database = Database::connect(settings).await?;
        let migrate = async {
            let mut connection = database.connection().await?;
            schema::migrate(&mut connection, settings).await
        };
        database.limited(migrate).await?;
        let table = Arc::new(Table {
            statements: Statements::new(settings),
            database,
        });
        let sweeper = Sweeper::start(settings.cleanup_interval, Arc::clone(&table));
        Ok(Self { table, sweeper })
    }
}

impl StateStore for MysqlStore {
    fn features(&self) -> &[Feature] {
        &FEATURES
    }

    fn get<'a>(&'a self, request: &'a GetRequest) -> BoxFuture<'a, Result<Option<Item>, StateError>> {
        Box::pin(self.table.read(&request.key))
    }

    fn set<'a>(&'a self, request: &'a SetRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async { self.table.write(&[Write::set(request)?]).await })
    }

    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async { self.table.write(&[Write::delete(request)?]).await })
    }

    fn bulk_get<'a>(
        &'a self,
        requests: &'a [GetRequest],
        _: usize,
    ) -> BoxFuture<'a, Result<Vec<BulkItem>, StateError>> {
        Box::pin(self.table.read_several(requests))
    }

    fn transactions(&self) -> Option<&dyn Transactions> {
        Some(self)
    }

    fn listing(&self) -> Option<&dyn Listing> {
        Some(self)
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async {
            let ping = async {
                let mut connection = self.table.database.connection().await?;
                mysql_async::prelude::Queryable::ping(&mut connection).await?;
                Ok::<_, DatabaseError>(())
            };
            Ok(self.table.database.limited(ping).await?)
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        self.sweeper.stop();
        Box::pin(async { Ok(self.table.database.close().await?) })
    }
}

impl Transactions for MysqlStore {
    fn transact<'a>(&'a self, transaction: &'a Transaction) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async {
            let writes = transaction.operations.iter().map(Write::operation);
            let writes: Vec<_> = writes.collect::<Result<_, _>>()?;
            self.table.write(&writes).await
        })
    }
}

impl Listing for MysqlStore {
    fn keys_like<'a>(&'a self, request: &'a KeysLike) -> BoxFuture<'a, Result<KeysPage, StateError>> {
        Box::pin(self.table.list(request))
    }
}

// === impl Table ===

impl Table {
    async fn read(&self, key: &str) -> Result<Option<Item>, StateError> {
        let read = async {
            let mut connection = self.database.connection().await?;
            self.statements.get(&mut connection, key).await
        };
        self.database.limited(read).await
    }

    /// Reads several values, those found first.
    async fn read_several(&self, requests: &[GetRequest]) -> Result<Vec<BulkItem>, StateError> {
        let read = async {
            let (mut found, mut missing) = (Vec::new(), Vec::new());
            let mut connection = self.database.connection().await?;
            for chunk in requests.chunks(KEYS_AT_ONCE) {
                let keys: Vec<_> = chunk.iter().map(|request| request.key.clone()).collect();
                let mut rows = self.statements.get_several(&mut connection, &keys).await?;
                for key in keys {
                    match rows.remove(&key) {
                        Some(outcome) => found.push(BulkItem {
                            key,
                            outcome: outcome.map(Some),
                        }),
                        None => missing.push(BulkItem {
                            key,
                            outcome: Ok(None),
                        }),
                    }
                }
            }
            found.append(&mut missing);
            Ok(found)
        };
        self.database.limited(read).await
    }

    /// Does all writes or none. One alone needs no transaction.
    async fn write(&self, writes: &[Write]) -> Result<(), StateError> {
        let write = async {
            let mut attempts = 0;
            loop {
                attempts += 1;
                match self.try_write(writes).await {
                    Err(error) if attempts < ATTEMPTS && is_deadlock(&error) => {}
                    outcome => return outcome,
                }
            }
        };
        self.database.limited(write).await
    }

    async fn try_write(&self, writes: &[Write]) -> Result<(), StateError> {
        let mut connection = match writes {
            [] => return Ok(()),
            _ => self.database.connection().await?,
        };
        if let [only] = writes {
            return self.statements.write(&mut connection, only).await;
        }
        let begin = connection.start_transaction(TxOpts::new()).await;
        let mut transaction = begin.map_err(DatabaseError::from)?;
        for write in writes {
            if let Err(error) = self.statements.write(&mut transaction, write).await {
                // What cannot be undone now is undone when the connection is gone.
                transaction.rollback().await.ok();
                return Err(error);
            }
        }
        Ok(transaction.commit().await.map_err(DatabaseError::from)?)
    }

    async fn list(&self, request: &KeysLike) -> Result<KeysPage, StateError> {
        let list = async {
            let mut connection = self.database.connection().await?;
            self.statements.keys_like(&mut connection, request).await
        };
        self.database.limited(list).await
    }
}

impl Sweep for Table {
    fn sweep(&self, age: Duration) -> BoxFuture<'_, Result<Option<u64>, BoxError>> {
        Box::pin(async move {
            let mut connection = self.database.connection().await?;
            Ok(self.statements.sweep(&mut connection, age).await?)
        })
    }
}

fn is_deadlock(error: &StateError) -> bool {
    match error {
        StateError::Other(inner) => inner
            .downcast_ref::<DatabaseError>()
            .is_some_and(DatabaseError::is_deadlock),
        _ => false,
    }
}
