//! Certificate requests: nothing but a public key, signed by its private half.
//!
//! The authority takes the names from what it knows about the requester, so the request has none.
//! Source: RFC 2986.

use crate::key::{KeyError, PrivateKey};
use crate::{der, pem};

/// Version 1 of the format.
const VERSION: [u8; 1] = [0];

/// Writes a request for `key` as a PEM block `CERTIFICATE REQUEST`: empty subject, no attributes.
///
/// # Errors
/// When the key cannot sign.
pub fn request(key: &PrivateKey) -> Result<String, KeyError> {
    let info = der::sequence(&[
        &der::unsigned_integer(&VERSION),
        &der::sequence(&[]),
        &key.public_key_info()?,
        &der::context(0, &[]),
    ]);
    let signature = key.sign(&info)?;
    let request = der::sequence(&[&info, &key.signature_algorithm(), &der::bit_string(&signature)]);
    Ok(pem::encode(pem::CERTIFICATE_REQUEST, &request))
}

#[cfg(test)]
mod tests {
    use x509_parser::certification_request::X509CertificationRequest;
    use x509_parser::prelude::FromDer;

    use super::*;
    use crate::certificate::{split_public_key_info, verify_signature};
    use crate::key::KeyType;
    use crate::tls::signature_algorithms;

    #[test]
    fn a_request_carries_a_public_key_and_nothing_else() {
        for kind in [KeyType::Ed25519, KeyType::Rsa2048, KeyType::EcdsaP256] {
            let key = PrivateKey::generate(kind).unwrap();
            let text = request(&key).unwrap();
            let block = pem::blocks(text.as_bytes()).next().unwrap();
            assert_eq!(block.label, "CERTIFICATE REQUEST");
            let (rest, parsed) = X509CertificationRequest::from_der(&block.contents).unwrap();
            assert!(rest.is_empty());
            let info = &parsed.certification_request_info;
            assert_eq!(info.subject.as_raw(), [0x30, 0]);
            assert_eq!(info.attributes().len(), 0);
            assert_eq!(info.subject_pki.raw, key.public_key_info().unwrap());
        }
    }

    #[test]
    fn a_request_is_signed_by_its_own_key() {
        for kind in [KeyType::Ed25519, KeyType::Rsa2048, KeyType::EcdsaP256] {
            let key = PrivateKey::generate(kind).unwrap();
            let text = request(&key).unwrap();
            let block = pem::blocks(text.as_bytes()).next().unwrap();
            let (whole, _) = der::read(&block.contents).unwrap();
            let (info, rest) = der::read(whole.contents).unwrap();
            let (algorithm, rest) = der::read(rest).unwrap();
            let (signature, _) = der::read(rest).unwrap();
            let public_key_info = key.public_key_info().unwrap();
            let (key_algorithm, bits) = split_public_key_info(&public_key_info).unwrap();
            let verdict = verify_signature(
                signature_algorithms(),
                key_algorithm,
                bits,
                algorithm.contents,
                info.raw,
                &signature.contents[1..],
            );
            assert_eq!(verdict, Ok(()), "{kind:?}");
        }
    }
}
