//! Opening connections: names, TCP, TLS.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use outrigger_identity::tls::AnyCertificate;
use outrigger_svc::BoxConnection;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use crate::error::{Error, system_text};
use crate::settings::{SettingsError, TlsSettings};

/// Opens connections to addresses of the form `host:port`.
#[derive(Clone)]
pub(crate) struct Dialer {
    timeout: Option<Duration>,
    tls: Option<TlsConnector>,
}

// === impl Dialer ===

impl Dialer {
    /// A dialer that waits so long, and talks in TLS if there are settings for it.
    ///
    /// # Errors
    /// A client certificate or key that is none.
    pub(crate) fn new(timeout: Option<Duration>, tls: Option<&TlsSettings>) -> Result<Self, SettingsError> {
        let tls = tls
            .map(|settings| client_config(settings, system_roots))
            .transpose()?;
        Ok(Self::with(timeout, tls))
    }

    /// A dialer with a TLS configuration of its own, or none.
    pub(crate) fn with(timeout: Option<Duration>, tls: Option<ClientConfig>) -> Self {
        Self {
            timeout,
            tls: tls.map(|config| TlsConnector::from(Arc::new(config))),
        }
    }

    /// Opens a connection.
    pub(crate) async fn dial(&self, address: &Arc<str>) -> Result<BoxConnection, Error> {
        let Some(timeout) = self.timeout else {
            return self.open(address).await;
        };
        let opened = tokio::time::timeout(timeout, self.open(address)).await;
        opened.unwrap_or_else(|_| Err(Error::DialTimeout(Arc::clone(address))))
    }

    async fn open(&self, address: &Arc<str>) -> Result<BoxConnection, Error> {
        let host = address.rsplit_once(':').map_or(&**address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let found = lookup_host(&**address).await;
        let mut last = Error::NoSuchHost(host.into());
        for found in found.map_err(|_| last.clone())? {
            let stream = match TcpStream::connect(found).await {
                Ok(stream) => stream,
                Err(error) => {
                    let text = format!("connect: {}", system_text(&error));
                    last = Error::Dial(found.to_string().into(), text.into());
                    continue;
                }
            };
            // A small command must not wait for a full packet; without it all the same works, only slower.
            stream.set_nodelay(true).ok();
            let Some(tls) = &self.tls else {
                return Ok(Box::new(stream));
            };
            let failed = |error: &dyn fmt::Display| {
                let text = format!("tls: {error}");
                Error::Dial(Arc::clone(address), text.into())
            };
            let name = ServerName::try_from(host.to_owned()).map_err(|error| failed(&error))?;
            let stream = tls.connect(name, stream).await.map_err(|error| failed(&error))?;
            return Ok(Box::new(stream));
        }
        Err(last)
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = self.tls.is_some();
        f.debug_struct("Dialer")
            .field("tls", &tls)
            .finish_non_exhaustive()
    }
}

/// The configuration of a client as the settings want it.
pub(crate) fn client_config(
    settings: &TlsSettings,
    roots: impl FnOnce() -> RootCertStore,
) -> Result<ClientConfig, SettingsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(SettingsError::of)?;
    let builder = match settings.skip_verify {
        true => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider))),
        false => builder.with_root_certificates(roots()),
    };
    let Some((certificate, key)) = &settings.client else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| SettingsError::of(format_args!("clientCert: {error}")))?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|error| SettingsError::of(format_args!("clientKey: {error}")))?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| SettingsError::of(format_args!("clientCert: {error}")))
}

/// The certificates that the system trusts; those that cannot be read are left out.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

#[cfg(test)]
mod tests {
    use outrigger_test_kit::free_port;

    use super::*;

    #[tokio::test]
    async fn failures_to_connect_say_where() {
        let dialer = Dialer::new(Some(Duration::from_secs(5)), None).unwrap();
        let closed: Arc<str> = format!("127.0.0.1:{}", free_port().unwrap()).into();
        let error = dialer.dial(&closed).await.err().unwrap();
        assert_eq!(
            error.to_string(),
            format!("dial tcp {closed}: connect: connection refused")
        );
        assert!(error.is_unsent());
        let error = dialer.dial(&"nobody.invalid:6379".into()).await.err().unwrap();
        assert_eq!(error.to_string(), "dial tcp: lookup nobody.invalid: no such host");
    }

    #[test]
    fn a_client_certificate_must_be_one() {
        let settings = TlsSettings {
            skip_verify: false,
            client: Some(("no PEM".to_owned(), "no PEM".to_owned())),
        };
        let error = client_config(&settings, RootCertStore::empty)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("redis client configuration error: clientKey: "),
            "{error}"
        );
    }
}
