//! Resources that a run is started with.

use outrigger_config::Mode;
use outrigger_config::daprd::Settings;
use outrigger_config::resources::{
    Component, Disk, Filter, HttpEndpoint, Manifests, PropertyValue, Resource,
};

use super::reload::Installed;
use super::{RUNTIME, RunError};
use crate::app::AppNetwork;
use crate::components::{Components, References, kubernetes};
use crate::invoke::{EndpointSettings, Endpoints};
use crate::metadata::{MetadataStore, Named};

/// What the resource folders gave a run.
#[derive(Debug)]
pub(super) struct Resources {
    /// Servers outside, by name.
    pub(super) endpoints: Endpoints,
    /// What was read, for comparison when it is read again.
    pub(super) installed: Installed,
}

/// Loads components, then HTTPEndpoints; what is loaded shows in the metadata.
pub(super) async fn load(
    settings: &Settings,
    components: &Components,
    network: &AppNetwork,
    metadata: &MetadataStore,
    references: &References,
) -> Result<Resources, RunError> {
    if settings.mode == Mode::Kubernetes && !settings.disable_builtin_k8s_secret_store {
        components
            .add(kubernetes())
            .await
            .map_err(|error| RunError::Components(error.to_string()))?;
    }
    let manifests = Manifests::read(&Disk, &settings.resource_paths)
        .map_err(|error| RunError::Components(error.to_string()))?;
    tracing::info!(target: RUNTIME, "Loading components…");
    components
        .load(selected::<Component>(settings, &manifests)?)
        .await
        .map_err(|error| RunError::Components(error.to_string()))?;
    tracing::info!(target: RUNTIME, "Waiting for all outstanding components to be processed…");
    tracing::info!(target: RUNTIME, "All outstanding components processed");
    tracing::info!(target: RUNTIME, "Loading endpoints…");
    let endpoints = endpoints(settings, &manifests, references).await?;
    metadata.update(|metadata| {
        metadata.http_endpoints = endpoints
            .iter()
            .map(|endpoint| Named {
                name: endpoint.name.clone(),
            })
            .collect();
    });
    tracing::info!(target: RUNTIME, "Waiting for all outstanding http endpoints to be processed…");
    let endpoints =
        Endpoints::new(&endpoints, network).map_err(|error| RunError::Components(error.to_string()))?;
    tracing::info!(target: RUNTIME, "All outstanding http endpoints processed");
    Ok(Resources {
        endpoints,
        installed: Installed::at_start(&manifests, &filter(settings)),
    })
}

/// The resources of one kind that are meant for this app.
fn selected<R: Resource>(settings: &Settings, manifests: &Manifests) -> Result<Vec<R>, RunError> {
    let loaded = manifests.select::<R>();
    loaded.log();
    filter(settings)
        .keep(loaded.resources)
        .map_err(|error| RunError::Components(error.to_string()))
}

fn filter(settings: &Settings) -> Filter<'_> {
    Filter::new(settings.app_id.as_ref(), &settings.namespace)
}

async fn endpoints(
    settings: &Settings,
    manifests: &Manifests,
    references: &References,
) -> Result<Vec<EndpointSettings>, RunError> {
    let mut endpoints = selected::<HttpEndpoint>(settings, manifests)?;
    for endpoint in &mut endpoints {
        references.of_endpoint(endpoint).await;
    }
    Ok(endpoints.into_iter().map(settings_of).collect())
}

fn settings_of(endpoint: HttpEndpoint) -> EndpointSettings {
    let tls = endpoint.client_tls.unwrap_or_default();
    let text = |value: Option<PropertyValue>| {
        value
            .map(|value| value.text().to_owned())
            .filter(|text| !text.is_empty())
    };
    EndpointSettings {
        name: endpoint.metadata.name,
        base_url: endpoint.base_url,
        headers: endpoint
            .headers
            .iter()
            .map(|header| (header.name.clone(), header.value.text().to_owned()))
            .collect(),
        root_ca: text(tls.root_ca),
        client_certificate: text(tls.certificate).zip(text(tls.private_key)),
    }
}
