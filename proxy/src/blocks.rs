//! The building blocks of a sidecar: one operation layer each, which both surfaces share.
//!
//! ```text
//! http_api/blocks/<block>.rs ─┐
//!                             ├─▶ BuildingBlocks.<block> ─▶ Table ─▶ policies ─▶ metrics ─▶ component
//! grpc_api/<block>.rs        ─┘
//! ```

use std::sync::Arc;

use outrigger_config::configuration::Configuration;
use outrigger_resilience::{ComponentKind, Policies};
use outrigger_telemetry::metrics::{Block, Metrics};

use crate::app::AppChannel;
use crate::components::{Calls, Stores};
use crate::configuration::{AppDelivery, Configurations};
use crate::crypto::Crypto;
use crate::lock::Locks;
use crate::secrets::Secrets;
use crate::state::State;

/// The operation layers. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct BuildingBlocks {
    /// Values that apps are configured by.
    pub(crate) configurations: Configurations,
    /// Documents under keys of providers.
    pub(crate) crypto: Crypto,
    /// Locks by resource.
    pub(crate) locks: Locks,
    /// Secrets by name.
    pub(crate) secrets: Secrets,
    /// Values by key.
    pub(crate) state: State,
}

// === impl BuildingBlocks ===

impl BuildingBlocks {
    /// The layers over these stores, which may be filled later. News for the app go out from the current runtime.
    pub(crate) fn new(
        app_id: &Arc<str>,
        stores: &Stores,
        configuration: &Configuration,
        app: Option<&AppChannel>,
        policies: &Policies,
        metrics: &Metrics,
    ) -> Self {
        let calls = |kind, block| Calls::new(kind, block, policies.clone(), metrics.clone());
        Self {
            configurations: Configurations::new(
                stores.configuration.clone(),
                calls(ComponentKind::Configuration, Some(Block::Configuration)),
                app.map(|app| AppDelivery::new(app.for_worker(), policies.clone())),
            ),
            crypto: Crypto::new(
                stores.crypto.clone(),
                calls(ComponentKind::Crypto, Some(Block::Crypto)),
            ),
            locks: Locks::new(stores.locks.clone(), calls(ComponentKind::Lock, None)),
            secrets: Secrets::new(
                stores.secrets.clone(),
                configuration.secret_scopes.clone(),
                calls(ComponentKind::SecretStore, Some(Block::Secret)),
            ),
            state: State::new(
                stores.state.clone(),
                Arc::clone(app_id),
                calls(ComponentKind::StateStore, Some(Block::State)),
            ),
        }
    }
}

#[cfg(test)]
impl Default for BuildingBlocks {
    /// Layers without any component.
    fn default() -> Self {
        Self::new(
            &"caller".into(),
            &Stores::default(),
            &Configuration::default(),
            None,
            &Policies::default(),
            &Metrics::disabled(),
        )
    }
}
