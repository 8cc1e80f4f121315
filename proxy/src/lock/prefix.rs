//! What stands before the resources of a store, so that apps can share it.

/// What stands before each resource of a store, separators included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LockPrefix(String);

/// A resource, or a prefix, that holds the separator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("input key/keyPrefix '{0}' can't contain '||'")]
pub(crate) struct IllegalResource(String);

const SEPARATOR: &str = "||";

// === impl LockPrefix ===

impl LockPrefix {
    /// The prefix that the `keyPrefix` of a component means: that of the app unless it says otherwise.
    ///
    /// # Errors
    /// A prefix that holds the separator.
    pub(crate) fn new(key_prefix: Option<&str>, store: &str, app_id: &str) -> Result<Self, IllegalResource> {
        let strategy = key_prefix.unwrap_or_default().to_lowercase();
        if strategy.contains(SEPARATOR) {
            return Err(IllegalResource(strategy));
        }
        let prefix = match strategy.as_str() {
            "none" => "",
            "" | "appid" => app_id,
            "name" => store,
            other => other,
        };
        Ok(Self(match prefix {
            "" => "lock||".to_owned(),
            prefix => format!("lock||{prefix}||"),
        }))
    }

    /// A resource as the store knows it.
    ///
    /// # Errors
    /// A resource that holds the separator.
    pub(super) fn apply(&self, resource: &str) -> Result<String, IllegalResource> {
        if resource.contains(SEPARATOR) {
            return Err(IllegalResource(resource.to_owned()));
        }
        Ok(format!("{}{resource}", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_strategy_has_its_prefix() {
        let table = [
            (None, "App1", "lock||App1||r"),
            (Some(""), "App1", "lock||App1||r"),
            (Some("AppId"), "App1", "lock||App1||r"),
            (None, "", "lock||r"),
            (Some("NAME"), "App1", "lock||Store||r"),
            (Some("none"), "App1", "lock||r"),
            (Some("Shared"), "App1", "lock||shared||r"),
            (Some("namespace"), "App1", "lock||namespace||r"),
        ];
        for (key_prefix, app_id, expected) in table {
            let prefix = LockPrefix::new(key_prefix, "Store", app_id).unwrap();
            assert_eq!(prefix.apply("r").as_deref(), Ok(expected), "{key_prefix:?}");
        }
    }

    #[test]
    fn the_separator_is_nobodys() {
        let error = LockPrefix::new(Some("a||B"), "s", "a").unwrap_err();
        assert_eq!(error.to_string(), "input key/keyPrefix 'a||b' can't contain '||'");
        let prefix = LockPrefix::new(None, "s", "a").unwrap();
        let error = prefix.apply("x||Y").unwrap_err();
        assert_eq!(error.to_string(), "input key/keyPrefix 'x||Y' can't contain '||'");
    }
}
