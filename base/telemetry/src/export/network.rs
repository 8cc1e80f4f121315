//! Connections to receivers, plain or TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use outrigger_svc::{BoxConnection, Connect, Service};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::settings::{Network, SetupError};

/// Opens connections for URLs: TLS for `https`, plaintext for all others.
#[derive(Clone)]
pub(crate) struct Dialer {
    connect: Arc<dyn Connect>,
    /// None if no URL of this dialer is `https`.
    tls: Option<TlsConnector>,
}

// === impl Dialer ===

impl Dialer {
    pub(crate) fn plain(network: &Network) -> Self {
        Self {
            connect: network.connect.clone(),
            tls: None,
        }
    }

    /// A dialer that verifies receivers by the roots that the system trusts.
    pub(crate) fn secure(network: &Network, protocol: &[u8]) -> Result<Self, SetupError> {
        let mut roots = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let reason = found
                .errors
                .first()
                .map_or_else(|| "there are none".to_owned(), ToString::to_string);
            return Err(SetupError::Tls(format!(
                "no trusted roots on this system: {reason}"
            )));
        }
        Self::trusting(network, roots, protocol)
    }

    pub(crate) fn trusting(
        network: &Network,
        roots: RootCertStore,
        protocol: &[u8],
    ) -> Result<Self, SetupError> {
        let mut config = ClientConfig::builder_with_provider(network.crypto.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| SetupError::Tls(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(Self {
            connect: network.connect.clone(),
            tls: Some(TlsConnector::from(Arc::new(config))),
        })
    }

    pub(crate) async fn dial(&self, uri: &Uri) -> io::Result<BoxConnection> {
        let secure = uri.scheme_str() == Some("https");
        let authority = uri
            .authority()
            .ok_or_else(|| io::Error::other("the address has no host"))?;
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let connection = self
            .connect
            .connect(&format!("{}:{port}", authority.host()))
            .await?;
        if !secure {
            return Ok(connection);
        }
        let tls = self
            .tls
            .as_ref()
            .ok_or_else(|| io::Error::other("TLS is not set up for this address"))?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, connection).await?))
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<BoxConnection>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move { dialer.dial(&uri).await.map(TokioIo::new) })
    }
}

impl std::fmt::Debug for Dialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dialer")
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}
