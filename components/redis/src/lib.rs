//! Redis: state, configuration and locks.
//!
//! ```text
//! state.redis ─────────┐
//! configuration.redis ─┼─▶ Client (link) ─▶ one server, a master of sentinels, a cluster
//! lock.redis ──────────┘
//! ```
//!
//! Values are hashes, or documents where the server has RedisJSON; writes are scripts, so that the check of a
//! version and the write are one step. Other sidecars read and write the same keys at the same time.

mod configuration;
mod error;
mod info;
mod link;
mod lock;
mod script;
mod settings;
mod state;
mod value;

use outrigger_component::Catalogue;

/// Scope of the log lines.
pub(crate) const SCOPE: &str = "dapr.contrib";

/// Adds the types of this crate.
pub fn register(catalogue: &mut Catalogue) {
    catalogue.state.register("state.redis", state::make);
    catalogue
        .configuration
        .register("configuration.redis", configuration::make);
    catalogue.lock.register("lock.redis", lock::make);
}
