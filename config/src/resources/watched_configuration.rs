//! The kind `Configuration` in a resource folder, which is only watched for changes.

use outrigger_kit::json::{DecodeError, from_value_ignoring_case, get_ignoring_case};
use serde::Deserialize;
use serde_json::Value;

use super::{Metadata, Resource};

/// A Configuration in a resource folder: a change restarts the runtime, whose Configuration comes from its own file.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchedConfiguration {
    /// Name and namespace.
    pub metadata: Metadata,
    /// What it says, uninterpreted.
    pub spec: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Head {
    metadata: Metadata,
}

// === impl WatchedConfiguration ===

impl Resource for WatchedConfiguration {
    const KIND: &'static str = "Configuration";

    fn from_document(_api_version: &str, document: &Value) -> Result<Self, DecodeError> {
        let head: Head = from_value_ignoring_case(document)?;
        let spec = document
            .as_object()
            .and_then(|members| get_ignoring_case(members, "spec"));
        Ok(Self {
            metadata: head.metadata,
            spec: spec.cloned().unwrap_or_default(),
        })
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn scopes(&self) -> &[String] {
        &[]
    }

    /// Here the namespace counts too.
    fn same_as(&self, other: &Self) -> bool {
        self.metadata.name == other.metadata.name
            && self.metadata.namespace == other.metadata.namespace
            && self.spec == other.spec
    }
}
