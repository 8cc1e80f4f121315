//! What stands before the keys of an app, so that apps can share a store.
//!
//! Source: specification, state API 3.

/// What stands before each key of a store, separator included; may be nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyPrefix(String);

/// A prefix that holds the separator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("input key/keyPrefix '{0}' can't contain '||'")]
pub(crate) struct IllegalPrefix(String);

const SEPARATOR: &str = "||";

// === impl KeyPrefix ===

impl KeyPrefix {
    /// The prefix that a component's `keyPrefix` means; `namespace` may be empty.
    ///
    /// # Errors
    /// A prefix that holds the separator.
    pub(crate) fn new(
        key_prefix: Option<&str>,
        store: &str,
        app_id: &str,
        namespace: &str,
    ) -> Result<Self, IllegalPrefix> {
        let strategy = key_prefix.unwrap_or_default().to_lowercase();
        if strategy.contains(SEPARATOR) {
            return Err(IllegalPrefix(strategy));
        }
        let prefix = match strategy.as_str() {
            "none" => "",
            "" | "appid" => app_id,
            "name" => store,
            "namespace" if app_id.is_empty() || namespace.is_empty() => app_id,
            "namespace" => &format!("{namespace}.{app_id}"),
            other => other,
        };
        Ok(Self(match prefix {
            "" => String::new(),
            prefix => format!("{prefix}{SEPARATOR}"),
        }))
    }

    /// A key as it is stored; none if it holds the separator.
    pub(crate) fn apply(&self, key: &str) -> Option<String> {
        if key.contains(SEPARATOR) {
            return None;
        }
        let mut stored = String::with_capacity(self.0.len() + key.len());
        stored.push_str(&self.0);
        stored.push_str(key);
        Some(stored)
    }
}

/// The key of a stored one, as callers know it: what stands behind the first separator and before the next.
pub(super) fn original(stored: String) -> String {
    let mut parts = stored.splitn(3, SEPARATOR);
    match (parts.next(), parts.next()) {
        (_, Some(key)) => key.to_owned(),
        _ => stored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(key_prefix: Option<&str>, app_id: &str, namespace: &str) -> String {
        let prefix = KeyPrefix::new(key_prefix, "Store", app_id, namespace).unwrap();
        prefix.apply("key").unwrap()
    }

    #[test]
    fn each_strategy_has_its_prefix() {
        let table = [
            (None, "App1", "", "App1||key"),
            (Some(""), "App1", "", "App1||key"),
            (Some("APPID"), "App1", "ns", "App1||key"),
            (Some("appid"), "", "ns", "key"),
            (Some("Name"), "App1", "ns", "Store||key"),
            (Some("namespace"), "App1", "ns", "ns.App1||key"),
            (Some("namespace"), "App1", "", "App1||key"),
            (Some("namespace"), "", "ns", "key"),
            (Some("None"), "App1", "ns", "key"),
            (Some("Shared"), "App1", "ns", "shared||key"),
        ];
        for (key_prefix, app_id, namespace, expected) in table {
            assert_eq!(stored(key_prefix, app_id, namespace), expected, "{key_prefix:?}");
        }
    }

    #[test]
    fn the_separator_is_nobodys() {
        let error = KeyPrefix::new(Some("A||b"), "s", "a", "n").unwrap_err();
        assert_eq!(error.to_string(), "input key/keyPrefix 'a||b' can't contain '||'");
        let prefix = KeyPrefix::new(None, "s", "a", "n").unwrap();
        assert_eq!(prefix.apply("a||b"), None);
        assert_eq!(prefix.apply("a|b").as_deref(), Some("a||a|b"));
        assert_eq!(prefix.apply("").as_deref(), Some("a||"));
    }

    #[test]
    fn callers_see_the_second_part_of_stored_keys() {
        for (stored, expected) in [
            ("app||key", "key"),
            ("key", "key"),
            ("app||type||id||key", "type"),
            ("||key", "key"),
            ("app||", ""),
        ] {
            assert_eq!(original(stored.to_owned()), expected, "{stored}");
        }
    }
}
