//! MySQL and MariaDB: state.
//!
//! ```text
//! MysqlStore ──▶ Database: a pool of connections, a time limit ──▶ server
//!     └── Statements: the texts, and what their rows mean
//! ```

mod data_source;
mod database;
mod settings;
mod state;

use outrigger_component::Catalogue;

pub use state::MysqlStore;

/// Adds the types of this crate.
pub fn register(catalogue: &mut Catalogue) {
    catalogue.state.register("state.mysql", state::make);
}
