//! One component: made in its time, counted, listed.
//!
//! Source: specification, components 5.1 and 5.2.

use std::sync::Arc;
use std::time::Duration;

use outrigger_component::{Condition, Init};
use outrigger_config::resources::{Category, Component, Resource};
use tokio::time::Instant;

use super::family::{Failure, Opened};
use super::{ComponentError, Components, PROCESSOR, RUNTIME, State, resolve};

/// How much longer than its time a component gets to say itself that the time is over.
const LAST_WORDS: Duration = Duration::from_millis(250);

// === impl Components ===

impl Components {
    /// Makes a component whose references are resolved. An error that is ignored is none to the caller.
    pub(super) async fn make(&self, component: Component) -> Result<(), ComponentError> {
        let Err(failure) = self.install(&component).await else {
            return Ok(());
        };
        self.enter(&component, State::Failed);
        let log_name = component.log_name();
        if !matches!(failure, Failure::NoCategory(_)) {
            let error = failure.text(&log_name);
            tracing::error!(target: PROCESSOR, "Failed to init component {log_name}: {error}");
        }
        let error = ComponentError {
            name: component.metadata.name.clone(),
            error: failure.outer_text(&log_name),
        };
        if !component.ignore_errors {
            tracing::warn!(target: RUNTIME, "Error processing component, daprd will exit gracefully: {error}");
            return Err(error);
        }
        tracing::error!(target: PROCESSOR, "Ignoring error processing component: {error}");
        if !failure.is_final() {
            self.retry(component);
        }
        Ok(())
    }

    /// Makes a component, counts how that went, and lists it if it went well.
    pub(super) async fn install(&self, component: &Component) -> Result<(), Failure> {
        let log_name = component.log_name();
        let category = component.category();
        let category = category.map_err(|error| Failure::NoCategory(error.to_string()))?;
        if self
            .installed(&component.metadata.name)
            .is_some_and(|installed| installed.same_as(component))
        {
            tracing::debug!(
                target: PROCESSOR,
                "Component init skipped: identical component already installed: {log_name}"
            );
            return Ok(());
        }
        let _pending = self.0.pending.lock().await;
        let outcome = if self.installed(&component.metadata.name).is_some() {
            let text = format!("component {} already exists", component.metadata.name);
            Err(Failure::Bare(text))
        } else {
            self.open(category, component, &log_name).await
        };
        let runtime = self.0.metrics.runtime();
        match outcome {
            Ok(opened) => {
                self.commit(component, opened);
                runtime.component_loaded();
                runtime.component_initialised(&component.kind);
                tracing::info!(target: PROCESSOR, "Component loaded: {log_name}");
                Ok(())
            }
            Err(failure) => {
                runtime.component_failed(&component.kind, failure.reason(), &component.metadata.name);
                Err(failure)
            }
        }
    }

    async fn open(
        &self,
        category: Category,
        component: &Component,
        log_name: &str,
    ) -> Result<Opened, Failure> {
        let shared = &*self.0;
        let properties = resolve::settings(component, &shared.placeholders, shared.is_wasm_confined)
            .map_err(|error| Failure::Init(error.to_string()))?;
        let deadline = Instant::now() + component.init_timeout;
        let init = Init {
            name: component.metadata.name.as_str().into(),
            log_name: log_name.into(),
            app_id: Arc::clone(shared.app_id.as_arc()),
            namespace: shared.namespace.name().into(),
            properties,
            deadline,
            http: shared.http.clone(),
            condition: self.condition(component, log_name),
        };
        let family = shared
            .families
            .get(category.as_str())
            .expect("every category has its family");
        let too_late = || Failure::Bare(format!("init timeout for component {log_name}"));
        let opened = tokio::time::timeout_at(deadline + LAST_WORDS, family.open(component, init)).await;
        match opened {
            Ok(Ok(_)) if Instant::now() > deadline => {
                // It is of no use to anybody now.
                family.close(component).await.ok();
                Err(too_late())
            }
            Ok(outcome) => outcome,
            Err(_) => Err(too_late()),
        }
    }

    fn condition(&self, component: &Component, log_name: &str) -> Condition {
        let states = Arc::downgrade(&self.0.states);
        let (name, log_name) = (component.metadata.name.clone(), log_name.to_owned());
        Condition::new(move |reason| {
            if let Some(states) = states.upgrade() {
                states.tell(&name, &log_name, reason);
            }
        })
    }

    fn commit(&self, component: &Component, opened: Opened) {
        self.books().installed.push((component.clone(), opened));
        self.enter(component, State::Ready);
        self.show();
    }
}
