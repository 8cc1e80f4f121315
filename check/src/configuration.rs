//! The Configuration: handlers, stores, policies and switches that must fit to the rest.

use outrigger_kit::quote::go_quote;

use crate::document::{Document, Node};
use crate::suggest::did_you_mean;
use crate::{Check, catalogue};

const FEATURES: [&str; 6] = [
    "HotReload",
    "WorkflowsRemoteActivityReminder",
    "ActorStateTTL",
    "WorkflowsClusteredDeployment",
    "WorkflowHistorySigning",
    "WorkflowsFastPath",
];

const GROUPS: [&str; 18] = [
    "invoke",
    "state",
    "publish",
    "bindings",
    "secrets",
    "actors",
    "metadata",
    "configuration",
    "lock",
    "unlock",
    "crypto",
    "subtlecrypto",
    "workflows",
    "healthz",
    "jobs",
    "shutdown",
    "conversation",
    "subscribe",
];

const VERBS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*",
];

// === impl Check ===

impl Check<'_> {
    /// Looks at every Configuration that the command line names.
    pub(crate) fn configurations(&mut self) {
        for document in self.configurations.clone() {
            let spec = document.spec();
            for pipeline in ["httpPipeline", "appHttpPipeline"] {
                let handlers = spec
                    .get(pipeline)
                    .map_or(&[][..], |pipeline| pipeline.list("handlers"));
                for handler in handlers {
                    self.handler(&document, handler);
                }
            }
            if let Some(access) = spec.get("accessControl") {
                self.access_control(&document, access);
            }
            if let Some(secrets) = spec.get("secrets") {
                self.secret_scopes(&document, secrets);
            }
            self.switches(&document, spec);
        }
    }

    /// A handler without its component is skipped by the sidecar without a word.
    fn handler(&mut self, document: &Document, handler: &Node) {
        let (name, kind) = (handler.text("name"), handler.text("type"));
        let line = handler.line_of("name");
        let found = self
            .of_family("middleware")
            .find(|component| component.name() == name);
        let Some(component) = found else {
            let meant = did_you_mean(name, self.of_family("middleware").map(Document::name));
            let message = format!("middleware component {} does not exist{meant}", go_quote(name));
            return self.findings.add(document.place(line), message);
        };
        let version = |node: &Node| match node.text("version") {
            "" | "v0" => "v1".to_owned(),
            version => version.to_owned(),
        };
        let spec = component.spec();
        let other = spec.text("type").to_owned();
        let (wanted, given) = (version(handler), version(spec));
        if other != kind {
            let (name, kind) = (go_quote(name), go_quote(kind));
            let message = format!("component {name} is of type {}, not {kind}", go_quote(&other));
            self.findings
                .add(document.place(handler.line_of("type")), message);
        } else if wanted != given {
            let message = format!("component {} has version {given}, not {wanted}", go_quote(name));
            self.findings.add(document.place(line), message);
        }
    }

    fn access_control(&mut self, document: &Document, access: &Node) {
        self.action(
            document,
            access.get("defaultAction"),
            "accessControl.defaultAction",
        );
        for policy in access.list("policies") {
            let app_id = policy.text("appId");
            for required in ["appId", "namespace", "trustDomain"] {
                if policy.text(required).is_empty() {
                    let message = format!("access policy of app {} has no {required}", go_quote(app_id));
                    self.findings.add(document.place(policy.line), message);
                }
            }
            self.action(document, policy.get("defaultAction"), "defaultAction");
            for operation in policy.list("operations") {
                let action = operation.get("action");
                if action.is_none() {
                    let message = "an operation without an action denies";
                    self.findings.add(document.place(operation.line), message);
                }
                self.action(document, action, "action");
                for verb in operation.list("httpVerb") {
                    let given = verb.as_text().unwrap_or_default();
                    if !VERBS.contains(&given) {
                        let meant = did_you_mean(given, VERBS);
                        let message = format!("httpVerb {} matches no call{meant}", go_quote(given));
                        self.findings.add(document.place(verb.line), message);
                    }
                }
            }
        }
    }

    /// What is not `allow` denies, whatever was meant.
    fn action(&mut self, document: &Document, node: Option<&Node>, what: &str) {
        let Some(node) = node else { return };
        let word = node.as_text().unwrap_or_default();
        if !["allow", "deny"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(word))
        {
            let meant = did_you_mean(word, ["allow", "deny"]);
            let message = format!(
                "{what} {} is neither allow nor deny: it denies{meant}",
                go_quote(word)
            );
            self.findings.add(document.place(node.line), message);
        }
    }

    fn secret_scopes(&mut self, document: &Document, secrets: &Node) {
        let mut seen: Vec<&str> = Vec::new();
        for scope in secrets.list("scopes") {
            let store = scope.text("storeName");
            let place = document.place(scope.line_of("storeName"));
            if seen.contains(&store) {
                let message = format!("{store} storeName is repeated in secrets configuration");
                self.findings.add(place.clone(), message);
            }
            seen.push(store);
            let known: Vec<_> = self
                .of_family("secretstores")
                .map(|store| store.name().to_owned())
                .collect();
            if !known.iter().any(|name| name == store) {
                let meant = did_you_mean(store, known.iter().map(String::as_str));
                let message = format!("secret store {} does not exist{meant}", go_quote(store));
                self.findings.add(place, message);
            }
            if let Some(access) = scope.get("defaultAccess") {
                let word = access.as_text().unwrap_or_default();
                if !["", "allow", "deny"]
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(word))
                {
                    let message = format!("defaultAccess {word} can be either allow or deny");
                    self.findings.add(document.place(access.line), message);
                }
            }
        }
    }

    fn switches(&mut self, document: &Document, spec: &Node) {
        for feature in spec.list("features") {
            let name = feature.text("name");
            if !FEATURES.contains(&name) {
                let meant = did_you_mean(name, FEATURES);
                let message = format!("unknown feature {}{meant}", go_quote(name));
                self.findings
                    .add(document.place(feature.line_of("name")), message);
            }
        }
        let api = spec.get("api");
        for rule in ["allowed", "denied"]
            .into_iter()
            .flat_map(|list| api.map_or(&[][..], |api| api.list(list)))
        {
            let (name, protocol) = (rule.text("name"), rule.text("protocol"));
            if protocol != "grpc" && !protocol.eq_ignore_ascii_case("http") {
                let message = format!("API protocol {} is neither http nor grpc", go_quote(protocol));
                self.findings
                    .add(document.place(rule.line_of("protocol")), message);
            }
            // For HTTP the beginning of a path is a name too.
            let group = name.split('/').next().unwrap_or_default();
            if !GROUPS.contains(&group) {
                let meant = did_you_mean(group, GROUPS);
                let message = format!("there is no API {}{meant}", go_quote(name));
                self.findings.add(document.place(rule.line_of("name")), message);
            }
        }
        if let Some(tracing) = spec.get("tracing")
            && let Some(rate) = tracing.get("samplingRate")
        {
            let text = rate.as_text().unwrap_or_default();
            if !text.is_empty() && !text.parse::<f64>().is_ok_and(|rate| (0.0..=1.0).contains(&rate)) {
                let message = format!(
                    "spec.tracing.samplingRate {} is no number from 0 to 1",
                    go_quote(text)
                );
                self.findings.add(document.place(rate.line), message);
            }
        }
        if let Some(resolution) = spec.get("nameResolution") {
            let name = resolution.text("component");
            let known = catalogue::RESOLVERS;
            if !name.is_empty() && !known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                let meant = did_you_mean(name, known.iter().copied());
                let message = format!("unknown name resolver {}{meant}", go_quote(name));
                self.findings
                    .add(document.place(resolution.line_of("component")), message);
            }
        }
    }
}
