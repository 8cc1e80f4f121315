//! The states of components: one small machine each, seen in metadata, metrics and the log.
//!
//! ```text
//! Starting ──made──▶ Ready ◀──▶ Degraded
//!     └────error───▶ Failed ──made after all──▶ Ready
//! ```
//!
//! A component that waits for its secret store is starting. What failed and is ignored is tried again. The
//! metadata list only components that can be used; those in another state are named in `extended`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use outrigger_telemetry::metrics::{Metrics, Success};

use crate::metadata::MetadataStore;

/// The states of all components.
#[derive(Debug)]
pub(super) struct States {
    all: Mutex<BTreeMap<String, Entry>>,
    metadata: MetadataStore,
    metrics: Metrics,
}

/// How a component does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is being made, or waits for what it needs.
    Starting,
    /// It can be used.
    Ready,
    /// It can be used, but says that it cannot do all it should.
    Degraded,
    /// It was not made; it may be tried again.
    Failed,
}

#[derive(Debug)]
struct Entry {
    kind: String,
    state: State,
}

const SCOPE: &str = "dapr.runtime.processor";
/// Before the name of a component in the extended metadata.
const PREFIX: &str = "componentState/";

// === impl States ===

impl States {
    /// No component is known yet.
    pub(super) fn new(metadata: MetadataStore, metrics: Metrics) -> Self {
        Self {
            all: Mutex::default(),
            metadata,
            metrics,
        }
    }

    /// A component has come into a state.
    pub(super) fn enter(&self, name: &str, kind: &str, state: State) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = Entry {
            kind: kind.to_owned(),
            state,
        };
        let before = all.insert(name.to_owned(), entry).map(|entry| entry.state);
        if before != Some(state) {
            self.show(name, kind, before, state);
        }
    }

    /// A component that is in use says how it does: the reason while it is degraded, none when it is well.
    pub(super) fn tell(&self, name: &str, log_name: &str, reason: Option<&str>) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = all.get_mut(name) else { return };
        let (before, now) = match (entry.state, reason) {
            (State::Ready, Some(reason)) => {
                tracing::warn!(target: SCOPE, "Component is degraded: {log_name}: {reason}");
                (State::Ready, State::Degraded)
            }
            (State::Degraded, None) => {
                tracing::info!(target: SCOPE, "Component is ready again: {log_name}");
                (State::Degraded, State::Ready)
            }
            _ => return,
        };
        entry.state = now;
        let kind = entry.kind.clone();
        self.show(name, &kind, Some(before), now);
    }

    /// A component is no more.
    pub(super) fn leave(&self, name: &str) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Entry { kind, state }) = all.remove(name) {
            let series = self.metrics.runtime();
            series.component_state(&kind, name, state.as_str(), Success::No);
            self.explain(name, None);
        }
    }

    fn show(&self, name: &str, kind: &str, before: Option<State>, now: State) {
        let series = self.metrics.runtime();
        if let Some(before) = before {
            series.component_state(kind, name, before.as_str(), Success::No);
        }
        series.component_state(kind, name, now.as_str(), Success::Yes);
        self.explain(name, (now != State::Ready).then_some(now));
    }

    /// Names the state of a component in the metadata, or leaves it unsaid.
    fn explain(&self, name: &str, state: Option<State>) {
        let key = format!("{PREFIX}{name}");
        self.metadata.update(|metadata| {
            let extended = &mut metadata.extended;
            match state {
                Some(state) => extended.insert(key, state.as_str().to_owned()),
                None => extended.remove(&key),
            };
        });
    }
}

// === impl State ===

impl State {
    /// The name of the state in metadata and metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        }
    }
}
