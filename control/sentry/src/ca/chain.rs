//! Whether a loaded issuer chain hangs together and leads to the anchors.

use std::time::SystemTime;

use outrigger_identity::certificate::{Certificate, SignatureError, Validity};
use outrigger_identity::tls::signature_algorithms;
use outrigger_identity::verify::PathError;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// Why a chain cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The parent is not allowed to sign certificates.
    #[error("x509: invalid signature: parent certificate cannot sign this kind of certificate")]
    ParentCannotSign,
    /// The signature was not made by the parent's key.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// The chain leads nowhere, or a certificate on the way does not hold.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A certificate is for other uses than authenticating servers.
    #[error("x509: certificate specifies an incompatible key usage")]
    Usage,
}

/// Checks that `parent` may sign certificates and signed `child`.
pub(crate) fn check_signed_by(child: &Certificate, parent: &Certificate) -> Result<(), ChainError> {
    let may_sign = parent.key_usage().is_none_or(|usage| usage.cert_sign);
    if !parent.is_authority() || !may_sign {
        return Err(ChainError::ParentCannotSign);
    }
    Ok(child.verify_issued_by(parent, signature_algorithms())?)
}

/// Whether the certificate is a root.
pub(crate) fn is_self_signed(certificate: &Certificate) -> bool {
    certificate.is_self_signed(signature_algorithms())
}

/// Checks that `chain`, each certificate signed by the following one, leads to an anchor at `now`.
///
/// Every certificate on the path, the anchor included, must be in its validity period and, if it names
/// extended usages, allow authenticating servers.
pub(crate) fn verify(
    chain: &[Certificate],
    anchors: &[Certificate],
    now: SystemTime,
) -> Result<(), ChainError> {
    let mut refusal = ChainError::Path(PathError::UnknownAuthority(None));
    for (below, certificate) in chain.iter().enumerate() {
        check_on_path(certificate, below, now)?;
        for anchor in anchors {
            let named = certificate.issuer() == anchor.subject();
            if !named || check_signed_by(certificate, anchor).is_err() {
                continue;
            }
            match check_on_path(anchor, below + 1, now) {
                Ok(()) => return Ok(()),
                Err(error) => refusal = error,
            }
        }
    }
    Err(refusal)
}

/// `below` is the number of authorities on the way down to the one that signs workloads, that one included.
fn check_on_path(certificate: &Certificate, below: usize, now: SystemTime) -> Result<(), ChainError> {
    match certificate.validity(now) {
        Validity::Valid => {}
        Validity::Expired => {
            return Err(PathError::Expired {
                now,
                not_after: certificate.not_after(),
            }
            .into());
        }
        Validity::NotYet => {
            return Err(PathError::NotYetValid {
                now,
                not_before: certificate.not_before(),
            }
            .into());
        }
    }
    if let Some(extension) = certificate.unhandled_critical_extension() {
        return Err(PathError::UnhandledCriticalExtension(extension.to_owned()).into());
    }
    let limit = certificate
        .basic_constraints()
        .and_then(|constraints| constraints.path_length);
    if limit.is_some_and(|limit| usize::try_from(limit).is_ok_and(|limit| below > limit)) {
        return Err(PathError::TooManyIntermediates.into());
    }
    if allows_servers(certificate) {
        Ok(())
    } else {
        Err(ChainError::Usage)
    }
}

/// Whether extended key usage, if there is any, allows authenticating servers.
fn allows_servers(certificate: &Certificate) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate.as_der()) else {
        return false;
    };
    match parsed.extended_key_usage() {
        Ok(Some(usage)) => usage.value.any || usage.value.server_auth,
        Ok(None) => true,
        Err(_) => false,
    }
}
