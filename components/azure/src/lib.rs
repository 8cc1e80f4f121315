//! Microsoft Azure: state in Cosmos DB, Blob Storage and Table Storage.
//!
//! ```text
//! component ──▶ Service: signs, tries again ──▶ HttpClient of the sidecar
//!                  ▲
//!                Login: account key, or tokens of Microsoft Entra by the first way that works
//! ```
//!
//! The services are spoken to by their REST interfaces: the official libraries bring a second HTTP client, and those
//! of Cosmos DB are not finished.

mod cloud;
mod cosmos;
mod credential;
mod moment;
mod service;
#[cfg(test)]
mod testing;

use outrigger_component::Catalogue;

pub use cosmos::CosmosDb;

/// Scope of the log lines.
pub(crate) const SCOPE: &str = "dapr.contrib";

/// Adds the types of this crate.
pub fn register(catalogue: &mut Catalogue) {
    catalogue.state.register("state.azure.cosmosdb", cosmos::make);
}
