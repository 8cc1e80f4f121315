//! The components that the sidecar has loaded.

mod handlers;

pub(crate) use handlers::Handlers;
