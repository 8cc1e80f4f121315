//! From the properties of a resource to the settings of a component: references, then placeholders.
//!
//! Source: specification, components 3.

use std::collections::HashMap;

use outrigger_component::Properties;
use outrigger_component::secrets::{Secret, SecretStore};
use outrigger_component::state::Metadata;
use outrigger_config::Mode;
use outrigger_config::daprd::OwnEnv;
use outrigger_config::env::Env;
use outrigger_config::resources::{
    Component, EnvPermission, HttpEndpoint, PlaceholderError, Placeholders, PropertyValue, Resource,
    SecretRef,
};

use super::Table;

/// What came of resolving the references of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// Everything that can be known is known.
    Ready,
    /// The secret store of this name is not loaded yet.
    WaitsFor(String),
}

/// Puts values in the place of references to secrets and to the environment.
#[derive(Clone, Debug)]
pub(crate) struct References {
    mode: Mode,
    environment: OwnEnv,
    stores: Table<dyn SecretStore>,
}

/// Whose references are resolved.
struct Owner<'a> {
    kind: &'static str,
    name: &'a str,
    namespace: &'a str,
    /// As the resource names it; may be empty.
    secret_store: &'a str,
}

const SCOPE: &str = "dapr.runtime.processor";
/// The secret store that references without one mean on Kubernetes.
pub(super) const KUBERNETES: &str = "kubernetes";
/// Metadata of a request for a secret: where the resource is that needs it.
const NAMESPACE: &str = "namespace";

// === impl References ===

impl References {
    /// Secrets are looked for in `stores`, as they are at the time.
    pub(crate) fn new(mode: Mode, environment: OwnEnv, stores: Table<dyn SecretStore>) -> Self {
        Self {
            mode,
            environment,
            stores,
        }
    }

    /// Resolves the settings of a component, in order; the first that needs an absent store ends it.
    pub(crate) async fn of_component(&self, component: &mut Component) -> Resolved {
        let owner = Owner {
            kind: Component::KIND,
            name: &component.metadata.name,
            namespace: &component.metadata.namespace,
            secret_store: &component.secret_store,
        };
        let values = component
            .properties
            .iter_mut()
            .map(|property| &mut property.value);
        self.resolve(&owner, values).await
    }

    /// Resolves headers and TLS of an endpoint. What is not found stays what it is; nothing waits for a store.
    pub(crate) async fn of_endpoint(&self, endpoint: &mut HttpEndpoint) {
        let owner = Owner {
            kind: HttpEndpoint::KIND,
            name: &endpoint.metadata.name,
            namespace: &endpoint.metadata.namespace,
            secret_store: &endpoint.secret_store,
        };
        let headers = endpoint.headers.iter_mut().map(|header| &mut header.value);
        self.resolve(&owner, headers).await;
        if let Some(tls) = &mut endpoint.client_tls {
            let all = [&mut tls.root_ca, &mut tls.certificate, &mut tls.private_key];
            self.resolve(&owner, all.into_iter().flatten()).await;
        }
    }

    async fn resolve<'a>(
        &self,
        owner: &Owner<'_>,
        values: impl Iterator<Item = &'a mut PropertyValue> + Send,
    ) -> Resolved {
        let permission = EnvPermission::new(&self.environment);
        let store = store_of(owner.secret_store, self.mode);
        let mut fetched: HashMap<String, Secret> = HashMap::new();
        for value in values {
            let reference = match value {
                PropertyValue::Text(_) => continue,
                PropertyValue::EnvRef(variable) => {
                    *value = PropertyValue::from_outside(self.variable(owner, &permission, variable));
                    continue;
                }
                PropertyValue::SecretRef(reference) => reference,
            };
            let SecretRef { name, key, .. } = &*reference;
            let secret = match fetched.get(name) {
                Some(secret) => secret,
                None => {
                    let Some(store) = self.stores.find(store) else {
                        return not_loaded(owner, store);
                    };
                    let secret = fetch(&*store, name, owner.namespace).await;
                    fetched.entry(name.clone()).or_insert(secret)
                }
            };
            if let Some(text) = secret.get(key).filter(|text| !text.is_empty()) {
                reference.resolve(text);
            }
        }
        Resolved::Ready
    }

    fn variable(&self, owner: &Owner<'_>, permission: &EnvPermission, variable: &str) -> String {
        if permission.allows(variable) {
            return self.environment.get(variable).unwrap_or_default();
        }
        let Owner { kind, name, .. } = owner;
        tracing::warn!(
            target: SCOPE,
            "{kind} {name} references an env variable that isn't allowed: {variable}"
        );
        String::new()
    }
}

/// The secret store of a resource that names this one, which may be none.
pub(super) fn store_of(secret_store: &str, mode: Mode) -> &str {
    match (secret_store, mode) {
        ("", Mode::Kubernetes) => KUBERNETES,
        (store, _) => store,
    }
}

/// Where no store is named there is none to wait for.
fn not_loaded(owner: &Owner<'_>, store: &str) -> Resolved {
    let Owner { kind, name, .. } = owner;
    tracing::warn!(target: SCOPE, "{kind} {name} references a secret store that isn't loaded: {store}");
    match store {
        "" => Resolved::Ready,
        store => Resolved::WaitsFor(store.to_owned()),
    }
}

async fn fetch(store: &dyn SecretStore, name: &str, namespace: &str) -> Secret {
    let metadata = Metadata::from([(NAMESPACE.to_owned(), namespace.to_owned())]);
    match store.get(name, &metadata).await {
        Ok(secret) => secret.unwrap_or_default(),
        Err(error) => {
            tracing::error!(target: SCOPE, "Error getting secret: {error}");
            Secret::default()
        }
    }
}

/// The settings of a component whose references are resolved.
///
/// # Errors
/// A placeholder that stands for nothing here.
pub(super) fn settings(
    component: &Component,
    placeholders: &Placeholders,
    is_wasm_confined: bool,
) -> Result<Properties, PlaceholderError> {
    let mut pairs = Vec::with_capacity(component.properties.len());
    for property in &component.properties {
        pairs.push((property.name.clone(), placeholders.fill(property)?));
    }
    let is_wasm = ["bindings.wasm", "middleware.http.wasm"]
        .iter()
        .any(|kind| component.kind.eq_ignore_ascii_case(kind));
    if is_wasm && is_wasm_confined {
        pairs.retain(|(name, _)| !name.eq_ignore_ascii_case(STRICT_SANDBOX));
        pairs.push((STRICT_SANDBOX.to_owned(), "true".to_owned()));
    }
    Ok(Properties::new(pairs))
}

const STRICT_SANDBOX: &str = "strictSandbox";
