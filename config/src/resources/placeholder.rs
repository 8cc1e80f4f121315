//! Placeholders in the values of components.

use outrigger_kit::id;

use super::Property;
use crate::{AppId, Namespace};

/// What the placeholders in values stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholders {
    app_id: AppId,
    namespace: String,
    pod_name: Option<String>,
}

/// A value that refers to a pod where there is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse metadata: property {0} refers to {{podName}} but podName is not set")]
pub struct PlaceholderError(String);

// === impl Placeholders ===

impl Placeholders {
    /// Placeholders of one process.
    #[must_use]
    pub fn new(app_id: &AppId, namespace: &Namespace, pod_name: Option<&str>) -> Self {
        let pod_name = pod_name.filter(|name| !name.is_empty()).map(str::to_owned);
        Self {
            app_id: app_id.clone(),
            namespace: namespace.name().to_owned(),
            pod_name,
        }
    }

    /// The text of a resolved property with its placeholders replaced.
    ///
    /// `{uuid}` becomes a new random UUID at each place, `{podName}` the name of the pod, `{namespace}`
    /// `<namespace>.<app id>`, `{appID}` the app id.
    ///
    /// # Errors
    /// `{podName}` without a pod.
    pub fn fill(&self, property: &Property) -> Result<String, PlaceholderError> {
        let mut text = property.value.text().to_owned();
        if !text.contains('{') {
            return Ok(text);
        }
        while text.contains("{uuid}") {
            text = text.replacen("{uuid}", &id::uuid(), 1);
        }
        if text.contains("{podName}") {
            let pod = self
                .pod_name
                .as_ref()
                .ok_or_else(|| PlaceholderError(property.name.clone()))?;
            text = text.replace("{podName}", pod);
        }
        let app_id: &str = &self.app_id;
        text = text.replace("{namespace}", &format!("{}.{app_id}", self.namespace));
        Ok(text.replace("{appID}", app_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::PropertyValue;

    fn fill(text: &str, pod_name: Option<&str>) -> Result<String, PlaceholderError> {
        let placeholders = Placeholders::new(&AppId::new("app1"), &Namespace::new(Some("prod")), pod_name);
        placeholders.fill(&Property {
            name: "item".to_owned(),
            value: PropertyValue::Text(text.to_owned()),
        })
    }

    #[test]
    fn placeholders_are_replaced() {
        assert_eq!(fill("plain", None).unwrap(), "plain");
        assert_eq!(
            fill("{namespace}/{appID}/{podName}", Some("p0")).unwrap(),
            "prod.app1/app1/p0"
        );
        assert_eq!(fill("{appid} {other}", None).unwrap(), "{appid} {other}");
        let uuids = fill("{uuid}{uuid}", None).unwrap();
        assert_eq!(uuids.len(), 72);
        let (first, second) = uuids.split_at(36);
        assert_ne!(first, second);
    }

    #[test]
    fn a_pod_name_is_needed_where_it_is_asked_for() {
        let text = "failed to parse metadata: property item refers to {podName} but podName is not set";
        assert_eq!(fill("{podName}", None).unwrap_err().to_string(), text);
        assert_eq!(fill("{podName}", Some("")).unwrap_err().to_string(), text);
    }
}
