//! Which resources this app may load.

use std::collections::HashMap;
use std::fmt;

use super::Resource;
use crate::Namespace;

/// Keeps the resources of one app in one namespace.
#[derive(Clone, Copy, Debug)]
pub struct Filter<'a> {
    app_id: &'a str,
    namespace: Option<&'a str>,
}

/// Names that more than one resource has, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicates(Vec<String>);

// === impl Filter ===

impl<'a> Filter<'a> {
    /// A filter for an app in a namespace.
    #[must_use]
    pub fn new(app_id: &'a str, namespace: &'a Namespace) -> Self {
        Self {
            app_id,
            namespace: namespace.filter(),
        }
    }

    /// Whether namespace and scopes of a resource admit the app.
    #[must_use]
    pub fn admits<R: Resource>(&self, resource: &R) -> bool {
        self.in_namespace(resource) && self.in_scope(resource)
    }

    /// Keeps the resources that admit the app, in order.
    ///
    /// # Errors
    /// Every resource whose name one before it has that was kept. A resource that is out of scope takes no
    /// name, but may not have a taken one.
    pub fn keep<R: Resource>(&self, resources: Vec<R>) -> Result<Vec<R>, Duplicates> {
        let mut taken: HashMap<String, String> = HashMap::new();
        let mut duplicates = Vec::new();
        let mut kept = Vec::with_capacity(resources.len());
        for resource in resources {
            if !self.in_namespace(&resource) {
                continue;
            }
            let log_name = resource.log_name();
            if let Some(existing) = taken.get(&resource.metadata().name) {
                duplicates.push(format!(
                    "duplicate definition of {} name {log_name} with existing {existing}",
                    R::KIND
                ));
                continue;
            }
            if self.in_scope(&resource) {
                taken.insert(resource.metadata().name.clone(), log_name);
                kept.push(resource);
            }
        }
        if duplicates.is_empty() {
            Ok(kept)
        } else {
            Err(Duplicates(duplicates))
        }
    }

    fn in_namespace<R: Resource>(&self, resource: &R) -> bool {
        let own = resource.metadata().namespace.as_str();
        self.namespace
            .is_none_or(|namespace| own.is_empty() || own == namespace)
    }

    fn in_scope<R: Resource>(&self, resource: &R) -> bool {
        let scopes = resource.scopes();
        scopes.is_empty() || scopes.iter().any(|scope| scope == self.app_id)
    }
}

// === impl Duplicates ===

impl fmt::Display for Duplicates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Duplicates {}

#[cfg(test)]
mod tests {
    use outrigger_kit::yaml;

    use super::*;
    use crate::resources::Component;

    fn component(name: &str, namespace: &str, kind: &str, scopes: &str) -> Component {
        let text = format!(
            "metadata: {{name: {name}, namespace: '{namespace}'}}\nspec: {{type: {kind}, version: v1}}\nscopes: {scopes}"
        );
        Component::from_document("dapr.io/v1alpha1", &yaml::to_json(&text).unwrap()).unwrap()
    }

    fn names(components: &[Component]) -> Vec<&str> {
        components
            .iter()
            .map(|component| component.metadata.name.as_str())
            .collect()
    }

    #[test]
    fn namespaces_and_scopes_are_filters() {
        let all = vec![
            component("a", "", "state.x", "[]"),
            component("b", "prod", "state.x", "[app1]"),
            component("c", "test", "state.x", "[]"),
            component("d", "prod", "state.x", "[app2, App1]"),
        ];
        let namespace = Namespace::new(Some("prod"));
        assert_eq!(
            names(&Filter::new("app1", &namespace).keep(all.clone()).unwrap()),
            ["a", "b"]
        );
        for namespace in [Namespace::new(None), Namespace::new(Some(""))] {
            assert_eq!(
                names(&Filter::new("app1", &namespace).keep(all.clone()).unwrap()),
                ["a", "b", "c"]
            );
        }
    }

    #[test]
    fn equal_names_are_told_against_the_first_that_was_kept() {
        let all = vec![
            component("foo", "", "secretstores.local.file", "[]"),
            component("foo", "", "state.in-memory", "[]"),
            component("bar", "", "state.x", "[other]"),
            component("bar", "", "state.y", "[]"),
            component("foo", "", "state.z", "[other]"),
        ];
        let error = Filter::new("app1", &Namespace::default()).keep(all).unwrap_err();
        assert_eq!(
            error.to_string(),
            "duplicate definition of Component name foo (state.in-memory/v1) with existing foo (secretstores.local.file/v1)\n\
             duplicate definition of Component name foo (state.z/v1) with existing foo (secretstores.local.file/v1)"
        );
    }

    #[test]
    fn a_name_out_of_scope_or_namespace_is_free() {
        let all = vec![
            component("a", "", "state.x", "[other]"),
            component("a", "", "state.y", "[]"),
            component("a", "elsewhere", "state.z", "[]"),
        ];
        let namespace = Namespace::new(Some("prod"));
        let kept = Filter::new("app1", &namespace).keep(all).unwrap();
        assert_eq!(kept[0].kind, "state.y");
        assert_eq!(kept.len(), 1);
    }
}
