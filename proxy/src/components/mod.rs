//! The components that resources ask for: made one at a time, found by their families, closed at the end.
//!
//! ```text
//! resource ─▶ references ─▶ placeholders ─▶ Family::open ─▶ listed, ready
//!                 │ a secret store is missing      │ error
//!                 ▼                                ▼
//!            parked until it is there       logged and tried again (ignoreErrors), or the end of the sidecar
//! ```
//!
//! A family is a row in [`families`]: how its components are made and where callers find them. Everything else,
//! errors, order, states and reload, is the same for all and stands here.
//!
//! Source: specification, components 3, 5 and 6.

mod built_in;
mod calls;
mod family;
mod handlers;
mod locks;
mod make;
mod middleware;
mod outside;
mod reload;
mod resolve;
mod retry;
mod state;
mod state_stores;
mod stores;
mod table;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outrigger_component::{Catalogue, HttpClient};
use outrigger_config::configuration::{Configuration, DenyList, Refusal};
use outrigger_config::daprd::Settings;
use outrigger_config::resources::{Category, Component, Filter, Placeholders, Resource};
use outrigger_config::{AppId, Namespace};
use outrigger_telemetry::metrics::Metrics;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use self::family::{Absent, Family, Opened};
use self::locks::LockFamily;
use self::middleware::MiddlewareFamily;
use self::state::{State, States};
use self::state_stores::StateFamily;
use self::stores::NamedFamily;
use crate::app::AppNetwork;
use crate::metadata::{self, MetadataStore};

pub(crate) use self::built_in::{is_built_in, kubernetes};
pub(crate) use self::calls::Calls;
pub(crate) use self::handlers::Handlers;
pub(crate) use self::middleware::Pipelines;
pub(crate) use self::outside::client as outside;
pub(crate) use self::resolve::{References, Resolved};
pub(crate) use self::stores::Stores;
pub(crate) use self::table::Table;

/// All components of a run. Clones share them.
#[derive(Clone)]
pub(crate) struct Components(Arc<Shared>);

/// A component that could not be made, and whose resource does not say that errors are to be ignored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("process component {name} error: {error}")]
pub(crate) struct ComponentError {
    name: String,
    error: String,
}

struct Shared {
    families: BTreeMap<&'static str, Box<dyn Family>>,
    app_id: AppId,
    namespace: Namespace,
    references: References,
    placeholders: Placeholders,
    denied: DenyList,
    is_wasm_confined: bool,
    http: HttpClient,
    states: Arc<States>,
    metadata: MetadataStore,
    metrics: Metrics,
    /// Held while a component is made: whatever their categories, one follows the other.
    pending: tokio::sync::Mutex<()>,
    books: Mutex<Books>,
    /// What has gone wrong in the background and must not.
    failure: watch::Sender<Option<ComponentError>>,
}

#[derive(Default)]
struct Books {
    /// In the order in which they were made, references resolved.
    installed: Vec<(Component, Opened)>,
    /// What waits, by the store it waits for.
    parked: BTreeMap<String, Vec<Component>>,
    /// What is tried again in the background, by name.
    retried: BTreeMap<String, AbortHandle>,
    /// What would be the actor state store if there were none.
    skipped: Option<Component>,
}

/// Scope of what happens to single components.
const PROCESSOR: &str = "dapr.runtime.processor.loops.root";
const RUNTIME: &str = "dapr.runtime";
const RELOAD: &str = "dapr.runtime.hotreload.reconciler";

// === impl Components ===

impl Components {
    /// No component is loaded yet; `pipelines` and `stores` are filled as components are.
    pub(crate) fn new(
        settings: &Settings,
        configuration: &Configuration,
        catalogue: &Catalogue,
        (pipelines, stores): (Pipelines, Stores),
        network: &AppNetwork,
        metadata: MetadataStore,
        references: References,
    ) -> Self {
        Self(Arc::new(Shared {
            families: families(settings, configuration, catalogue, pipelines, stores),
            app_id: settings.app_id.clone(),
            namespace: settings.namespace.clone(),
            references,
            placeholders: Placeholders::new(
                &settings.app_id,
                &settings.namespace,
                settings.pod_name.as_deref(),
            ),
            denied: configuration.denied_components.clone(),
            is_wasm_confined: configuration.wasm_strict_sandbox,
            http: outside::client(network),
            states: Arc::new(States::new(metadata.clone(), network.metrics.clone())),
            metadata,
            metrics: network.metrics.clone(),
            pending: tokio::sync::Mutex::default(),
            books: Mutex::default(),
            failure: watch::Sender::new(None),
        }))
    }

    /// Whether the app may load a component by namespace, scopes and the Configuration's list of denied types.
    pub(crate) fn admits(&self, component: &Component) -> bool {
        let shared = &self.0;
        let refusal = shared.denied.refusal(&component.kind, &component.version);
        if refusal == Some(Refusal::Listed) {
            tracing::warn!(
                target: RUNTIME,
                "component '{}' cannot be loaded because components of type '{}' are not allowed",
                component.metadata.name,
                component.log_name()
            );
        }
        refusal.is_none() && Filter::new(&shared.app_id, &shared.namespace).admits(component)
    }

    /// Makes the components of a start: secret stores first, then the rest, each in the order given.
    ///
    /// # Errors
    /// The first that cannot be made and whose error is not to be ignored.
    pub(crate) async fn load(&self, components: Vec<Component>) -> Result<(), ComponentError> {
        let admitted = components.into_iter().filter(|component| self.admits(component));
        let (stores, others): (Vec<_>, Vec<_>) =
            admitted.partition(|component| category(component) == Some(Category::SecretStores));
        for component in stores.into_iter().chain(others) {
            self.add(component).await?;
        }
        Ok(())
    }

    /// Makes one component; one that needs an absent secret store waits for it.
    ///
    /// # Errors
    /// If it, or one that has waited for it, cannot be made and its error is not to be ignored.
    pub(crate) async fn add(&self, mut component: Component) -> Result<(), ComponentError> {
        let resolved = self.resolve(&mut component).await;
        self.place(component, resolved).await
    }

    /// The component of this name as it was made, references resolved.
    pub(crate) fn installed(&self, name: &str) -> Option<Component> {
        let books = self.books();
        let found = books
            .installed
            .iter()
            .find(|(component, _)| component.metadata.name == name);
        found.map(|(component, _)| component.clone())
    }

    /// All components that are in use, in the order in which they were made, references resolved.
    pub(crate) fn all_installed(&self) -> Vec<Component> {
        let books = self.books();
        books
            .installed
            .iter()
            .map(|(component, _)| component.clone())
            .collect()
    }

    /// Closes all components, the last one made first.
    pub(crate) async fn close_all(&self) {
        for tries in std::mem::take(&mut self.books().retried).into_values() {
            tries.abort();
        }
        for component in self.all_installed().iter().rev() {
            let log_name = component.log_name();
            tracing::info!(target: RUNTIME, "Shutting down component {log_name}");
            if let Err(error) = self.close(component).await {
                tracing::warn!(target: RUNTIME, "error closing component {log_name}: {error}");
            }
        }
    }

    async fn resolve(&self, component: &mut Component) -> Resolved {
        self.0.references.of_component(component).await
    }

    /// Makes a component that is resolved as far as can be, and what has waited for it.
    async fn place(&self, component: Component, resolved: Resolved) -> Result<(), ComponentError> {
        self.stop_retrying(&component.metadata.name);
        let mut next = vec![(component, resolved)];
        while let Some((component, resolved)) = next.pop() {
            self.enter(&component, State::Starting);
            if let Resolved::WaitsFor(store) = resolved {
                self.park(store, component);
                continue;
            }
            let name = component.metadata.name.clone();
            self.make(component).await?;
            for mut component in self.waiting_for(&name).into_iter().rev() {
                let resolved = self.resolve(&mut component).await;
                next.push((component, resolved));
            }
        }
        Ok(())
    }

    /// Makes what has waited for a component that has come up.
    async fn follow(&self, name: &str) -> Result<(), ComponentError> {
        for mut component in self.waiting_for(name) {
            let resolved = self.resolve(&mut component).await;
            self.place(component, resolved).await?;
        }
        Ok(())
    }

    /// What has waited for a secret store of this name, if that is there now.
    fn waiting_for(&self, name: &str) -> Vec<Component> {
        let is_store = |component: &Component| category(component) == Some(Category::SecretStores);
        match self.installed(name) {
            Some(installed) if is_store(&installed) => self.books().parked.remove(name).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    fn park(&self, store: String, component: Component) {
        let mut books = self.books();
        let parked = books.parked.entry(store).or_default();
        parked.retain(|other| other.metadata.name != component.metadata.name);
        parked.push(component);
    }

    async fn close(&self, component: &Component) -> Result<(), outrigger_svc::BoxError> {
        let category = category(component);
        let family = category.and_then(|category| self.0.families.get(category.as_str()));
        let outcome = match family {
            Some(family) => family.close(component).await,
            None => Ok(()),
        };
        let name = &component.metadata.name;
        self.books()
            .installed
            .retain(|(component, _)| component.metadata.name != *name);
        self.0.states.leave(name);
        self.show();
        outcome
    }

    fn enter(&self, component: &Component, state: State) {
        self.0
            .states
            .enter(&component.metadata.name, &component.kind, state);
    }

    /// Shows in the metadata what is in use.
    fn show(&self) {
        let books = self.books();
        let components = books
            .installed
            .iter()
            .map(|(component, opened)| metadata::Component {
                name: component.metadata.name.clone(),
                kind: component.kind.clone(),
                version: component.version.clone(),
                capabilities: opened.capabilities.clone(),
            });
        let components: Vec<_> = components.collect();
        self.0
            .metadata
            .update(|metadata| metadata.components = components);
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Components {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Components")
            .field("families", &self.0.families)
            .finish_non_exhaustive()
    }
}

/// One row a family. Those that this build does not have answer as an unknown type does.
fn families(
    settings: &Settings,
    configuration: &Configuration,
    catalogue: &Catalogue,
    pipelines: Pipelines,
    stores: Stores,
) -> BTreeMap<&'static str, Box<dyn Family>> {
    let middleware = MiddlewareFamily::new(
        catalogue.http_middleware.clone(),
        pipelines,
        configuration.http_pipeline.clone(),
        configuration.app_http_pipeline.clone(),
    );
    let state = StateFamily::new(
        settings,
        catalogue.state.clone(),
        stores.state,
        stores.secrets.clone(),
    );
    let secrets = NamedFamily::new(
        Category::SecretStores,
        catalogue.secret_stores.clone(),
        stores.secrets,
    );
    let values = NamedFamily::new(
        Category::Configuration,
        catalogue.configuration.clone(),
        stores.configuration,
    );
    let locks = LockFamily::new(catalogue.lock.clone(), stores.locks, settings.app_id.clone());
    let keys = NamedFamily::new(Category::Crypto, catalogue.crypto.clone(), stores.crypto);
    let rows: [(Category, Box<dyn Family>); 9] = [
        (Category::Bindings, Box::new(Absent(Category::Bindings))),
        (Category::Configuration, Box::new(values)),
        (Category::Crypto, Box::new(keys)),
        (Category::Lock, Box::new(locks)),
        (Category::Middleware, Box::new(middleware)),
        (Category::Pubsub, Box::new(Absent(Category::Pubsub))),
        (Category::SecretStores, Box::new(secrets)),
        (Category::State, Box::new(state)),
        (Category::Conversation, Box::new(Absent(Category::Conversation))),
    ];
    rows.into_iter()
        .map(|(category, family)| (category.as_str(), family))
        .collect()
}

fn category(component: &Component) -> Option<Category> {
    Category::of(&component.kind)
}
