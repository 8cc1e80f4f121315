//! Kubernetes: its Secrets as secret store and as keys, and a ConfigMap as configuration.
//!
//! | Type | Asks the API server for |
//! |---|---|
//! | `secretstores.kubernetes` | `GET` of a Secret, list of a namespace |
//! | `crypto.dapr.kubernetes.secrets` | `GET` of a Secret each time that a key is used |
//! | `configuration.kubernetes` | list and watch of one ConfigMap, kept in memory |
//!
//! The client of the vendor's crate makes the connection and proves who calls; the watch is written here, because it
//! must get along with servers that number nothing and put no line ends between events.

mod client;
mod configuration;
mod crypto;
mod secrets;
#[cfg(test)]
mod testing;
mod watch;

use outrigger_component::Catalogue;

/// Adds the types of this crate.
pub fn register(catalogue: &mut Catalogue) {
    catalogue
        .configuration
        .register("configuration.kubernetes", configuration::ConfigMaps::make);
    catalogue
        .crypto
        .register("crypto.dapr.kubernetes.secrets", crypto::make);
    catalogue
        .secret_stores
        .register("secretstores.kubernetes", secrets::Secrets::make);
}
