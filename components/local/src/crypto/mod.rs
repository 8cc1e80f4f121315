//! Keys that stand on this machine or in a set that anybody may read.

pub mod jwks;
pub mod localstorage;

use outrigger_component::Registry;
use outrigger_component::crypto::CryptoProvider;

/// Adds the types of this family.
pub(super) fn register(registry: &mut Registry<dyn CryptoProvider>) {
    registry.register("crypto.dapr.jwks", jwks::make);
    registry.register("crypto.dapr.localstorage", localstorage::make);
}

/// What is said of a key that is not there.
const NOT_FOUND: &str = "key not found";
