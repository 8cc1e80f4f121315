//! Microsoft Azure: state in Cosmos DB, Blob Storage and Table Storage, secrets in Key Vault,
//! configuration in App Configuration.
//!
//! ```text
//! component ──▶ Service: signs, tries again ──▶ HttpClient of the sidecar
//!                  ▲
//!                Login: account key, or tokens of Microsoft Entra by the first way that works
//! ```
//!
//! The services are spoken to by their REST interfaces: the official libraries bring a second HTTP client, and those
//! of Cosmos DB are not finished.

mod app_config;
mod cloud;
mod cosmos;
mod credential;
mod key_vault;
mod moment;
mod service;
mod storage;

use outrigger_component::{Catalogue, Versions};

pub use app_config::AppConfiguration;
pub use cosmos::CosmosDb;
pub use key_vault::KeyVault;
pub use storage::{BlobStorage, TableStorage};

/// Scope of the log lines.
pub(crate) const SCOPE: &str = "dapr.contrib";

/// Adds the types of this crate.
pub fn register(catalogue: &mut Catalogue) {
    catalogue
        .configuration
        .register("configuration.azure.appconfig", app_config::make);
    catalogue
        .secret_stores
        .register("secretstores.azure.keyvault", key_vault::make);
    let state = &mut catalogue.state;
    state.register("state.azure.cosmosdb", cosmos::make);
    state.register("state.azure.tablestorage", storage::make_table);
    state.register_version("state.azure.blobstorage", "v1", storage::make_blob_v1);
    state.register_version("state.azure.blobstorage", "v2", storage::make_blob_v2);
    let versions = Versions {
        default: "v1",
        preferred: "v2",
        deprecated: &["v1"],
    };
    state.set_versions("state.azure.blobstorage", versions);
}

/// Reads an answer of a service as a document of Cosmos DB and as a token; for fuzzing.
#[doc(hidden)]
pub fn read_answer(bytes: &[u8]) {
    cosmos::read_document(bytes);
    credential::read_token(bytes);
}

/// Reads a connection string of a storage account; for fuzzing.
#[doc(hidden)]
pub fn read_connection_string(text: &str) {
    storage::read_connection(text);
}
