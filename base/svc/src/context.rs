//! What every layer may know about the call it serves.

use std::net::SocketAddr;
use std::sync::Arc;

/// The listener that a call came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// The HTTP or gRPC API of the own app.
    Api,
    /// The health and metadata port.
    Public,
    /// The link from another sidecar.
    Internal,
}

/// Facts of a call, set once at the listener and cheap to clone.
#[derive(Clone, Debug)]
pub struct CallContext {
    /// The listener that the call came in by.
    pub surface: Surface,
    /// Address of the other end; none on a Unix socket.
    pub remote: Option<SocketAddr>,
    /// Verified SPIFFE id of the other end, when the connection is mTLS.
    pub peer: Option<Arc<str>>,
}

// === impl CallContext ===

impl CallContext {
    /// The context that the listener put into a request's extensions.
    ///
    /// # Panics
    /// If no listener did: that is a wiring mistake, not input.
    #[must_use]
    pub fn of(extensions: &http::Extensions) -> &Self {
        extensions.get().expect("the listener sets the call context")
    }
}
