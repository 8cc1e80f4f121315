//! `state.in-memory`: values that live as long as their component.
//!
//! Source: specification, state stores 1.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use outrigger_component::state::{
    BulkError, BulkItem, DeleteRequest, GetRequest, Item, ItemError, KeysLike, KeysPage, Listing, Metadata,
    Operation, Prefixes, SetRequest, StateError, StateStore, TTL_IN_SECONDS, Transaction, Transactions,
};
use outrigger_component::{Feature, Init};
use outrigger_kit::number;
use outrigger_svc::{BoxError, BoxFuture};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::entries::{Entries, Entry, Expiry};

/// A store whose values are gone with it.
///
/// One lock guards all. It is held for a look-up in a table and the copy of a tag: 75 ns while the table is in the
/// caches of the processor, 1.5 us where it is far larger (measured with a thousand and with 100,000 keys), which
/// is little beside what a request costs. Values are copied, freed and serialised outside of it.
#[derive(Debug)]
pub struct InMemory {
    entries: Arc<Mutex<Entries>>,
    sweep: AbortHandle,
}

static FEATURES: [Feature; 5] = [
    Feature::ETAG,
    Feature::TRANSACTIONAL,
    Feature::TTL,
    Feature::DELETE_WITH_PREFIX,
    Feature::KEYS_LIKE,
];

/// How often what has expired is removed.
const SWEEP: Duration = Duration::from_secs(1);

/// The most values that a sweep removes before others may have the lock.
const SWEPT_AT_ONCE: usize = 1000;

/// A write that can no longer fail but for the tags.
struct Prepared<'a> {
    key: &'a str,
    etag: Option<&'a str>,
    is_first_write: bool,
    change: Change,
}

/// What a write does.
enum Change {
    Set(Bytes, Option<Expiry>),
    Delete,
}

// === impl InMemory ===

impl InMemory {
    pub(super) async fn make(_: Init) -> Result<Arc<dyn StateStore>, BoxError> {
        Ok(Arc::new(Self::start()))
    }

    /// Begins an empty store, and to sweep it.
    fn start() -> Self {
        let entries = Arc::new(Mutex::new(Entries::default()));
        let sweep = tokio::spawn(keep_swept(Arc::clone(&entries))).abort_handle();
        Self { entries, sweep }
    }

    fn read(&self, key: &str) -> Option<Item> {
        let now = Instant::now();
        let (found, _expired) = lock(&self.entries).get(key, now);
        found
    }

    fn write(&self, prepared: Prepared<'_>) -> Result<(), StateError> {
        let mut entries = lock(&self.entries);
        prepared.check(&entries)?;
        let replaced = prepared.apply(&mut entries);
        drop(entries);
        drop(replaced);
        Ok(())
    }

    fn set_now(&self, request: &SetRequest) -> Result<(), StateError> {
        self.write(Prepared::set(request)?)
    }

    fn delete_now(&self, request: &DeleteRequest) -> Result<(), StateError> {
        self.write(Prepared::delete(request)?)
    }

    fn transact_now(&self, transaction: &Transaction) -> Result<(), StateError> {
        let prepared = transaction.operations.iter().map(|operation| match operation {
            Operation::Set(request) => Prepared::set(request),
            Operation::Delete(request) => Prepared::delete(request),
        });
        let prepared: Vec<_> = prepared.collect::<Result<_, _>>()?;
        let mut entries = lock(&self.entries);
        prepared.iter().try_for_each(|write| write.check(&entries))?;
        let replaced: Vec<_> = prepared
            .into_iter()
            .filter_map(|write| write.apply(&mut entries))
            .collect();
        drop(entries);
        drop(replaced);
        Ok(())
    }
}

impl Drop for InMemory {
    fn drop(&mut self) {
        self.sweep.abort();
    }
}

impl StateStore for InMemory {
    fn features(&self) -> &[Feature] {
        &FEATURES
    }

    fn get<'a>(&'a self, request: &'a GetRequest) -> BoxFuture<'a, Result<Option<Item>, StateError>> {
        Box::pin(async { Ok(self.read(&request.key)) })
    }

    fn set<'a>(&'a self, request: &'a SetRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async { self.set_now(request) })
    }

    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async { self.delete_now(request) })
    }

    fn bulk_get<'a>(
        &'a self,
        requests: &'a [GetRequest],
        _: usize,
    ) -> BoxFuture<'a, Result<Vec<BulkItem>, StateError>> {
        let answer = |request: &GetRequest| BulkItem {
            key: request.key.clone(),
            outcome: Ok(self.read(&request.key)),
        };
        Box::pin(async move { Ok(requests.iter().map(answer).collect()) })
    }

    fn bulk_set<'a>(&'a self, requests: &'a [SetRequest]) -> BoxFuture<'a, Result<(), BulkError>> {
        let outcomes = requests
            .iter()
            .map(|request| (&request.key, self.set_now(request)));
        Box::pin(async { gather(outcomes) })
    }

    fn bulk_delete<'a>(&'a self, requests: &'a [DeleteRequest]) -> BoxFuture<'a, Result<(), BulkError>> {
        let outcomes = requests
            .iter()
            .map(|request| (&request.key, self.delete_now(request)));
        Box::pin(async { gather(outcomes) })
    }

    fn transactions(&self) -> Option<&dyn Transactions> {
        Some(self)
    }

    fn listing(&self) -> Option<&dyn Listing> {
        Some(self)
    }

    fn prefixes(&self) -> Option<&dyn Prefixes> {
        Some(self)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async {
            self.sweep.abort();
            let _values = std::mem::take(&mut *lock(&self.entries));
            Ok(())
        })
    }
}

impl Transactions for InMemory {
    fn transact<'a>(&'a self, transaction: &'a Transaction) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async { self.transact_now(transaction) })
    }
}

impl Listing for InMemory {
    fn keys_like<'a>(&'a self, request: &'a KeysLike) -> BoxFuture<'a, Result<KeysPage, StateError>> {
        Box::pin(async {
            let now = Instant::now();
            lock(&self.entries).keys_like(request, now)
        })
    }
}

impl Prefixes for InMemory {
    fn delete_with_prefix<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<u64, StateError>> {
        Box::pin(async {
            let removed = lock(&self.entries).remove_with_prefix(prefix)?;
            Ok(removed.len() as u64)
        })
    }
}

// === impl Prepared ===

impl<'a> Prepared<'a> {
    fn set(request: &'a SetRequest) -> Result<Self, StateError> {
        request.options.check()?;
        // A copy of its own: the bytes may be a small piece of a large request, which they would keep alive.
        let data = Bytes::copy_from_slice(request.value.as_bytes());
        let expiry = expiry(&request.metadata)?;
        Ok(Self {
            key: &request.key,
            etag: request.etag.as_deref(),
            is_first_write: request.options.is_first_write(),
            change: Change::Set(data, expiry),
        })
    }

    fn delete(request: &'a DeleteRequest) -> Result<Self, StateError> {
        request.options.check()?;
        Ok(Self {
            key: &request.key,
            etag: request.etag.as_deref(),
            is_first_write: request.options.is_first_write(),
            change: Change::Delete,
        })
    }

    fn check(&self, entries: &Entries) -> Result<(), StateError> {
        entries.check(self.key, self.etag, self.is_first_write)
    }

    /// Does it, and returns what was there before.
    fn apply(self, entries: &mut Entries) -> Option<Entry> {
        match self.change {
            Change::Set(data, expiry) => entries.insert(self.key, data, expiry),
            Change::Delete => entries.remove(self.key),
        }
    }
}

/// When a value that is written now expires; a number below one is never.
fn expiry(metadata: &Metadata) -> Result<Option<Expiry>, StateError> {
    let Some(text) = metadata.get(TTL_IN_SECONDS).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let seconds = number::atoi(text).map_err(StateError::other)?;
    let Some(span) = u64::try_from(seconds).ok().filter(|seconds| *seconds > 0) else {
        return Ok(None);
    };
    let span = Duration::from_secs(span);
    // A moment beyond what the clocks can say is never.
    let at = Instant::now().checked_add(span);
    let shown = SystemTime::now().checked_add(span);
    Ok(at.zip(shown).map(|(at, shown)| Expiry { at, shown }))
}

/// Removes what has expired, for as long as it is let.
async fn keep_swept(entries: Arc<Mutex<Entries>>) {
    let mut ticks = interval(SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        loop {
            let now = Instant::now();
            let swept = lock(&entries).sweep(now, SWEPT_AT_ONCE);
            if swept.len() < SWEPT_AT_ONCE {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

fn gather<'a>(outcomes: impl Iterator<Item = (&'a String, Result<(), StateError>)>) -> Result<(), BulkError> {
    let failed = outcomes.filter_map(|(key, outcome)| {
        let key = Some(key.clone());
        outcome.err().map(|error| ItemError { key, error })
    });
    let failed: Vec<_> = failed.collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(BulkError::Items(failed)),
    }
}

fn lock(entries: &Mutex<Entries>) -> MutexGuard<'_, Entries> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use outrigger_component::conformance::state::{Refusal, Traits, run};
    use outrigger_component::state::{Concurrency, Value};
    use serde_json::json;

    use super::*;

    fn set(key: &str, value: &'static str, ttl: Option<&str>) -> SetRequest {
        let mut request = SetRequest::new(key, Bytes::from_static(value.as_bytes()));
        let ttl = ttl.map(|ttl| (TTL_IN_SECONDS.to_owned(), ttl.to_owned()));
        request.metadata = Metadata::from_iter(ttl);
        request
    }

    fn first(mut request: SetRequest) -> SetRequest {
        request.options.concurrency = Concurrency::FirstWrite;
        request
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn it_is_a_state_store() {
        let traits = Traits {
            features: &["ETAG", "TRANSACTIONAL", "TTL", "DELETE_WITH_PREFIX", "KEYS_LIKE"],
            first_write_guards_delete: true,
            ..Traits::new("state.in-memory")
        };
        run(Arc::new(InMemory::start()), traits).await;
    }

    #[tokio::test(start_paused = true)]
    #[should_panic(
        expected = "cases failed\n  an etag that cannot be read is refused: a write: refused with Mismatch"
    )]
    async fn a_store_that_is_not_what_it_says_fails_with_the_names_of_the_cases() {
        let traits = Traits {
            features: &["ETAG", "TRANSACTIONAL", "TTL", "DELETE_WITH_PREFIX", "KEYS_LIKE"],
            first_write_guards_delete: true,
            unreadable_etag: Refusal::Invalid,
            ..Traits::new("state.in-memory")
        };
        run(Arc::new(InMemory::start()), traits).await;
    }

    #[tokio::test]
    async fn bytes_are_kept_as_they_are_and_json_as_its_text() {
        let store = InMemory::start();
        let table = [
            (Value::from(Bytes::from_static(b"\0\xff")), &b"\0\xff"[..]),
            (json!("text").into(), b"\"text\""),
            (json!(null).into(), b"null"),
            (json!({ "b": "<", "a": 1.5 }).into(), br#"{"a":1.5,"b":"\u003c"}"#),
        ];
        for (value, bytes) in table {
            store.set(&SetRequest::new("k", value)).await.unwrap();
            assert_eq!(store.read("k").unwrap().data.unwrap(), bytes);
        }
    }

    #[tokio::test]
    async fn conflicts_say_what_they_are() {
        let store = InMemory::start();
        store.set(&set("k", "1", None)).await.unwrap();
        let etag = store.read("k").unwrap().etag.unwrap();
        let prefix = "possible etag mismatch. error from state store: ";
        let tagged = |key| SetRequest {
            etag: Some("other".to_owned()),
            ..set(key, "2", None)
        };
        let mut delete = DeleteRequest::new("k");
        delete.options.concurrency = Concurrency::FirstWrite;
        let table = [
            (
                store.set(&first(set("k", "2", None))).await,
                "item already exists and no etag was passed".to_owned(),
            ),
            (
                store.delete(&delete).await,
                "item already exists and no etag was passed".to_owned(),
            ),
            (
                store.set(&tagged("gone")).await,
                "state not exist or expired for key=gone".to_owned(),
            ),
            (
                store.set(&tagged("k")).await,
                format!("state etag not match for key=k: current={etag}, expect=other"),
            ),
        ];
        for (outcome, text) in table {
            assert_eq!(outcome.unwrap_err().to_string(), format!("{prefix}{text}"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_expired_is_gone_for_readers_and_there_for_tags_until_it_is_swept() {
        let store = InMemory::start();
        // Lets the first sweep pass.
        tokio::time::sleep(Duration::from_millis(500)).await;
        store.set(&set("k", "1", Some("1"))).await.unwrap();
        assert!(store.read("k").unwrap().metadata.contains_key("ttlExpireTime"));
        tokio::time::advance(Duration::from_millis(1001)).await;
        assert!(store.set(&first(set("k", "2", None))).await.is_err());
        assert_eq!(store.read("k"), None);
        store.set(&first(set("k", "2", Some("1")))).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        store.set(&first(set("k", "3", Some("-5")))).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(store.read("k").is_some());
    }

    #[tokio::test]
    async fn a_time_to_live_is_a_whole_number() {
        let store = InMemory::start();
        let error = store.set(&set("k", "1", Some("1s"))).await.unwrap_err();
        assert_eq!(error.to_string(), "strconv.Atoi: parsing \"1s\": invalid syntax");
        for ttl in ["0", "-1", "-99", "", "9223372036854775807"] {
            store.set(&set("k", "1", Some(ttl))).await.unwrap();
            assert!(store.read("k").unwrap().metadata.is_empty(), "{ttl}");
        }
    }

    #[tokio::test]
    async fn a_transaction_sees_the_tags_from_before_it() {
        let store = InMemory::start();
        store.set(&set("k", "1", None)).await.unwrap();
        let etag = store.read("k").unwrap().etag;
        let tagged = SetRequest {
            etag: etag.clone(),
            ..set("k", "3", None)
        };
        let transaction = |last: SetRequest| Transaction {
            operations: vec![Operation::Set(set("k", "2", None)), Operation::Set(last)],
            metadata: Metadata::new(),
        };
        store.transact(&transaction(tagged.clone())).await.unwrap();
        assert_eq!(store.read("k").unwrap().data.unwrap(), "3");
        store.transact(&transaction(tagged)).await.unwrap_err();
        assert_eq!(store.read("k").unwrap().data.unwrap(), "3");
    }

    #[tokio::test]
    async fn keys_are_listed_in_the_order_of_their_last_writes() {
        let store = InMemory::start();
        for key in ["a||1", "a||2", "a||3", "b||1", "a||1"] {
            store.set(&set(key, "1", None)).await.unwrap();
        }
        let mut request = KeysLike {
            pattern: "a||%".to_owned(),
            token: None,
            page_size: Some(2),
        };
        let page = store.keys_like(&request).await.unwrap();
        assert_eq!(
            (page.keys, page.token.as_deref()),
            (vec!["a||2".to_owned(), "a||3".to_owned()], Some("5"))
        );
        request.token = page.token;
        let page = store.keys_like(&request).await.unwrap();
        assert_eq!((page.keys, page.token), (vec!["a||1".to_owned()], None));
        request.token = Some("x".to_owned());
        assert!(store.keys_like(&request).await.is_err());
    }

    #[tokio::test]
    async fn keys_are_deleted_by_their_prefix_without_those_of_further_parts() {
        let store = InMemory::start();
        for key in [
            "app||t||1||a",
            "app||t||1||b",
            "app||t||1||b||c",
            "app||t||10||a",
            "app||t||1",
        ] {
            store.set(&set(key, "1", None)).await.unwrap();
        }
        assert_eq!(store.delete_with_prefix("app||t||1").await.unwrap(), 2);
        assert_eq!(store.delete_with_prefix("app||t||1||").await.unwrap(), 0);
        assert!(store.read("app||t||1||b||c").is_some());
        for prefix in ["", "||"] {
            assert_eq!(
                store.delete_with_prefix(prefix).await.unwrap_err().to_string(),
                "a prefix is required for deleteWithPrefix request"
            );
        }
    }

    #[tokio::test]
    async fn a_closed_store_is_empty() {
        let store = InMemory::start();
        store.set(&set("k", "1", None)).await.unwrap();
        store.close().await.unwrap();
        assert_eq!(store.read("k"), None);
    }
}
