//! Who may do what: calls to the app, secrets, APIs, component types.

use std::collections::BTreeMap;

use super::ConfigurationError;
use super::wire::{
    AccessControlSpec, AccessOperationSpec, AccessPolicySpec, ApiRuleSpec, ApiSpec, SecretScopeSpec,
};

/// Rules for calls to the app, as written; the callee's sidecar compiles and enforces them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessControl {
    /// Action for callers without a policy; `allow` in any case allows.
    pub default_action: String,
    /// Trust domain of the own identity in a cluster.
    pub trust_domain: String,
    /// Policies by caller; `None` when the list is absent, which is not the same as an empty one.
    pub policies: Option<Vec<AccessPolicy>>,
}

/// Rules for one caller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessPolicy {
    /// App id of the caller.
    pub app_id: String,
    /// Action for operations without a rule; may be empty.
    pub default_action: String,
    /// Trust domain of the caller.
    pub trust_domain: String,
    /// Namespace of the caller.
    pub namespace: String,
    /// Rules by operation, in order.
    pub operations: Vec<AccessOperation>,
}

/// A rule for one operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessOperation {
    /// Path pattern.
    pub name: String,
    /// Verbs in upper case, or `*`.
    pub http_verbs: Vec<String>,
    /// `allow` in any case allows, everything else denies.
    pub action: String,
}

/// Which secrets of one store apps may read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretScope {
    /// Whether secrets that no list names are denied.
    pub deny_by_default: bool,
    /// If not empty, the only secrets that may be read.
    pub allowed: Vec<String>,
    /// Secrets that may not be read, unless `allowed` decides.
    pub denied: Vec<String>,
}

/// Which APIs are served.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiRules {
    /// If any counts for a protocol, the only APIs that are served.
    pub allowed: Vec<ApiRule>,
    /// APIs that are not served.
    pub denied: Vec<ApiRule>,
}

/// One API, such as `state` `v1` over `http`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiRule {
    /// Name of the group.
    pub name: String,
    /// Version of the group.
    pub version: String,
    /// `http` in any case, or exactly `grpc`.
    pub protocol: String,
}

/// Component types that are refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DenyList {
    present: bool,
    entries: Vec<(String, Option<String>)>,
}

/// Why a component type is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// With a deny list, a component needs a type and a version.
    Incomplete,
    /// The type is on the list.
    Listed,
}

// === impl AccessControl ===

impl From<AccessControlSpec> for AccessControl {
    fn from(spec: AccessControlSpec) -> Self {
        Self {
            default_action: spec.default_action,
            trust_domain: spec.trust_domain,
            policies: spec
                .policies
                .map(|policies| policies.into_iter().map(AccessPolicy::from).collect()),
        }
    }
}

impl From<AccessPolicySpec> for AccessPolicy {
    fn from(spec: AccessPolicySpec) -> Self {
        Self {
            app_id: spec.app_id,
            default_action: spec.default_action,
            trust_domain: spec.trust_domain,
            namespace: spec.namespace,
            operations: spec.operations.into_iter().map(AccessOperation::from).collect(),
        }
    }
}

impl From<AccessOperationSpec> for AccessOperation {
    fn from(spec: AccessOperationSpec) -> Self {
        Self {
            name: spec.name,
            http_verbs: spec.http_verb,
            action: spec.action,
        }
    }
}

// === impl SecretScope ===

impl SecretScope {
    /// Whether a secret with this name may be read.
    #[must_use]
    pub fn allows(&self, secret: &str) -> bool {
        if !self.allowed.is_empty() {
            return self.allowed.iter().any(|name| name == secret);
        }
        if self.denied.iter().any(|name| name == secret) {
            return false;
        }
        !self.deny_by_default
    }
}

/// Scopes by store, checked.
pub(super) fn secret_scopes(
    specs: Vec<SecretScopeSpec>,
) -> Result<BTreeMap<String, SecretScope>, ConfigurationError> {
    let mut scopes = BTreeMap::new();
    for spec in specs {
        if scopes.contains_key(&spec.store_name) {
            return Err(ConfigurationError::RepeatedStore(spec.store_name));
        }
        let deny_by_default = match spec.default_access.to_ascii_lowercase().as_str() {
            "" | "allow" => false,
            "deny" => true,
            _ => return Err(ConfigurationError::DefaultAccess(spec.default_access)),
        };
        let scope = SecretScope {
            deny_by_default,
            allowed: spec.allowed_secrets,
            denied: spec.denied_secrets,
        };
        scopes.insert(spec.store_name, scope);
    }
    Ok(scopes)
}

// === impl ApiRules ===

impl From<ApiSpec> for ApiRules {
    fn from(spec: ApiSpec) -> Self {
        let rules = |specs: Vec<ApiRuleSpec>| specs.into_iter().map(ApiRule::from).collect();
        Self {
            allowed: rules(spec.allowed),
            denied: rules(spec.denied),
        }
    }
}

impl From<ApiRuleSpec> for ApiRule {
    fn from(spec: ApiRuleSpec) -> Self {
        Self {
            name: spec.name,
            version: spec.version,
            protocol: spec.protocol,
        }
    }
}

// === impl DenyList ===

impl DenyList {
    /// A list of entries `type` or `type/version`; empty ones and those with more slashes are ignored.
    #[must_use]
    pub fn new(entries: &[String]) -> Self {
        let parsed = entries.iter().filter_map(|entry| {
            let mut parts = entry.split('/');
            match (parts.next(), parts.next(), parts.next()) {
                (Some(kind), version, None) if !entry.is_empty() => {
                    Some((kind.to_owned(), version.map(str::to_owned)))
                }
                _ => None,
            }
        });
        Self {
            present: !entries.is_empty(),
            entries: parsed.collect(),
        }
    }

    /// Why a component of this type and version is refused, if it is.
    #[must_use]
    pub fn refusal(&self, kind: &str, version: &str) -> Option<Refusal> {
        if !self.present {
            return None;
        }
        if kind.is_empty() || version.is_empty() {
            return Some(Refusal::Incomplete);
        }
        let listed = |(denied, denied_version): &(String, Option<String>)| {
            denied == kind && denied_version.as_deref().is_none_or(|denied| denied == version)
        };
        self.entries.iter().any(listed).then_some(Refusal::Listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_allow_list_decides_alone() {
        let scope = SecretScope {
            deny_by_default: false,
            allowed: names(&["a"]),
            denied: names(&["a", "b"]),
        };
        assert_eq!(
            (scope.allows("a"), scope.allows("b"), scope.allows("c")),
            (true, false, false)
        );
        let scope = SecretScope {
            deny_by_default: false,
            allowed: vec![],
            denied: names(&["b"]),
        };
        assert_eq!(
            (scope.allows("a"), scope.allows("b"), scope.allows("B")),
            (true, false, true)
        );
        let scope = SecretScope {
            deny_by_default: true,
            allowed: vec![],
            denied: vec![],
        };
        assert!(!scope.allows("a"));
    }

    #[test]
    fn a_deny_list_refuses_types_and_versions() {
        let list = DenyList::new(&names(&["bindings.smtp", "state.redis/v2", "", "a/b/c"]));
        assert_eq!(list.refusal("bindings.smtp", "v1"), Some(Refusal::Listed));
        assert_eq!(list.refusal("state.redis", "v2"), Some(Refusal::Listed));
        assert_eq!(list.refusal("state.redis", "v1"), None);
        assert_eq!(list.refusal("Bindings.smtp", "v1"), None);
        assert_eq!(list.refusal("a", "b"), None);
        assert_eq!(list.refusal("state.redis", ""), Some(Refusal::Incomplete));
        assert_eq!(DenyList::new(&[]).refusal("", ""), None);
        assert_eq!(
            DenyList::new(&names(&[""])).refusal("", "v1"),
            Some(Refusal::Incomplete)
        );
    }
}
