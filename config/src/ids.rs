//! Who this process is.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Id of an app: the name it is called by.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId(Arc<str>);

/// Namespace of the workload, from the environment variable `NAMESPACE`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace(Option<Arc<str>>);

/// Where a program runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// On a machine: files for resources and Configuration.
    #[default]
    Standalone,
    /// In a cluster: the API server and the operator have them.
    Kubernetes,
}

// === impl AppId ===

impl AppId {
    /// An id with this text.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The id as shared text.
    #[must_use]
    pub const fn as_arc(&self) -> &Arc<str> {
        &self.0
    }
}

impl Deref for AppId {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

// === impl Namespace ===

impl Namespace {
    /// The namespace that the variable's value stands for; `None` when it is not set.
    #[must_use]
    pub fn new(variable: Option<&str>) -> Self {
        Self(variable.map(Arc::from))
    }

    /// The namespace of the identity and of the components: `default` when the variable is not set.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.as_deref().unwrap_or("default")
    }

    /// The variable's value, empty when it is not set: the label of metrics.
    #[must_use]
    pub fn variable(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// The namespace that resources are filtered by; `None` when they are not.
    #[must_use]
    pub fn filter(&self) -> Option<&str> {
        self.0.as_deref().filter(|name| !name.is_empty())
    }
}

// === impl Mode ===

impl Mode {
    /// The mode with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "standalone" => Some(Self::Standalone),
            "kubernetes" => Some(Self::Kubernetes),
            _ => None,
        }
    }

    /// The name of the mode, as on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Kubernetes => "kubernetes",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unset_namespace_is_default_without_filter() {
        let namespace = Namespace::new(None);
        assert_eq!(
            (namespace.name(), namespace.variable(), namespace.filter()),
            ("default", "", None)
        );
        let namespace = Namespace::new(Some(""));
        assert_eq!(
            (namespace.name(), namespace.variable(), namespace.filter()),
            ("", "", None)
        );
        let namespace = Namespace::new(Some("prod"));
        assert_eq!(
            (namespace.name(), namespace.variable(), namespace.filter()),
            ("prod", "prod", Some("prod"))
        );
    }
}
