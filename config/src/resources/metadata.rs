//! What every resource has.

use std::collections::BTreeMap;

use outrigger_kit::quote::go_quote;
use serde::Deserialize;

/// Name, namespace and what the cluster adds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Name of the resource; any text but one that could not be a path segment.
    pub name: String,
    /// Namespace; may be empty.
    pub namespace: String,
    /// Counts the changes of the resource; 0 when nothing counts them.
    pub generation: i64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A name that could not be a path segment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid name {} for {}: {reasons}", go_quote(.name), go_quote(.kind))]
pub struct NameError {
    name: String,
    kind: &'static str,
    reasons: String,
}

/// Refuses `.`, `..` and names with `/` or `%`.
///
/// # Errors
/// All reasons at once.
pub fn check_name(kind: &'static str, name: &str) -> Result<(), NameError> {
    let reasons: Vec<_> = match name {
        "." => vec!["may not be '.'"],
        ".." => vec!["may not be '..'"],
        _ => {
            let has = |part: &str, reason| name.contains(part).then_some(reason);
            [has("/", "may not contain '/'"), has("%", "may not contain '%'")]
                .into_iter()
                .flatten()
                .collect()
        }
    };
    if reasons.is_empty() {
        return Ok(());
    }
    Err(NameError {
        name: name.to_owned(),
        kind,
        reasons: reasons.join("; "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_must_be_path_segments() {
        let text = |name| check_name("Component", name).unwrap_err().to_string();
        assert_eq!(text("."), r#"invalid name "." for "Component": may not be '.'"#);
        assert_eq!(
            text(".."),
            r#"invalid name ".." for "Component": may not be '..'"#
        );
        assert_eq!(
            text("a/b%c"),
            r#"invalid name "a/b%c" for "Component": may not contain '/'; may not contain '%'"#
        );
        for name in ["", "a b", "...", "naïve 🚢"] {
            assert_eq!(check_name("Component", name), Ok(()));
        }
    }
}
