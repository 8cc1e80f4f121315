//! Secrets: which store, whether the app may read it, and what it says.
//!
//! Source: specification, secrets A1 and A2.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use outrigger_component::secrets::{Secret, SecretStore};
use outrigger_component::state::Metadata;
use outrigger_config::configuration::SecretScope;
use outrigger_error::Error;

use crate::components::{Calls, Table};

/// All operations on secrets. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    stores: Table<dyn SecretStore>,
    /// By store; a store that is not listed is open.
    scopes: Arc<BTreeMap<String, SecretScope>>,
    calls: Calls,
}

// === impl Secrets ===

impl Secrets {
    /// Secrets of these stores, as far as the scopes let the app read them.
    pub(crate) fn new(
        stores: Table<dyn SecretStore>,
        scopes: BTreeMap<String, SecretScope>,
        calls: Calls,
    ) -> Self {
        Self {
            stores,
            scopes: Arc::new(scopes),
            calls,
        }
    }

    /// Tells of scopes whose store is not loaded.
    pub(crate) fn tell_unmatched_scopes(&self) {
        for store in self
            .scopes
            .keys()
            .filter(|store| self.stores.find(store).is_none())
        {
            tracing::warn!(
                target: "dapr.runtime",
                "Secrets configuration added for '{store}', but no matching secret store was found"
            );
        }
    }

    /// The values of a secret; none if the store answers with nothing at all.
    pub(crate) async fn get(
        &self,
        store: &str,
        key: &str,
        metadata: &Metadata,
    ) -> Result<Option<Secret>, Error> {
        let found = self.find(store)?;
        if !self.allows(store, key) {
            return Err(Error::SecretDenied {
                store: store.to_owned(),
                key: key.to_owned(),
            });
        }
        let attempt = || found.get(key, metadata);
        let outcome = self.calls.run(store, "get", attempt).await;
        outcome.map_err(|error| Error::SecretGet {
            store: store.to_owned(),
            key: key.to_owned(),
            cause: error.to_string(),
        })
    }

    /// The values of all secrets that the app may read.
    pub(crate) async fn bulk(
        &self,
        store: &str,
        metadata: &Metadata,
    ) -> Result<BTreeMap<String, Secret>, Error> {
        let found = self.find(store)?;
        let attempt = || found.bulk(metadata);
        let outcome = self.calls.run(store, "bulk_get", attempt).await;
        let mut secrets = outcome.map_err(|error| Error::SecretBulkGet {
            store: store.to_owned(),
            cause: error.to_string(),
        })?;
        secrets.retain(|key, _| self.allows(store, key));
        Ok(secrets)
    }

    fn find(&self, store: &str) -> Result<Arc<dyn SecretStore>, Error> {
        if self.stores.is_empty() {
            return Err(Error::SecretStoresNotConfigured);
        }
        let found = self.stores.find(store);
        found.ok_or_else(|| Error::SecretStoreNotFound(store.to_owned()))
    }

    fn allows(&self, store: &str, key: &str) -> bool {
        self.scopes.get(store).is_none_or(|scope| scope.allows(key))
    }
}
