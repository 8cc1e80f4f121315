//! From the configured name to a running resolver.

use std::sync::Arc;

use serde_json::Value;

use crate::error::{InitError, InitReason};
use crate::facade::Resolver;
use crate::kubernetes::{DnsLookup, KubernetesResolver};
use crate::local::Neighbour;
use crate::mdns::MdnsResolver;
use crate::nameformat::NameFormatResolver;
use crate::resolver::NameResolver;
use crate::self_hosted::SelfHosted;

/// Which resolver to start: `spec.nameResolution` of the Configuration, defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    /// Name of the resolver in any case, such as `mdns`.
    pub name: String,
    /// Version of the resolver: empty, `v0` and `v1` mean the same.
    pub version: String,
    /// Settings of the resolver; null if there are none.
    pub configuration: Value,
}

/// The own instance, which some resolvers announce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Id of the own app.
    pub app_id: String,
    /// Name of the machine.
    pub host_name: String,
    /// Advertised address of the machine.
    pub host_address: String,
    /// Port of the internal gRPC server.
    pub internal_port: u16,
}

/// Starts the resolver that `component` names and announces `instance` if it does such things.
///
/// # Errors
/// An unknown name or version, a refused configuration, or no network for the announcement.
///
/// # Panics
/// Outside a tokio runtime.
pub fn start(component: &Component, instance: &Instance) -> Result<Resolver, InitError> {
    let Component {
        name,
        version,
        configuration,
    } = component;
    let fail = |reason, message| InitError {
        name: name.clone(),
        version: version.clone(),
        reason,
        message,
    };
    let unknown = || {
        fail(
            InitReason::Creation,
            format!("couldn't find name resolver {name}/{version}"),
        )
    };
    if !["", "v0", "v1"].contains(&version.to_ascii_lowercase().as_str()) {
        return Err(unknown());
    }
    let log_name = format!("nr ({name}/{version})");
    let resolver = match name.to_ascii_lowercase().as_str() {
        "mdns" => match MdnsResolver::start(instance, &log_name) {
            Ok(resolver) => Ok(shared(resolver)),
            Err(error) => Err(error.to_string()),
        },
        "kubernetes" => DnsLookup::from_system()
            .and_then(|lookup| KubernetesResolver::new(configuration, lookup))
            .map(shared),
        "nameformat" => NameFormatResolver::new(configuration).map(shared),
        _ => return Err(unknown()),
    };
    let resolver = resolver.map_err(|message| fail(InitReason::Init, message))?;
    tracing::info!(target: "dapr.runtime", "Initialized name resolution to {name}");
    Ok(Resolver::new(resolver))
}

/// Starts what finds sidecars outside Kubernetes unless the Configuration chooses something else: the registry of
/// this machine and multicast DNS.
///
/// Multicast is announced and heard as with the component `mdns`, but need not be there if there is a registry.
///
/// # Errors
/// No registry and no network for the announcement, or an address that cannot be announced.
///
/// # Panics
/// Outside a tokio runtime.
pub fn start_self_hosted(instance: &Instance, neighbour: &Neighbour) -> Result<Resolver, InitError> {
    let (name, version) = ("mdns", "v1");
    let resolver = SelfHosted::start(instance, neighbour, &format!("nr ({name}/{version})"));
    let resolver = resolver.map_err(|error| InitError {
        name: name.to_owned(),
        version: version.to_owned(),
        reason: InitReason::Init,
        message: error.to_string(),
    })?;
    tracing::info!(target: "dapr.runtime", "Initialized name resolution to {name}");
    Ok(Resolver::new(resolver))
}

/// A field of a configuration; the case of its name does not matter.
pub(crate) fn text<'a>(configuration: &'a Value, name: &str) -> Option<&'a str> {
    let fields = configuration.as_object()?;
    let value = match fields.get(name) {
        Some(value) => value,
        None => {
            fields
                .iter()
                .find(|(field, _)| field.eq_ignore_ascii_case(name))?
                .1
        }
    };
    value.as_str()
}

fn shared(resolver: impl NameResolver) -> Arc<dyn NameResolver> {
    Arc::new(resolver)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn attempt(
        name: &str,
        version: &str,
        configuration: Value,
        host_address: &str,
    ) -> Result<Resolver, InitError> {
        let instance = Instance {
            app_id: "caller".to_owned(),
            host_name: "vm".to_owned(),
            host_address: host_address.to_owned(),
            internal_port: 50002,
        };
        start(
            &Component {
                name: name.to_owned(),
                version: version.to_owned(),
                configuration,
            },
            &instance,
        )
    }

    #[tokio::test]
    async fn an_unknown_resolver_or_version_is_not_created() {
        for (name, version) in [("dnsa", "v1"), ("structured", ""), ("mdns", "v2")] {
            let error = attempt(name, version, json!(null), "127.0.0.1").unwrap_err();
            assert_eq!(error.reason.label(), "creation");
            assert_eq!(
                error.to_string(),
                format!(
                    "[CREATE_COMPONENT_FAILURE]: initialization error occurred for nr ({name}/{version}): \
                     couldn't find name resolver {name}/{version}"
                )
            );
        }
    }

    #[tokio::test]
    async fn a_refused_configuration_is_an_init_error() {
        let error = attempt("nameformat", "v1", json!({}), "127.0.0.1").unwrap_err();
        assert_eq!(error.reason.label(), "init");
        assert_eq!(
            error.to_string(),
            "[INIT_COMPONENT_FAILURE]: initialization error occurred for nr (nameformat/v1): \
             format is required in metadata"
        );
    }

    #[tokio::test]
    async fn mdns_needs_an_address_that_can_be_announced() {
        for address in ["localhost", "[::1]"] {
            let error = attempt("mdns", "v1", json!(null), address).unwrap_err();
            assert_eq!(error.message, format!("Failed to parse given IP: {address}"));
        }
    }

    #[tokio::test]
    async fn names_and_versions_are_found_in_any_case() {
        for (name, version) in [("NameFormat", "V1"), ("nameformat", ""), ("NAMEFORMAT", "v0")] {
            assert!(attempt(name, version, json!({ "FORMAT": "{appid}:1" }), "127.0.0.1").is_ok());
        }
    }
}
