//! The families whose components calls find by their name.

use std::fmt;

use outrigger_component::configuration::ConfigurationStore;
use outrigger_component::crypto::CryptoProvider;
use outrigger_component::secrets::SecretStore;
use outrigger_component::{Feature, Init, Registry};
use outrigger_config::resources::{Category, Component};
use outrigger_svc::{BoxError, BoxFuture};

use super::family::{Failure, Family, Opened, unknown_type};
use super::table::Table;
use crate::lock::LoadedLockStore;
use crate::state::Store;

/// The loaded components that building blocks work on. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stores {
    /// Values by key.
    pub(crate) state: Table<Store>,
    /// Secrets by name.
    pub(crate) secrets: Table<dyn SecretStore>,
    /// Values that apps are configured by.
    pub(crate) configuration: Table<dyn ConfigurationStore>,
    /// Locks by resource.
    pub(crate) locks: Table<LoadedLockStore>,
    /// Keys by name.
    pub(crate) crypto: Table<dyn CryptoProvider>,
}

/// What a family of named components has to say of one.
pub(super) trait Named: fmt::Debug + Send + Sync + 'static {
    /// What it can do, as metadata show it.
    fn features(&self) -> &[Feature] {
        &[]
    }

    /// Ends it.
    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>>;
}

/// A family without steps of its own: made, found by name, closed.
#[derive(Debug)]
pub(super) struct NamedFamily<C: ?Sized> {
    category: Category,
    registry: Registry<C>,
    table: Table<C>,
}

// === impl NamedFamily ===

impl<C: Named + ?Sized> NamedFamily<C> {
    /// No component is loaded yet; `table` is where calls will find them.
    pub(super) fn new(category: Category, registry: Registry<C>, table: Table<C>) -> Self {
        Self {
            category,
            registry,
            table,
        }
    }
}

impl<C: Named + ?Sized> Family for NamedFamily<C> {
    fn open<'a>(&'a self, component: &'a Component, init: Init) -> BoxFuture<'a, Result<Opened, Failure>> {
        Box::pin(async move {
            let found = self.registry.find(&component.kind, &component.version);
            let found = found.ok_or_else(|| unknown_type(self.category, component))?;
            let made = found.maker.make(init).await;
            let made = made.map_err(|error| Failure::Init(error.to_string()))?;
            self.table.insert(&component.metadata.name, &made);
            let capabilities = made.features().iter().map(ToString::to_string).collect();
            Ok(Opened { capabilities })
        })
    }

    fn close<'a>(&'a self, component: &'a Component) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move {
            match self.table.remove(&component.metadata.name) {
                Some(made) => made.close().await,
                None => Ok(()),
            }
        })
    }
}

impl Named for dyn SecretStore {
    fn features(&self) -> &[Feature] {
        SecretStore::features(self)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        SecretStore::close(self)
    }
}

impl Named for dyn ConfigurationStore {
    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        ConfigurationStore::close(self)
    }
}

impl Named for dyn CryptoProvider {
    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        CryptoProvider::close(self)
    }
}
