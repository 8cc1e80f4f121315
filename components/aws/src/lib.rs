//! Amazon Web Services: state in DynamoDB, secrets in Secrets Manager and Parameter Store, name resolution by
//! Cloud Map.
//!
//! ```text
//! component ──▶ official client ──▶ Bridge ──▶ HttpClient of the sidecar
//!                   ▲
//!                Access: region, endpoint, credentials
//! ```
//!
//! The official clients bring no transport of their own: requests go the way of all components, with the sidecar's
//! trust and look-ups. Each service is a feature, for its client is large.

mod access;
mod bridge;
#[cfg(feature = "cloudmap")]
mod cloud_map;
#[cfg(feature = "dynamodb")]
mod dynamodb;
mod failure;
#[cfg(feature = "secrets")]
mod secrets;

use outrigger_component::Catalogue;

#[cfg(feature = "cloudmap")]
pub use cloud_map::CloudMap;
#[cfg(feature = "dynamodb")]
pub use dynamodb::DynamoDb;
#[cfg(feature = "secrets")]
pub use secrets::{ParameterStore, SecretManager};

/// Adds the types of this crate.
pub fn register(catalogue: &mut Catalogue) {
    #[cfg(feature = "dynamodb")]
    catalogue.state.register("state.aws.dynamodb", dynamodb::make);
    #[cfg(feature = "secrets")]
    {
        let stores = &mut catalogue.secret_stores;
        stores.register("secretstores.aws.secretmanager", secrets::make_manager);
        stores.register("secretstores.aws.parameterstore", secrets::make_parameters);
    }
    #[cfg(feature = "cloudmap")]
    catalogue
        .name_resolution
        .register("nameresolution.aws.cloudmap", cloud_map::make);
    #[cfg(not(any(feature = "dynamodb", feature = "secrets", feature = "cloudmap")))]
    let _ = catalogue;
}
