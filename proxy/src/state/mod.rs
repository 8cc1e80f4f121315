//! State: values by key in the stores that are loaded, whichever surface a call came by.
//!
//! ```text
//! find the store ─▶ prefix keys ─▶ encrypt ─▶ retry ( breaker ( timeout ( store ))) ─▶ decrypt ─▶ keys as asked
//!    │ Open                                              └ counted once an operation
//!    └ before the surface reads a body: a missing store is told first
//! ```
//!
//! The surfaces decode requests into those of [`outrigger_component::state`], with the keys of the caller, and
//! encode what comes back. Everything between stands here.
//!
//! Source: specification, state API.

mod bulk;
mod encryption;
mod failure;
mod prefix;
mod store;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod transaction;

use std::sync::Arc;

use bytes::Bytes;
use outrigger_component::state::{
    DeleteRequest, GetRequest, Item, Metadata, Query, QueryAnswer, SetRequest, StateError, StateStore, Value,
};
use outrigger_error::Error;
use outrigger_resilience::PolicyError;
use outrigger_svc::BoxFuture;

use self::bulk::Bulk;
use self::failure::{Failed, fault, rich};
use crate::components::{Calls, Table};

pub(crate) use self::encryption::Keys;
pub(crate) use self::prefix::KeyPrefix;
pub(crate) use self::store::Store;
pub(crate) use self::transaction::Write;

/// The stores of a sidecar, and what calls on them run under. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct State {
    stores: Table<Store>,
    app_id: Arc<str>,
    calls: Calls,
}

/// A store that a call has found; it stays what it is, even if the component is replaced meanwhile.
#[derive(Debug)]
pub(crate) struct Open<'a> {
    state: &'a State,
    store: Arc<Store>,
}

/// One value of several.
#[derive(Debug)]
pub(crate) struct Found {
    /// Key as the caller knows it.
    pub(crate) key: String,
    /// The value, or why there is none.
    pub(crate) outcome: Result<Option<Item>, String>,
}

// === impl State ===

impl State {
    /// The stores of `stores`, for the app `app_id`.
    pub(crate) const fn new(stores: Table<Store>, app_id: Arc<str>, calls: Calls) -> Self {
        Self {
            stores,
            app_id,
            calls,
        }
    }

    /// Finds a store.
    ///
    /// # Errors
    /// If there is none of that name, or none at all.
    pub(crate) fn find(&self, name: &str) -> Result<Open<'_>, Error> {
        if let Some(store) = self.stores.find(name) {
            return Ok(Open { state: self, store });
        }
        let (store, app_id) = (name.to_owned(), self.app_id.to_string());
        Err(if self.stores.is_empty() {
            Error::StateStoreNotConfigured { store, app_id }
        } else {
            Error::StateStoreNotFound { store, app_id }
        })
    }
}

// === impl Open ===

impl Open<'_> {
    /// Name of the store.
    pub(crate) fn name(&self) -> &str {
        &self.store.name
    }

    /// Whether values are encrypted before they reach the store.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.store.keys.is_some()
    }

    /// The value of a key.
    pub(crate) async fn get(&self, mut request: GetRequest) -> Result<Option<Item>, Error> {
        let stored = self.stored(&request.key)?;
        let key = std::mem::replace(&mut request.key, stored);
        let store = self.component();
        let found = self.run("get", || store.get(&request)).await;
        let found = found.map_err(fault).and_then(|mut found| {
            let item = found.as_mut().map_or(Ok(()), |item| self.decrypt(item));
            item.map_err(outrigger_error::Fault::other).map(|()| found)
        });
        found.map_err(|fault| Error::StateGet {
            store: self.name().to_owned(),
            key,
            fault,
        })
    }

    /// The values of several keys, `parallelism` at a time where the store asks for each by itself; 0 is all.
    pub(crate) async fn bulk_get(
        &self,
        keys: Vec<String>,
        metadata: &Metadata,
        parallelism: usize,
    ) -> Result<Vec<Found>, Error> {
        let requests = keys.iter().map(|key| {
            Ok(GetRequest {
                key: self.stored(key)?,
                metadata: metadata.clone(),
                ..GetRequest::default()
            })
        });
        let requests: Vec<_> = requests.collect::<Result<_, Error>>()?;
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        let store = self.component();
        let items = self
            .run("bulk_get", || store.bulk_get(&requests, parallelism))
            .await;
        let items = items.map_err(|failed| Error::StateBulkGet(fault(failed)))?;
        let found = items.into_iter().map(|item| Found {
            key: prefix::original(item.key),
            outcome: match item.outcome {
                Ok(Some(mut item)) => self.decrypt(&mut item).map(|()| Some(item)),
                Ok(None) => Ok(None),
                Err(error) => Err(error.to_string()),
            },
        });
        Ok(found.collect())
    }

    /// Writes values, all or some: each by itself, with retries of those that failed.
    pub(crate) async fn save(&self, mut requests: Vec<SetRequest>) -> Result<(), Error> {
        for request in &mut requests {
            if request.key.is_empty() {
                return Err(Error::StateKeyEmpty);
            }
            request.key = self.stored(&request.key)?;
            self.encrypt(&mut request.value);
        }
        if requests.is_empty() {
            return Ok(());
        }
        let outcome = self.write("set", requests).await;
        outcome.map_err(|failed| Error::StateSave {
            store: self.name().to_owned(),
            fault: fault(failed),
        })
    }

    /// Deletes a value.
    pub(crate) async fn delete(&self, mut request: DeleteRequest) -> Result<(), Error> {
        let stored = self.stored(&request.key)?;
        let key = std::mem::replace(&mut request.key, stored);
        let store = self.component();
        let outcome = self.run("delete", || store.delete(&request)).await;
        outcome.map_err(|failed| Error::StateDelete {
            key,
            fault: fault(failed),
        })
    }

    /// Deletes values, as [`save`](Self::save) writes them.
    pub(crate) async fn bulk_delete(&self, mut requests: Vec<DeleteRequest>) -> Result<(), Error> {
        for request in &mut requests {
            request.key = self.stored(&request.key)?;
        }
        if requests.is_empty() {
            return Ok(());
        }
        let outcome = self.write("bulk_delete", requests).await;
        outcome.map_err(|failed| Error::StateBulkDelete {
            store: self.name().to_owned(),
            fault: fault(failed),
        })
    }

    /// Whether the store can be queried; to be asked before a body is read.
    ///
    /// # Errors
    /// If it has no queries, or what it stores is encrypted.
    pub(crate) fn check_query(&self) -> Result<(), Error> {
        if self.component().queries().is_none() {
            let store = self.name().to_owned();
            return Err(Error::StateQueryUnsupported { store });
        }
        if self.is_encrypted() {
            return Err(self.query_failed("cannot query encrypted store"));
        }
        Ok(())
    }

    /// The documents that a query finds, whatever the prefix of their keys.
    pub(crate) async fn query(&self, body: &[u8], metadata: &Metadata) -> Result<QueryAnswer, Error> {
        self.check_query()?;
        let query = Query::parse(body)
            .map_err(|error| self.query_failed(format_args!("failed to parse JSON query body: {error}")))?;
        let queries = self.component().queries().expect("the store was asked");
        let answer = self.run("query", || queries.query(&query, metadata)).await;
        let mut answer = answer.map_err(|failed| match failed {
            PolicyError::Operation(Failed(StateError::Rich(error))) => rich(*error),
            failed => self.query_failed(failed),
        })?;
        for item in &mut answer.items {
            item.key = prefix::original(std::mem::take(&mut item.key));
        }
        Ok(answer)
    }

    fn query_failed(&self, cause: impl std::fmt::Display) -> Error {
        Error::StateQuery {
            store: self.name().to_owned(),
            cause: cause.to_string(),
        }
    }

    fn component(&self) -> &dyn StateStore {
        &*self.store.component
    }

    /// A key as it is stored.
    fn stored(&self, key: &str) -> Result<String, Error> {
        self.store
            .prefix
            .apply(key)
            .ok_or_else(|| Error::StateKeyIllegal {
                store: self.name().to_owned(),
                key: key.to_owned(),
                field: key.to_owned(),
            })
    }

    fn encrypt(&self, value: &mut Value) {
        if let Some(keys) = &self.store.keys {
            *value = Value::Bytes(keys.seal(value));
        }
    }

    fn decrypt(&self, item: &mut Item) -> Result<(), String> {
        if let (Some(keys), Some(data)) = (&self.store.keys, &mut item.data) {
            *data = keys.open(data, self.name())?;
        }
        Ok(())
    }

    /// Runs an operation of the store under the policies of the component, and counts it.
    async fn run<'a, T>(
        &self,
        operation: &str,
        mut attempt: impl FnMut() -> BoxFuture<'a, Result<T, StateError>>,
    ) -> Result<T, PolicyError<Failed>> {
        let attempt = || {
            let attempt = attempt();
            async move { attempt.await.map_err(Failed) }
        };
        self.state.calls.run(self.name(), operation, attempt).await
    }

    /// Does writes, of which each attempt has what is still to be done.
    async fn write<R: bulk::Request>(
        &self,
        operation: &str,
        requests: Vec<R>,
    ) -> Result<(), PolicyError<Failed>> {
        let store = self.component();
        if let [request] = requests.as_slice() {
            return self.run(operation, || request.one(store)).await;
        }
        let bulk = Bulk::new(requests);
        let attempt = || bulk.attempt(store);
        self.state.calls.run(self.name(), operation, attempt).await
    }
}

/// A tag as requests give it: an empty one is none.
pub(crate) fn etag(tag: Option<String>) -> Option<String> {
    tag.filter(|tag| !tag.is_empty())
}

/// The bytes of an item, or of none.
pub(crate) fn data(item: &mut Item) -> Bytes {
    item.data.take().unwrap_or_default()
}
