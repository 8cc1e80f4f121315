//! Named values of components, headers and environments: literal, from a secret, or from the environment.

use outrigger_kit::json;
use outrigger_kit::quote::go_unquote;
use serde::Deserialize;
use serde_json::Value;

use crate::env::{self, Env};

/// A named value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Its name, as written.
    pub name: String,
    /// What it is, or where it comes from.
    pub value: PropertyValue,
}

/// A value, or where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PropertyValue {
    /// The value itself; empty when the resource gives none.
    Text(String),
    /// It is in a secret store; resolved when the store is there.
    SecretRef(SecretRef),
    /// It is in this environment variable, if [`EnvPermission`] lets it be read.
    EnvRef(String),
}

/// A value in a secret store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRef {
    /// Name of the secret.
    pub name: String,
    /// Key in the secret; the name when the resource gives none.
    pub key: String,
    /// The value: that of the secret once it is found, until then and if it is not the literal of the resource.
    pub literal: String,
}

/// Which environment variables resources may refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EnvPermission {
    allowed: Option<String>,
}

/// A pair as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PairSpec {
    name: String,
    value: Option<Value>,
    secret_key_ref: SecretKeySpec,
    env_ref: String,
}

/// A value without a name, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ValueSpec {
    value: Option<Value>,
    secret_key_ref: SecretKeySpec,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SecretKeySpec {
    name: String,
    key: String,
}

// === impl SecretRef ===

impl SecretRef {
    /// The secret is found; its text loses quotes that Go would take for its own.
    pub fn resolve(&mut self, text: &str) {
        self.literal = go_unquote(text).unwrap_or_else(|| text.to_owned());
    }
}

// === impl PropertyValue ===

impl PropertyValue {
    /// The value of a text from a secret or the environment, which loses quotes that Go would take for its own.
    #[must_use]
    pub fn from_outside(text: String) -> Self {
        Self::Text(go_unquote(&text).unwrap_or(text))
    }

    /// The value as far as it is known: the text, the literal beside a secret, else nothing.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::SecretRef(secret) => &secret.literal,
            Self::EnvRef(_) => "",
        }
    }

    fn new(value: Option<&Value>, secret: SecretKeySpec, env_ref: String) -> Self {
        if value.is_none() && !env_ref.is_empty() {
            return Self::EnvRef(env_ref);
        }
        let literal = value_text(value);
        if secret.name.is_empty() {
            return Self::Text(literal);
        }
        let key = if secret.key.is_empty() {
            secret.name.clone()
        } else {
            secret.key
        };
        Self::SecretRef(SecretRef {
            name: secret.name,
            key,
            literal,
        })
    }
}

impl Default for PropertyValue {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

// === impl Property ===

impl From<PairSpec> for Property {
    fn from(spec: PairSpec) -> Self {
        Self {
            name: spec.name,
            value: PropertyValue::new(spec.value.as_ref(), spec.secret_key_ref, spec.env_ref),
        }
    }
}

impl From<ValueSpec> for PropertyValue {
    fn from(spec: ValueSpec) -> Self {
        Self::new(spec.value.as_ref(), spec.secret_key_ref, String::new())
    }
}

impl From<SecretKeySpec> for Option<SecretRef> {
    fn from(spec: SecretKeySpec) -> Self {
        match PropertyValue::new(None, spec, String::new()) {
            PropertyValue::SecretRef(secret) => Some(secret),
            PropertyValue::Text(_) | PropertyValue::EnvRef(_) => None,
        }
    }
}

// === impl EnvPermission ===

impl EnvPermission {
    /// What the variable `DAPR_ENV_KEYS` permits; everything that is not secret by its name when it is not set.
    #[must_use]
    pub fn new(environment: &impl Env) -> Self {
        Self {
            allowed: environment.get_filled(env::DAPR_ENV_KEYS),
        }
    }

    /// Whether a resource may refer to this variable.
    ///
    /// The tokens and settings of the sidecar itself are never permitted.
    #[must_use]
    pub fn allows(&self, variable: &str) -> bool {
        let name = variable.to_uppercase();
        if name.is_empty() || name == env::APP_API_TOKEN || name.starts_with("DAPR_") || name.contains(' ') {
            return false;
        }
        let Some(list) = &self.allowed else {
            return true;
        };
        match list.split_once(&name) {
            Some((before, after)) => {
                (before.is_empty() || before.ends_with(' ')) && (after.is_empty() || after.starts_with(' '))
            }
            None => false,
        }
    }
}

/// The text of a value of any kind: of a text itself, of nothing and `null` nothing, else its JSON.
pub(crate) fn value_text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => json::to_go_string(other),
    }
}

#[cfg(test)]
mod tests {
    use outrigger_kit::json::from_value_ignoring_case;
    use outrigger_kit::yaml;

    use super::*;

    fn property(yaml: &str) -> Property {
        let value = yaml::to_json(yaml).unwrap();
        Property::from(from_value_ignoring_case::<PairSpec>(&value).unwrap())
    }

    #[test]
    fn values_of_any_kind_become_texts() {
        let table = [
            ("value: 6379", "6379"),
            ("value: true", "true"),
            ("value: yes", "true"),
            ("value: \"6379\"", "6379"),
            ("value: 1.0", "1"),
            ("value: 1.50", "1.5"),
            ("value: a<b", "a<b"),
            ("value: {b: 1, a: \"<\"}", r#"{"a":"\u003c","b":1}"#),
            ("value: [1, two]", r#"[1,"two"]"#),
            ("value: null", ""),
            ("name: x", ""),
            ("value: ''", ""),
            ("VALUE: x", "x"),
            ("value: x\nsecretKeyRef: {name: '', key: ''}", "x"),
            ("value: '\"abc\"'", "\"abc\""),
        ];
        for (yaml, expected) in table {
            assert_eq!(
                property(yaml).value,
                PropertyValue::Text(expected.to_owned()),
                "{yaml}"
            );
        }
    }

    #[test]
    fn references_take_their_place_in_order() {
        assert_eq!(
            property("envRef: A\nsecretKeyRef: {name: s}").value,
            PropertyValue::EnvRef("A".to_owned())
        );
        let secret = |key: &str, literal: &str| {
            PropertyValue::SecretRef(SecretRef {
                name: "s".to_owned(),
                key: key.to_owned(),
                literal: literal.to_owned(),
            })
        };
        assert_eq!(property("secretKeyRef: {name: s}").value, secret("s", ""));
        assert_eq!(
            property("value: x\nenvRef: A\nsecretKeyRef: {name: s, key: k}").value,
            secret("k", "x")
        );
        assert_eq!(
            property("value: ''\nenvRef: A").value,
            PropertyValue::Text(String::new())
        );
    }

    #[test]
    fn the_environment_permits_all_but_the_sidecars_own() {
        let open = EnvPermission::default();
        for name in ["HOME", "home", "MY_DAPR_X"] {
            assert!(open.allows(name), "{name}");
        }
        for name in [
            "",
            "APP_API_TOKEN",
            "app_api_token",
            "DAPR_API_TOKEN",
            "dapr_x",
            "A B",
        ] {
            assert!(!open.allows(name), "{name}");
        }
    }

    #[test]
    fn an_allow_list_permits_its_words_only() {
        let list = EnvPermission::new(&[("DAPR_ENV_KEYS", "ONE TWO THREE low")]);
        for name in ["ONE", "two", "THREE"] {
            assert!(list.allows(name), "{name}");
        }
        for name in ["ON", "NE", "FOUR", "low", "DAPR_X"] {
            assert!(!list.allows(name), "{name}");
        }
        // Only the first occurrence of the name is looked at.
        assert!(!EnvPermission::new(&[("DAPR_ENV_KEYS", "XONE ONE")]).allows("ONE"));
    }
}
