//! Private keys: making, reading, writing them, and signing with them.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use rustls::sign::SigningKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, alg_id};

use crate::{der, pem};

/// A kind of key that the product makes for itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyType {
    /// Ed25519: what every process uses that no managed Kubernetes API server calls.
    #[default]
    Ed25519,
    /// RSA of 2048 bits: for webhook servers and JWTs.
    Rsa2048,
    /// ECDSA on P-256.
    EcdsaP256,
}

/// A curve for ECDSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// secp256r1.
    P256,
    /// secp384r1.
    P384,
    /// secp521r1.
    P521,
}

/// What a key can be used for, without the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Ed25519.
    Ed25519,
    /// ECDSA on a curve.
    Ecdsa(Curve),
    /// RSA.
    Rsa,
}

/// A private key with its public half. It never shows itself in logs.
pub struct PrivateKey(Pair);

/// Why a key cannot be made, read or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text holds no PEM block.
    #[error("key is not PEM encoded")]
    NotPem,
    /// The PEM block is not one of a private key.
    #[error("unsupported block type {0}")]
    UnsupportedBlock(String),
    /// The key is broken or of a kind that is not supported.
    #[error("{0}")]
    Rejected(String),
    /// The cryptographic library refused to work.
    #[error("cryptographic operation failed")]
    Failed,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    Ecdsa(Curve, EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

// === impl Curve ===

impl Curve {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// How certificates and TLS carry a signature.
    fn asn1(self) -> &'static EcdsaSigningAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
            Self::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
            Self::P521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
        }
    }
}

// === impl PrivateKey ===

impl PrivateKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// When the source of randomness fails.
    pub fn generate(kind: KeyType) -> Result<Self, KeyError> {
        let pair = match kind {
            KeyType::Ed25519 => Ed25519KeyPair::generate().map(Pair::Ed25519),
            KeyType::Rsa2048 => RsaKeyPair::generate(KeySize::Rsa2048).map(Pair::Rsa),
            KeyType::EcdsaP256 => {
                EcdsaKeyPair::generate(Curve::P256.asn1()).map(|pair| Pair::Ecdsa(Curve::P256, pair))
            }
        };
        pair.map(Self).map_err(|_| KeyError::Failed)
    }

    /// Reads the first block of a PEM text: `PRIVATE KEY` (PKCS#8), `EC PRIVATE KEY` or `RSA PRIVATE KEY`.
    ///
    /// # Errors
    /// When there is no block, its label is another, or the key is broken.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let block = pem::blocks(text).next().ok_or(KeyError::NotPem)?;
        match block.label.as_str() {
            pem::PRIVATE_KEY => Self::from_pkcs8(&block.contents),
            "EC PRIVATE KEY" => Self::from_ec(&block.contents),
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(&block.contents)
                .map(|pair| Self(Pair::Rsa(pair)))
                .map_err(rejected),
            _ => Err(KeyError::UnsupportedBlock(block.label)),
        }
    }

    /// Reads a key in PKCS#8 form.
    ///
    /// # Errors
    /// When the key is broken, or neither Ed25519, ECDSA on P-256, P-384, P-521, nor RSA.
    pub fn from_pkcs8(encoding: &[u8]) -> Result<Self, KeyError> {
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(encoding) {
            return Ok(Self(Pair::Ed25519(pair)));
        }
        if let Ok(pair) = RsaKeyPair::from_pkcs8(encoding) {
            return Ok(Self(Pair::Rsa(pair)));
        }
        Self::from_ec(encoding)
    }

    fn from_ec(encoding: &[u8]) -> Result<Self, KeyError> {
        Curve::ALL
            .into_iter()
            .find_map(|curve| {
                let pair = EcdsaKeyPair::from_private_key_der(curve.asn1(), encoding).ok()?;
                Some(Self(Pair::Ecdsa(curve, pair)))
            })
            .ok_or_else(|| {
                KeyError::Rejected("private key is malformed or of an unsupported kind".to_owned())
            })
    }

    /// What the key can be used for.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        match &self.0 {
            Pair::Ed25519(_) => KeyKind::Ed25519,
            Pair::Ecdsa(curve, _) => KeyKind::Ecdsa(*curve),
            Pair::Rsa(_) => KeyKind::Rsa,
        }
    }

    /// The key in PKCS#8 form.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn to_pkcs8(&self) -> Result<PrivatePkcs8KeyDer<'static>, KeyError> {
        let encoding = match &self.0 {
            Pair::Ed25519(pair) => pair.to_pkcs8v1().map(|document| document.as_ref().to_vec()),
            Pair::Ecdsa(_, pair) => pair.to_pkcs8v1().map(|document| document.as_ref().to_vec()),
            Pair::Rsa(pair) => AsDer::<Pkcs8V1Der<'_>>::as_der(pair).map(|der| der.as_ref().to_vec()),
        };
        encoding
            .map(PrivatePkcs8KeyDer::from)
            .map_err(|_| KeyError::Failed)
    }

    /// The key as a PEM block `PRIVATE KEY`.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        Ok(pem::encode(pem::PRIVATE_KEY, self.to_pkcs8()?.secret_pkcs8_der()))
    }

    /// The public half as `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn public_key_info(&self) -> Result<Vec<u8>, KeyError> {
        let encoding: Result<PublicKeyX509Der<'_>, _> = match &self.0 {
            Pair::Ed25519(pair) => pair.public_key().as_der(),
            Pair::Ecdsa(_, pair) => pair.public_key().as_der(),
            Pair::Rsa(pair) => pair.public_key().as_der(),
        };
        encoding
            .map(|der| der.as_ref().to_vec())
            .map_err(|_| KeyError::Failed)
    }

    /// The bits of the public half: the contents of `subjectPublicKey`.
    #[must_use]
    pub fn public_key_bits(&self) -> &[u8] {
        match &self.0 {
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
            Pair::Ecdsa(_, pair) => pair.public_key().as_ref(),
            Pair::Rsa(pair) => pair.public_key().as_ref(),
        }
    }

    /// The `AlgorithmIdentifier` of what [`Self::sign`] makes, for the `signatureAlgorithm` of a certificate.
    #[must_use]
    pub fn signature_algorithm(&self) -> Vec<u8> {
        let contents = match &self.0 {
            Pair::Ed25519(_) => alg_id::ED25519,
            Pair::Ecdsa(Curve::P256, _) => alg_id::ECDSA_SHA256,
            Pair::Ecdsa(Curve::P384, _) => alg_id::ECDSA_SHA384,
            Pair::Ecdsa(Curve::P521, _) => alg_id::ECDSA_SHA512,
            Pair::Rsa(_) => alg_id::RSA_PKCS1_SHA256,
        };
        der::sequence(&[contents.as_ref()])
    }

    /// Signs a message as certificates are signed: Ed25519, ECDSA in ASN.1 form with the curve's hash, or
    /// RSA PKCS#1 v1.5 with SHA-256.
    ///
    /// # Errors
    /// When the cryptographic library fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.0 {
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Pair::Ecdsa(_, pair) => pair
                .sign(&SystemRandom::new(), message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| KeyError::Failed),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
                    .map_err(|_| KeyError::Failed)?;
                Ok(signature)
            }
        }
    }

    /// Signs a digest of SHA-256 that somebody else made: Ed25519 takes its bytes for the message, ECDSA and RSA
    /// PKCS#1 v1.5 take it for the hash.
    ///
    /// # Errors
    /// When the digest has not 32 bytes, or the key is ECDSA on another curve than P-256.
    pub(crate) fn sign_digest(&self, digest: &[u8]) -> Result<Vec<u8>, KeyError> {
        if let Pair::Ed25519(pair) = &self.0 {
            return Ok(pair.sign(digest).as_ref().to_vec());
        }
        let digest = Digest::import_less_safe(digest, &SHA256).map_err(|_| KeyError::Failed)?;
        match &self.0 {
            Pair::Ecdsa(_, pair) => pair
                .sign_digest(&digest)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| KeyError::Failed),
            Pair::Ed25519(_) => Err(KeyError::Failed),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign_digest(&RSA_PKCS1_SHA256, &digest, &mut signature)
                    .map_err(|_| KeyError::Failed)?;
                Ok(signature)
            }
        }
    }

    /// The key for TLS handshakes.
    ///
    /// # Errors
    /// When TLS has no use for a key of this kind.
    pub(crate) fn to_signing_key(&self) -> Result<Arc<dyn SigningKey>, KeyError> {
        let encoding = PrivateKeyDer::Pkcs8(self.to_pkcs8()?);
        rustls::crypto::aws_lc_rs::sign::any_supported_type(&encoding)
            .map_err(|error| KeyError::Rejected(error.to_string()))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateKey").field(&self.kind()).finish()
    }
}

fn rejected(reason: aws_lc_rs::error::KeyRejected) -> KeyError {
    KeyError::Rejected(reason.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_writing_and_reading() {
        for kind in [KeyType::Ed25519, KeyType::Rsa2048, KeyType::EcdsaP256] {
            let key = PrivateKey::generate(kind).unwrap();
            let text = key.to_pem().unwrap();
            let read = PrivateKey::from_pem(text.as_bytes()).unwrap();
            assert_eq!(read.kind(), key.kind());
            assert_eq!(read.public_key_bits(), key.public_key_bits());
            assert_eq!(read.to_pem().unwrap(), text);
            assert!(key.public_key_info().unwrap().ends_with(key.public_key_bits()));
        }
    }

    #[test]
    fn an_ed25519_key_file_has_119_bytes() {
        let key = PrivateKey::generate(KeyType::Ed25519).unwrap();
        assert_eq!(key.to_pem().unwrap().len(), 119);
    }

    #[test]
    fn older_key_forms_are_read() {
        let curve = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_ASN1_SIGNING).unwrap();
        let encoding: aws_lc_rs::encoding::EcPrivateKeyRfc5915Der<'_> = curve.private_key().as_der().unwrap();
        let text = pem::encode("EC PRIVATE KEY", encoding.as_ref());
        let key = PrivateKey::from_pem(text.as_bytes()).unwrap();
        assert_eq!(key.kind(), KeyKind::Ecdsa(Curve::P384));
        assert_eq!(key.public_key_bits(), curve.public_key().as_ref());
    }

    #[test]
    fn a_text_without_a_private_key_is_refused() {
        let error = |text: &str| PrivateKey::from_pem(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error("hello"), "key is not PEM encoded");
        assert_eq!(
            error(&pem::encode("PUBLIC KEY", b"x")),
            "unsupported block type PUBLIC KEY"
        );
        assert_eq!(
            error(&pem::encode("PRIVATE KEY", b"x")),
            "private key is malformed or of an unsupported kind"
        );
    }

    #[test]
    fn a_key_does_not_show_itself() {
        let key = PrivateKey::generate(KeyType::Ed25519).unwrap();
        assert_eq!(format!("{key:?}"), "PrivateKey(Ed25519)");
    }
}
