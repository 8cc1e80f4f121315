//! The kind `Resiliency`, as written; [`Policies`](super::Policies) has what it means.

use std::collections::BTreeMap;

use outrigger_kit::json::{DecodeError, from_value_ignoring_case};
use serde::Deserialize;
use serde_json::Value;

use super::manifests::Entry;
use super::{Manifests, Metadata, Resource};

/// Timeouts, retries and circuit breakers, and what they apply to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resiliency {
    /// Name and namespace.
    pub metadata: Metadata,
    /// App ids it applies to; empty is all.
    pub scopes: Vec<String>,
    pub(super) policies: PoliciesSpec,
    pub(super) targets: TargetsSpec,
}

/// The Resiliency resources of the folders, and what is to be said about their files.
#[derive(Clone, Debug, Default)]
pub struct LoadedResiliency {
    /// The resources that apply to the app, in load order.
    pub resources: Vec<Resiliency>,
    /// Warnings, one line each.
    pub warnings: Vec<String>,
    /// Errors, one line each; the sidecar starts all the same.
    pub errors: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ResiliencySpec {
    metadata: Metadata,
    spec: Spec,
    scopes: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    policies: PoliciesSpec,
    targets: TargetsSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PoliciesSpec {
    pub(super) timeouts: BTreeMap<String, String>,
    pub(super) retries: BTreeMap<String, RetrySpec>,
    pub(super) circuit_breakers: BTreeMap<String, BreakerSpec>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RetrySpec {
    pub(super) policy: String,
    pub(super) duration: String,
    pub(super) max_interval: String,
    pub(super) max_retries: Option<i64>,
    pub(super) matching: MatchingSpec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct MatchingSpec {
    #[serde(rename = "httpStatusCodes")]
    pub(super) http: String,
    #[serde(rename = "gRPCStatusCodes")]
    pub(super) grpc: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BreakerSpec {
    pub(super) max_requests: i64,
    pub(super) interval: String,
    pub(super) timeout: String,
    pub(super) trip: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct TargetsSpec {
    pub(super) apps: BTreeMap<String, TargetSpec>,
    pub(super) actors: BTreeMap<String, TargetSpec>,
    pub(super) components: BTreeMap<String, ComponentTargetSpec>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct TargetSpec {
    pub(super) timeout: String,
    pub(super) retry: String,
    pub(super) circuit_breaker: String,
    pub(super) circuit_breaker_scope: String,
    pub(super) circuit_breaker_cache_size: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct ComponentTargetSpec {
    pub(super) inbound: TargetSpec,
    pub(super) outbound: TargetSpec,
}

// === impl Resiliency ===

impl Resiliency {
    /// Takes the Resiliency resources that apply to an app out of folders.
    ///
    /// Other than for the other kinds, only the first document of a file counts, and only its kind is looked at.
    #[must_use]
    pub fn load(manifests: &Manifests, app_id: &str) -> LoadedResiliency {
        let mut loaded = LoadedResiliency::default();
        for entry in manifests.entries() {
            let (path, documents) = match entry {
                Entry::NotYaml { name } => {
                    let name = name.display();
                    loaded.warnings.push(format!(
                        "A non-YAML resiliency file {name} was detected, it will not be loaded"
                    ));
                    continue;
                }
                Entry::Unreadable { path, cause, .. } => {
                    loaded.errors.push(format!(
                        "Could not read resiliency file {}: {cause}",
                        path.display()
                    ));
                    continue;
                }
                Entry::File { path, documents } => (path, documents),
            };
            let Some(first) = documents.first() else {
                continue;
            };
            let resource = match &first.content {
                Ok((head, _)) if head.kind != Self::KIND => continue,
                Ok((head, value)) => {
                    Self::from_document(&head.api_version, value).map_err(|error| error.to_string())
                }
                Err(cause) => Err(cause.clone()),
            };
            match resource {
                Ok(resource) if resource.applies_to(app_id) => loaded.resources.push(resource),
                Ok(_) => {}
                Err(cause) => {
                    loaded.errors.push(format!(
                        "Could not parse resiliency file {}: {cause}",
                        path.display()
                    ));
                }
            }
        }
        loaded
    }

    /// Whether the scopes admit the app.
    #[must_use]
    pub fn applies_to(&self, app_id: &str) -> bool {
        self.scopes.is_empty() || self.scopes.iter().any(|scope| scope == app_id)
    }
}

impl Resource for Resiliency {
    const KIND: &'static str = "Resiliency";

    fn from_document(_api_version: &str, document: &Value) -> Result<Self, DecodeError> {
        let wire: ResiliencySpec = from_value_ignoring_case(document)?;
        Ok(Self {
            metadata: wire.metadata,
            scopes: wire.scopes,
            policies: wire.spec.policies,
            targets: wire.spec.targets,
        })
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// Here the namespace counts too.
    fn same_as(&self, other: &Self) -> bool {
        let Self {
            metadata,
            scopes,
            policies,
            targets,
        } = self;
        metadata.name == other.metadata.name
            && metadata.namespace == other.metadata.namespace
            && *scopes == other.scopes
            && *policies == other.policies
            && *targets == other.targets
    }
}

// === impl LoadedResiliency ===

impl LoadedResiliency {
    /// Writes warnings and errors to the log.
    pub fn log(&self) {
        for warning in &self.warnings {
            tracing::warn!(target: "dapr.runtime", "{warning}");
        }
        for error in &self.errors {
            tracing::error!(target: "dapr.runtime", "{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::manifests::tests::Memory;

    #[test]
    fn only_the_first_document_of_a_file_counts() {
        let resiliency = |name: &str, scopes: &str| {
            format!("kind: Resiliency\nmetadata: {{name: {name}}}\nscopes: {scopes}\n")
        };
        let component = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: c}\n";
        let files = [
            (
                "r/a.yaml",
                &*format!("{}---\n{component}", resiliency("a", "[app1]")),
            ),
            ("r/b.yaml", &*format!("{component}---\n{}", resiliency("b", "[]"))),
            ("r/c.yaml", &*resiliency("c", "[other]")),
            ("r/d.yaml", "kind: ["),
            ("r/e.txt", ""),
            (
                "r/f.yaml",
                "kind: Resiliency\nspec: {policies: {retries: {x: []}}}",
            ),
        ];
        let loaded = Resiliency::load(
            &Manifests::read(&Memory::new(&files), &["r".into()]).unwrap(),
            "app1",
        );
        let names: Vec<_> = loaded
            .resources
            .iter()
            .map(|resource| resource.metadata.name.as_str())
            .collect();
        assert_eq!(names, ["a"]);
        assert_eq!(
            loaded.warnings,
            ["A non-YAML resiliency file e.txt was detected, it will not be loaded"]
        );
        assert!(
            loaded.errors[0].starts_with("Could not parse resiliency file r/d.yaml: "),
            "{:?}",
            loaded.errors
        );
        assert_eq!(
            loaded.errors[1],
            "Could not parse resiliency file r/f.yaml: spec.policies.retries.x: expected an object, found a list"
        );
    }
}
