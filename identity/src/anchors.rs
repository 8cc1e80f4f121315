//! Trust anchors: the roots that every chain must end in, whatever its trust domain.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;

use crate::certificate::{Certificate, CertificateError};
use crate::pem;

mod watch;

pub use watch::AnchorWatch;

/// One set of roots, parsed. A root need not be self-signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustAnchors {
    text: Bytes,
    certificates: Vec<Certificate>,
}

/// The set of roots in force: fixed, or following a file. Clones see the same set.
#[derive(Clone, Debug)]
pub struct AnchorSource {
    current: Arc<ArcSwap<TrustAnchors>>,
    changes: tokio::sync::watch::Receiver<()>,
}

/// Why there are no trust anchors.
#[derive(Debug, thiserror::Error)]
pub enum AnchorError {
    /// The text holds no certificate.
    #[error("no certificates found")]
    Empty,
    /// A certificate cannot be parsed.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The file of anchors cannot be read, or holds none.
    #[error("failed to read trust anchors file: '{}': {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Changes of the file cannot be followed.
    #[error("failed to watch trust anchors file: '{}': {reason}", path.display())]
    Watch {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The wait for the file was called off.
    #[error("context canceled")]
    Cancelled,
}

// === impl TrustAnchors ===

impl TrustAnchors {
    /// Reads the certificates at the start of a PEM text, up to the first block of another kind.
    ///
    /// # Errors
    /// When there is no certificate, or one is malformed.
    pub fn from_pem(text: impl Into<Bytes>) -> Result<Self, AnchorError> {
        let text = text.into();
        let certificates = pem::certificates(&text)
            .iter()
            .map(|encoding| Certificate::parse(encoding))
            .collect::<Result<Vec<_>, _>>()?;
        if certificates.is_empty() {
            return Err(AnchorError::Empty);
        }
        Ok(Self { text, certificates })
    }

    /// The text as it was given, byte for byte.
    #[must_use]
    pub fn as_pem(&self) -> &Bytes {
        &self.text
    }

    /// The roots, in the order of the text.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }
}

// === impl AnchorSource ===

impl AnchorSource {
    /// A set that never changes.
    #[must_use]
    pub fn fixed(anchors: TrustAnchors) -> Self {
        let (_, changes) = tokio::sync::watch::channel(());
        Self {
            current: Arc::new(ArcSwap::from_pointee(anchors)),
            changes,
        }
    }

    /// The set in force.
    #[must_use]
    pub fn current(&self) -> Arc<TrustAnchors> {
        self.current.load_full()
    }

    /// Waits until another set is in force than when this value was made or last waited on.
    ///
    /// Never returns once the set can no longer change.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn a_bundle_holds_every_certificate_up_to_another_block() {
        let text = [
            fixtures::ROOT,
            fixtures::ISSUER,
            &pem::encode("PRIVATE KEY", b"x"),
            fixtures::ROOT,
        ]
        .concat();
        let anchors = TrustAnchors::from_pem(text.clone()).unwrap();
        assert_eq!(anchors.certificates().len(), 2);
        assert_eq!(anchors.as_pem(), text.as_bytes());
    }

    #[test]
    fn a_text_without_certificates_is_refused() {
        for text in ["", "hello", &pem::encode("PRIVATE KEY", b"x")] {
            let error = TrustAnchors::from_pem(text.to_owned()).unwrap_err();
            assert_eq!(error.to_string(), "no certificates found");
        }
        let broken = TrustAnchors::from_pem(pem::encode(pem::CERTIFICATE, b"x")).unwrap_err();
        assert_eq!(broken.to_string(), "x509: malformed certificate");
    }
}
