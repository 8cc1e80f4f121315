//! Components: their types, versions, metadata and what it refers to.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use outrigger_config::daprd::DEFAULT_COMPONENT_SOCKETS;
use outrigger_config::env::{DAPR_COMPONENTS_SOCKETS_FOLDER, DAPR_ENV_KEYS};
use outrigger_kit::quote::go_quote;

use crate::document::{Document, Node, Value};
use crate::suggest::did_you_mean;
use crate::{Check, catalogue};

/// Families that processes behind sockets can serve.
const PLUGGABLE: [&str; 2] = ["secretstores", "state"];

// === impl Check ===

impl Check<'_> {
    /// Looks at every Component.
    pub(crate) fn components(&mut self) {
        for document in self.resources.clone() {
            if document.kind() == "Component" && !self.is_pluggable(document.spec().text("type")) {
                self.component_type(&document);
                self.component_metadata(&document);
            }
        }
    }

    /// Whether a socket of the folder for pluggable components has the name of a type. What such a type asks for only
    /// its process knows.
    fn is_pluggable(&self, kind: &str) -> bool {
        let folder = self.world.environment.get_filled(DAPR_COMPONENTS_SOCKETS_FOLDER);
        let folder = folder.unwrap_or_else(|| DEFAULT_COMPONENT_SOCKETS.to_owned());
        let sockets = self.world.files.list(Path::new(&folder)).unwrap_or_default();
        let Some((family, name)) = kind.split_once('.') else {
            return false;
        };
        let is_meant = |socket: &PathBuf| {
            socket
                .file_stem()
                .is_some_and(|stem| stem.to_string_lossy().to_lowercase() == name.to_lowercase())
        };
        PLUGGABLE.contains(&family) && sockets.iter().any(is_meant)
    }

    /// Components of a family, for example `secretstores`.
    pub(crate) fn of_family<'a>(&'a self, family: &'a str) -> impl Iterator<Item = &'a Document> {
        let components = self
            .resources
            .iter()
            .filter(|document| document.kind() == "Component");
        components.filter(move |document| {
            let kind = document.spec().text("type");
            kind.split_once('.').is_some_and(|(known, _)| known == family)
        })
    }

    fn component_type(&mut self, document: &Document) {
        let spec = document.spec();
        let kind = spec.text("type");
        let line = spec.line_of("type");
        if !catalogue::is_known(kind) {
            let known: Vec<_> = catalogue::all().collect();
            let meant = did_you_mean(kind, known.iter().map(String::as_str));
            let message = format!("unknown component type {}{meant}", go_quote(kind));
            return self.findings.add(document.place(line), message);
        }
        if !self
            .world
            .built_in
            .iter()
            .any(|built_in| built_in.eq_ignore_ascii_case(kind))
        {
            let message = format!("component type {} is not built into this binary", go_quote(kind));
            self.findings.add(document.place(line), message);
        }
        let (version, versions) = (spec.text("version"), catalogue::versions(kind));
        if !versions.iter().any(|known| known.eq_ignore_ascii_case(version)) {
            let versions: Vec<_> = versions
                .iter()
                .copied()
                .filter(|version| version.starts_with('v') && *version != "v0")
                .collect();
            let (version, versions) = (go_quote(version), versions.join(" or "));
            let message = format!("component type {kind} has no version {version}, only {versions}");
            self.findings
                .add(document.place(spec.line_of("version")), message);
        }
    }

    fn component_metadata(&mut self, document: &Document) {
        let kind = document.spec().text("type");
        let keys = catalogue::metadata(kind);
        let mut given: BTreeSet<String> = BTreeSet::new();
        for property in document.spec().list("metadata") {
            let name = property.text("name");
            let line = property.line_of("name");
            if name.is_empty() {
                self.findings.add(
                    document.place(property.line),
                    "a metadata property without a name",
                );
                continue;
            }
            if !given.insert(name.to_lowercase()) {
                let message = format!(
                    "metadata property {} stands twice; the last one counts",
                    go_quote(name)
                );
                self.findings.add(document.place(line), message);
            }
            if let Some(keys) = keys
                && !keys.known.iter().any(|known| known.eq_ignore_ascii_case(name))
                && !catalogue::is_for_all(kind, name)
            {
                let meant = did_you_mean(name, keys.known.iter().copied());
                let message = format!("{kind} has no metadata property {}{meant}", go_quote(name));
                self.findings.add(document.place(line), message);
            }
            self.property(document, property);
        }
        for required in keys.map_or(&[][..], |keys| keys.required) {
            if !given.contains(&required.to_lowercase()) {
                let message = format!("{kind} needs the metadata property {}", go_quote(required));
                self.findings
                    .add(document.place(document.spec().line_of("type")), message);
            }
        }
    }

    /// Where a value comes from.
    pub(crate) fn property(&mut self, document: &Document, property: &Node) {
        let is_set = |name: &str| {
            property
                .get(name)
                .is_some_and(|node| !matches!(node.value, Value::Null))
        };
        let name = go_quote(property.text("name"));
        let has_secret = property
            .get("secretKeyRef")
            .is_some_and(|secret| !secret.text("name").is_empty());
        let sources = [is_set("value"), has_secret, !property.text("envRef").is_empty()];
        if sources.iter().filter(|is_given| **is_given).count() > 1 {
            let message = format!("property {name} has more than one of value, secretKeyRef and envRef");
            self.findings.add(document.place(property.line), message);
        }
        if let Some(variable) = property.get("envRef") {
            self.variable(document, variable);
        }
        if let Some(secret) = property.get("secretKeyRef") {
            self.secret(document, secret);
        }
    }

    fn variable(&mut self, document: &Document, node: &Node) {
        let variable = node.as_text().unwrap_or_default();
        let upper = variable.to_uppercase();
        let allowed = self.world.environment.get_filled(DAPR_ENV_KEYS);
        let is_forbidden = upper.is_empty()
            || upper == "APP_API_TOKEN"
            || upper.starts_with("DAPR_")
            || upper.contains(' ')
            || allowed.is_some_and(|allowed| !allowed.split(' ').any(|name| name == upper));
        let name = go_quote(variable);
        let message = if is_forbidden {
            format!("envRef {name} may not be read by resources")
        } else if self.world.environment.get(variable).is_none() {
            format!("envRef {name} is not in the environment")
        } else {
            return;
        };
        self.findings.add(document.place(node.line), message);
    }
}
