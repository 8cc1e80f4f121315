//! Components that keep their data in an SQLite file.
//!
//! ```text
//! component ──job──▶ Database ──▶ one thread with the connection ──▶ file
//!           ◀─answer─┘
//! ```
//!
//! The library blocks, so each database has a thread of its own; what waits for it waits in a task.

mod connection;
mod database;
mod migrations;
mod name_resolution;
mod state;

use outrigger_component::Catalogue;

pub use name_resolution::SqliteResolver;
pub use state::SqliteStore;

/// Scope of the log lines.
pub(crate) const SCOPE: &str = "dapr.contrib";

/// Adds the types of this crate.
pub fn register(catalogue: &mut Catalogue) {
    catalogue
        .name_resolution
        .register("nameresolution.sqlite", name_resolution::make);
    for kind in ["state.sqlite", "state.sqlite3"] {
        catalogue.state.register(kind, state::make);
    }
}
