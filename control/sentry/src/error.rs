//! Why sentry does not start, or ends by itself.

use std::path::PathBuf;

use outrigger_config::sentry::CaConfigurationError;
use outrigger_config::watch::WatchError;
use outrigger_identity::key::KeyError;
use outrigger_identity::spiffe::SpiffeIdError;
use outrigger_identity::svid::SvidError;
use outrigger_kit::quote::go_quote;

use crate::ca::CaError;
use crate::validator::KeySourceError;

/// Why sentry does not start, or ends by itself; log as fatal and exit with 1.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Configuration is missing or makes no sense.
    #[error("loading default config. couldn't find config name {}: {source}", go_quote(.name))]
    Configuration {
        /// Path of the file, or name in kubernetes mode.
        name: String,
        /// What is wrong.
        source: ConfigurationCause,
    },
    /// The trust domain of the control plane, or the own namespace, cannot be part of a SPIFFE id.
    #[error("invalid control plane trust domain: {0}")]
    Id(#[from] SpiffeIdError),
    /// A directory of files that may change is missing.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The bundle cannot be used or made.
    #[error("error creating CA: {0}")]
    Ca(#[from] CaError),
    /// The own certificate cannot be made.
    #[error("error creating security provider: {0}")]
    OwnCertificate(#[from] OwnCertificateError),
    /// A validator cannot be set up, or its keys cannot be loaded.
    #[error("error initializing validators: {0}")]
    Validator(#[from] KeySourceError),
    /// A port cannot be bound.
    #[error("failed to listen on {address}: {source}")]
    Listen {
        /// Address and port.
        address: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The certificate or key of the OIDC server cannot be used.
    #[error("failed to load TLS certificate of the OIDC server from {}: {reason}", path.display())]
    OidcCertificate {
        /// File of the certificate.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A part of sentry panicked: a mistake in the program.
    #[error("a task ended by itself: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// What is wrong with the Configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationCause {
    /// It cannot be read, or makes no sense.
    #[error(transparent)]
    File(#[from] CaConfigurationError),
    /// It would be in a cluster.
    #[error("kubernetes mode is not supported by this build")]
    Kubernetes,
}

/// Why sentry has no certificate of its own.
#[derive(Debug, thiserror::Error)]
pub enum OwnCertificateError {
    /// Making the key or signing failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The certificate is of no use in TLS.
    #[error(transparent)]
    Svid(#[from] SvidError),
}
