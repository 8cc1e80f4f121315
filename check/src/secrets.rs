//! Secret references: whether their store is there, and for local stores whether the secret is.

use std::collections::BTreeMap;
use std::path::Path;

use outrigger_kit::boolean::is_truthy;
use outrigger_kit::quote::go_quote;
use serde_json::Value as Json;

use crate::Check;
use crate::document::{Document, Node, cause};
use crate::suggest::did_you_mean;

/// What a local store holds: by secret, its keys.
type Secrets = BTreeMap<String, Vec<String>>;

// === impl Check ===

impl Check<'_> {
    /// A `secretKeyRef`, with the store that the document names.
    pub(crate) fn secret(&mut self, document: &Document, reference: &Node) {
        let name = reference.text("name");
        if name.is_empty() {
            return;
        }
        let auth = document.root.get("auth");
        let store = auth.map_or("", |auth| auth.text("secretStore"));
        let is_kubernetes = self.options.flags.mode == "kubernetes";
        if store.is_empty() && !is_kubernetes {
            let message = format!(
                "secret {} has no store: auth.secretStore is missing",
                go_quote(name)
            );
            return self.findings.add(document.place(reference.line), message);
        }
        if is_kubernetes && matches!(store, "" | "kubernetes") {
            return;
        }
        let found = self
            .of_family("secretstores")
            .find(|component| component.name() == store)
            .cloned();
        let Some(component) = found else {
            let known = self.of_family("secretstores").map(Document::name);
            let meant = did_you_mean(store, known);
            let line = auth.map_or(reference.line, |auth| auth.line_of("secretStore"));
            let message = format!("secret store {} does not exist{meant}", go_quote(store));
            return self.findings.add(document.place(line), message);
        };
        let key = match reference.text("key") {
            "" => name,
            key => key,
        };
        match component.spec().text("type").to_lowercase().as_str() {
            "secretstores.local.env" => {
                let prefix = property(&component, "prefix").unwrap_or_default();
                let variable = format!("{prefix}{name}");
                if is_own(name) || is_own(&variable) {
                    let message = format!(
                        "secret {} is the sidecar's own, and empty for others",
                        go_quote(&variable)
                    );
                    self.findings
                        .add(document.place(reference.line_of("name")), message);
                } else if self.world.environment.get(&variable).is_none() {
                    let message = format!("secret {} is not in the environment", go_quote(&variable));
                    self.findings
                        .add(document.place(reference.line_of("name")), message);
                }
            }
            "secretstores.local.file" => self.secret_in_file(document, reference, &component, name, key),
            _ => {}
        }
    }

    fn secret_in_file(
        &mut self,
        document: &Document,
        reference: &Node,
        component: &Document,
        name: &str,
        key: &str,
    ) {
        let Some(file) = property(component, "secretsFile") else {
            return;
        };
        let secrets = match self.secrets_of(component, file) {
            Ok(secrets) => secrets,
            Err(error) => {
                let line = component.spec().line_of("metadata");
                return self.findings.add(component.place(line), error);
            }
        };
        let place = document.place(reference.line_of("name"));
        let store = component.name();
        match secrets.get(name) {
            None => {
                let meant = did_you_mean(name, secrets.keys().map(String::as_str));
                let message = format!(
                    "secret {} is not in store {store} ({file}){meant}",
                    go_quote(name)
                );
                self.findings.add(place, message);
            }
            Some(keys) if !keys.iter().any(|known| known == key) => {
                let meant = did_you_mean(key, keys.iter().map(String::as_str));
                let message = format!(
                    "secret {} of store {store} has no key {}{meant}",
                    go_quote(name),
                    go_quote(key)
                );
                self.findings.add(place, message);
            }
            Some(_) => {}
        }
    }

    fn secrets_of(&self, component: &Document, file: &str) -> Result<Secrets, String> {
        let bytes = self.world.files.read(Path::new(file));
        let bytes =
            bytes.map_err(|error| format!("secrets file {file} cannot be read: {}", cause(&error)))?;
        let json: Json = serde_json::from_slice(&bytes)
            .map_err(|error| format!("secrets file {file} is not JSON: {error}"))?;
        let Json::Object(members) = json else {
            return Err(format!("secrets file {file} is not a JSON object"));
        };
        let separator = property(component, "nestedSeparator").unwrap_or(":");
        let is_multi_valued = property(component, "multiValued").is_some_and(is_truthy);
        let mut secrets = Secrets::new();
        for (name, value) in members {
            let mut paths = Vec::new();
            flatten(String::new(), &value, separator, &mut paths);
            match (is_multi_valued, value) {
                (true, Json::String(_)) => {
                    secrets.insert(name.clone(), vec![name]);
                }
                (true, Json::Object(_)) => {
                    secrets.insert(name, paths);
                }
                (true, _) => {}
                (false, _) => secrets.extend(paths.into_iter().map(|path| {
                    let full = match path.as_str() {
                        "" => name.clone(),
                        path => format!("{name}{separator}{path}"),
                    };
                    (full.clone(), vec![full])
                })),
            }
        }
        Ok(secrets)
    }
}

/// The literal value of a metadata property.
pub(crate) fn property<'a>(component: &'a Document, name: &str) -> Option<&'a str> {
    let properties = component.spec().list("metadata");
    let found = properties
        .iter()
        .find(|property| property.text("name").eq_ignore_ascii_case(name))?;
    found.get("value")?.as_text()
}

/// Whether a variable is one that the store gives to nobody.
fn is_own(variable: &str) -> bool {
    let name = variable.to_uppercase();
    name == "APP_API_TOKEN" || name.starts_with("DAPR_")
}

fn flatten(path: String, value: &Json, separator: &str, paths: &mut Vec<String>) {
    let join = |name: &str| match path.as_str() {
        "" => name.to_owned(),
        path => format!("{path}{separator}{name}"),
    };
    match value {
        Json::Object(members) => {
            for (name, member) in members {
                flatten(join(name), member, separator, paths);
            }
        }
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                flatten(join(&index.to_string()), item, separator, paths);
            }
        }
        _ => paths.push(path),
    }
}
