//! Components that need no server of a vendor: what they do is done in the sidecar, or by plain HTTP.

pub mod crypto;
mod key_document;
pub mod middleware;
mod oauth2;
pub mod secrets;
pub mod state;
#[cfg(test)]
mod testing;

use outrigger_component::Catalogue;

/// Adds the types of this crate.
pub fn register(catalogue: &mut Catalogue) {
    crypto::register(&mut catalogue.crypto);
    middleware::register(&mut catalogue.http_middleware);
    secrets::register(&mut catalogue.secret_stores);
    state::register(&mut catalogue.state);
}
