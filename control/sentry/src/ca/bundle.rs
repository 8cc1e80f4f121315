//! The trust bundle: anchors, issuer chain and issuer key; made anew or loaded and checked.

use std::time::{Duration, SystemTime};

use outrigger_identity::anchors::{AnchorError, TrustAnchors};
use outrigger_identity::certificate::{Certificate, CertificateError};
use outrigger_identity::key::{KeyError, KeyType, PrivateKey};
use outrigger_identity::pem;
use rustls_pki_types::CertificateDer;

use super::certificate::{self, Issuer, Leaf, Validity};
use super::chain::{self, ChainError};

/// How long root and issuer of a self-made bundle hold.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A bundle that has been checked: its issuer may sign, and leads to its anchors.
#[derive(Debug)]
pub(crate) struct Bundle {
    anchors: String,
    chain: Vec<CertificateDer<'static>>,
    issuer: Certificate,
    key: PrivateKey,
}

/// The three PEM texts of a bundle as they are stored.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct BundleText {
    pub(crate) anchors: Vec<u8>,
    pub(crate) chain: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The anchors hold something that is not a certificate, or nothing.
    #[error("failed to decode trust anchors: {0}")]
    Anchors(AnchorError),
    /// An anchor is signed by another certificate.
    #[error("certificate in trust anchor is not self-signed: {0}")]
    NotSelfSigned(ChainError),
    /// The issuer chain is empty.
    #[error("failed to decode issuer chain: no certificates found")]
    NoIssuer,
    /// The issuer chain holds something that is not a certificate.
    #[error("failed to decode issuer chain: {0}")]
    Issuer(CertificateError),
    /// A certificate of the issuer chain is not signed by the one that follows.
    #[error("certificate chain is not valid")]
    BrokenChain,
    /// The first certificate of the chain is not one of an authority.
    #[error("intermediate certificate is not valid for signing")]
    NotForSigning,
    /// Only self-signed certificates were given as issuer.
    #[error("issuer chain is empty after re-encoding")]
    OnlySelfSigned,
    /// The issuer key cannot be read or used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The issuer key belongs to another certificate.
    #[error("issuer key does not match issuer certificate")]
    KeyMismatch,
    /// The chain leads to another root, or a certificate on the way does not hold.
    #[error("issuer chain does not belong to trust anchors: {0}")]
    Untrusted(ChainError),
}

// === impl Bundle ===

impl Bundle {
    /// Makes a root, signs an issuer with it and throws the key of the root away.
    ///
    /// `issuer_id` is the SPIFFE id of sentry, which names the issuer.
    pub(crate) fn generate(
        trust_domain: &str,
        issuer_id: &str,
        clock_skew: Duration,
        now: SystemTime,
    ) -> Result<Self, BundleError> {
        let validity = Validity {
            not_before: now - clock_skew,
            not_after: now + LIFETIME,
        };
        let root_key = PrivateKey::generate(KeyType::Ed25519)?;
        let root_name = certificate::organization(trust_domain);
        let root = certificate::root(&root_name, &root_key, validity)?;

        let key = PrivateKey::generate(KeyType::Ed25519)?;
        let issued_by_root = Issuer {
            name: &root_name,
            key_identifier: None,
            key: &root_key,
        };
        let name = certificate::organization(issuer_id);
        let issuer = certificate::intermediate(&name, &key, validity, &issued_by_root)?;
        Ok(Self {
            anchors: pem::encode(pem::CERTIFICATE, &root),
            issuer: Certificate::parse(&issuer).map_err(BundleError::Issuer)?,
            chain: vec![issuer.into()],
            key,
        })
    }

    /// Reads and checks a stored bundle.
    pub(crate) fn load(text: &BundleText, now: SystemTime) -> Result<Self, BundleError> {
        let anchors = TrustAnchors::from_pem(text.anchors.clone()).map_err(BundleError::Anchors)?;
        let anchors = anchors.certificates();
        for anchor in anchors {
            chain::check_signed_by(anchor, anchor).map_err(BundleError::NotSelfSigned)?;
        }
        let chain = load_chain(&text.chain)?;
        let issuer = chain.first().ok_or(BundleError::OnlySelfSigned)?.clone();
        let key = PrivateKey::from_pem(&text.key)?;
        if issuer.public_key_info() != key.public_key_info()? {
            return Err(BundleError::KeyMismatch);
        }
        chain::verify(&chain, anchors, now).map_err(BundleError::Untrusted)?;
        Ok(Self {
            anchors: anchors.iter().map(Certificate::to_pem).collect(),
            chain: chain.iter().map(Certificate::to_der).collect(),
            issuer,
            key,
        })
    }

    /// The three texts that [`Self::load`] reads.
    pub(crate) fn to_text(&self) -> Result<BundleText, KeyError> {
        Ok(BundleText {
            anchors: self.anchors.clone().into_bytes(),
            chain: pem::encode_certificates(&self.chain).into_bytes(),
            key: self.key.to_pem()?.into_bytes(),
        })
    }

    /// All anchors in PEM, without comments.
    pub(crate) fn anchors(&self) -> &str {
        &self.anchors
    }

    /// The issuer chain, without self-signed certificates.
    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The certificate that signs workloads.
    pub(crate) const fn issuer(&self) -> &Certificate {
        &self.issuer
    }

    /// Signs a workload's certificate; the result is DER.
    pub(crate) fn sign(&self, leaf: &Leaf<'_>) -> Result<Vec<u8>, KeyError> {
        let issuer = Issuer {
            name: self.issuer.subject(),
            key_identifier: self.issuer.subject_key_id(),
            key: &self.key,
        };
        certificate::leaf(leaf, &issuer)
    }
}

// === impl BundleText ===

impl std::fmt::Debug for BundleText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // One of the texts is a private key.
        f.debug_struct("BundleText").finish_non_exhaustive()
    }
}

/// Reads an issuer chain, checks its links and leaves out what is self-signed.
fn load_chain(text: &[u8]) -> Result<Vec<Certificate>, BundleError> {
    let mut chain = pem::certificates(text)
        .iter()
        .map(|encoding| Certificate::parse(encoding))
        .collect::<Result<Vec<_>, _>>()
        .map_err(BundleError::Issuer)?;
    for (child, parent) in chain.iter().zip(chain.iter().skip(1)) {
        chain::check_signed_by(child, parent).map_err(|_| BundleError::BrokenChain)?;
    }
    let issuer = chain.first().ok_or(BundleError::NoIssuer)?;
    let may_sign = issuer.key_usage().is_some_and(|usage| usage.cert_sign);
    if issuer.basic_constraints().is_none() && !may_sign {
        return Err(BundleError::NotForSigning);
    }
    chain.retain(|certificate| !chain::is_self_signed(certificate));
    Ok(chain)
}
