//! The kind `Component`.

use std::time::Duration;

use outrigger_kit::duration::{self, GoDuration};
use outrigger_kit::json::{DecodeError, from_value_ignoring_case};
use serde::Deserialize;
use serde_json::Value;

use super::property::PairSpec;
use super::{Metadata, Property, Resource};

/// A building block's connection to the outside: a store, a broker, a secret store, …
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// Name and namespace.
    pub metadata: Metadata,
    /// Type, such as `state.redis`, as written.
    pub kind: String,
    /// Version, as written; empty, `v0` and `v1` are the same.
    pub version: String,
    /// Whether a failed start is only logged.
    pub ignore_errors: bool,
    /// Longest start; 5 s when the resource gives none that can be read.
    pub init_timeout: Duration,
    /// Its settings, in order.
    pub properties: Vec<Property>,
    /// Secret store of its references; may be empty.
    pub secret_store: String,
    /// App ids that may load it; empty is all.
    pub scopes: Vec<String>,
}

/// What a component is for: the first part of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant is the category of the same name")]
pub enum Category {
    Bindings,
    Configuration,
    Crypto,
    Lock,
    Middleware,
    Pubsub,
    SecretStores,
    State,
    Conversation,
}

/// A type that belongs to no category.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("incorrect type {0}")]
pub struct IncorrectType(pub String);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ComponentSpec {
    metadata: Metadata,
    spec: Spec,
    auth: AuthSpec,
    scopes: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    r#type: String,
    version: String,
    ignore_errors: bool,
    init_timeout: String,
    metadata: Vec<PairSpec>,
}

/// Where secrets are, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct AuthSpec {
    pub(super) secret_store: String,
}

// === impl Component ===

impl Component {
    /// What the component is for.
    ///
    /// # Errors
    /// A type without a known category in front.
    pub fn category(&self) -> Result<Category, IncorrectType> {
        Category::of(&self.kind).ok_or_else(|| IncorrectType(self.kind.clone()))
    }

    /// The property with this name, in any case.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties
            .iter()
            .find(|property| property.name.eq_ignore_ascii_case(name))
    }
}

impl Resource for Component {
    const KIND: &'static str = "Component";

    fn from_document(_api_version: &str, document: &Value) -> Result<Self, DecodeError> {
        let wire: ComponentSpec = from_value_ignoring_case(document)?;
        let timeout = duration::parse_go(&wire.spec.init_timeout)
            .ok()
            .and_then(GoDuration::positive);
        Ok(Self {
            metadata: wire.metadata,
            kind: wire.spec.r#type,
            version: wire.spec.version,
            ignore_errors: wire.spec.ignore_errors,
            init_timeout: timeout.unwrap_or(Duration::from_secs(5)),
            properties: wire.spec.metadata.into_iter().map(Property::from).collect(),
            secret_store: wire.auth.secret_store,
            scopes: wire.scopes,
        })
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn scopes(&self) -> &[String] {
        &self.scopes
    }

    fn log_name(&self) -> String {
        match self.version.as_str() {
            "" => format!("{} ({})", self.metadata.name, self.kind),
            version => format!("{} ({}/{version})", self.metadata.name, self.kind),
        }
    }

    fn same_as(&self, other: &Self) -> bool {
        let Self {
            metadata,
            kind,
            version,
            ignore_errors,
            init_timeout,
            properties,
            secret_store,
            scopes,
        } = self;
        metadata.name == other.metadata.name
            && *kind == other.kind
            && *version == other.version
            && *ignore_errors == other.ignore_errors
            && *init_timeout == other.init_timeout
            && *properties == other.properties
            && *secret_store == other.secret_store
            && *scopes == other.scopes
    }
}

// === impl Category ===

impl Category {
    const ALL: [Self; 9] = [
        Self::Bindings,
        Self::Configuration,
        Self::Crypto,
        Self::Lock,
        Self::Middleware,
        Self::Pubsub,
        Self::SecretStores,
        Self::State,
        Self::Conversation,
    ];

    /// The category of a type, by the text before its first dot.
    #[must_use]
    pub fn of(kind: &str) -> Option<Self> {
        let (first, _) = kind.split_once('.')?;
        Self::ALL.into_iter().find(|category| category.as_str() == first)
    }

    /// The name of the category in types.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bindings => "bindings",
            Self::Configuration => "configuration",
            Self::Crypto => "crypto",
            Self::Lock => "lock",
            Self::Middleware => "middleware",
            Self::Pubsub => "pubsub",
            Self::SecretStores => "secretstores",
            Self::State => "state",
            Self::Conversation => "conversation",
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_kit::yaml;

    use super::*;
    use crate::resources::PropertyValue;

    fn component(yaml: &str) -> Component {
        Component::from_document("dapr.io/v1alpha1", &yaml::to_json(yaml).unwrap()).unwrap()
    }

    #[test]
    fn a_component_is_read_with_all_its_fields() {
        let component = component(
            "metadata: {name: orders-db, namespace: prod, generation: 3}
spec:
  type: state.postgresql
  version: v2
  initTimeout: 20s
  ignoreErrors: true
  metadata:
    - {name: connectionString, secretKeyRef: {name: pg, key: dsn}}
    - {name: timeout, value: 5}
    - {name: tablePrefix, envRef: ORDERS_PREFIX}
auth: {secretStore: vault}
scopes: [orders, billing]",
        );
        assert_eq!(component.log_name(), "orders-db (state.postgresql/v2)");
        assert_eq!(component.category(), Ok(Category::State));
        assert_eq!(component.init_timeout, Duration::from_secs(20));
        assert_eq!(component.secret_store, "vault");
        assert_eq!(component.scopes, ["orders", "billing"]);
        assert_eq!(component.metadata.generation, 3);
        assert!(component.ignore_errors);
        assert_eq!(
            component.property("TIMEOUT").unwrap().value,
            PropertyValue::Text("5".to_owned())
        );
        assert_eq!(
            component.property("tableprefix").unwrap().value,
            PropertyValue::EnvRef("ORDERS_PREFIX".to_owned())
        );
    }

    #[test]
    fn what_go_writes_for_nothing_is_nothing() {
        let json = r#"{"metadata":{"name":"a","creationTimestamp":null},"spec":{"type":"state.x","version":"",
            "ignoreErrors":false,"metadata":null,"initTimeout":""},"auth":{"secretStore":""},"scopes":null}"#;
        let component = component(json);
        assert_eq!(component.log_name(), "a (state.x)");
        assert_eq!(component.init_timeout, Duration::from_secs(5));
        assert!(component.properties.is_empty());
    }

    #[test]
    fn numbers_are_texts_where_texts_are_wanted() {
        assert_eq!(component("metadata: {name: 123}").metadata.name, "123");
        assert_eq!(component("metadata: {name: 0x10}").metadata.name, "16");
        assert_eq!(component("spec: {version: 1.50}").version, "1.5");
    }

    #[test]
    fn start_times_that_make_no_sense_are_the_default() {
        for text in ["", "0", "-1s", "soon", "5"] {
            assert_eq!(
                component(&format!("spec: {{initTimeout: '{text}'}}")).init_timeout,
                Duration::from_secs(5)
            );
        }
    }

    #[test]
    fn categories_are_case_sensitive_and_end_at_the_dot() {
        assert_eq!(
            Category::of("secretstores.local.file"),
            Some(Category::SecretStores)
        );
        assert_eq!(Category::of("State.redis"), None);
        assert_eq!(Category::of("statex.redis"), None);
        assert_eq!(Category::of("state"), None);
        let unknown = component("spec: {type: workflow.dapr}").category();
        assert_eq!(unknown.unwrap_err().to_string(), "incorrect type workflow.dapr");
    }

    #[test]
    fn only_the_name_counts_of_the_metadata() {
        let old = component("metadata: {name: a, namespace: x, generation: 1}\nspec: {type: state.x}");
        let new = component("metadata: {name: a, labels: {a: b}}\nspec: {type: state.x}");
        assert!(old.same_as(&new));
        assert!(!old.same_as(&component(
            "metadata: {name: a}\nspec: {type: state.x, version: v1}"
        )));
    }
}
