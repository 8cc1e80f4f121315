//! From the properties of a resource to the settings of a component: references, then placeholders.
//!
//! Source: specification, components 3.

use std::collections::{BTreeMap, HashMap};

use outrigger_component::Properties;
use outrigger_config::Mode;
use outrigger_config::env::Env;
use outrigger_config::resources::{
    Component, EnvPermission, PlaceholderError, Placeholders, PropertyValue, SecretRef,
};

use super::family::{Family, SecretAsk};

/// What came of resolving the references of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Resolved {
    /// Everything that can be known is known.
    Ready,
    /// The secret store of this name is not loaded yet.
    WaitsFor(String),
}

/// Finds the family of a secret store that is loaded.
pub(super) type FindStore<'a> = dyn Fn(&str) -> Option<&'a dyn Family> + Send + Sync + 'a;

const SCOPE: &str = "dapr.runtime.processor";
/// The secret store that references without one mean on Kubernetes.
const KUBERNETES: &str = "kubernetes";

/// Puts values in the place of references, in order; the first that needs an absent store ends it.
pub(super) async fn references(
    component: &mut Component,
    mode: Mode,
    environment: &(impl Env + Sync),
    find_store: &FindStore<'_>,
) -> Resolved {
    let permission = EnvPermission::new(environment);
    let store = match (component.secret_store.as_str(), mode) {
        ("", Mode::Kubernetes) => KUBERNETES.to_owned(),
        (store, _) => store.to_owned(),
    };
    let name = &component.metadata.name;
    let mut fetched: HashMap<String, BTreeMap<String, String>> = HashMap::new();
    for property in &mut component.properties {
        let secret = match &property.value {
            PropertyValue::Text(_) => continue,
            PropertyValue::EnvRef(variable) => {
                let text = if permission.allows(variable) {
                    environment.get(variable).unwrap_or_default()
                } else {
                    tracing::warn!(
                        target: SCOPE,
                        "Component {name} references an env variable that isn't allowed: {variable}"
                    );
                    String::new()
                };
                property.value = PropertyValue::from_outside(text);
                continue;
            }
            PropertyValue::SecretRef(secret) => secret,
        };
        if !fetched.contains_key(&secret.name) {
            let Some(family) = find_store(&store) else {
                tracing::warn!(
                    target: SCOPE,
                    "Component {name} references a secret store that isn't loaded: {store}"
                );
                // Where no store is named there is none to wait for.
                return if store.is_empty() {
                    Resolved::Ready
                } else {
                    Resolved::WaitsFor(store)
                };
            };
            let ask = SecretAsk {
                name: &secret.name,
                namespace: &component.metadata.namespace,
            };
            let values = match family.secret(&store, ask).await {
                Ok(values) => values,
                Err(error) => {
                    tracing::error!(target: SCOPE, "Error getting secret: {error}");
                    BTreeMap::new()
                }
            };
            fetched.insert(secret.name.clone(), values);
        }
        let SecretRef { name, key, .. } = secret;
        let value = fetched.get(name).and_then(|values| values.get(key));
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            property.value = PropertyValue::from_outside(value.clone());
        }
    }
    Resolved::Ready
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
