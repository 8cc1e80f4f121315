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

/// Reads an answer of a server as the commands of this crate do; how many of them can. For fuzzing.
#[doc(hidden)]
#[must_use]
pub fn read_answer(bytes: &[u8]) -> usize {
    let Ok(answer) = redis::parse_redis_value(bytes) else {
        return 0;
    };
    let read = [
        state::reads_as_value(answer.clone()),
        link::reads_as_slots(&answer),
        value::text(&answer).is_ok(),
    ];
    read.into_iter().filter(|read| *read).count()
}
