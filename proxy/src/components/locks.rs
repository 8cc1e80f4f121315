//! Lock stores: beyond being made they have a prefix of resources.
//!
//! Source: specification, components 5.3.

use std::sync::Arc;

use outrigger_component::lock::LockStore;
use outrigger_component::{Init, Registry};
use outrigger_config::AppId;
use outrigger_config::resources::{Category, Component};
use outrigger_svc::{BoxError, BoxFuture};

use super::family::{Failure, Family, Opened, unknown_type};
use super::table::Table;
use crate::lock::{LoadedLockStore, LockPrefix};

/// The lock stores.
#[derive(Debug)]
pub(super) struct LockFamily {
    registry: Registry<dyn LockStore>,
    stores: Table<LoadedLockStore>,
    app_id: AppId,
}

// === impl LockFamily ===

impl LockFamily {
    /// No store is loaded yet; `stores` is where calls will find them.
    pub(super) fn new(
        registry: Registry<dyn LockStore>,
        stores: Table<LoadedLockStore>,
        app_id: AppId,
    ) -> Self {
        Self {
            registry,
            stores,
            app_id,
        }
    }
}

impl Family for LockFamily {
    fn open<'a>(&'a self, component: &'a Component, init: Init) -> BoxFuture<'a, Result<Opened, Failure>> {
        Box::pin(async move {
            let found = self.registry.find(&component.kind, &component.version);
            let found = found.ok_or_else(|| unknown_type(Category::Lock, component))?;
            let name = &component.metadata.name;
            let key_prefix = init.properties.get("keyPrefix").map(str::to_owned);
            let made = found.maker.make(init).await;
            let made = made.map_err(|error| Failure::Init(error.to_string()))?;
            match LockPrefix::new(key_prefix.as_deref(), name, self.app_id.as_ref()) {
                Ok(prefix) => {
                    let store = LoadedLockStore {
                        component: made,
                        prefix,
                    };
                    self.stores.insert(name, &Arc::new(store));
                    Ok(Opened::default())
                }
                Err(error) => {
                    // Nobody has it: how it closes concerns nobody.
                    made.close().await.ok();
                    Err(Failure::Init(format!("failed to save lock keyprefix: {error}")))
                }
            }
        })
    }

    fn close<'a>(&'a self, component: &'a Component) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move {
            match self.stores.remove(&component.metadata.name) {
                Some(store) => store.component.close().await,
                None => Ok(()),
            }
        })
    }
}
