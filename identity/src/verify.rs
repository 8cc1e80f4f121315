//! Judging a peer by its certificates, as SPIFFE demands.
//!
//! Host names play no part, nor does extended key usage; what counts is one URI in the leaf, and a path of
//! valid signatures from the leaf to an anchor that is itself still valid.
//! Source: X509-SVID 5, RFC 5280 6.1, specification: identity 4.

use std::time::SystemTime;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls_pki_types::CertificateDer;

use crate::anchors::TrustAnchors;
use crate::certificate::{Certificate, CertificateError};
use crate::spiffe::{SpiffeId, SpiffeIdError};

mod constraints;
mod path;

pub use path::PathError;

/// Most certificates that a peer may send; it needs two.
pub const MAX_CERTIFICATES: usize = 32;

/// Whom to expect at the other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expect {
    /// Anyone with a valid certificate: what servers accept.
    Any,
    /// Exactly this id: a process of the control plane.
    Exact(SpiffeId),
    /// This app, whatever its trust domain: another sidecar.
    App {
        /// Namespace of the app.
        namespace: String,
        /// Id of the app.
        app_id: String,
    },
}

/// Why a peer is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The peer sent no certificate.
    #[error("x509svid: empty certificates chain")]
    Empty,
    /// The peer sent more certificates than anyone needs.
    #[error("x509svid: too many certificates")]
    TooMany,
    /// A certificate cannot be parsed.
    #[error("x509svid: could not parse certificate: {0}")]
    Parse(#[from] CertificateError),
    /// The leaf names no SPIFFE id.
    #[error("x509svid: could not get leaf SPIFFE ID: {0}")]
    LeafId(#[from] LeafIdError),
    /// The leaf is an authority.
    #[error("x509svid: leaf certificate with CA flag set to true")]
    LeafIsAuthority,
    /// The leaf's key may sign certificates.
    #[error("x509svid: leaf certificate with KeyCertSign key usage")]
    LeafSignsCertificates,
    /// The leaf's key may sign revocation lists.
    #[error("x509svid: leaf certificate with KeyCrlSign key usage")]
    LeafSignsRevocations,
    /// No valid path leads from the leaf to an anchor.
    #[error("x509svid: could not verify leaf certificate: {0}")]
    Path(#[from] PathError),
    /// The peer is somebody else than the one expected by its whole id.
    #[error("unexpected ID \"{0}\"")]
    UnexpectedId(SpiffeId),
    /// The peer is another app than the one expected.
    #[error("unexpected SPIFFE ID: \"{0}\"")]
    UnexpectedApp(SpiffeId),
}

/// Why a leaf names no SPIFFE id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeafIdError {
    /// There is no URI among the leaf's names.
    #[error("certificate contains no URI SAN")]
    NoUri,
    /// There are several URIs.
    #[error("certificate contains more than one URI SAN")]
    SeveralUris,
    /// The URI is no SPIFFE id.
    #[error(transparent)]
    SpiffeId(#[from] SpiffeIdError),
    /// The id has no path, so it names a trust domain and not a workload.
    #[error("path is missing")]
    NoPath,
}

/// Judges a peer by the certificates it sent, leaf first, at the time `now`. Returns who it is.
///
/// The other certificates may come in any order, and more of them than needed. The work is bounded: at most
/// [`MAX_CERTIFICATES`] certificates, and a limited number of signatures.
///
/// # Errors
/// When the leaf is no SPIFFE certificate, does not lead to an anchor, or names somebody not expected.
pub fn verify_peer(
    leaf: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    anchors: &TrustAnchors,
    expect: &Expect,
    now: SystemTime,
    algorithms: WebPkiSupportedAlgorithms,
) -> Result<SpiffeId, VerifyError> {
    let id = verify_chain(leaf, others, anchors, now, algorithms)?;
    expect.authorize(&id)?;
    Ok(id)
}

/// Judges a chain of certificates, leaf first, without expecting anyone in particular.
///
/// # Errors
/// When the leaf is no SPIFFE certificate or does not lead to an anchor.
pub fn verify_chain(
    leaf: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    anchors: &TrustAnchors,
    now: SystemTime,
    algorithms: WebPkiSupportedAlgorithms,
) -> Result<SpiffeId, VerifyError> {
    if others.len() >= MAX_CERTIFICATES {
        return Err(VerifyError::TooMany);
    }
    let leaf = Certificate::parse(leaf)?;
    let others = others
        .iter()
        .map(|encoding| Certificate::parse(encoding))
        .collect::<Result<Vec<_>, _>>()?;
    let id = leaf_id(&leaf)?;
    check_leaf(&leaf)?;
    path::verify(&leaf, &others, anchors.certificates(), now, algorithms)?;
    Ok(id)
}

/// The id that a certificate claims: its one URI. Nothing else about the certificate is checked.
///
/// # Errors
/// When there is not exactly one URI, or it does not name a workload.
pub fn leaf_id(leaf: &Certificate) -> Result<SpiffeId, LeafIdError> {
    let id = match leaf.names().uri.as_slice() {
        [] => return Err(LeafIdError::NoUri),
        [uri] => SpiffeId::parse(uri)?,
        _ => return Err(LeafIdError::SeveralUris),
    };
    if id.path().is_empty() {
        return Err(LeafIdError::NoPath);
    }
    Ok(id)
}

// === impl Expect ===

impl Expect {
    /// Decides whether a verified id is the one expected.
    ///
    /// # Errors
    /// When it is another.
    pub fn authorize(&self, id: &SpiffeId) -> Result<(), VerifyError> {
        match self {
            Self::Any => Ok(()),
            Self::Exact(expected) if expected == id => Ok(()),
            Self::Exact(_) => Err(VerifyError::UnexpectedId(id.clone())),
            Self::App { namespace, app_id } if is_path_of(id.path(), namespace, app_id) => Ok(()),
            Self::App { .. } => Err(VerifyError::UnexpectedApp(id.clone())),
        }
    }
}

fn check_leaf(leaf: &Certificate) -> Result<(), VerifyError> {
    let usage = leaf.key_usage();
    if leaf
        .basic_constraints()
        .is_some_and(|constraints| constraints.is_authority)
    {
        return Err(VerifyError::LeafIsAuthority);
    }
    if usage.is_some_and(|usage| usage.cert_sign) {
        return Err(VerifyError::LeafSignsCertificates);
    }
    if usage.is_some_and(|usage| usage.crl_sign) {
        return Err(VerifyError::LeafSignsRevocations);
    }
    Ok(())
}

/// Whether `path` is `/ns/<namespace>/<app id>` and no more.
fn is_path_of(path: &str, namespace: &str, app_id: &str) -> bool {
    path.strip_prefix("/ns/")
        .and_then(|rest| rest.strip_prefix(namespace))
        .and_then(|rest| rest.strip_prefix('/'))
        .is_some_and(|rest| rest == app_id)
}

#[cfg(test)]
mod tests;
