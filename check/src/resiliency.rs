//! Resiliency: targets and the policies that they name.

use std::collections::BTreeSet;

use outrigger_kit::quote::go_quote;
use outrigger_resilience::trip::Trip;

use crate::Check;
use crate::document::{Document, Node};
use crate::suggest::{did_you_mean, nearest};

/// Kind of a policy: the member of a target that names one, the member of `policies` that defines it.
const KINDS: [(&str, &str); 3] = [
    ("timeout", "timeouts"),
    ("retry", "retries"),
    ("circuitBreaker", "circuitBreakers"),
];

const BUILT_IN: [&str; 5] = [
    "DaprBuiltInServiceRetries",
    "DaprBuiltInActorRetries",
    "DaprBuiltInActorReminderRetries",
    "DaprBuiltInActorNotFoundRetries",
    "DaprBuiltInInitializationRetries",
];

// === impl Check ===

impl Check<'_> {
    /// Looks at every Resiliency.
    pub(crate) fn resiliency(&mut self) {
        let documents: Vec<_> = self
            .resources
            .iter()
            .filter(|document| document.kind() == "Resiliency")
            .cloned()
            .collect();
        let policies = KINDS.map(|(_, kind)| defined(&documents, kind));
        for document in &documents {
            self.trips(document);
            let Some(targets) = document.spec().get("targets") else {
                continue;
            };
            self.target_apps(document, targets);
            self.target_components(document, targets);
            for kind in ["apps", "actors"] {
                for target in targets.map(kind) {
                    self.policies_of(document, &target.value, &policies);
                }
            }
            for actor in targets.map("actors") {
                let needs_scope = !actor.value.text("circuitBreaker").is_empty();
                if needs_scope && actor.value.text("circuitBreakerScope").is_empty() {
                    let message = "actor circuit breakers must include scope";
                    self.findings.add(document.place(actor.line), message);
                }
            }
            for component in targets.map("components") {
                for direction in component.value.entries() {
                    self.policies_of(document, &direction.value, &policies);
                }
            }
        }
    }

    /// The conditions that open circuit breakers, by the compiler of the sidecar.
    fn trips(&mut self, document: &Document) {
        let Some(policies) = document.spec().get("policies") else {
            return;
        };
        for breaker in policies.map("circuitBreakers") {
            let trip = breaker.value.text("trip");
            if let Err(error) = Trip::compile(trip)
                && !trip.is_empty()
            {
                let place = document.place(breaker.value.line_of("trip"));
                let message = format!("trip of circuitBreaker {}: {error}", go_quote(&breaker.key));
                self.findings.add(place, message);
            }
        }
    }

    fn policies_of(&mut self, document: &Document, target: &Node, policies: &[BTreeSet<String>; 3]) {
        for ((member, _), known) in KINDS.iter().zip(policies) {
            let Some(node) = target.get(member) else { continue };
            let name = node.as_text().unwrap_or_default();
            if !name.is_empty() && !known.contains(name) {
                let meant = did_you_mean(name, known.iter().map(String::as_str));
                let message = format!("{member} policy {} does not exist{meant}", go_quote(name));
                self.findings.add(document.place(node.line), message);
            }
        }
    }

    /// A target may well be an app that no file here names, but not one that is spelled almost like it.
    fn target_apps(&mut self, document: &Document, targets: &Node) {
        let named: BTreeSet<_> = targets
            .map("apps")
            .iter()
            .map(|target| target.key.as_str())
            .collect();
        let scopes = self
            .resources
            .iter()
            .flat_map(Document::scopes)
            .map(|(name, _)| name.to_owned());
        let mut known: BTreeSet<String> = scopes.collect();
        known.insert(self.app_id().to_owned());
        for target in targets.map("apps") {
            let app_id = target.key.split('.').next().unwrap_or_default();
            if known.contains(app_id) {
                continue;
            }
            let others = known
                .iter()
                .map(String::as_str)
                .filter(|name| !named.contains(name));
            if let Some(meant) = nearest(app_id, others) {
                let (app_id, meant) = (go_quote(app_id), go_quote(meant));
                let message = format!("target app {app_id} is named nowhere else; did you mean {meant}?");
                self.findings.add(document.place(target.line), message);
            }
        }
    }

    fn target_components(&mut self, document: &Document, targets: &Node) {
        let components = self
            .resources
            .iter()
            .filter(|document| document.kind() == "Component");
        let known: Vec<_> = components.map(|component| component.name().to_owned()).collect();
        for target in targets.map("components") {
            if !known.contains(&target.key) {
                let meant = did_you_mean(&target.key, known.iter().map(String::as_str));
                let message = format!("target component {} does not exist{meant}", go_quote(&target.key));
                self.findings.add(document.place(target.line), message);
            }
        }
    }
}

/// The policies of a kind that all resources together define.
fn defined(documents: &[Document], kind: &str) -> BTreeSet<String> {
    let built_in = match kind {
        "retries" => &BUILT_IN[..],
        _ => &[],
    };
    let mut names: BTreeSet<_> = built_in.iter().map(|name| (*name).to_owned()).collect();
    for document in documents {
        if let Some(policies) = document.spec().get("policies") {
            names.extend(policies.map(kind).iter().map(|policy| policy.key.clone()));
        }
    }
    names
}
