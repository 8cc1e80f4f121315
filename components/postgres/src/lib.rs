//! PostgreSQL and its kin: state and configuration.
//!
//! ```text
//! state.postgresql v1, v2 ─┐
//! state.cockroachdb        ├─▶ Database ─▶ connections ─▶ server
//! state.yugabytedb         │
//! configuration.postgresql ┘─▶ one more connection that listens
//! ```
//!
//! Users sign in with a password or a client certificate; tokens of clouds are refused when a component is made.

mod configuration;
mod database;
mod state;

use outrigger_component::Catalogue;

/// Scope of the log lines.
pub(crate) const SCOPE: &str = "dapr.contrib";

/// Adds the types of this crate.
pub fn register(catalogue: &mut Catalogue) {
    state::register(catalogue);
    configuration::register(catalogue);
}

/// How many keywords a connection string has; none if it cannot be read.
#[must_use]
pub fn keywords_of(connection_string: &str) -> Option<usize> {
    let keywords = database::Keywords::parse(connection_string).ok()?;
    Some(keywords.into_pairs().len())
}
