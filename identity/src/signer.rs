//! Signatures of workflow histories, by the own identity.
//!
//! Source: specification: identity 9.

use std::time::SystemTime;

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P521_SHA256_ASN1, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use rustls_pki_types::{CertificateDer, alg_id};

use crate::anchors::AnchorSource;
use crate::certificate::{Certificate, CertificateError, split_public_key_info};
use crate::der;
use crate::key::KeyError;
use crate::spiffe::SpiffeId;
use crate::svid::SvidSource;
use crate::tls::signature_algorithms;
use crate::verify::{VerifyError, verify_chain};

/// Signs digests with the own identity, and checks signatures of others.
#[derive(Clone, Debug)]
pub struct Signer {
    svids: SvidSource,
    anchors: AnchorSource,
}

/// A signature with the certificates that prove whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The signature.
    pub signature: Vec<u8>,
    /// Leaf and intermediates, one DER encoding after the other.
    pub chain: Vec<u8>,
}

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedError {
    /// The chain holds no certificate.
    #[error("certificate chain is empty")]
    Empty,
    /// A certificate of the chain cannot be parsed.
    #[error("failed to parse certificate chain: {0}")]
    Certificate(#[from] CertificateError),
    /// Keys of this kind do not sign.
    #[error("unsupported public key type")]
    UnsupportedKey,
    /// The signature is not by this leaf over this digest.
    #[error("signature verification failed")]
    Invalid,
    /// The chain did not lead to an anchor when the signature was made.
    #[error(transparent)]
    Chain(#[from] VerifyError),
}

// === impl Signer ===

impl Signer {
    pub(crate) fn new(svids: SvidSource, anchors: AnchorSource) -> Self {
        Self { svids, anchors }
    }

    /// Signs a SHA-256 digest with the current key: Ed25519 over its bytes, ECDSA and RSA PKCS#1 v1.5 over the
    /// digest itself.
    ///
    /// # Errors
    /// When the digest has not 32 bytes and the key is not Ed25519.
    pub fn sign(&self, digest: &[u8]) -> Result<Signed, KeyError> {
        let svid = self.svids.current();
        Ok(Signed {
            signature: svid.key().sign_digest(digest)?,
            chain: svid
                .chain()
                .iter()
                .flat_map(|certificate| certificate.iter().copied())
                .collect(),
        })
    }

    /// Checks that `signature` over `digest` is by the leaf of `chain`.
    ///
    /// # Errors
    /// When it is not, or the chain cannot be parsed.
    pub fn verify_signature(&self, digest: &[u8], signature: &[u8], chain: &[u8]) -> Result<(), SignedError> {
        let leaf = split_chain(chain)?.into_iter().next().ok_or(SignedError::Empty)?;
        let leaf = Certificate::parse(&leaf)?;
        verify_digest(leaf.public_key_info(), digest, signature)
    }

    /// Checks that `chain` led to one of the current anchors at the time `signed_at`, and returns whose it is.
    ///
    /// A chain that has expired since is good if it was valid then.
    ///
    /// # Errors
    /// When the leaf names nobody, or no path leads to an anchor.
    pub fn verify_chain_of_trust(
        &self,
        chain: &[u8],
        signed_at: SystemTime,
    ) -> Result<SpiffeId, SignedError> {
        let chain = split_chain(chain)?;
        let (leaf, others) = chain.split_first().ok_or(SignedError::Empty)?;
        let anchors = self.anchors.current();
        Ok(verify_chain(
            leaf,
            others,
            &anchors,
            signed_at,
            signature_algorithms(),
        )?)
    }
}

/// Cuts certificates apart that stand one behind the other.
fn split_chain(mut chain: &[u8]) -> Result<Vec<CertificateDer<'_>>, SignedError> {
    let mut certificates = Vec::new();
    while !chain.is_empty() {
        let (certificate, rest) = der::read(chain).ok_or(CertificateError::Malformed)?;
        certificates.push(CertificateDer::from(certificate.raw));
        chain = rest;
    }
    Ok(certificates)
}

fn verify_digest(public_key_info: &[u8], digest: &[u8], signature: &[u8]) -> Result<(), SignedError> {
    let (algorithm, key) = split_public_key_info(public_key_info).ok_or(SignedError::UnsupportedKey)?;
    let by_kind: &[(_, &'static dyn VerificationAlgorithm)] = &[
        (alg_id::ECDSA_P256, &ECDSA_P256_SHA256_ASN1),
        (alg_id::ECDSA_P384, &ECDSA_P384_SHA256_ASN1),
        (alg_id::ECDSA_P521, &ECDSA_P521_SHA256_ASN1),
        (alg_id::RSA_ENCRYPTION, &RSA_PKCS1_2048_8192_SHA256),
    ];
    if algorithm == alg_id::ED25519.as_ref() {
        return UnparsedPublicKey::new(&ED25519, key)
            .verify(digest, signature)
            .map_err(|_| SignedError::Invalid);
    }
    let (_, verification) = by_kind
        .iter()
        .find(|(kind, _)| kind.as_ref() == algorithm)
        .ok_or(SignedError::UnsupportedKey)?;
    let digest = Digest::import_less_safe(digest, &SHA256).map_err(|_| SignedError::Invalid)?;
    ParsedPublicKey::new(*verification, key)
        .map_err(|_| SignedError::UnsupportedKey)?
        .verify_digest_sig(&digest, signature)
        .map_err(|_| SignedError::Invalid)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::authority::{Authority, Leaf};
    use crate::key::{KeyType, PrivateKey};
    use crate::svid::Svid;

    const DIGEST: [u8; 32] = [7; 32];

    fn signer(authority: &Authority, leaf: &Leaf) -> Signer {
        Signer::new(SvidSource::new(authority.svid(leaf)), authority.anchors())
    }

    #[test]
    fn every_kind_of_own_key_signs_and_is_verified() {
        let authority = Authority::new();
        for kind in [KeyType::Ed25519, KeyType::EcdsaP256, KeyType::Rsa2048] {
            let signer = signer(
                &authority,
                &Leaf {
                    key: kind,
                    ..Leaf::default()
                },
            );
            let signed = signer.sign(&DIGEST).unwrap();
            let verify =
                |digest: &[u8], signature: &[u8]| signer.verify_signature(digest, signature, &signed.chain);
            assert_eq!(verify(&DIGEST, &signed.signature), Ok(()), "{kind:?}");
            assert_eq!(
                verify(&[8; 32], &signed.signature),
                Err(SignedError::Invalid),
                "{kind:?}"
            );
            assert_eq!(verify(&DIGEST, b"x"), Err(SignedError::Invalid), "{kind:?}");
        }
    }

    #[test]
    fn a_chain_counts_if_it_was_valid_when_the_signature_was_made() {
        let authority = Authority::new();
        let signer = signer(&authority, &Leaf::default());
        let chain = signer.sign(&DIGEST).unwrap().chain;
        let leaf = signer.svids.current().leaf().clone();
        let id = signer.verify_chain_of_trust(&chain, leaf.not_before()).unwrap();
        assert_eq!(id.as_str(), "spiffe://public/ns/default/myapp");
        let later = leaf.not_after() + Duration::from_secs(1);
        assert!(matches!(
            signer.verify_chain_of_trust(&chain, later),
            Err(SignedError::Chain(_))
        ));
        let stranger = Signer::new(signer.svids, Authority::new().anchors());
        assert!(stranger.verify_chain_of_trust(&chain, leaf.not_before()).is_err());
    }

    #[test]
    fn a_chain_that_is_no_chain_is_refused() {
        let authority = Authority::new();
        let signer = signer(&authority, &Leaf::default());
        assert_eq!(
            signer.verify_signature(&DIGEST, b"", b""),
            Err(SignedError::Empty)
        );
        assert!(matches!(
            signer.verify_signature(&DIGEST, b"", b"\x30\x05"),
            Err(SignedError::Certificate(_))
        ));
    }

    #[test]
    fn a_signature_is_by_the_key_of_the_moment() {
        let authority = Authority::new();
        let signer = signer(&authority, &Leaf::default());
        let first = signer.sign(&DIGEST).unwrap();
        signer.svids.replace(authority.svid(&Leaf::default()));
        let second = signer.sign(&DIGEST).unwrap();
        assert_ne!(first.chain, second.chain);
        assert_eq!(
            signer.verify_signature(&DIGEST, &first.signature, &first.chain),
            Ok(())
        );
        assert_eq!(
            signer.verify_signature(&DIGEST, &first.signature, &second.chain),
            Err(SignedError::Invalid)
        );
    }

    #[test]
    fn a_svid_needs_a_certificate() {
        let key = PrivateKey::generate(KeyType::Ed25519).unwrap();
        assert!(Svid::new(Vec::new(), key).is_err());
    }
}
