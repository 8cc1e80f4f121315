//! Resources that change while the sidecar runs.
//!
//! Source: specification, components 6.4 and 6.5.

use outrigger_config::resources::{Component, Resource};

use super::{ComponentError, Components, RELOAD, category};

// === impl Components ===

impl Components {
    /// A component has changed, or is new: the old one is closed first.
    ///
    /// # Errors
    /// Those of [`add`](Self::add).
    pub(crate) async fn update(&self, mut component: Component) -> Result<(), ComponentError> {
        let log_name = component.log_name();
        if let Some(holder) = self.holder(&component) {
            tracing::error!(
                target: RELOAD,
                "Skipping hot reload of {log_name}: {holder} is already the actor state store, only one actor state \
                 store is allowed. The component will be applied if {holder} is removed"
            );
            self.books().skipped = Some(component);
            return Ok(());
        }
        let resolved = self.resolve(&mut component).await;
        if let Some(installed) = self.installed(&component.metadata.name) {
            if component.same_as(&installed) {
                tracing::debug!(target: RELOAD, "Component update skipped: no changes detected: {log_name}");
                return Ok(());
            }
            let (new, old) = (component.metadata.generation, installed.metadata.generation);
            if new > 0 && new < old {
                tracing::warn!(
                    target: RELOAD,
                    "Ignoring stale Component event for {log_name} (generation {new} < installed {old})"
                );
                return Ok(());
            }
            tracing::info!(target: RELOAD, "Closing existing Component to reload: {}", installed.log_name());
            if let Err(error) = self.close(&installed).await {
                tracing::error!(target: RELOAD, "error closing old component: {error}");
                return Ok(());
            }
        }
        if !self.admits(&component) {
            tracing::warn!(target: RELOAD, "Received unauthorized component update, ignored: {log_name}");
            return Ok(());
        }
        tracing::info!(target: RELOAD, "Adding Component for processing: {log_name}");
        self.place(component, resolved).await?;
        tracing::info!(target: RELOAD, "Component updated: {log_name}");
        self.apply_skipped().await
    }

    /// Makes the component that was skipped while another held what there is only once, if that is free now.
    async fn apply_skipped(&self) -> Result<(), ComponentError> {
        let Some(component) = self.books().skipped.take() else {
            return Ok(());
        };
        if self.holder(&component).is_some() {
            self.books().skipped = Some(component);
            return Ok(());
        }
        let log_name = component.log_name();
        tracing::info!(target: RELOAD, "Applying previously skipped actor state store: {log_name}");
        Box::pin(self.update(component)).await
    }

    fn holder(&self, component: &Component) -> Option<String> {
        let family = self.0.families.get(category(component)?.as_str())?;
        family.holder(component)
    }

    /// A component is no longer wanted: it is closed, if it is there.
    ///
    /// # Errors
    /// If one that takes its place cannot be made and its error is not to be ignored.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), ComponentError> {
        {
            let mut books = self.books();
            books.skipped.take_if(|component| component.metadata.name == name);
            for parked in books.parked.values_mut() {
                parked.retain(|component| component.metadata.name != name);
            }
        }
        self.stop_retrying(name);
        match self.installed(name) {
            Some(installed) => {
                if let Err(error) = self.close(&installed).await {
                    tracing::error!(target: RELOAD, "error closing deleted component: {error}");
                }
            }
            None => self.0.states.leave(name),
        }
        self.apply_skipped().await
    }
}
