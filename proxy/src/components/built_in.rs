//! The component that nobody declares: Kubernetes' own secret store.
//!
//! Source: specification, components 2.6 and 6.3.

use std::time::Duration;

use outrigger_config::resources::{Component, Metadata};

use super::resolve::KUBERNETES;

const KIND: &str = "secretstores.kubernetes";

/// The secret store of the cluster, as if a resource had declared it.
pub(crate) fn kubernetes() -> Component {
    Component {
        metadata: Metadata {
            name: KUBERNETES.to_owned(),
            ..Metadata::default()
        },
        kind: KIND.to_owned(),
        version: "v1".to_owned(),
        ignore_errors: false,
        init_timeout: Duration::from_secs(5),
        properties: Vec::new(),
        secret_store: String::new(),
        scopes: Vec::new(),
    }
}

/// Whether a component is that one: it stays although no resource declares it.
pub(crate) fn is_built_in(component: &Component) -> bool {
    component.metadata.name == KUBERNETES && component.kind == KIND
}
