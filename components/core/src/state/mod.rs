//! State stores: values by key, with tags, expiry, transactions and queries where a store has them.
//!
//! ```text
//! StateStore ── get, set, delete, and each in bulk
//!     ├── transactions() ─▶ Transactions   several writes, all or none
//!     ├── queries()      ─▶ Queries        documents by what is in them
//!     ├── listing()      ─▶ Listing        keys by a pattern
//!     └── prefixes()     ─▶ Prefixes       keys that begin alike, deleted together
//! ```
//!
//! The sidecar hands a store keys as they are to be stored (prefixed), and values as they are to be read again
//! (encrypted where the component says so). What bytes they become is the store's own contract.
//!
//! Source: specification, state API and state stores.

mod error;
mod like;
mod query;
mod ttl;
mod value;

use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use outrigger_svc::{BoxError, BoxFuture};

pub use self::error::{BulkError, ItemError, RichError, StateError};
pub use self::like::{Like, LikePart};
pub use self::query::{Direction, Filter, Page, Query, QueryAnswer, QueryError, QueryItem, Sort};
pub use self::ttl::{TTL_EXPIRE_TIME, TTL_IN_SECONDS, ttl_in_seconds};
pub use self::value::{Json, Value};
use crate::Feature;

/// Named texts of a request, such as `ttlInSeconds`; names are matched exactly.
pub type Metadata = HashMap<String, String>;

/// Values by key.
pub trait StateStore: fmt::Debug + Send + Sync + 'static {
    /// What the store can do, in the order in which metadata show it, `ACTOR` left out.
    fn features(&self) -> &[Feature];

    /// The value of a key; none if there is none or it has expired.
    fn get<'a>(&'a self, request: &'a GetRequest) -> BoxFuture<'a, Result<Option<Item>, StateError>>;

    /// Writes a value.
    fn set<'a>(&'a self, request: &'a SetRequest) -> BoxFuture<'a, Result<(), StateError>>;

    /// Deletes a value; one that is not there is no error unless its tag is asked for.
    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> BoxFuture<'a, Result<(), StateError>>;

    /// The values of several keys. Stores that can ask for all at once do; else each is asked for by itself,
    /// `parallelism` at a time (0 is all), and the order is kept.
    fn bulk_get<'a>(
        &'a self,
        requests: &'a [GetRequest],
        parallelism: usize,
    ) -> BoxFuture<'a, Result<Vec<BulkItem>, StateError>> {
        let answers: Vec<_> = requests
            .iter()
            .map(|request| (request, self.get(request)))
            .collect();
        Box::pin(async move {
            let answers = stream::iter(answers)
                .map(named)
                .buffered(at_once(parallelism, requests.len()));
            Ok(answers.collect().await)
        })
    }

    /// Writes several values, each by itself unless the store can do better; all are tried.
    fn bulk_set<'a>(&'a self, requests: &'a [SetRequest]) -> BoxFuture<'a, Result<(), BulkError>> {
        let writes = requests
            .iter()
            .map(|request| (request.key.as_str(), self.set(request)));
        each(writes.collect())
    }

    /// Deletes several values, each by itself unless the store can do better; all are tried.
    fn bulk_delete<'a>(&'a self, requests: &'a [DeleteRequest]) -> BoxFuture<'a, Result<(), BulkError>> {
        let deletes = requests
            .iter()
            .map(|request| (request.key.as_str(), self.delete(request)));
        each(deletes.collect())
    }

    /// The store's transactions, if it has them.
    fn transactions(&self) -> Option<&dyn Transactions> {
        None
    }

    /// The store's queries, if it has them.
    fn queries(&self) -> Option<&dyn Queries> {
        None
    }

    /// The store's listing of keys, if it has one.
    fn listing(&self) -> Option<&dyn Listing> {
        None
    }

    /// The store's deletion of keys that begin alike, if it has one.
    fn prefixes(&self) -> Option<&dyn Prefixes> {
        None
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// Why it does not.
    fn ping(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Ends what runs in the background and closes connections.
    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Several writes that happen together or not at all, as far as the store can.
pub trait Transactions: Send + Sync {
    /// Does all operations in their order.
    fn transact<'a>(&'a self, transaction: &'a Transaction) -> BoxFuture<'a, Result<(), StateError>>;

    /// The most operations that one transaction may have; none is no limit.
    fn max_operations(&self) -> BoxFuture<'_, Option<usize>> {
        Box::pin(std::future::ready(None))
    }
}

/// Documents by what is in them.
pub trait Queries: Send + Sync {
    /// The documents that a query finds, whatever the prefix of their keys.
    fn query<'a>(
        &'a self,
        query: &'a Query,
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<QueryAnswer, StateError>>;
}

/// Keys by a pattern.
pub trait Listing: Send + Sync {
    /// The keys that are like an SQL pattern (`%`, `_`, escape `\`), oldest first where the store can, expired
    /// ones left out.
    ///
    /// # Errors
    /// An empty pattern: `keys like pattern cannot be empty`.
    fn keys_like<'a>(&'a self, request: &'a KeysLike) -> BoxFuture<'a, Result<KeysPage, StateError>>;
}

/// Keys that begin alike.
pub trait Prefixes: Send + Sync {
    /// Deletes the keys that begin with `prefix` and `||` and have no further `||`, and says how many those were.
    ///
    /// # Errors
    /// An empty prefix: `a prefix is required for deleteWithPrefix request`.
    fn delete_with_prefix<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<u64, StateError>>;
}

/// A value that is asked for.
#[derive(Clone, Debug, Default)]
pub struct GetRequest {
    /// Key as it is stored.
    pub key: String,
    /// Named texts.
    pub metadata: Metadata,
    /// How fresh the answer must be.
    pub consistency: Consistency,
}

/// A value that is to be written.
#[derive(Clone, Debug)]
pub struct SetRequest {
    /// Key as it is stored.
    pub key: String,
    /// The value.
    pub value: Value,
    /// The tag that the stored value must have; never empty.
    pub etag: Option<String>,
    /// Named texts.
    pub metadata: Metadata,
    /// How writes meet, and how sure this one must be.
    pub options: Options,
    /// Media type that the caller names beside the metadata.
    pub content_type: Option<String>,
}

/// A value that is to be deleted.
#[derive(Clone, Debug, Default)]
pub struct DeleteRequest {
    /// Key as it is stored.
    pub key: String,
    /// The tag that the stored value must have; never empty.
    pub etag: Option<String>,
    /// Named texts.
    pub metadata: Metadata,
    /// How writes meet, and how sure this one must be.
    pub options: Options,
}

/// Writes that belong together.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// In their order.
    pub operations: Vec<Operation>,
    /// Named texts of the whole.
    pub metadata: Metadata,
}

/// One write of a transaction.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Writes a value.
    Set(SetRequest),
    /// Deletes a value.
    Delete(DeleteRequest),
}

/// A stored value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Item {
    /// The bytes; none where a store has the key and no value, which reads like a missing key.
    pub data: Option<Bytes>,
    /// The tag, where a store has one.
    pub etag: Option<String>,
    /// What the store says of the value, such as `ttlExpireTime`.
    pub metadata: Metadata,
    /// Media type, where a store keeps one.
    pub content_type: Option<String>,
}

/// One answer of several.
#[derive(Debug)]
pub struct BulkItem {
    /// Key as it is stored.
    pub key: String,
    /// What was found.
    pub outcome: Result<Option<Item>, StateError>,
}

/// How writes meet, and how sure a write must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Who wins of two writes.
    pub concurrency: Concurrency,
    /// When a write is done.
    pub consistency: Consistency,
}

/// Who wins of two writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Concurrency {
    /// Whatever the store does.
    #[default]
    Unspecified,
    /// The first; a later one must name the tag it has read.
    FirstWrite,
    /// The last.
    LastWrite,
    /// A word without a meaning.
    Other(String),
}

/// How fresh an answer is, or how sure a write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Whatever the store does.
    #[default]
    Unspecified,
    /// In the end.
    Eventual,
    /// At once, everywhere.
    Strong,
    /// A word without a meaning.
    Other(String),
}

/// Keys that are asked for by a pattern.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeysLike {
    /// SQL pattern.
    pub pattern: String,
    /// Where the page before ended.
    pub token: Option<String>,
    /// The most keys of a page; none is no limit.
    pub page_size: Option<u32>,
}

/// Keys that a pattern finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeysPage {
    /// In the order in which they were first written, where the store knows it.
    pub keys: Vec<String>,
    /// Where the next page begins, if there is one.
    pub token: Option<String>,
}

// === impl Options ===

impl Options {
    /// Refuses words without a meaning, as most stores do before they write.
    ///
    /// # Errors
    /// `unrecognized concurrency model '<v>'`, `unrecognized consistency model '<v>'`
    pub fn check(&self) -> Result<(), StateError> {
        if let Concurrency::Other(word) = &self.concurrency {
            return Err(StateError::other(format!(
                "unrecognized concurrency model '{word}'"
            )));
        }
        if let Consistency::Other(word) = &self.consistency {
            return Err(StateError::other(format!(
                "unrecognized consistency model '{word}'"
            )));
        }
        Ok(())
    }

    /// Whether only the first of two writes may win.
    #[must_use]
    pub fn is_first_write(&self) -> bool {
        self.concurrency == Concurrency::FirstWrite
    }
}

// === impl Concurrency ===

impl From<&str> for Concurrency {
    fn from(word: &str) -> Self {
        match word {
            "" => Self::Unspecified,
            "first-write" => Self::FirstWrite,
            "last-write" => Self::LastWrite,
            other => Self::Other(other.to_owned()),
        }
    }
}

// === impl Consistency ===

impl From<&str> for Consistency {
    fn from(word: &str) -> Self {
        match word {
            "" => Self::Unspecified,
            "eventual" => Self::Eventual,
            "strong" => Self::Strong,
            other => Self::Other(other.to_owned()),
        }
    }
}

// === impl Operation ===

impl Operation {
    /// Key as it is stored.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Set(request) => &request.key,
            Self::Delete(request) => &request.key,
        }
    }
}

// === impl GetRequest ===

impl GetRequest {
    /// Asks for a key without further wishes.
    pub fn new(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            ..Self::default()
        }
    }
}

// === impl SetRequest ===

impl SetRequest {
    /// Writes a value without further wishes.
    pub fn new(key: impl Into<String>, value: impl Into<Value>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            etag: None,
            metadata: Metadata::new(),
            options: Options::default(),
            content_type: None,
        }
    }
}

// === impl DeleteRequest ===

impl DeleteRequest {
    /// Deletes a key without further wishes.
    pub fn new(key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            ..Self::default()
        }
    }
}

/// How many of `count` run at a time; 0 wishes for all.
fn at_once(parallelism: usize, count: usize) -> usize {
    match parallelism {
        0 => count.max(1),
        limit => limit,
    }
}

/// The answer of one key of several.
async fn named(
    (request, answer): (&GetRequest, BoxFuture<'_, Result<Option<Item>, StateError>>),
) -> BulkItem {
    BulkItem {
        key: request.key.clone(),
        outcome: answer.await,
    }
}

/// Waits for all, and gathers what went wrong.
fn each<'a>(
    writes: Vec<(&'a str, BoxFuture<'a, Result<(), StateError>>)>,
) -> BoxFuture<'a, Result<(), BulkError>> {
    Box::pin(async move {
        let count = writes.len();
        let failed = stream::iter(writes).map(failure).buffered(at_once(0, count));
        let errors: Vec<_> = failed.filter_map(std::future::ready).collect().await;
        if errors.is_empty() {
            Ok(())
        } else {
            Err(BulkError::Items(errors))
        }
    })
}

/// What went wrong with one key of several.
async fn failure((key, write): (&str, BoxFuture<'_, Result<(), StateError>>)) -> Option<ItemError> {
    let key = Some(key.to_owned());
    write.await.err().map(|error| ItemError { key, error })
}
