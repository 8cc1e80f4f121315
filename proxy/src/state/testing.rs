//! A store of tests: it counts versions as tags, fails on demand, and can do what it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use outrigger_component::Feature;
use outrigger_component::state::{
    BulkError, DeleteRequest, GetRequest, Item, ItemError, Metadata, Operation, Queries, Query, QueryAnswer,
    QueryItem, SetRequest, StateError, StateStore, Transaction, Transactions,
};
use outrigger_resilience::{ComponentKind, Policies};
use outrigger_svc::{BoxError, BoxFuture};
use outrigger_telemetry::metrics::{Block, Metrics};

use super::{KeyPrefix, Keys, State, Store};
use crate::components::{Calls, Table};

/// Values in memory.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    values: Mutex<BTreeMap<String, (Bytes, u32)>>,
    /// What the next calls fail with; none is success.
    failures: Mutex<VecDeque<Option<StateError>>>,
    /// The names of the calls so far, with their keys.
    calls: Mutex<Vec<String>>,
    metadata: Mutex<Vec<Metadata>>,
    can: Vec<Feature>,
    limit: Option<usize>,
    is_closed: Mutex<bool>,
}

// === impl Shelf ===

impl Shelf {
    /// A shelf with tags and transactions.
    pub(crate) fn new() -> Self {
        Self {
            can: vec![Feature::ETAG, Feature::TRANSACTIONAL],
            ..Self::default()
        }
    }

    /// A shelf that can do this only.
    pub(crate) fn that_can(features: &[Feature]) -> Self {
        Self {
            can: features.to_vec(),
            ..Self::default()
        }
    }

    /// The same with so many operations a transaction.
    pub(crate) fn limited(self, limit: usize) -> Self {
        Self {
            limit: Some(limit),
            ..self
        }
    }

    /// Lets the next calls end like this.
    pub(crate) fn fail(&self, failures: impl IntoIterator<Item = Option<StateError>>) {
        self.failures.lock().unwrap().extend(failures);
    }

    /// Lays down bytes under a key as it is stored.
    pub(crate) fn put(&self, key: &str, bytes: &[u8]) {
        let bytes = Bytes::copy_from_slice(bytes);
        self.values.lock().unwrap().insert(key.to_owned(), (bytes, 1));
    }

    /// What is stored, key by key.
    pub(crate) fn shown(&self) -> Vec<(String, String)> {
        let values = self.values.lock().unwrap();
        let shown = values
            .iter()
            .map(|(key, (bytes, _))| (key.clone(), String::from_utf8_lossy(bytes).into_owned()));
        shown.collect()
    }

    /// The calls since this was last asked.
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap())
    }

    /// The metadata of the calls since this was last asked, if they had any.
    pub(crate) fn metadata(&self) -> Vec<Metadata> {
        std::mem::take(&mut *self.metadata.lock().unwrap())
    }

    /// Whether the store has been closed.
    pub(crate) fn is_closed(&self) -> bool {
        *self.is_closed.lock().unwrap()
    }

    fn begin(&self, call: String, metadata: &Metadata) -> Result<(), StateError> {
        self.calls.lock().unwrap().push(call);
        if !metadata.is_empty() {
            self.metadata.lock().unwrap().push(metadata.clone());
        }
        let failure = self.failures.lock().unwrap().pop_front();
        failure.flatten().map_or(Ok(()), Err)
    }

    fn check(&self, key: &str, etag: Option<&String>) -> Result<(), StateError> {
        let Some(etag) = etag else { return Ok(()) };
        let expected: u32 = etag.parse().map_err(StateError::invalid)?;
        let values = self.values.lock().unwrap();
        match values.get(key) {
            Some((_, version)) if *version == expected => Ok(()),
            _ => Err(StateError::mismatch(format!("key {key}"))),
        }
    }

    fn write(&self, request: &SetRequest) -> Result<(), StateError> {
        request.options.check()?;
        self.check(&request.key, request.etag.as_ref())?;
        let mut values = self.values.lock().unwrap();
        let version = values.get(&request.key).map_or(0, |(_, version)| *version);
        let value = request.value.as_bytes().clone();
        values.insert(request.key.clone(), (value, version + 1));
        Ok(())
    }

    fn remove(&self, request: &DeleteRequest) -> Result<(), StateError> {
        request.options.check()?;
        self.check(&request.key, request.etag.as_ref())?;
        self.values.lock().unwrap().remove(&request.key);
        Ok(())
    }
}

impl StateStore for Shelf {
    fn features(&self) -> &[Feature] {
        &self.can
    }

    fn get<'a>(&'a self, request: &'a GetRequest) -> BoxFuture<'a, Result<Option<Item>, StateError>> {
        Box::pin(async move {
            self.begin(format!("get {}", request.key), &request.metadata)?;
            let values = self.values.lock().unwrap();
            Ok(values.get(&request.key).map(|(bytes, version)| Item {
                data: Some(bytes.clone()),
                etag: Some(version.to_string()),
                metadata: request.metadata.clone(),
                content_type: None,
            }))
        })
    }

    fn set<'a>(&'a self, request: &'a SetRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async move {
            self.begin(format!("set {}", request.key), &request.metadata)?;
            self.write(request)
        })
    }

    fn delete<'a>(&'a self, request: &'a DeleteRequest) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async move {
            self.begin(format!("delete {}", request.key), &request.metadata)?;
            self.remove(request)
        })
    }

    fn bulk_set<'a>(&'a self, requests: &'a [SetRequest]) -> BoxFuture<'a, Result<(), BulkError>> {
        Box::pin(async move {
            let mut errors = Vec::new();
            for request in requests {
                let outcome = self
                    .begin(format!("bulk set {}", request.key), &request.metadata)
                    .and_then(|()| self.write(request));
                if let Err(error) = outcome {
                    let key = (request.key != "app||nameless").then(|| request.key.clone());
                    errors.push(ItemError { key, error });
                }
            }
            if errors.is_empty() {
                Ok(())
            } else {
                Err(BulkError::Items(errors))
            }
        })
    }

    fn transactions(&self) -> Option<&dyn Transactions> {
        self.can.contains(&Feature::TRANSACTIONAL).then_some(self as _)
    }

    fn queries(&self) -> Option<&dyn Queries> {
        self.can.contains(&Feature::QUERY_API).then_some(self as _)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        *self.is_closed.lock().unwrap() = true;
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Transactions for Shelf {
    fn transact<'a>(&'a self, transaction: &'a Transaction) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async move {
            let keys: Vec<_> = transaction.operations.iter().map(Operation::key).collect();
            self.begin(format!("transact {}", keys.join(" ")), &transaction.metadata)?;
            for operation in &transaction.operations {
                match operation {
                    Operation::Set(request) => self.write(request)?,
                    Operation::Delete(request) => self.remove(request)?,
                }
            }
            Ok(())
        })
    }

    fn max_operations(&self) -> BoxFuture<'_, Option<usize>> {
        Box::pin(std::future::ready(self.limit))
    }
}

impl Queries for Shelf {
    /// All documents, whatever is asked for.
    fn query<'a>(
        &'a self,
        query: &'a Query,
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<QueryAnswer, StateError>> {
        Box::pin(async move {
            self.begin(format!("query {}", query.filter.is_some()), metadata)?;
            let values = self.values.lock().unwrap();
            let items = values.iter().map(|(key, (bytes, version))| QueryItem {
                key: key.clone(),
                data: bytes.clone(),
                etag: Some(version.to_string()),
                ..QueryItem::default()
            });
            Ok(QueryAnswer {
                items: items.collect(),
                token: query.page.token.clone(),
                metadata: Metadata::new(),
            })
        })
    }
}

// === impl State ===

impl State {
    /// No store at all.
    pub(crate) fn none(app_id: &str) -> Self {
        Self::over(Table::default(), app_id)
    }

    /// One store, with the prefix `app` and perhaps keys.
    pub(crate) fn of(name: &str, shelf: &Arc<Shelf>, keys: Option<Keys>) -> Self {
        Self::under(name, shelf, keys, Policies::default(), Metrics::disabled())
    }

    /// One store under policies.
    pub(crate) fn under(
        name: &str,
        shelf: &Arc<Shelf>,
        keys: Option<Keys>,
        policies: Policies,
        metrics: Metrics,
    ) -> Self {
        let stores = Table::default();
        let store = Store {
            name: name.to_owned(),
            component: Arc::clone(shelf) as _,
            prefix: KeyPrefix::new(None, name, "app", "").unwrap(),
            keys: keys.map(Arc::new),
        };
        stores.insert(name, &Arc::new(store));
        Self::new(stores, "app".into(), calls(policies, metrics))
    }

    /// Stores without policies.
    pub(crate) fn over(stores: Table<Store>, app_id: &str) -> Self {
        Self::new(
            stores,
            app_id.into(),
            calls(Policies::default(), Metrics::disabled()),
        )
    }
}

fn calls(policies: Policies, metrics: Metrics) -> Calls {
    Calls::new(ComponentKind::StateStore, Some(Block::State), policies, metrics)
}
