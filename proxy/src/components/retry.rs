//! Components whose first start has failed, and whose resources say that errors are to be ignored: they are tried
//! again in the background until they come up.
//!
//! Each try resolves references anew and has the component's own time. A change of the resource, or its end, ends
//! the tries.

use std::sync::{Arc, Weak};
use std::time::Duration;

use outrigger_config::resources::{Component, Resource};
use outrigger_kit::backoff::{Exponential, Policy};
use outrigger_svc::BoxFuture;

use super::family::Failure;
use super::resolve::Resolved;
use super::{ComponentError, Components, PROCESSOR, Shared, State};

/// Pauses between tries: from one second to one minute, for as long as it takes.
const PAUSES: Policy = Policy::Exponential(Exponential {
    initial: Duration::from_secs(1),
    multiplier: 2.0,
    jitter: 0.2,
    max_interval: Duration::from_secs(60),
    max_elapsed: None,
    max_retries: None,
});

// === impl Components ===

impl Components {
    /// Tries a component again and again until it comes up.
    pub(super) fn retry(&self, component: Component) {
        let name = component.metadata.name.clone();
        let tries = tokio::spawn(tries(Arc::downgrade(&self.0), component));
        let before = self.books().retried.insert(name, tries.abort_handle());
        if let Some(before) = before {
            before.abort();
        }
    }

    /// Nobody wants the component to come up any more.
    pub(super) fn stop_retrying(&self, name: &str) {
        if let Some(tries) = self.books().retried.remove(name) {
            tries.abort();
        }
    }

    /// Resolves when a component that was tried in the background has brought others up that must not fail, and did.
    pub(crate) async fn failed(&self) -> ComponentError {
        let mut failure = self.0.failure.subscribe();
        let failed = failure.wait_for(Option::is_some).await;
        let failed = failed.map(|failure| failure.clone()).ok().flatten();
        match failed {
            Some(error) => error,
            // The sender lives as long as this.
            None => std::future::pending().await,
        }
    }

    /// One try.
    ///
    /// # Errors
    /// Why the component is still not there.
    async fn try_again(&self, component: &mut Component) -> Result<(), Failure> {
        match self.resolve(component).await {
            Resolved::WaitsFor(store) => {
                // The store brings it up, once it is there.
                self.enter(component, State::Starting);
                self.park(store, component.clone());
                Ok(())
            }
            Resolved::Ready => self.install(component).await,
        }
    }
}

/// The tries of one component. Nothing keeps the run alive while they pause.
fn tries(components: Weak<Shared>, mut component: Component) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let mut pauses = PAUSES.start();
        let log_name = component.log_name();
        while let Some(pause) = pauses.next_pause(Duration::ZERO) {
            tokio::time::sleep(pause).await;
            let Some(components) = components.upgrade().map(Components) else {
                return;
            };
            match components.try_again(&mut component).await {
                Ok(()) => {
                    let name = &component.metadata.name;
                    components.books().retried.remove(name);
                    if let Err(error) = components.follow(name).await {
                        components.0.failure.send_replace(Some(error));
                    }
                    return;
                }
                Err(failure) => tracing::warn!(
                    target: PROCESSOR,
                    "Component {log_name} still cannot be used, and is tried again: {}",
                    failure.text(&log_name)
                ),
            }
        }
    })
}
