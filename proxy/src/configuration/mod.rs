//! Configuration: values by key, and news of their changes for the app or for a client's stream.
//!
//! ```text
//! HTTP  subscribe ─▶ store ──updates──▶ AppDelivery ─▶ POST /configuration/<store>/<key> of the app
//! gRPC  subscribe ─▶ store ──updates──▶ Subscription ─▶ the stream of the client
//! ```
//!
//! A subscription of the app lives until somebody ends it or its store is closed; one of a stream ends with the
//! stream, too.
//!
//! Source: specification, configuration B1.

mod delivery;
mod json;
mod streams;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use outrigger_component::configuration::{ConfigurationItems, ConfigurationStore, ConfigurationUpdate};
use outrigger_component::state::Metadata;
use outrigger_error::Error;
use outrigger_resilience::PolicyError;
use outrigger_svc::BoxError;
use tokio::sync::mpsc;

use crate::components::{Calls, Table};

pub(crate) use self::delivery::AppDelivery;
pub(crate) use self::json::shown;
use self::streams::Streams;
pub(crate) use self::streams::Subscription;

/// All operations on configuration. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Configurations {
    stores: Table<dyn ConfigurationStore>,
    calls: Calls,
    /// The way of news to the app; none without an app port.
    app: Option<AppDelivery>,
    streams: Arc<Streams>,
}

/// Updates that may wait for whoever gets them; beyond that the store waits.
const WAITING: usize = 64;

// === impl Configurations ===

impl Configurations {
    /// Configuration from these stores.
    pub(crate) fn new(stores: Table<dyn ConfigurationStore>, calls: Calls, app: Option<AppDelivery>) -> Self {
        Self {
            stores,
            calls,
            app,
            streams: Arc::default(),
        }
    }

    /// The values of keys; of all keys if none is named.
    pub(crate) async fn get(
        &self,
        store: &str,
        keys: &[String],
        metadata: &Metadata,
    ) -> Result<ConfigurationItems, Error> {
        let found = self.find(store)?;
        let outcome = self.calls.run(store, "get", || found.get(keys, metadata)).await;
        outcome.map_err(|error| Error::ConfigurationGet {
            store: store.to_owned(),
            keys: keys.to_vec(),
            cause: error.to_string(),
        })
    }

    /// Sends the changes of keys to the app from now on, and gives the id of the subscription.
    pub(crate) async fn subscribe_app(
        &self,
        store: &str,
        keys: &[String],
        metadata: &Metadata,
    ) -> Result<String, Error> {
        let found = self.find(store)?;
        let app = self.app.as_ref().ok_or(Error::NoAppChannel)?;
        let (id, updates) = self.begin(&*found, store, keys, metadata).await?;
        app.deliver(store.to_owned(), updates);
        Ok(id)
    }

    /// Ends a subscription of a store.
    pub(crate) async fn unsubscribe(&self, store: &str, id: &str) -> Result<(), Error> {
        let found = self.find(store)?;
        self.end(&*found, store, id).await
    }

    /// Gives the changes of keys, sorted before, to a stream of a client.
    pub(crate) async fn subscribe(
        &self,
        store: &str,
        mut keys: Vec<String>,
        metadata: &Metadata,
    ) -> Result<Subscription, Error> {
        let found = self.find(store)?;
        keys.sort();
        let (id, updates) = self.begin(&*found, store, &keys, metadata).await?;
        Ok(Subscription::new(self.clone(), store, found, id, updates))
    }

    /// Ends a subscription of a stream, and the stream with it.
    pub(crate) async fn end_stream(&self, id: &str) -> Result<(), Error> {
        let Some(stream) = self.streams.remove(id) else {
            return Err(Error::ConfigurationUnsubscribe {
                id: id.to_owned(),
                cause: "subscription does not exist".to_owned(),
            });
        };
        stream.token.cancel();
        self.end(&*stream.component, &stream.store, id).await
    }

    /// Ends all streams, and those that begin later at once.
    pub(crate) fn close_streams(&self) {
        self.streams.close();
    }

    async fn begin(
        &self,
        component: &dyn ConfigurationStore,
        store: &str,
        keys: &[String],
        metadata: &Metadata,
    ) -> Result<(String, mpsc::Receiver<ConfigurationUpdate>), Error> {
        let (sender, updates) = mpsc::channel(WAITING);
        let attempt = || component.subscribe(keys, metadata, sender.clone());
        let outcome = self.calls.run(store, "subscribe", attempt).await;
        let id = outcome.map_err(|error| Error::ConfigurationSubscribe {
            store: store.to_owned(),
            keys: keys.to_vec(),
            cause: error.to_string(),
        })?;
        Ok((id, updates))
    }

    async fn end(&self, component: &dyn ConfigurationStore, store: &str, id: &str) -> Result<(), Error> {
        let attempt = || component.unsubscribe(id);
        let outcome = self.calls.run(store, "unsubscribe", attempt).await;
        outcome.map_err(|error: PolicyError<BoxError>| Error::ConfigurationUnsubscribe {
            id: id.to_owned(),
            cause: error.to_string(),
        })
    }

    fn find(&self, store: &str) -> Result<Arc<dyn ConfigurationStore>, Error> {
        if self.stores.is_empty() {
            return Err(Error::ConfigurationStoresNotConfigured);
        }
        let found = self.stores.find(store);
        found.ok_or_else(|| Error::ConfigurationStoreNotFound(store.to_owned()))
    }
}
