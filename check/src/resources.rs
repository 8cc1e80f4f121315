//! Names of resources, and what subscriptions and endpoints refer to.

use std::collections::BTreeMap;

use http::Uri;
use outrigger_config::resources::check_name;
use outrigger_kit::quote::go_quote;

use crate::Check;
use crate::document::Document;
use crate::shapes::known_kind;
use crate::suggest::did_you_mean;

// === impl Check ===

impl Check<'_> {
    /// Names that are missing, forbidden, or taken.
    pub(crate) fn names(&mut self) {
        let mut taken: BTreeMap<(&str, &str), Vec<&Document>> = BTreeMap::new();
        for document in &self.resources {
            let (kind, name) = (document.kind(), document.name());
            let place = document.place(document.name_line());
            if name.is_empty() {
                self.findings.add(place, "metadata.name is missing");
                continue;
            }
            if let Some(kind) = known_kind(kind)
                && let Err(error) = check_name(kind, name)
            {
                self.findings.add(place, error.to_string());
            }
            let others = taken.entry((kind, name)).or_default();
            // Only what one sidecar would load both of is a contradiction.
            let both = |other: &&&Document| meets(document, other);
            if let Some(other) = others.iter().find(both) {
                let first = format!("{}:{}", other.file, other.name_line());
                let message = format!("{kind} {} is defined at {first} already", go_quote(name));
                self.findings.add(document.place(document.name_line()), message);
            }
            others.push(document);
        }
    }

    /// Looks at every Subscription.
    pub(crate) fn subscriptions(&mut self) {
        for document in self.resources.clone() {
            if document.kind() != "Subscription" {
                continue;
            }
            let spec = document.spec();
            for required in ["topic", "pubsubname"] {
                if spec.text(required).is_empty() {
                    let message = format!("spec.{required} is missing");
                    self.findings.add(document.place(spec.line.max(1)), message);
                }
            }
            let store = spec.text("pubsubname");
            let known: Vec<_> = self
                .of_family("pubsub")
                .map(|component| component.name().to_owned())
                .collect();
            if !store.is_empty() && !known.iter().any(|name| name == store) {
                let meant = did_you_mean(store, known.iter().map(String::as_str));
                let message = format!("pub/sub component {} does not exist{meant}", go_quote(store));
                self.findings
                    .add(document.place(spec.line_of("pubsubname")), message);
            }
        }
    }

    /// Looks at every HTTPEndpoint.
    pub(crate) fn endpoints(&mut self) {
        for document in self.resources.clone() {
            if document.kind() != "HTTPEndpoint" {
                continue;
            }
            let spec = document.spec();
            let url = spec.text("baseUrl");
            let is_url = url.parse::<Uri>().is_ok_and(|url| {
                matches!(url.scheme_str(), Some("http" | "https"))
                    && url.host().is_some_and(|host| !host.is_empty())
            });
            if !is_url {
                let message = format!("spec.baseUrl {} is no http or https URL", go_quote(url));
                self.findings
                    .add(document.place(spec.line_of("baseUrl")), message);
            }
            for header in spec.list("headers") {
                self.property(&document, header);
            }
            if let Some(tls) = spec.get("clientTLS") {
                for part in ["rootCA", "certificate", "privateKey"] {
                    let reference = tls.get(part).and_then(|part| part.get("secretKeyRef"));
                    if let Some(reference) = reference {
                        self.secret(&document, reference);
                    }
                }
            }
        }
    }
}

/// Whether there can be a sidecar that loads both.
fn meets(one: &Document, other: &Document) -> bool {
    let is_open = |document: &Document| document.scopes().next().is_none();
    is_open(one) || is_open(other) || one.scopes().any(|(app_id, _)| other.is_for(app_id))
}
