//! Identity: who a process is, how it gets to know, and how it judges its peers.
//!
//! ```text
//! sentry ──certificate──▶ Identity ──┬─▶ client and server configurations of every link
//!    ▲                       │       ├─▶ JWTs for components
//!    └──request at half life─┘       └─▶ signatures of workflow histories
//! file or text ──▶ AnchorSource ──▶ verification of peers
//! ```
//!
//! A workload is named by a SPIFFE id in the one URI of its certificate. Certificates live for hours and are
//! renewed in place: a new one is in force for the next handshake, and no open connection notices.
//!
//! Issuing certificates is not done here but in the certificate authority; authorisation is not done here but
//! where calls are served.

pub mod anchors;
#[cfg(test)]
mod authority;
pub mod certificate;
pub mod csr;
pub mod der;
mod directory;
#[cfg(test)]
mod fake_sentry;
#[cfg(test)]
mod fixtures;
mod identity;
pub mod jose;
pub mod jwt;
pub mod key;
mod metrics;
pub mod pem;
mod renewal;
pub mod sentry;
mod settings;
pub mod signer;
pub mod spiffe;
pub mod svid;
pub mod tls;
pub mod verify;

pub use anchors::{AnchorError, AnchorSource, AnchorWatch, TrustAnchors};
pub use directory::DirectoryError;
pub use identity::{Identity, Seams, StartError};
pub use jwt::JwtSvid;
pub use metrics::{FailureReason, IdentityMetrics};
pub use renewal::Renewal;
pub use sentry::SentryClient;
pub use settings::{Mode, RootUser, Settings, refuse_root};
pub use signer::Signer;
pub use spiffe::{ControlPlane, SpiffeId, TrustDomain};
pub use svid::{Svid, SvidSource};
pub use tls::peer_id;
pub use verify::Expect;

/// Scope of this crate's log lines.
const LOG: &str = "dapr.runtime.security";
