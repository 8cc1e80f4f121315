//! Resiliency resources that a run is started with.
//!
//! Source: specification, resiliency 1.1.

use outrigger_config::daprd::Settings;
use outrigger_config::resources::{Disk, Manifests, Resiliency};
use outrigger_resilience::{Loaded, Policies};
use outrigger_telemetry::metrics::Metrics;

use crate::metadata::{MetadataStore, Named};

/// Loads the policies that apply to this app; what is loaded shows in the metadata.
///
/// A mistake is logged and never keeps the sidecar from starting. Folders that cannot be read are a matter of
/// the resources that follow.
pub(super) fn load(settings: &Settings, metrics: &Metrics, metadata: &MetadataStore) -> Policies {
    let Ok(manifests) = Manifests::read(&Disk, &settings.resource_paths) else {
        return Policies::default();
    };
    let files = Resiliency::load(&manifests, settings.app_id.as_ref());
    files.log();
    let Loaded { policies, names } = Policies::load(&files.resources, metrics);
    metadata.update(|metadata| {
        metadata.resiliencies = names.into_iter().map(|name| Named { name }).collect();
    });
    policies
}
