//! Addresses that are dialled when `--connect` asks for it.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use http::Uri;

use crate::Check;
use crate::document::cause;
use crate::finding::Place;
use crate::secrets::property;

/// Longest wait for one address.
const PATIENCE: Duration = Duration::from_secs(2);

// === impl Check ===

impl Check<'_> {
    /// Dials the app, the control plane, exporters, endpoints and Redis, one after the other.
    pub(crate) fn connect(&mut self) {
        for (place, what, address) in self.addresses() {
            if let Err(error) = dial(&address) {
                self.findings
                    .add(place, format!("{what} {address} cannot be reached: {error}"));
            }
        }
    }

    fn addresses(&self) -> Vec<(Place, &'static str, String)> {
        let flags = &self.options.flags;
        let mut addresses = Vec::new();
        let command_line = || Place::outside("command line");
        if flags.app_port.parse().is_ok_and(|port: u16| port != 0) {
            let address = format!("{}:{}", flags.app_channel_address, flags.app_port);
            addresses.push((command_line(), "the app at", address));
        }
        if flags.enable_mtls && !flags.sentry_address.is_empty() {
            addresses.push((command_line(), "--sentry-address", flags.sentry_address.clone()));
        }
        let lists = [flags.placement_host_address.as_str()];
        for address in lists
            .into_iter()
            .flat_map(|list| list.split(','))
            .filter(|address| !address.is_empty())
        {
            addresses.push((command_line(), "--placement-host-address", address.to_owned()));
        }
        for address in &flags.scheduler_host_address {
            addresses.push((command_line(), "--scheduler-host-address", address.clone()));
        }
        for document in &self.configurations {
            let Some(tracing) = document.spec().get("tracing") else {
                continue;
            };
            for (member, what) in [("otel", "the collector"), ("zipkin", "the Zipkin collector")] {
                if let Some(address) = tracing
                    .get(member)
                    .and_then(|exporter| exporter.get("endpointAddress"))
                    && let Some(text) = address.as_text().and_then(authority)
                {
                    addresses.push((document.place(address.line), what, text));
                }
            }
        }
        for document in self
            .resources
            .iter()
            .filter(|document| document.is_for(&flags.app_id))
        {
            let spec = document.spec();
            match document.kind() {
                "HTTPEndpoint" => {
                    if let Some(address) = authority(spec.text("baseUrl")) {
                        addresses.push((document.place(spec.line_of("baseUrl")), "endpoint", address));
                    }
                }
                "Component" => {
                    let hosts = property(document, "redisHost").unwrap_or_default();
                    for host in hosts.split(',').filter(|host| !host.is_empty()) {
                        let place = document.place(spec.line_of("metadata"));
                        addresses.push((place, "redisHost", host.trim().to_owned()));
                    }
                }
                _ => {}
            }
        }
        addresses
    }
}

/// Host and port of an address, which may be a URL.
fn authority(address: &str) -> Option<String> {
    if !address.contains("://") {
        return (!address.is_empty()).then(|| address.to_owned());
    }
    let url: Uri = address.parse().ok()?;
    let port = url.port_u16().unwrap_or(match url.scheme_str() {
        Some("https") => 443,
        _ => 80,
    });
    Some(format!("{}:{port}", url.host()?))
}

fn dial(address: &str) -> Result<(), String> {
    let found = address.to_socket_addrs().map_err(|error| cause(&error))?;
    let mut outcome = Err("no address found".to_owned());
    for socket in found {
        outcome = TcpStream::connect_timeout(&socket, PATIENCE)
            .map(drop)
            .map_err(|error| cause(&error));
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}
