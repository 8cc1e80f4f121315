//! Name resolution by HashiCorp Consul: the sidecar registers with the agent of its machine and asks it for others.
//!
//! ```text
//! resolve ──▶ memory (useCache) ──▶ agent: health of a service, passing only ──▶ addresses
//!                 ▲
//!                 └── watcher: one blocking query on the health of all apps that were asked for
//! ```
//!
//! Source: specification, name resolution 5; the HTTP API of Consul.

mod address;
mod client;
mod config;
mod registration;
mod resolver;
mod watch;

use outrigger_component::Catalogue;

#[doc(hidden)]
pub use client::read_answer;
pub use resolver::ConsulResolver;

/// Scope of the log lines.
pub(crate) const SCOPE: &str = "dapr.contrib";

/// Adds the types of this crate.
pub fn register(catalogue: &mut Catalogue) {
    for kind in ["nameresolution.consul", "nameresolution.hashicorp.consul"] {
        catalogue.name_resolution.register(kind, resolver::make);
    }
}
