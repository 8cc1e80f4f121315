//! Configuration stores: values by key, and news of their changes.
//!
//! Source: specification, configuration.

use std::collections::BTreeMap;
use std::fmt;

use outrigger_svc::{BoxError, BoxFuture};
use tokio::sync::mpsc;

use crate::state::Metadata;

/// Values that apps are configured by.
pub trait ConfigurationStore: fmt::Debug + Send + Sync + 'static {
    /// The values of keys; of all keys if none is named. Keys without a value are left out.
    fn get<'a>(
        &'a self,
        keys: &'a [String],
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<ConfigurationItems, BoxError>>;

    /// Sends the changes of keys (of all keys if none is named) to `updates` until the subscription ends, and
    /// gives its id.
    ///
    /// A subscription ends by [`unsubscribe`](Self::unsubscribe), when the receiver is dropped or when the
    /// store is closed; the store then drops `updates`.
    fn subscribe<'a>(
        &'a self,
        keys: &'a [String],
        metadata: &'a Metadata,
        updates: mpsc::Sender<ConfigurationUpdate>,
    ) -> BoxFuture<'a, Result<String, BoxError>>;

    /// Ends a subscription.
    ///
    /// # Errors
    /// An id that is none.
    fn unsubscribe<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), BoxError>>;

    /// Ends all subscriptions and closes connections.
    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Values by key.
pub type ConfigurationItems = BTreeMap<String, ConfigurationItem>;

/// A value of a configuration; a key that was deleted has an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigurationItem {
    /// The value.
    pub value: String,
    /// Its version, where a store has one.
    pub version: String,
    /// What the store says of it.
    pub metadata: Metadata,
}

/// Values that have changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigurationUpdate {
    /// Id of the subscription.
    pub id: String,
    /// The new values by key.
    pub items: ConfigurationItems,
}
