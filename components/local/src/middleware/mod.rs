//! HTTP middleware.
//!
//! Source: specification, HTTP middleware.

mod uppercase;

use outrigger_component::{HttpMiddleware, Registry};

pub use uppercase::Uppercase;

/// Adds the types of this module.
pub(crate) fn register(registry: &mut Registry<dyn HttpMiddleware>) {
    registry.register("middleware.http.uppercase", Uppercase::make);
}
