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
#[cfg(feature = "dynamodb")]
mod dynamodb;
mod failure;

use outrigger_component::Catalogue;

#[cfg(feature = "dynamodb")]
pub use dynamodb::DynamoDb;

/// Adds the types of this crate.
pub fn register(catalogue: &mut Catalogue) {
    #[cfg(feature = "dynamodb")]
    catalogue.state.register("state.aws.dynamodb", dynamodb::make);
    #[cfg(not(feature = "dynamodb"))]
    let _ = catalogue;
}
