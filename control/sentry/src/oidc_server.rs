//! The server of the discovery documents, which may come by TLS with a certificate from files.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use outrigger_config::sentry::TlsFiles;
use outrigger_identity::{pem, tls};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::ca::Authority;
use crate::error::Error;
use crate::health::Target;
use crate::http_server::{self, TlsSource};
use crate::oidc::Discovery;

/// How often missing files are looked for.
const FILES_POLL: Duration = Duration::from_secs(5);

/// The certificate of the server, from files that may come late and may change.
#[derive(Debug)]
pub(crate) struct OidcCertificate {
    files: TlsFiles,
    current: ArcSwapOption<ServerConfig>,
}

/// Everything that the server needs.
#[derive(Debug)]
pub(crate) struct OidcServer {
    pub(crate) discovery: Discovery,
    pub(crate) authority: Arc<ArcSwap<Authority>>,
    /// Plain HTTP without.
    pub(crate) certificate: Option<Arc<OidcCertificate>>,
    pub(crate) health: Target,
}

// === impl OidcCertificate ===

impl OidcCertificate {
    /// A certificate that has not been loaded yet.
    pub(crate) fn new(files: TlsFiles) -> Self {
        Self {
            files,
            current: ArcSwapOption::empty(),
        }
    }

    /// Loads the files if both are there; else what was loaded before stays in use.
    pub(crate) fn reload(&self) -> Result<(), Error> {
        let (Ok(chain), Ok(key)) = (
            std::fs::read(&self.files.certificate),
            std::fs::read(&self.files.key),
        ) else {
            return Ok(());
        };
        self.current.store(Some(Arc::new(self.config(&chain, &key)?)));
        Ok(())
    }

    /// Waits until the files are there and loads them.
    async fn load(&self) -> Result<(), Error> {
        loop {
            self.reload()?;
            if self.current.load().is_some() {
                return Ok(());
            }
            tracing::info!(target: "dapr.sentry.oidc", "Waiting for the TLS certificate of the OIDC server");
            tokio::time::sleep(FILES_POLL).await;
        }
    }

    fn config(&self, chain: &[u8], key: &[u8]) -> Result<ServerConfig, Error> {
        let failed = |reason: String| Error::OidcCertificate {
            path: self.files.certificate.clone(),
            reason,
        };
        let key = outrigger_identity::key::PrivateKey::from_pem(key)
            .and_then(|key| key.to_pkcs8())
            .map_err(|error| failed(error.to_string()))?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.secret_pkcs8_der().to_vec()));
        let mut config = ServerConfig::builder_with_provider(tls::provider())
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .expect("the provider has suites for both versions")
            .with_no_client_auth()
            .with_single_cert(pem::certificates(chain), key)
            .map_err(|error| failed(error.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

// === impl OidcServer ===

impl OidcServer {
    /// Serves until `stop`.
    ///
    /// # Errors
    /// If the certificate cannot be used.
    pub(crate) async fn run(self, listener: TcpListener, stop: CancellationToken) -> Result<(), Error> {
        let tls: TlsSource = match self.certificate {
            Some(certificate) => {
                tokio::select! {
                    loaded = certificate.load() => loaded?,
                    () = stop.cancelled() => return Ok(()),
                }
                Arc::new(move || certificate.current.load_full())
            }
            None => Arc::new(|| None),
        };
        self.health.ready();
        let (discovery, authority) = (self.discovery, self.authority);
        let handler = move |request: &_| match authority.load().jwt() {
            Some(issuer) => discovery.answer(request, &issuer.published()),
            None => http_server::not_found(),
        };
        http_server::serve(listener, tls, handler, stop).await;
        Ok(())
    }
}
