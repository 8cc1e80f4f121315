//! What every state store does, and where it may be its own way.
//!
//! Source: specification, state API 4, 5, 6, 7 and 11; state stores.

mod bulk;
mod etags;
mod expiry;
mod listing;
mod queries;
mod races;
mod transactions;
mod values;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use outrigger_kit::id::uuid;
use tokio::time::{Instant, sleep};

use super::report::{Failure, Outcome, check, report};
use crate::state::{
    Concurrency, DeleteRequest, GetRequest, Item, Metadata, Operation, SetRequest, StateError, StateStore,
    TTL_IN_SECONDS, Transaction, Transactions, Value,
};

/// What a store says of itself, and where it is its own way. [`Traits::new`] is a store that does all as the
/// rules say.
#[derive(Clone, Debug)]
pub struct Traits {
    /// Name of the store in messages.
    pub store: &'static str,
    /// Its features as metadata show them, in their order. What it does not list is not tested.
    pub features: &'static [&'static str],
    /// Whether it takes a key (in full, prefix included).
    pub accepts_key: fn(&str) -> bool,
    /// Bytes of the largest value that is tried.
    pub largest_value: usize,
    /// The error that asking for a key without a value is, where it is one.
    pub missing: Option<&'static str>,
    /// Whether bytes that are no text come back as they are.
    pub is_binary_safe: bool,
    /// Whether a value without bytes is a value.
    pub keeps_empty_values: bool,
    /// The text that a JSON value comes back as, from the one text that it has everywhere.
    pub json: fn(&str) -> String,
    /// Whether each write makes a tag that was not there before, also one that names none.
    pub renews_etags: bool,
    /// What a tag does that the store could not have given.
    pub unreadable_etag: Refusal,
    /// Whether all that goes wrong with a delete is told as another tag.
    pub calls_failed_deletes_mismatches: bool,
    /// Whether a write that names a tag makes a key that is not there.
    pub inserts_with_etag: bool,
    /// What a first write does where there is a value.
    pub first_write: Refusal,
    /// Whether a first write passes over a value that was not written by one, and guards what it wrote for ever.
    pub first_write_is_sticky: bool,
    /// Whether a delete that wants to be the first write is refused where there is a value.
    pub first_write_guards_delete: bool,
    /// Whether a value that has expired and is not yet swept is still in the way of a first write.
    pub expired_blocks_first_write: bool,
    /// Whether words without a meaning are refused.
    pub checks_options: bool,
    /// Whether an answer says when its value expires.
    pub shows_expiry: bool,
    /// Whether a write without a time to live takes an earlier one away.
    pub write_clears_expiry: bool,
    /// What a time to live of 0 or -1 does.
    pub no_time: NoTime,
    /// How long after its time a value may still be there.
    pub expiry_delay: Duration,
    /// The order of several answers.
    pub bulk_order: BulkOrder,
    /// The most operations of a transaction.
    pub max_operations: Option<usize>,
    /// Whether a transaction is done as a whole or not at all.
    pub is_atomic: bool,
    /// Whether transactions look at the tags of deletes.
    pub checks_deletes_in_transactions: bool,
    /// Metadata of transactions and of all requests on what they write.
    pub transaction_metadata: &'static [(&'static str, &'static str)],
    /// Whether keys are listed in the order in which they were written first.
    pub lists_oldest_first: bool,
    /// How queries are asked.
    pub queries: QueryTraits,
}

/// How queries are asked.
#[derive(Clone, Debug)]
pub struct QueryTraits {
    /// Whether queries that are no feature are taken all the same, to be refused by the store itself.
    pub are_refused_by_the_store: bool,
    /// Metadata of the writes of documents.
    pub item_metadata: &'static [(&'static str, &'static str)],
    /// Metadata of queries.
    pub metadata: &'static [(&'static str, &'static str)],
    /// Whether documents can be asked for by numbers as well as by texts.
    pub compares_numbers: bool,
    /// Whether an index must have its time before it finds what was written.
    pub patience: Duration,
}

/// How a store refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The tag is another one.
    Mismatch,
    /// The tag cannot be read.
    Invalid,
    /// An error that is not about tags.
    Other,
    /// Not at all: it does what is asked.
    None,
}

/// What a time to live of 0 or -1 does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTime {
    /// The value lives for ever.
    Forever,
    /// The value is gone at once.
    Gone,
    /// The write is refused.
    Refused,
    /// Each store has its own idea, which is not tested.
    Untested,
}

/// The order of several answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BulkOrder {
    /// As asked for.
    Requested,
    /// Those found in any order, then those missing as asked for.
    FoundFirst,
    /// Any.
    Any,
}

/// A store under test.
struct Subject {
    store: Arc<dyn StateStore>,
    traits: Traits,
    /// What all keys of this run begin with.
    prefix: String,
}

/// Runs the suite.
///
/// # Panics
/// If a case fails, with the names of all that do.
pub async fn run(store: Arc<dyn StateStore>, traits: Traits) {
    let run = uuid();
    let subject = Subject {
        store,
        prefix: format!("app-{}", run.split('-').next().unwrap_or_default()),
        traits,
    };
    let groups = [
        values::CASES,
        bulk::CASES,
        etags::CASES,
        races::CASES,
        expiry::CASES,
        transactions::CASES,
        listing::CASES,
        queries::CASES,
    ];
    report(subject.traits.store, groups.into_iter().flatten(), &subject).await;
}

// === impl Traits ===

impl Traits {
    /// A store that does all as the rules say, with all features but queries and prefixes.
    #[must_use]
    pub fn new(store: &'static str) -> Self {
        Self {
            store,
            features: &["ETAG", "TRANSACTIONAL", "TTL", "KEYS_LIKE"],
            accepts_key: |_| true,
            largest_value: 1 << 20,
            missing: None,
            is_binary_safe: true,
            keeps_empty_values: true,
            json: str::to_owned,
            renews_etags: true,
            unreadable_etag: Refusal::Mismatch,
            calls_failed_deletes_mismatches: false,
            inserts_with_etag: false,
            first_write: Refusal::Mismatch,
            first_write_is_sticky: false,
            first_write_guards_delete: false,
            expired_blocks_first_write: false,
            checks_options: true,
            shows_expiry: true,
            write_clears_expiry: true,
            no_time: NoTime::Forever,
            expiry_delay: Duration::from_secs(2),
            bulk_order: BulkOrder::Requested,
            max_operations: None,
            is_atomic: true,
            checks_deletes_in_transactions: true,
            transaction_metadata: &[],
            lists_oldest_first: true,
            queries: QueryTraits {
                are_refused_by_the_store: false,
                item_metadata: &[],
                metadata: &[],
                compares_numbers: true,
                patience: Duration::ZERO,
            },
        }
    }

    fn has(&self, feature: &str) -> bool {
        self.features.contains(&feature)
    }
}

// === impl Refusal ===

impl Refusal {
    /// Ends a case unless a store answered in this way.
    fn expect(self, what: &str, outcome: Result<(), StateError>) -> Outcome {
        let found = match &outcome {
            Ok(()) => Self::None,
            Err(StateError::EtagMismatch(_)) => Self::Mismatch,
            Err(StateError::EtagInvalid(_)) => Self::Invalid,
            Err(_) => Self::Other,
        };
        let text = outcome.err().map(|error| error.to_string()).unwrap_or_default();
        check!(
            found == self,
            "{what}: refused with {found:?} ({text}), expected {self:?}"
        );
        Ok(())
    }
}

// === impl Subject ===

impl Subject {
    /// A key that no other case has.
    fn key(&self, name: &str) -> String {
        format!("{}||{name}", self.prefix)
    }

    async fn item(&self, key: &str) -> Result<Option<Item>, Failure> {
        let item = self.store.get(&GetRequest::new(key)).await;
        let is_missing = |error: &StateError| Some(error.to_string().as_str()) == self.traits.missing;
        let item = item.or_else(|error| if is_missing(&error) { Ok(None) } else { Err(error) });
        let item = item.map_err(|error| Failure::from(error).of(format_args!("get {key:?}")))?;
        Ok(item.filter(|item| item.data.is_some()))
    }

    async fn data(&self, key: &str) -> Result<Option<Bytes>, Failure> {
        Ok(self.item(key).await?.and_then(|item| item.data))
    }

    /// The tag of a key that is there.
    async fn etag(&self, key: &str) -> Result<String, Failure> {
        let item = self.item(key).await?;
        let item = item.ok_or_else(|| Failure::new(format!("{key:?} is not there")))?;
        let etag = item.etag.filter(|etag| !etag.is_empty());
        etag.ok_or_else(|| Failure::new(format!("{key:?} has no etag")))
    }

    async fn set(&self, key: &str, value: impl Into<Value>) -> Outcome {
        self.write(&SetRequest::new(key, value)).await
    }

    async fn write(&self, request: &SetRequest) -> Outcome {
        let written = self.store.set(request).await;
        written.map_err(|error| Failure::from(error).of(format_args!("set {:?}", request.key)))
    }

    async fn delete(&self, key: &str) -> Outcome {
        let deleted = self.store.delete(&DeleteRequest::new(key)).await;
        deleted.map_err(|error| Failure::from(error).of(format_args!("delete {key:?}")))
    }

    /// Ends a case unless a key has a value.
    async fn expect(&self, key: &str, value: &str) -> Outcome {
        let found = self.data(key).await?;
        check!(
            found.as_deref() == Some(value.as_bytes()),
            "{key:?} has {found:?}, expected {value:?}"
        );
        Ok(())
    }

    /// Ends a case if a key has a value.
    async fn expect_none(&self, key: &str) -> Outcome {
        let found = self.data(key).await?;
        check!(found.is_none(), "{key:?} has {found:?}, expected nothing");
        Ok(())
    }

    /// Waits until a key has no value any more.
    async fn expect_gone_within(&self, key: &str, span: Duration) -> Outcome {
        let limit = Instant::now() + span;
        while self.item(key).await?.is_some() {
            check!(Instant::now() < limit, "{key:?} is still there after {span:?}");
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// The store's transactions, if it says that it has them.
    fn transactions(&self) -> Option<&dyn Transactions> {
        self.store
            .transactions()
            .filter(|_| self.traits.has("TRANSACTIONAL"))
    }

    /// A transaction of operations with the metadata that the store needs.
    fn transaction(&self, mut operations: Vec<Operation>) -> Transaction {
        let metadata = metadata(self.traits.transaction_metadata);
        for operation in &mut operations {
            let own = match operation {
                Operation::Set(request) => &mut request.metadata,
                Operation::Delete(request) => &mut request.metadata,
            };
            own.extend(metadata.clone());
        }
        Transaction { operations, metadata }
    }

    /// What a key has that a transaction wrote.
    async fn transacted(&self, key: &str) -> Result<Option<Bytes>, Failure> {
        Ok(self.transacted_item(key).await?.and_then(|item| item.data))
    }

    async fn transacted_item(&self, key: &str) -> Result<Option<Item>, Failure> {
        let mut request = GetRequest::new(key);
        request.metadata = metadata(self.traits.transaction_metadata);
        Ok(self.store.get(&request).await?)
    }

    /// Writes a key of a partition that transactions reach.
    async fn set_for_transactions(&self, key: &str, text: &'static str) -> Outcome {
        let mut request = SetRequest::new(key, bytes(text));
        request.metadata = metadata(self.traits.transaction_metadata);
        self.write(&request).await
    }
}

fn metadata(pairs: &[(&str, &str)]) -> Metadata {
    let owned = pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    owned.collect()
}

const fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// A write of a text that names a tag.
fn tagged(key: &str, text: &'static str, etag: &str) -> SetRequest {
    SetRequest {
        etag: Some(etag.to_owned()),
        ..SetRequest::new(key, bytes(text))
    }
}

/// A delete that names a tag.
fn tagged_delete(key: &str, etag: &str) -> DeleteRequest {
    DeleteRequest {
        etag: Some(etag.to_owned()),
        ..DeleteRequest::new(key)
    }
}

/// A write of a text that wants to be the first.
fn first(key: &str, text: &'static str) -> SetRequest {
    let mut request = SetRequest::new(key, bytes(text));
    request.options.concurrency = Concurrency::FirstWrite;
    request
}

/// A write of a text that lives for a while.
fn timed(key: &str, text: &'static str, seconds: &str) -> SetRequest {
    SetRequest {
        metadata: metadata(&[(TTL_IN_SECONDS, seconds)]),
        ..SetRequest::new(key, bytes(text))
    }
}
