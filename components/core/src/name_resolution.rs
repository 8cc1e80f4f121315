//! Name resolution by a component that the Configuration chooses.
//!
//! A resolver turns the id of an app into the addresses of the sidecars beside it, and may tell others of the own
//! one. The sidecar keeps what it finds for as long as it says, shares a search among all calls that wait for it,
//! and chooses among the addresses.
//!
//! Source: specification, name resolution.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use outrigger_svc::BoxFuture;
use serde_json::Value;

use crate::{HttpClient, Properties};

/// Finds the sidecars of an app.
pub trait NameResolution: fmt::Debug + Send + Sync + 'static {
    /// Finds the addresses of an app's sidecars.
    ///
    /// No address means "nothing yet": the sidecar asks again a few times.
    ///
    /// # Errors
    /// The text of the reason, which the caller's app sees.
    fn resolve<'a>(&'a self, lookup: Lookup<'a>) -> BoxFuture<'a, Result<Addresses, String>>;

    /// Leaves the registry, if the own sidecar is in one, and ends what runs in the background.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// The app that a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup<'a> {
    /// Id of the app.
    pub app_id: &'a str,
    /// Namespace of the app.
    pub namespace: &'a str,
    /// The caller's own internal port.
    pub port: u16,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// `host:port` of each sidecar; an IPv6 host stands in brackets.
    pub list: Vec<String>,
    /// How long the answer may be used again; `None` asks for each call anew.
    pub keep: Option<Duration>,
}

/// What a name resolver is made from.
#[derive(Clone, Debug)]
pub struct NameResolutionInit {
    /// `spec.nameResolution.configuration`; null if there is none.
    pub configuration: Value,
    /// The own sidecar.
    pub instance: Instance,
    /// The way to HTTP servers.
    pub http: HttpClient,
    /// The end of the sidecar.
    pub fatal: Fatal,
}

/// Ends the sidecar because its resolver cannot go on; cheap to clone.
#[derive(Clone)]
pub struct Fatal(Arc<dyn Fn(&str) + Send + Sync>);

/// The own sidecar, which some resolvers tell others of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Id of the own app.
    pub app_id: String,
    /// Namespace of the own app.
    pub namespace: String,
    /// Advertised address of the machine.
    pub host_address: String,
    /// Port of the HTTP API.
    pub http_port: u16,
    /// Port for other sidecars.
    pub internal_port: u16,
    /// Port of the own app, if there is one.
    pub app_port: Option<u16>,
}

// === impl NameResolutionInit ===

impl NameResolutionInit {
    /// The configuration as texts by name, for resolvers whose settings are those of components.
    #[must_use]
    pub fn properties(&self) -> Properties {
        properties(&self.configuration)
    }
}

// === impl Fatal ===

impl Fatal {
    /// Ends the sidecar by `end`, which is told why.
    pub fn new(end: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(end))
    }

    /// Ends the sidecar.
    pub fn end(&self, reason: &str) {
        (self.0)(reason);
    }
}

impl fmt::Debug for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fatal").finish_non_exhaustive()
    }
}

// === impl Addresses ===

impl Addresses {
    /// Addresses that only the calls that waited for them use.
    #[must_use]
    pub fn once(list: Vec<String>) -> Self {
        Self { list, keep: None }
    }

    /// Addresses that are used for a while, and renewed before that while they are in use.
    #[must_use]
    pub fn kept_for(limit: Duration, list: Vec<String>) -> Self {
        Self {
            list,
            keep: Some(limit),
        }
    }
}

/// The fields of a map as texts; what is no map has none.
#[must_use]
pub fn properties(configuration: &Value) -> Properties {
    let fields = configuration.as_object().into_iter().flatten();
    Properties::new(fields.filter_map(|(name, value)| {
        let text = match value {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Some((name.clone(), text))
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_of_the_configuration_are_texts() {
        let configuration = json!({ "a": "x", "b": 5, "c": true, "d": null });
        let expected = Properties::from([("a", "x"), ("b", "5"), ("c", "true")]);
        assert_eq!(properties(&configuration), expected);
        assert_eq!(properties(&json!("text")), Properties::default());
    }
}
