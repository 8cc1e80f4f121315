//! Opening connections to the endpoints, one after the other until one answers.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use outrigger_svc::{BoxConnection, BoxError, BoxFuture};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower::Service;

use crate::settings::{Settings, TlsSettings};

/// Opens connections; the next one goes to the next endpoint, so that a member that is gone is left.
#[derive(Clone)]
pub(crate) struct Dialer(Arc<Endpoints>);

struct Endpoints {
    addresses: Vec<String>,
    next: AtomicUsize,
    tls: Option<TlsConnector>,
}

/// The longest wait for one endpoint.
const PATIENCE: Duration = Duration::from_secs(2);

// === impl Dialer ===

impl Dialer {
    pub(crate) fn new(settings: &Settings) -> Result<Self, BoxError> {
        let tls = settings.tls.as_ref().map(connector).transpose()?;
        Ok(Self(Arc::new(Endpoints {
            addresses: settings.endpoints.clone(),
            next: AtomicUsize::new(0),
            tls,
        })))
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<BoxConnection>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let endpoints = Arc::clone(&self.0);
        Box::pin(async move { endpoints.open().await.map(TokioIo::new) })
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Dialer").field(&self.0.addresses).finish()
    }
}

// === impl Endpoints ===

impl Endpoints {
    async fn open(&self) -> io::Result<BoxConnection> {
        let start = self.next.fetch_add(1, Ordering::Relaxed);
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for offset in 0..self.addresses.len() {
            let address = &self.addresses[start.wrapping_add(offset) % self.addresses.len()];
            let opened = timeout(PATIENCE, self.open_one(address)).await;
            match opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(connection) => return Ok(connection),
                Err(error) => last = io::Error::new(error.kind(), format!("dial tcp {address}: {error}")),
            }
        }
        Err(last)
    }

    async fn open_one(&self, address: &str) -> io::Result<BoxConnection> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, stream).await?))
    }
}

fn connector(settings: &TlsSettings) -> Result<TlsConnector, BoxError> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(settings.ca.as_bytes()) {
        roots.add(root?)?;
    }
    let chain = CertificateDer::pem_slice_iter(settings.certificate.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_slice(settings.key.as_bytes())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}
