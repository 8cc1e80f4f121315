//! State: `state.redis`.
//!
//! Source: specification, state stores 2.

mod hash;
mod indexes;
mod keys;
mod query;
mod search;
mod transaction;
mod write;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::future::join_all;
use outrigger_component::state::{
    BulkError, BulkItem, DeleteRequest, GetRequest, Item, ItemError, KeysLike, KeysPage, Listing, Metadata,
    Queries, Query, QueryAnswer, SetRequest, StateError, StateStore, Transaction, Transactions,
};
use outrigger_component::{Feature, Init};
use outrigger_svc::{BoxError, BoxFuture};
use redis::{Cmd, Pipeline};

use self::indexes::Indexes;
use self::write::Write;
use crate::SCOPE;
use crate::error::Error;
use crate::info;
use crate::link::{Client, Pace};
use crate::script::By;
use crate::settings::{Family, Settings};
use crate::value;

/// A store of values in Redis.
#[derive(Debug)]
pub(crate) struct RedisStore {
    client: Client,
    /// Replicas that a strong write waits for.
    replicas: u32,
    /// Expiry in seconds of saves that name none.
    ttl: Option<i64>,
    /// Whether the servers keep documents.
    has_documents: bool,
    indexes: Indexes,
    features: Vec<Feature>,
}

/// How a value is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Hash,
    Document,
}

/// Milliseconds that a strong write waits for the replicas.
const WAIT_MILLIS: u32 = 1000;

/// Makes a store, and connects it.
pub(crate) async fn make(init: Init) -> Result<Arc<dyn StateStore>, BoxError> {
    let settings = Settings::read(&init.properties, Family::State)?;
    let client = Client::new(&settings, init.condition)?;
    Ok(Arc::new(RedisStore::start(client, &settings).await?))
}

// === impl RedisStore ===

impl RedisStore {
    async fn start(client: Client, settings: &Settings) -> Result<Self, BoxError> {
        let indexes = Indexes::parse(&settings.query_indexes)?;
        if let Err(error) = info::ping(&client).await {
            let host = &settings.host;
            return Err(format!("redis store: error connecting to redis at {host}: {error}").into());
        }
        let replicas = info::replicas(&client).await?;
        indexes.create(&client).await?;
        let has_documents = info::has_command(&client, "JSON.GET").await;
        let mut features = vec![Feature::ETAG, Feature::TRANSACTIONAL, Feature::TTL];
        if has_documents {
            features.push(Feature::QUERY_API);
        }
        features.push(Feature::KEYS_LIKE);
        Ok(Self {
            client,
            replicas,
            ttl: settings.ttl,
            has_documents,
            indexes,
            features,
        })
    }

    /// How the value of a request is kept.
    fn layout(&self, metadata: &Metadata) -> Layout {
        let wanted = metadata.get("contentType").map(String::as_str);
        match self.has_documents && wanted == Some("application/json") {
            true => Layout::Document,
            false => Layout::Hash,
        }
    }

    async fn set_one(&self, request: &SetRequest) -> Result<(), StateError> {
        let write = Write::of_set(request, self.layout(&request.metadata), self.ttl)?;
        match self.waits(request) {
            true => self.write_and_wait(&write).await,
            false => self.write(&write).await.map_err(|error| write.failure(&error)),
        }
    }

    async fn delete_one(&self, request: &DeleteRequest) -> Result<(), StateError> {
        request.options.check()?;
        let write = Write::of_delete(request, self.layout(&request.metadata));
        self.write(&write).await.map_err(|error| write.failure(&error))
    }

    /// Whether a write is done only when replicas have it.
    fn waits(&self, request: &SetRequest) -> bool {
        self.replicas > 0 && request.options.consistency == outrigger_component::state::Consistency::Strong
    }

    async fn write(&self, write: &Write<'_>) -> Result<(), Error> {
        let command = write.command(By::Hash);
        match self.client.one(write.key, &command, write.again()).await {
            Err(error) if error.code() == Some("NOSCRIPT") => {
                let whole = write.command(By::Text);
                self.client.one(write.key, &whole, write.again()).await.map(drop)
            }
            done => done.map(drop),
        }
    }

    /// Writes, and waits on the same connection for the replicas, for a server waits for what came on it.
    async fn write_and_wait(&self, write: &Write<'_>) -> Result<(), StateError> {
        let mut by = By::Hash;
        loop {
            let mut pipeline = Pipeline::with_capacity(2);
            pipeline.add_command(write.command(by));
            pipeline.cmd("WAIT").arg(self.replicas).arg(WAIT_MILLIS);
            let answers = self
                .client
                .together(write.key, Pace::Waiting, &pipeline, write.again());
            let answers = answers.await.map_err(|error| write.failure(&error))?;
            let mut answers = answers.into_iter().map(value::answer);
            match answers.next().unwrap_or(Err(Error::Nil)) {
                Err(error) if error.code() == Some("NOSCRIPT") && by == By::Hash => by = By::Text,
                Err(error) => return Err(write.failure(&error)),
                Ok(_) => {
                    let replicas = self.replicas;
                    let waited = answers.next().unwrap_or(Err(Error::Nil)).map(drop);
                    return waited.map_err(|error| {
                        StateError::other(format!(
                            "redis waiting for {replicas} replicas to acknowledge write, err: {error}"
                        ))
                    });
                }
            }
        }
    }

    /// Does several writes in one round trip; those whose script the server does not know yet in a second one.
    async fn write_all<'a>(&self, writes: Vec<Result<Write<'a>, ItemError>>) -> Result<(), BulkError> {
        let mut errors = Vec::new();
        let mut left: Vec<Write<'a>> = Vec::with_capacity(writes.len());
        for write in writes {
            match write {
                Ok(write) => left.push(write),
                Err(error) => errors.push(error),
            }
        }
        for by in [By::Hash, By::Text] {
            let commands: Vec<(&str, Cmd)> =
                left.iter().map(|write| (write.key, write.command(by))).collect();
            let again = Write::again_all(&left);
            let answers = self.client.each(&commands, again).await;
            let mut unknown = Vec::new();
            for (write, answer) in left.into_iter().zip(answers) {
                match answer {
                    Ok(_) => {}
                    Err(error) if error.code() == Some("NOSCRIPT") && by == By::Hash => unknown.push(write),
                    Err(error) => errors.push(ItemError {
                        key: Some(write.key.to_owned()),
                        error: write.failure(&error),
                    }),
                }
            }
            left = unknown;
            if left.is_empty() {
                break;
            }
        }
        match errors.is_empty() {
            true => Ok(()),
            false => Err(BulkError::Items(errors)),
        }
    }

    async fn set_all(&self, requests: &[SetRequest]) -> Result<(), BulkError> {
        let failed = |request: &SetRequest, error| ItemError {
            key: Some(request.key.clone()),
            error,
        };
        let (strong, others): (Vec<_>, Vec<_>) = requests.iter().partition(|request| self.waits(request));
        let writes = others.into_iter().map(|request| {
            let write = Write::of_set(request, self.layout(&request.metadata), self.ttl);
            write.map_err(|error| failed(request, error))
        });
        let mut errors = match self.write_all(writes.collect()).await {
            Err(BulkError::Items(errors)) => errors,
            done => {
                done?;
                Vec::new()
            }
        };
        let waited = join_all(strong.iter().map(|request| self.set_one(request))).await;
        let waited = strong.into_iter().zip(waited);
        errors.extend(waited.filter_map(|(request, done)| done.err().map(|error| failed(request, error))));
        match errors.is_empty() {
            true => Ok(()),
            false => Err(BulkError::Items(errors)),
        }
    }
}

impl StateStore for RedisStore {
    fn features(&self) -> &[Feature] {
        &self.features
    }

    fn get<'a>(&'a self, request: &'a GetRequest) -> BoxFuture<'a, Result<Option<Item>, StateError>> {
        Box::pin(async move {
            let read = match self.layout(&request.metadata) {
                Layout::Hash => hash::get(&self.client, &request.key).await,
                Layout::Document => search::get(&self.client, &request.key).await,
            };
            read.map_err(StateError::other)
        })
    }

    fn set<'a>(&'a self, request: &'a SetRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(self.set_one(request))
    }

    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(self.delete_one(request))
    }

    fn bulk_get<'a>(
        &'a self,
        requests: &'a [GetRequest],
        _: usize,
    ) -> BoxFuture<'a, Result<Vec<BulkItem>, StateError>> {
        Box::pin(async move {
            let documents: Vec<_> = requests
                .iter()
                .map(|request| self.layout(&request.metadata))
                .collect();
            let outcomes = hash::get_all(&self.client, requests, &documents).await;
            let items = requests.iter().zip(outcomes).map(|(request, outcome)| BulkItem {
                key: request.key.clone(),
                outcome: outcome.map_err(StateError::other),
            });
            Ok(items.collect())
        })
    }

    fn bulk_set<'a>(&'a self, requests: &'a [SetRequest]) -> BoxFuture<'a, Result<(), BulkError>> {
        Box::pin(self.set_all(requests))
    }

    fn bulk_delete<'a>(&'a self, requests: &'a [DeleteRequest]) -> BoxFuture<'a, Result<(), BulkError>> {
        Box::pin(async move {
            let writes = requests.iter().map(|request| match request.options.check() {
                Ok(()) => Ok(Write::of_delete(request, self.layout(&request.metadata))),
                Err(error) => Err(ItemError {
                    key: Some(request.key.clone()),
                    error,
                }),
            });
            self.write_all(writes.collect()).await
        })
    }

    fn transactions(&self) -> Option<&dyn Transactions> {
        Some(self)
    }

    fn queries(&self) -> Option<&dyn Queries> {
        Some(self)
    }

    fn listing(&self) -> Option<&dyn Listing> {
        Some(self)
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move {
            let answer = info::ping(&self.client).await;
            answer.map_err(|error| format!("redis store: error pinging: {error}").into())
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move {
            self.client.close().await;
            Ok(())
        })
    }
}

impl Transactions for RedisStore {
    fn transact<'a>(&'a self, transaction: &'a Transaction) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(self.transact_all(transaction))
    }
}

impl Queries for RedisStore {
    fn query<'a>(
        &'a self,
        query: &'a Query,
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<QueryAnswer, StateError>> {
        Box::pin(self.search(query, metadata))
    }
}

impl Listing for RedisStore {
    fn keys_like<'a>(&'a self, request: &'a KeysLike) -> BoxFuture<'a, Result<KeysPage, StateError>> {
        Box::pin(keys::page(&self.client, request))
    }
}

/// Says once what transactions cannot do here.
fn warn_of_transactions() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        tracing::warn!(
            target: SCOPE,
            "Redis does not support transaction rollbacks and should not be used in production as an actor state \
             store."
        );
    });
}

/// Whether an answer is a value in one of its layouts, or values that a query has found.
pub(crate) fn reads_as_value(answer: redis::Value) -> bool {
    let hash = hash::item(answer.clone()).is_ok();
    let document = search::document(answer.clone()).is_ok();
    hash || document || search::found(answer).is_ok()
}
