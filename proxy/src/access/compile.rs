//! From the Configuration to compiled policies.
//!
//! Source: specification, access control 1.2.

use std::collections::HashMap;
use std::sync::Arc;

use outrigger_config::configuration;
use outrigger_config::daprd::AppProtocol;

use super::trie::{Rule, Trie, Verbs};
use super::{ACL, AccessControl, Policies, Policy, lower};

/// Policies that lack what tells whom they are for. The sidecar does not start.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid access control spec. missing trustdomain for apps: [{}], missing namespace for apps: [{}], \
     missing app name on at least one of the app policies: {without_app_id}",
    .without_trust_domain.join(" "), .without_namespace.join(" ")
)]
pub struct AccessError {
    without_trust_domain: Vec<String>,
    without_namespace: Vec<String>,
    without_app_id: bool,
}

// === impl AccessControl ===

impl AccessControl {
    /// Compiles a section for an app that speaks this protocol.
    ///
    /// # Errors
    /// All policies without an app id, a namespace or a trust domain.
    pub(crate) fn compile(
        section: Option<&configuration::AccessControl>,
        protocol: AppProtocol,
    ) -> Result<Self, AccessError> {
        let Some(section) = section.filter(|section| !is_empty(section)) else {
            return Ok(Self(None));
        };
        let specs = section.policies.as_deref().unwrap_or_default();
        AccessError::check(specs)?;
        let is_http = is_http(protocol);
        let mut callers: HashMap<Box<str>, HashMap<Box<str>, Policy>> = HashMap::new();
        for spec in specs {
            let policy = Policy::compile(spec, is_http);
            let namespaces = callers.entry(spec.app_id.as_str().into()).or_default();
            namespaces.insert(spec.namespace.as_str().into(), policy);
        }
        Ok(Self(Some(Arc::new(Policies {
            default: default(section),
            callers,
        }))))
    }
}

// === impl Policy ===

impl Policy {
    fn compile(spec: &configuration::AccessPolicy, is_http: bool) -> Self {
        let mut operations = Trie::default();
        for operation in &spec.operations {
            let mut pattern = operation.name.clone();
            if !pattern.starts_with('/') {
                pattern.insert(0, '/');
            }
            if is_http {
                pattern = lower(&pattern);
            }
            let rule = Rule {
                allows: allows(&operation.action),
                verbs: Verbs::of(operation.http_verbs.iter().map(String::as_str)),
            };
            operations.insert(&pattern, rule);
        }
        Self {
            trust_domain: spec.trust_domain.as_str().into(),
            default: (!spec.default_action.is_empty()).then(|| allows(&spec.default_action)),
            operations,
        }
    }
}

// === impl AccessError ===

impl AccessError {
    fn check(policies: &[configuration::AccessPolicy]) -> Result<(), Self> {
        let names_without = |field: fn(&configuration::AccessPolicy) -> &String| {
            let lacking = policies.iter().filter(|policy| field(policy).is_empty());
            lacking.map(|policy| policy.app_id.clone()).collect()
        };
        let error = Self {
            without_trust_domain: names_without(|policy| &policy.trust_domain),
            without_namespace: names_without(|policy| &policy.namespace),
            without_app_id: policies.iter().any(|policy| policy.app_id.is_empty()),
        };
        if error == Self::default() {
            Ok(())
        } else {
            Err(error)
        }
    }
}

/// Whether operations of an app are HTTP paths.
pub(super) const fn is_http(protocol: AppProtocol) -> bool {
    matches!(
        protocol,
        AppProtocol::Http | AppProtocol::Https | AppProtocol::H2c
    )
}

fn is_empty(section: &configuration::AccessControl) -> bool {
    section.default_action.is_empty()
        && section.trust_domain.is_empty()
        && section.policies.as_ref().is_none_or(Vec::is_empty)
}

/// What callers without a policy may do. Without a word on it the list decides: no list, or one with policies in
/// it, denies; a list that is there and empty allows.
fn default(section: &configuration::AccessControl) -> bool {
    if !section.default_action.is_empty() {
        return allows(&section.default_action);
    }
    let is_open = section.policies.as_ref().is_some_and(Vec::is_empty);
    if !is_open {
        tracing::warn!(target: ACL, "access control has no default action: callers without a policy are denied");
    }
    is_open
}

fn allows(action: &str) -> bool {
    action.eq_ignore_ascii_case("allow")
}
