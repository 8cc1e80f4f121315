//! TLS of calls that leave the mesh: to the app, whose certificate nobody vouches for, and to servers outside.

use std::fmt;
use std::sync::{Arc, LazyLock};

use outrigger_identity::tls::AnyCertificate;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// A client configuration that is made when the first connection needs it.
#[derive(Clone)]
pub(crate) struct Tls(Arc<LazyLock<Arc<ClientConfig>, Make>>);

/// A text of roots that has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no certificate in the PEM text of roots")]
pub(crate) struct NoCertificate;

type Make = Box<dyn FnOnce() -> Arc<ClientConfig> + Send>;

/// TLS 1.2 and later without a look at the certificate, as the app channel speaks it.
///
/// # Panics
/// If the crypto provider has no cipher suite for these versions, which is a build mistake.
#[must_use]
pub(crate) fn unverified(provider: &Arc<CryptoProvider>, alpn: &[&str]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .expect("the provider speaks TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(Arc::clone(provider))))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Arc::new(config)
}

// === impl Tls ===

impl Tls {
    /// A configuration that is there already.
    #[must_use]
    pub(crate) fn of(config: Arc<ClientConfig>) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(move || config))))
    }

    /// TLS 1.2 and later with the roots of the system, which are read on first use.
    #[must_use]
    pub(crate) fn system(provider: &Arc<CryptoProvider>) -> Self {
        let provider = Arc::clone(provider);
        Self(Arc::new(LazyLock::new(Box::new(move || {
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("the provider speaks TLS 1.2 and 1.3")
                .with_root_certificates(system_roots())
                .with_no_client_auth();
            Arc::new(config)
        }))))
    }

    /// TLS 1.2 and later with the roots of a PEM text.
    ///
    /// # Errors
    /// A text without a certificate.
    pub(crate) fn with_roots(provider: &Arc<CryptoProvider>, pem: &str) -> Result<Self, NoCertificate> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(pem.as_bytes()).flatten());
        if roots.is_empty() {
            return Err(NoCertificate);
        }
        let config = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()
            .expect("the provider speaks TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self::of(Arc::new(config)))
    }

    /// The configuration.
    #[must_use]
    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// The certificates that the system trusts; those that cannot be read are left out.
pub(crate) fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        tracing::warn!(target: "dapr.runtime.channels", "the system has no trust roots");
    }
    roots
}
