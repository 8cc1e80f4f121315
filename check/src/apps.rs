//! Which apps there are, as far as files can tell.

use std::collections::{BTreeMap, BTreeSet};

use outrigger_kit::quote::go_quote;

use crate::Check;
use crate::suggest::did_you_mean;

// === impl Check ===

impl Check<'_> {
    /// Scopes that name an app which nothing else names: most often a slip.
    pub(crate) fn scopes(&mut self) {
        let known = self.known_apps();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for document in &self.resources {
            let names: BTreeSet<_> = document.scopes().map(|(name, _)| name).collect();
            for name in names {
                *counts.entry(name).or_default() += 1;
            }
        }
        for document in &self.resources {
            for (name, line) in document.scopes() {
                if known.contains(name) || counts.get(name).is_some_and(|count| *count > 1) {
                    continue;
                }
                let shared = counts
                    .iter()
                    .filter(|(_, count)| **count > 1)
                    .map(|(name, _)| *name);
                let meant = did_you_mean(name, known.iter().map(String::as_str).chain(shared));
                let name = go_quote(name);
                let message = format!("scopes: nothing else names the app {name}{meant}");
                self.findings.add(document.place(line), message);
            }
        }
    }

    /// The app itself, the callers of its policies, the targets of resiliency, the owners of workflows.
    pub(crate) fn known_apps(&self) -> BTreeSet<String> {
        let mut apps = BTreeSet::from([self.app_id().to_owned()]);
        for configuration in &self.configurations {
            let access = configuration.spec().get("accessControl");
            let policies = access.map_or(&[][..], |access| access.list("policies"));
            apps.extend(policies.iter().map(|policy| policy.text("appId").to_owned()));
        }
        for document in &self.resources {
            if let Some(targets) = document.spec().get("targets") {
                let names = targets.map("apps").iter().map(|target| target.key.as_str());
                apps.extend(names.map(|name| name.split('.').next().unwrap_or(name).to_owned()));
            }
            for rule in document.spec().list("rules") {
                apps.extend(
                    rule.list("callers")
                        .iter()
                        .map(|caller| caller.text("appID").to_owned()),
                );
            }
        }
        apps.remove("");
        apps
    }
}
