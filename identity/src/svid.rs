//! The own identity: a certificate chain with its key, and the place where the current one stands.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::CertificateDer;

use crate::certificate::{Certificate, CertificateError};
use crate::key::{KeyError, PrivateKey};
use crate::pem;
use crate::spiffe::SpiffeId;
use crate::verify::{LeafIdError, leaf_id};

/// A certificate that names a workload, the intermediates behind it, and its private key.
#[derive(Debug)]
pub struct Svid {
    id: SpiffeId,
    leaf: Certificate,
    key: PrivateKey,
    certified: Arc<CertifiedKey>,
}

/// The place of the current [`Svid`]. Clones see the same one; handshakes read it anew each time.
#[derive(Clone)]
pub struct SvidSource(Arc<ArcSwap<Svid>>);

/// Why a chain and a key make no identity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SvidError {
    /// There is no certificate.
    #[error("no certificates received from sentry")]
    Empty,
    /// The leaf cannot be parsed.
    #[error("error parsing newly signed certificate: {0}")]
    Certificate(#[from] CertificateError),
    /// The leaf names no workload.
    #[error("error parsing spiffe id from newly signed certificate: {0}")]
    LeafId(#[from] LeafIdError),
    /// TLS has no use for the key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

// === impl Svid ===

impl Svid {
    /// Joins a chain, leaf first, and the leaf's private key.
    ///
    /// The chain is not verified: whoever issued it is trusted to have done it well.
    ///
    /// # Errors
    /// When the chain is empty, its leaf does not name exactly one workload, or the key cannot sign handshakes.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKey) -> Result<Self, SvidError> {
        let leaf = Certificate::parse(chain.first().ok_or(SvidError::Empty)?)?;
        let id = leaf_id(&leaf)?;
        let certified = Arc::new(CertifiedKey::new(chain, key.to_signing_key()?));
        Ok(Self {
            id,
            leaf,
            key,
            certified,
        })
    }

    /// Joins the certificates of a PEM text, leaf first, and the leaf's private key.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn from_pem(chain: &[u8], key: PrivateKey) -> Result<Self, SvidError> {
        Self::new(pem::certificates(chain), key)
    }

    /// Whom the certificate names.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The leaf.
    #[must_use]
    pub fn leaf(&self) -> &Certificate {
        &self.leaf
    }

    /// Leaf and intermediates, as they are sent to peers.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// The private key.
    #[must_use]
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// When a successor is due: half-way through the validity period.
    ///
    /// Since issuers back-date the start by the clock skew they allow, this is a little before half of the
    /// time that is left.
    #[must_use]
    pub fn renewal_at(&self) -> SystemTime {
        let (start, end) = (self.leaf.not_before(), self.leaf.not_after());
        start + end.duration_since(start).unwrap_or_default() / 2
    }
}

// === impl SvidSource ===

impl SvidSource {
    /// Starts with an identity.
    #[must_use]
    pub fn new(svid: Svid) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(svid)))
    }

    /// The current identity.
    #[must_use]
    pub fn current(&self) -> Arc<Svid> {
        self.0.load_full()
    }

    /// Puts a successor in place for the next handshake. Open connections are not touched.
    pub fn replace(&self, svid: Svid) {
        self.0.store(Arc::new(svid));
    }
}

impl fmt::Debug for SvidSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SvidSource").field(self.0.load().id()).finish()
    }
}

impl ResolvesServerCert for SvidSource {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().certified.clone())
    }
}

impl ResolvesClientCert for SvidSource {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load().certified.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
