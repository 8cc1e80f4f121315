//! memcached: state.
//!
//! ```text
//! MemcachedStore ──key──▶ Servers ──▶ one Server ──▶ a connection of its pool ──▶ text protocol
//! ```

mod connection;
mod servers;
mod settings;
mod state;

use outrigger_component::Catalogue;

pub use connection::read_answer;
pub use state::MemcachedStore;

/// Adds the types of this crate.
pub fn register(catalogue: &mut Catalogue) {
    catalogue.state.register("state.memcached", state::make);
}
