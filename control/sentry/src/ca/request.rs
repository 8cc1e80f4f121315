//! Certificate requests (PKCS#10): nothing but the public key is taken from them.

use outrigger_identity::certificate::{split_public_key_info, verify_signature};
use outrigger_identity::tls::signature_algorithms;
use outrigger_identity::{der, pem};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RequestError {
    /// There is no PEM block, or its label is of something else.
    #[error("invalid certificate signing request")]
    NotARequest,
    /// The block does not hold a request.
    #[error("failed to parse certificate signing request: {0}")]
    Malformed(String),
    /// The request was not signed by the key it holds.
    #[error("invalid signature")]
    Signature,
}

/// Checks a request in PEM and returns the DER `SubjectPublicKeyInfo` of its key.
///
/// Old clients label their requests `CERTIFICATE`.
pub(crate) fn public_key(text: &[u8]) -> Result<Vec<u8>, RequestError> {
    let block = pem::blocks(text)
        .next()
        .filter(|block| matches!(block.label.as_str(), pem::CERTIFICATE_REQUEST | pem::CERTIFICATE))
        .ok_or(RequestError::NotARequest)?;
    let malformed = |detail: &str| RequestError::Malformed(detail.to_owned());
    let request = match X509CertificationRequest::from_der(&block.contents) {
        Ok(([], request)) => request,
        Ok(_) => return Err(malformed("asn1: syntax error: trailing data")),
        Err(error) => return Err(malformed(&error.to_string())),
    };
    let info = &request.certification_request_info;
    let parts = split_public_key_info(info.subject_pki.raw).zip(signature_algorithm(&block.contents));
    let ((key_algorithm, key), algorithm) = parts.ok_or_else(|| malformed("asn1: structure error"))?;
    let signature = &request.signature_value.data;
    verify_signature(
        signature_algorithms(),
        key_algorithm,
        key,
        algorithm,
        info.raw,
        signature,
    )
    .map_err(|_| RequestError::Signature)?;
    Ok(info.subject_pki.raw.to_vec())
}

/// The contents of the `AlgorithmIdentifier` between the signed part and the signature.
fn signature_algorithm(request: &[u8]) -> Option<&[u8]> {
    let (request, _) = der::read(request)?;
    let (_signed, rest) = der::read(request.contents)?;
    let (algorithm, _) = der::read(rest)?;
    Some(algorithm.contents)
}
