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
pub mod certificate;
pub mod der;
#[cfg(test)]
mod fixtures;
pub mod key;
pub mod pem;
pub mod spiffe;
pub mod svid;
pub mod tls;
pub mod verify;

pub use anchors::{AnchorError, AnchorSource, AnchorWatch, TrustAnchors};
pub use spiffe::{ControlPlane, SpiffeId, TrustDomain};
pub use svid::{Svid, SvidSource};
pub use tls::peer_id;
pub use verify::Expect;

/// Scope of this crate's log lines.
const LOG: &str = "dapr.runtime.security";
