//! Values in a table. Source: specification, state stores 3 to 5.

mod cleanup;
mod layout;
mod migrations;
mod query;
mod settings;
#[cfg(test)]
mod tests;
mod values;
mod write;

use std::collections::HashSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use outrigger_component::sql::Sweeper;
use outrigger_component::state::{
    BulkItem, DeleteRequest, GetRequest, Item, KeysLike, KeysPage, Listing, Metadata, Queries, Query,
    QueryAnswer, QueryItem, SetRequest, StateError, StateStore, TTL_EXPIRE_TIME, Transaction, Transactions,
};
use outrigger_component::{Catalogue, Feature, Init, Versions};
use outrigger_kit::{number, time};
use outrigger_svc::{BoxError, BoxFuture};
use tokio::time::timeout_at;
use tokio_postgres::Row;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::cleanup::Cleanup;
use self::layout::{Layout, Statements};
use self::query::Translated;
use self::settings::{Kind, StateSettings};
use self::values::{JsonText, RawBytes, Stored, Tag};
use self::write::{Write, named};
use crate::database::{Database, DatabaseError, Pool};

/// A state store on a table of a PostgreSQL server or its kin.
#[derive(Debug)]
pub(crate) struct PostgresState {
    database: Database,
    layout: Layout,
    table: String,
    statements: Statements,
    sweeper: Sweeper,
    /// Ends what else runs in the background.
    stop: CancellationToken,
    _running: DropGuard,
}

const FEATURES: &[Feature] = &[
    Feature::ETAG,
    Feature::TRANSACTIONAL,
    Feature::TTL,
    Feature::KEYS_LIKE,
];
const JSON_FEATURES: &[Feature] = &[
    Feature::ETAG,
    Feature::TRANSACTIONAL,
    Feature::TTL,
    Feature::KEYS_LIKE,
    Feature::QUERY_API,
];

/// Adds the types.
pub(crate) fn register(catalogue: &mut Catalogue) {
    const BOTH: Versions = Versions {
        default: "v1",
        preferred: "v2",
        deprecated: &[],
    };
    const SECOND: Versions = Versions {
        default: "v2",
        preferred: "v2",
        deprecated: &[],
    };
    let types = [
        ("state.postgresql", "v1", Kind::Postgres(Layout::Version1), BOTH),
        ("state.postgresql", "v2", Kind::Postgres(Layout::Version2), BOTH),
        ("state.postgres", "v1", Kind::Postgres(Layout::Version1), BOTH),
        ("state.postgres", "v2", Kind::Postgres(Layout::Version2), BOTH),
        (
            "state.cockroachdb",
            "v1",
            Kind::Cockroach(Layout::Cockroach1),
            BOTH,
        ),
        ("state.cockroachdb", "v2", Kind::Cockroach(Layout::Version2), BOTH),
        ("state.yugabytedb", "v2", Kind::Postgres(Layout::Version2), SECOND),
        ("state.yugabyte", "v2", Kind::Postgres(Layout::Version2), SECOND),
    ];
    for (name, version, kind, versions) in types {
        let make =
            move |init| async move { open(init, kind).await.map(|store| store as Arc<dyn StateStore>) };
        catalogue.state.register_version(name, version, make);
        catalogue.state.set_versions(name, versions);
    }
}

/// Opens a store: the tables are there when it returns.
pub(crate) async fn open(init: Init, kind: Kind) -> Result<Arc<PostgresState>, BoxError> {
    let settings = StateSettings::read(&init.properties.fields()?, kind)?;
    let StateSettings {
        connection,
        tables,
        cleanup_interval,
    } = settings;
    let migrated = timeout_at(init.deadline, tables.migrate(&connection.connector)).await;
    migrated.map_err(|_| "context deadline exceeded")??;
    let pool = Pool::new(&connection, init.condition);
    let stop = CancellationToken::new();
    tokio::spawn(pool.clone().close_idle_until(connection.idle_time, stop.clone()));
    let cleanup = Arc::new(Cleanup {
        connector: connection.connector,
        tables: tables.clone(),
    });
    Ok(Arc::new(PostgresState {
        database: Database::new(pool, connection.timeout),
        layout: tables.layout,
        table: tables.state.as_str().to_owned(),
        statements: Statements::new(tables.layout, &tables.state),
        sweeper: Sweeper::start(cleanup_interval, cleanup),
        stop: stop.clone(),
        _running: stop.drop_guard(),
    }))
}

// === impl PostgresState ===

impl PostgresState {
    async fn get_one(&self, request: &GetRequest) -> Result<Option<Item>, StateError> {
        let key = named(&request.key, "get")?;
        let rows = self.database.query(&self.statements.get, &[&key]).await?;
        rows.first().map(|row| self.item(row)).transpose()
    }

    async fn get_all(&self, requests: &[GetRequest]) -> Result<Vec<BulkItem>, StateError> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<_> = requests.iter().map(|request| request.key.as_str()).collect();
        let rows = self.database.query(&self.statements.get_all, &[&keys]).await?;
        let mut found = HashSet::with_capacity(rows.len());
        let mut items = Vec::with_capacity(requests.len());
        for row in &rows {
            let key: String = column(row, row.len() - 1)?;
            let outcome = self.item(row).map(Some);
            items.push(BulkItem {
                key: key.clone(),
                outcome,
            });
            found.insert(key);
        }
        let missing = keys.into_iter().filter(|key| !found.contains(*key));
        items.extend(missing.map(|key| BulkItem {
            key: key.to_owned(),
            outcome: Ok(None),
        }));
        Ok(items)
    }

    /// The value of a row: value, tag, expiry, and of `jsonb` values whether they are bytes.
    fn item(&self, row: &Row) -> Result<Item, StateError> {
        let stored = match self.layout.has_json() {
            true => Stored::Json(column::<JsonText>(row, 0)?, column(row, 3)?),
            false => Stored::Raw(column::<RawBytes>(row, 0)?),
        };
        let mut metadata = Metadata::new();
        if let Some(expiry) = column::<Option<std::time::SystemTime>>(row, 2)? {
            metadata.insert(TTL_EXPIRE_TIME.to_owned(), time::rfc3339(expiry));
        }
        Ok(Item {
            data: Some(stored.into_bytes().map_err(StateError::other)?),
            etag: Some(column::<Tag>(row, 1)?.to_string()),
            metadata,
            content_type: None,
        })
    }

    async fn write(&self, write: Write<'_>) -> Result<(), StateError> {
        let sent = self
            .database
            .with_connection(async |connection| write.send(connection).await);
        write.judge(sent.await?)
    }

    /// Several writes in two round trips: all of them at once, then the end.
    async fn write_all(&self, writes: &[Write<'_>]) -> Result<(), StateError> {
        let connection = self.database.pool().exclusive().await?;
        for write in writes {
            connection
                .prepare(write.sql())
                .await
                .map_err(DatabaseError::from)?;
        }
        let begin: BoxFuture<'_, _> = Box::pin(async { connection.run("BEGIN").await.map(|()| 0) });
        let sends = writes
            .iter()
            .map(|write| -> BoxFuture<'_, _> { Box::pin(write.send(&connection)) });
        let mut answers = in_order(std::iter::once(begin).chain(sends).collect())
            .await
            .into_iter();
        let begun = answers.next().expect("the begin has its answer");
        let mut outcome = begun.map(drop).map_err(|error| DatabaseError::from(error).into());
        for (write, answer) in writes.iter().zip(answers) {
            // What comes behind an error fails because of it.
            outcome = outcome.and_then(|()| write.outcome(answer));
        }
        let end = if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = connection.run(end).await.map_err(DatabaseError::from);
        if ended.is_ok() {
            connection.finish();
        }
        outcome?;
        Ok(ended?)
    }

    async fn find(&self, query: &Query) -> Result<QueryAnswer, StateError> {
        let columns = format!("value, {}, key", self.layout.tag());
        let translated = Translated::new(query, &columns, &self.table)?;
        let rows = self
            .database
            .query_once(&translated.text, &translated.values)
            .await?;
        let items: Result<Vec<_>, StateError> = rows
            .iter()
            .map(|row| {
                let JsonText(data) = column(row, 0)?;
                Ok(QueryItem {
                    key: column(row, 2)?,
                    data,
                    etag: Some(column::<Tag>(row, 1)?.to_string()),
                    ..QueryItem::default()
                })
            })
            .collect();
        Ok(QueryAnswer {
            items: items?,
            token: translated.next(query, rows.len()),
            metadata: Metadata::new(),
        })
    }

    async fn list(&self, request: &KeysLike) -> Result<KeysPage, StateError> {
        if request.pattern.is_empty() {
            return Err(StateError::other("keys like pattern cannot be empty"));
        }
        let after = match request.token.as_deref().filter(|token| !token.is_empty()) {
            Some(token) => number::atoi(token)
                .map_err(|error| StateError::other(format!("invalid continuation token: {error}")))?,
            None => i64::MIN,
        };
        let size = request.page_size.filter(|&size| size > 0);
        // One more than wanted says whether there are more.
        let limit = size.map(|size| i64::from(size) + 1);
        let sql = &self.statements.keys_like;
        let mut rows = self
            .database
            .query(sql, &[&request.pattern, &after, &limit])
            .await?;
        let size = size.and_then(|size| usize::try_from(size).ok());
        let has_more = size.is_some_and(|size| rows.len() > size);
        if let Some(size) = size {
            rows.truncate(size);
        }
        let token = match rows.last().filter(|_| has_more) {
            Some(row) => Some(column::<i64>(row, 1)?.to_string()),
            None => None,
        };
        let keys: Result<Vec<String>, StateError> = rows.iter().map(|row| column(row, 0)).collect();
        Ok(KeysPage { keys: keys?, token })
    }
}

impl StateStore for PostgresState {
    fn features(&self) -> &[Feature] {
        match self.layout.has_json() {
            true => JSON_FEATURES,
            false => FEATURES,
        }
    }

    fn get<'a>(&'a self, request: &'a GetRequest) -> BoxFuture<'a, Result<Option<Item>, StateError>> {
        Box::pin(self.get_one(request))
    }

    fn set<'a>(&'a self, request: &'a SetRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async {
            self.write(Write::set(self.layout, &self.statements, request)?)
                .await
        })
    }

    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async {
            self.write(Write::delete(self.layout, &self.statements, request)?)
                .await
        })
    }

    fn bulk_get<'a>(
        &'a self,
        requests: &'a [GetRequest],
        _: usize,
    ) -> BoxFuture<'a, Result<Vec<BulkItem>, StateError>> {
        Box::pin(self.get_all(requests))
    }

    fn transactions(&self) -> Option<&dyn Transactions> {
        Some(self)
    }

    fn queries(&self) -> Option<&dyn Queries> {
        self.layout.has_json().then_some(self as &dyn Queries)
    }

    fn listing(&self) -> Option<&dyn Listing> {
        Some(self)
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async {
            let ping = self
                .database
                .with_connection(async |connection| connection.run("").await);
            Ok(ping.await?)
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        self.sweeper.stop();
        self.stop.cancel();
        self.database.pool().close();
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Transactions for PostgresState {
    fn transact<'a>(&'a self, transaction: &'a Transaction) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async {
            let writes = transaction
                .operations
                .iter()
                .map(|operation| Write::new(self.layout, &self.statements, operation));
            let mut writes: Vec<_> = writes.collect::<Result<_, _>>()?;
            match writes.len() {
                0 => Ok(()),
                1 => self.write(writes.remove(0)).await,
                _ => timeout_at(self.database.deadline(), self.write_all(&writes))
                    .await
                    .unwrap_or_else(|_| Err(DatabaseError::Deadline.into())),
            }
        })
    }
}

impl Queries for PostgresState {
    fn query<'a>(
        &'a self,
        query: &'a Query,
        _: &'a Metadata,
    ) -> BoxFuture<'a, Result<QueryAnswer, StateError>> {
        Box::pin(self.find(query))
    }
}

impl Listing for PostgresState {
    fn keys_like<'a>(&'a self, request: &'a KeysLike) -> BoxFuture<'a, Result<KeysPage, StateError>> {
        Box::pin(self.list(request))
    }
}

/// A column of a row.
fn column<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, index: usize) -> Result<T, StateError> {
    row.try_get(index)
        .map_err(|error| DatabaseError::from(error).into())
}

/// Begins all in their order, then waits for all.
async fn in_order<T>(mut futures: Vec<BoxFuture<'_, T>>) -> Vec<T> {
    let mut outputs: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    poll_fn(|cx| {
        let mut is_ready = true;
        let pending = futures.iter_mut().zip(&mut outputs);
        for (future, output) in pending.filter(|(_, output)| output.is_none()) {
            match future.as_mut().poll(cx) {
                Poll::Ready(ready) => *output = Some(ready),
                Poll::Pending => is_ready = false,
            }
        }
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
