//! What has become of the resources of one kind since they were last looked at.

use super::Resource;

/// The difference between two lists of one kind, by name.
///
/// Applied in the order of the fields.
#[derive(Clone, Debug)]
pub struct Changes<R> {
    /// Resources that are there no more, as they were.
    pub deleted: Vec<R>,
    /// Resources that say something else, as they are now.
    pub updated: Vec<R>,
    /// Resources whose names are new.
    pub created: Vec<R>,
}

// === impl Changes ===

impl<R: Resource + Clone> Changes<R> {
    /// Compares what is there now with what was there before; metadata other than the name does not count.
    #[must_use]
    pub fn between(before: &[R], now: &[R]) -> Self {
        let find = |list: &'_ [R], name: &str| list.iter().position(|one| one.metadata().name == name);
        let deleted = before
            .iter()
            .filter(|old| find(now, &old.metadata().name).is_none())
            .cloned()
            .collect();
        let (mut updated, mut created) = (Vec::new(), Vec::new());
        for resource in now {
            match find(before, &resource.metadata().name) {
                None => created.push(resource.clone()),
                Some(index) if !before[index].same_as(resource) => updated.push(resource.clone()),
                Some(_) => {}
            }
        }
        Self {
            deleted,
            updated,
            created,
        }
    }

    /// Whether nothing has changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.deleted.is_empty() && self.updated.is_empty() && self.created.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use outrigger_kit::yaml;

    use super::*;
    use crate::resources::{HttpEndpoint, WatchedConfiguration};

    fn endpoint(name: &str, url: &str, label: &str) -> HttpEndpoint {
        let text = format!(
            "metadata: {{name: {name}, namespace: '{label}', labels: {{l: '{label}'}}}}\nspec: {{baseUrl: '{url}'}}"
        );
        HttpEndpoint::from_document("dapr.io/v1alpha1", &yaml::to_json(&text).unwrap()).unwrap()
    }

    fn names<R: Resource>(resources: &[R]) -> Vec<&str> {
        resources
            .iter()
            .map(|resource| resource.metadata().name.as_str())
            .collect()
    }

    #[test]
    fn resources_are_compared_by_name_and_by_what_they_say() {
        let before = [
            endpoint("same", "u", ""),
            endpoint("gone", "u", ""),
            endpoint("other", "u", ""),
        ];
        let now = [
            endpoint("new", "u", ""),
            endpoint("other", "v", ""),
            endpoint("same", "u", "label"),
        ];
        let changes = Changes::between(&before, &now);
        assert_eq!(names(&changes.deleted), ["gone"]);
        assert_eq!(names(&changes.updated), ["other"]);
        assert_eq!(changes.updated[0].base_url, "v");
        assert_eq!(names(&changes.created), ["new"]);
        assert!(!changes.is_empty());
        assert!(Changes::between(&before, &before).is_empty());
    }

    #[test]
    fn the_namespace_of_a_configuration_counts() {
        let configuration = |namespace: &str| {
            let text = format!("metadata: {{name: c, namespace: {namespace}}}\nspec: {{}}");
            WatchedConfiguration::from_document("dapr.io/v1alpha1", &yaml::to_json(&text).unwrap()).unwrap()
        };
        let changes = Changes::between(&[configuration("a")], &[configuration("b")]);
        assert_eq!(names(&changes.updated), ["c"]);
    }
}
