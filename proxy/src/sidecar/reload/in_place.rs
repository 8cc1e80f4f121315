//! Kinds whose changes are applied to the running sidecar.
//!
//! Subscriptions, MCP servers and workflow access policies are compared and told, and have no effect in this build.

use std::fmt::Display;

use outrigger_config::resources::{Changes, Component, Filter, Manifests, Resource};

use super::{Installed, RECONCILER};
use crate::components::{Components, is_built_in};
use crate::sidecar::RunError;

/// Applies what has changed; of the kinds without effect, `installed` is then what is `now`.
///
/// # Errors
/// A component that cannot be made and must be.
pub(super) async fn apply(
    installed: &mut Installed,
    now: &Installed,
    components: &Components,
) -> Result<(), RunError> {
    follow(
        &mut installed.workflow_access_policies,
        &now.workflow_access_policies,
    );
    apply_components(&now.components, components).await?;
    follow(&mut installed.subscriptions, &now.subscriptions);
    follow(&mut installed.mcp_servers, &now.mcp_servers);
    Ok(())
}

/// The same from time to time, should an event have been lost. What cannot be listed stays as it is.
///
/// # Errors
/// A component that cannot be made and must be.
pub(super) async fn reconcile(
    manifests: Result<Manifests, RunError>,
    filter: &Filter<'_>,
    installed: &mut Installed,
    components: &Components,
) -> Result<(), RunError> {
    for (kind, _) in super::IN_PLACE {
        tracing::debug!(target: RECONCILER, "Running scheduled {kind} reconcile");
    }
    let unlisted = |error: &dyn Display| {
        for (kind, _) in super::IN_PLACE {
            tracing::error!(target: RECONCILER, "Error listing {kind}: {error}");
        }
        Ok(())
    };
    let manifests = match manifests {
        Ok(manifests) => manifests,
        Err(error) => return unlisted(&error),
    };
    match Installed::read(&manifests, filter) {
        Ok(now) => apply(installed, &now, components).await,
        Err(error) => unlisted(&error),
    }
}

/// Closes, makes again and makes components. What is in use has its references resolved, so a component with
/// references seems changed each time; [`Components::update`] finds out.
async fn apply_components(now: &[Component], components: &Components) -> Result<(), RunError> {
    let changes = Changes::between(&components.all_installed(), now);
    let deleted = changes.deleted.iter().filter(|component| !is_built_in(component));
    for component in deleted {
        tell(component, "DELETED", "deletion, closing");
        let deleted = components.delete(&component.metadata.name).await;
        deleted.map_err(|error| RunError::Resources(error.to_string()))?;
    }
    let updated = changes
        .updated
        .into_iter()
        .map(|component| (component, "UPDATED", "update"));
    let created = changes
        .created
        .into_iter()
        .map(|component| (component, "CREATED", "creation"));
    for (component, event, what) in updated.chain(created) {
        tell(&component, event, what);
        components
            .update(component)
            .await
            .map_err(|error| RunError::Resources(error.to_string()))?;
    }
    Ok(())
}

/// Tells the changes of a kind that has no effect.
fn follow<R: Resource + Clone>(installed: &mut Vec<R>, now: &[R]) {
    let changes = Changes::between(installed, now);
    for resource in &changes.deleted {
        tell(resource, "DELETED", "deletion, closing");
    }
    for resource in &changes.updated {
        tell(resource, "UPDATED", "update");
    }
    for resource in &changes.created {
        tell(resource, "CREATED", "creation");
    }
    if !changes.is_empty() {
        *installed = now.to_vec();
    }
}

fn tell<R: Resource>(resource: &R, event: &str, what: &str) {
    let (kind, name) = (R::KIND, resource.log_name());
    tracing::debug!(target: RECONCILER, "Received {kind} event {event}: {name}");
    tracing::debug!(target: RECONCILER, "Received {kind} {what}: {name}");
}
