//! The resources that a run works with, kind by kind.

use outrigger_config::resources::{
    Component, Filter, HttpEndpoint, Loaded, Manifests, McpServer, Resiliency, Resource, Subscription,
    WatchedConfiguration, WorkflowAccessPolicy,
};

use crate::sidecar::RunError;

/// What the folders held when they were last read.
#[derive(Clone, Debug, Default)]
pub(in crate::sidecar) struct Installed {
    pub(super) components: Vec<Component>,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) mcp_servers: Vec<McpServer>,
    pub(super) workflow_access_policies: Vec<WorkflowAccessPolicy>,
    pub(super) configurations: Vec<WatchedConfiguration>,
    pub(super) http_endpoints: Vec<HttpEndpoint>,
    pub(super) resiliencies: Vec<Resiliency>,
}

// === impl Installed ===

impl Installed {
    /// What a run starts with. Warnings and duplicates are told by those who load a kind.
    pub(in crate::sidecar) fn at_start(manifests: &Manifests, filter: &Filter<'_>) -> Self {
        fn quietly<R: Resource>(manifests: &Manifests, filter: &Filter<'_>) -> Vec<R> {
            let mut resources = manifests.select::<R>().resources;
            resources.retain(|resource| filter.admits(resource));
            resources
        }
        Self {
            components: quietly(manifests, filter),
            subscriptions: quietly(manifests, filter),
            mcp_servers: quietly(manifests, filter),
            workflow_access_policies: quietly(manifests, filter),
            configurations: quietly(manifests, filter),
            http_endpoints: quietly(manifests, filter),
            resiliencies: quietly(manifests, filter),
        }
    }

    /// What is there now.
    ///
    /// # Errors
    /// Names that are taken twice.
    pub(super) fn read(manifests: &Manifests, filter: &Filter<'_>) -> Result<Self, RunError> {
        Ok(Self {
            components: kept(manifests, filter)?,
            // Subscriptions may share a name.
            subscriptions: {
                let mut subscriptions = told(manifests);
                subscriptions.retain(|subscription| filter.admits(subscription));
                subscriptions
            },
            mcp_servers: kept(manifests, filter)?,
            workflow_access_policies: kept(manifests, filter)?,
            configurations: kept(manifests, filter)?,
            http_endpoints: kept(manifests, filter)?,
            resiliencies: kept(manifests, filter)?,
        })
    }
}

fn kept<R: Resource>(manifests: &Manifests, filter: &Filter<'_>) -> Result<Vec<R>, RunError> {
    filter
        .keep(told(manifests))
        .map_err(|error| RunError::Resources(format!("failed to load resources from disk: {error}")))
}

fn told<R: Resource>(manifests: &Manifests) -> Vec<R> {
    let loaded: Loaded<R> = manifests.select();
    loaded.log();
    loaded.resources
}
