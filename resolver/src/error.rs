//! Why a callee was not found, and why a resolver did not start.

use std::sync::Arc;

/// Why a callee has no address. The texts reach the caller's app.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// No instance answered on the local network.
    #[error("couldn't find service: {0}")]
    NotFound(Arc<str>),
    /// Another call's search for the same app did not end in time.
    #[error("timeout waiting for address for app id {0}")]
    Timeout(Arc<str>),
    /// No socket for a search on the local network could be opened.
    #[error("failed to initialize resolver after attempting IPv4+IPv6, IPv4-only, and IPv6-only")]
    Browse,
    /// The resolver kept answering with an empty set.
    #[error("resolver returned empty address for app id {namespace}/{app_id}")]
    Empty {
        /// Namespace of the callee's app.
        namespace: Arc<str>,
        /// Id of the callee's app.
        app_id: Arc<str>,
    },
    /// The DNS has no address for the callee's name.
    #[error("failed to resolve address for '{host}': {reason}")]
    Dns {
        /// The name that was looked up, without port.
        host: Arc<str>,
        /// What the DNS said.
        reason: Arc<str>,
    },
    /// The name format needs an app id.
    #[error("empty ID not allowed")]
    EmptyId,
    /// The resolver is being shut down.
    #[error("name resolver is closed")]
    Closed,
    /// A reason of a resolver that this crate does not know.
    #[error("{0}")]
    Other(Arc<str>),
}

/// Why name resolution did not start; fatal for the sidecar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("[{}]: initialization error occurred for nr ({name}/{version}): {message}", reason.code())]
pub struct InitError {
    /// Name of the component as it was configured.
    pub name: String,
    /// Version of the component as it was configured.
    pub version: String,
    /// The step that failed.
    pub reason: InitReason,
    /// What went wrong.
    pub message: String,
}

/// The step of the start that failed: the `reason` label of the init failure metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitReason {
    /// No resolver has that name.
    Creation,
    /// The resolver refused its configuration or could not start.
    Init,
}

// === impl InitReason ===

impl InitReason {
    /// The value of the metric label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Creation => "creation",
            Self::Init => "init",
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::Creation => "CREATE_COMPONENT_FAILURE",
            Self::Init => "INIT_COMPONENT_FAILURE",
        }
    }
}
