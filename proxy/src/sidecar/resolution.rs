//! How a run finds other sidecars.
//!
//! Source: specification, name resolution 1.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use outrigger_component::name_resolution::{self as component, Fatal, NameResolutionInit};
use outrigger_component::{Catalogue, HttpClient};
use outrigger_config::Mode;
use outrigger_config::configuration::Configuration;
use outrigger_config::daprd::{LocalRegistry, Settings};
use outrigger_link::Peers;
use outrigger_resolver::{
    self as resolver, ComponentResolver, InitError, InitReason, Meeting, Neighbour, Resolver,
};
use outrigger_telemetry::metrics::Metrics;

use super::{RUNTIME, RunError};
use crate::host::Host;
use crate::stop::{Stop, StopCause};

/// What a resolver is chosen and made by.
pub(super) struct Resolution<'a> {
    pub(super) settings: &'a Settings,
    pub(super) host: &'a Host,
    pub(super) catalogue: &'a Catalogue,
    pub(super) metrics: &'a Metrics,
    pub(super) stop: &'a Stop,
    pub(super) http: HttpClient,
    /// Bound addresses of the internal port.
    pub(super) internal: Vec<SocketAddr>,
}

/// The choice of the Configuration, or its absence.
enum Choice {
    /// The registry of the machine and multicast DNS.
    SelfHosted,
    /// The named component and nothing else.
    Component(resolver::Component),
}

/// Prefix of name resolvers in the catalogue.
const FAMILY: &str = "nameresolution";

/// Starts the resolver; its other result is the host address that is advertised.
///
/// # Errors
/// No host address, an unknown resolver, or one that does not start.
pub(super) async fn start(
    resolution: &Resolution<'_>,
    configuration: &Configuration,
) -> Result<(Resolver, String), RunError> {
    let choice = choice(configuration, resolution.settings.mode);
    let host_address = resolution.host_address(&choice)?;
    let started = match &choice {
        Choice::SelfHosted => resolution.start_self_hosted(&host_address),
        Choice::Component(component) => resolution.start_component(component, &host_address).await,
    };
    let resolver = started.inspect_err(|error| {
        let reason = error.reason.label();
        resolution
            .metrics
            .runtime()
            .component_failed("nameResolution", reason, &error.name);
    })?;
    Ok((resolver, host_address))
}

/// An address whose link was given up is resolved anew.
pub(super) fn forgetting(peers: Peers, resolver: Resolver, internal_port: u16) -> Peers {
    peers.on_discard(move |peer| {
        resolver.forget(&resolver::Request {
            app_id: &peer.app_id,
            namespace: &peer.namespace,
            port: internal_port,
        });
    })
}

fn choice(configuration: &Configuration, mode: Mode) -> Choice {
    let spec = configuration.name_resolution.as_ref();
    let (name, version) = match spec {
        Some(spec) if !spec.component.is_empty() => (spec.component.as_str(), spec.version.as_str()),
        _ => match mode {
            Mode::Standalone => return Choice::SelfHosted,
            Mode::Kubernetes => ("kubernetes", ""),
        },
    };
    Choice::Component(resolver::Component {
        name: name.to_owned(),
        version: if version.is_empty() { "v1" } else { version }.to_owned(),
        configuration: spec.map_or(serde_json::Value::Null, |spec| spec.configuration.clone()),
    })
}

// === impl Resolution ===

impl Resolution<'_> {
    /// The advertised address. Without any network the machine has only itself, which is enough for its registry.
    fn host_address(&self, choice: &Choice) -> Result<String, RunError> {
        if let Some(address) = self.settings.loopback_host() {
            return Ok(address.to_owned());
        }
        match resolver::host_address(self.settings.host_address.as_deref()) {
            Err(error) if matches!(choice, Choice::SelfHosted) && self.meeting() != Meeting::Nowhere => {
                tracing::warn!(target: RUNTIME, "{error}; this machine is reached from within only");
                Ok(Ipv4Addr::LOCALHOST.to_string())
            }
            found => Ok(found?),
        }
    }

    fn start_self_hosted(&self, host_address: &str) -> Result<Resolver, InitError> {
        let neighbour = Neighbour {
            address: within_machine(&self.internal),
            namespace: self.settings.namespace.name().to_owned(),
            folder: self.meeting(),
        };
        resolver::start_self_hosted(&self.instance(host_address), &neighbour)
    }

    async fn start_component(
        &self,
        component: &resolver::Component,
        host_address: &str,
    ) -> Result<Resolver, InitError> {
        let kind = format!("{FAMILY}.{}", component.name);
        let Some(found) = self.catalogue.name_resolution.find(&kind, &component.version) else {
            return resolver::start(component, &self.instance(host_address));
        };
        let init = NameResolutionInit {
            configuration: component.configuration.clone(),
            instance: component::Instance {
                app_id: self.settings.app_id.to_string(),
                namespace: self.settings.namespace.name().to_owned(),
                host_address: host_address.to_owned(),
                http_port: self.settings.http_port,
                internal_port: self.internal_port(),
                app_port: Some(self.settings.app.port).filter(|&port| port != 0),
            },
            http: self.http.clone(),
            fatal: {
                let stop = self.stop.clone();
                Fatal::new(move |_| stop.request(StopCause::Forced))
            },
        };
        let made = found.maker.make(init).await.map_err(|error| InitError {
            name: component.name.clone(),
            version: component.version.clone(),
            reason: InitReason::Init,
            message: error.to_string(),
        })?;
        tracing::info!(target: RUNTIME, "Initialized name resolution to {}", component.name);
        Ok(Resolver::new(Arc::new(ComponentResolver::new(made))))
    }

    fn instance(&self, host_address: &str) -> resolver::Instance {
        resolver::Instance {
            app_id: self.settings.app_id.to_string(),
            host_name: self.host.name.clone(),
            host_address: host_address.to_owned(),
            internal_port: self.internal_port(),
        }
    }

    fn internal_port(&self) -> u16 {
        self.internal.first().map_or(0, SocketAddr::port)
    }

    fn meeting(&self) -> Meeting {
        match &self.settings.local_registry {
            LocalRegistry::Off => Meeting::Nowhere,
            LocalRegistry::Session(runtime) => Meeting::Session(runtime.clone()),
            LocalRegistry::Folder(folder) => Meeting::Folder(folder.clone()),
        }
    }
}

/// The address under which a bound port is reached on the own machine, whatever becomes of its networks.
fn within_machine(bound: &[SocketAddr]) -> SocketAddr {
    let within = |address: &SocketAddr| match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from((Ipv6Addr::LOCALHOST, address.port())),
        _ => *address,
    };
    let within = bound.iter().map(within);
    // Of several, loopback first, and IPv4 of those.
    let best = within.min_by_key(|address| (!address.ip().is_loopback(), address.is_ipv6()));
    best.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_reached_by_the_way_that_lasts_longest() {
        let table = [
            (&["0.0.0.0:7"][..], "127.0.0.1:7"),
            (&["[::]:7"], "[::1]:7"),
            (&["[::]:7", "0.0.0.0:7"], "127.0.0.1:7"),
            (&["10.0.0.1:7"], "10.0.0.1:7"),
            (&["10.0.0.1:7", "[::1]:7"], "[::1]:7"),
            (&["127.0.0.1:7"], "127.0.0.1:7"),
        ];
        for (bound, expected) in table {
            let bound: Vec<SocketAddr> = bound.iter().map(|address| address.parse().unwrap()).collect();
            assert_eq!(within_machine(&bound).to_string(), expected);
        }
    }

    #[test]
    fn a_configuration_without_a_component_leaves_the_choice_to_the_mode() {
        let configuration = Configuration::default();
        assert!(matches!(
            choice(&configuration, Mode::Standalone),
            Choice::SelfHosted
        ));
        let Choice::Component(component) = choice(&configuration, Mode::Kubernetes) else {
            panic!("no component");
        };
        assert_eq!(
            (component.name.as_str(), component.version.as_str()),
            ("kubernetes", "v1")
        );
    }
}
