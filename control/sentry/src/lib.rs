//! The certificate authority: gives workloads their identities.
//!
//! ```text
//! workload ──SignCertificate──▶ server ──▶ validator ──▶ ca ──▶ certificate, tokens
//!                                 ▲                      ▲
//!                         own certificate              files ◀── reload ◀── watch
//! verifier of tokens ──▶ oidc (discovery, keys)
//! kubelet, prometheus ──▶ health, metrics
//! ```
//!
//! Everything that a client compares is written out here: the bytes of certificates, the texts of errors,
//! the documents of discovery. What an identity *is*, and how peers verify one, is in the crate `identity`;
//! what an identity *may do* is decided by those who are called.

mod ca;
mod error;
#[cfg(test)]
mod fixtures;
mod health;
mod http_server;
mod jwt;
mod listen;
mod oidc;
mod oidc_server;
mod own;
mod reload;
#[cfg(test)]
mod scratch;
mod sentry;
mod server;
#[cfg(test)]
mod tests;
mod validator;

pub use ca::{BundleError, CaError, ChainError, StoreError};
pub use error::{ConfigurationCause, Error, OwnCertificateError};
pub use jwt::JwtError;
pub use outrigger_config::watch::WatchError;
pub use outrigger_identity::jose::JwkSetError;
pub use sentry::{Addresses, Handle, Sentry, run};
pub use validator::KeySourceError;
