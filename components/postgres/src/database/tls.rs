//! TLS to the server, as the `ssl…` keywords of a connection say.

use std::fmt;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use outrigger_svc::BoxFuture;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::TlsConnector;

use super::keywords::Keywords;

/// Makes connections secure; cheap to clone.
#[derive(Clone)]
pub(crate) struct Tls(Arc<ClientConfig>);

/// Makes one connection secure.
pub(crate) struct Handshake {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// A secure connection.
pub(crate) struct Secure(tokio_rustls::client::TlsStream<Socket>);

/// Keywords that cannot be followed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// An unknown mode.
    #[error("sslmode is invalid: {0}")]
    Mode(String),
    /// A certificate without its key, or the reverse.
    #[error("both \"sslcert\" and \"sslkey\" are required")]
    Half,
    /// A file that cannot be used.
    #[error("unable to read {keyword}: {reason}")]
    File { keyword: &'static str, reason: String },
    /// What the TLS library says.
    #[error(transparent)]
    Rustls(#[from] rustls::Error),
}

/// Which certificates are good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    Any,
    Chain,
    ChainAndName,
}

/// Checks a server's certificate as far as it is wanted.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// Checks the chain; none where any certificate will do.
    chain: Option<Arc<WebPkiServerVerifier>>,
    checks_name: bool,
}

// === impl Tls ===

impl Tls {
    /// Takes the `ssl…` keywords out of a connection's and follows them.
    ///
    /// `disable` is plain; `allow` and `prefer`, the default, are secure if the server can, whoever it is; `require`
    /// refuses a plain connection, and checks the chain if `sslrootcert` is given; `verify-ca` checks the chain,
    /// `verify-full` the name too.
    pub(crate) fn from_keywords(keywords: &mut Keywords) -> Result<(SslMode, Self), TlsError> {
        let mut file = |name| keywords.remove(name).filter(|path| !path.is_empty());
        let (roots, certificate, key) = (file("sslrootcert"), file("sslcert"), file("sslkey"));
        let mode = file("sslmode");
        let (mode, trust) = match mode.as_deref().unwrap_or("prefer") {
            "disable" => (SslMode::Disable, Trust::Any),
            "allow" | "prefer" => (SslMode::Prefer, Trust::Any),
            "require" if roots.is_none() => (SslMode::Require, Trust::Any),
            "require" | "verify-ca" => (SslMode::Require, Trust::Chain),
            "verify-full" => (SslMode::Require, Trust::ChainAndName),
            other => return Err(TlsError::Mode(other.to_owned())),
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Verifier::new(Arc::clone(&provider), trust, roots.as_deref())?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let config = match (certificate, key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| unreadable("sslkey", &error))?;
                builder.with_client_auth_cert(certificates("sslcert", &certificate)?, key)?
            }
            _ => return Err(TlsError::Half),
        };
        Ok((mode, Self(Arc::new(config))))
    }

    /// Offers the protocol by its name, as servers want that are secure from the first byte on.
    pub(crate) fn with_alpn(self) -> Self {
        let mut config = Arc::unwrap_or_clone(self.0);
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Self(Arc::new(config))
    }
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Secure;
    type TlsConnect = Handshake;
    type Error = rustls::pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Handshake, Self::Error> {
        Ok(Handshake {
            config: Arc::clone(&self.0),
            name: ServerName::try_from(domain)?.to_owned(),
        })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

// === impl Handshake ===

impl TlsConnect<Socket> for Handshake {
    type Stream = Secure;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Secure>>;

    fn connect(self, stream: Socket) -> Self::Future {
        let connecting = TlsConnector::from(self.config).connect(self.name, stream);
        Box::pin(async { connecting.await.map(Secure) })
    }
}

// === impl Secure ===

impl tokio_postgres::tls::TlsStream for Secure {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Secure {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Secure {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

// === impl Verifier ===

impl Verifier {
    fn new(provider: Arc<CryptoProvider>, trust: Trust, roots: Option<&str>) -> Result<Self, TlsError> {
        let chain = match trust {
            Trust::Any => None,
            Trust::Chain | Trust::ChainAndName => {
                let roots = Arc::new(trusted(roots)?);
                let verifier =
                    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
                Some(verifier.map_err(|error| unreadable("sslrootcert", &error))?)
            }
        };
        Ok(Self {
            provider,
            chain,
            checks_name: trust == Trust::ChainAndName,
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        match chain.verify_server_cert(leaf, others, name, ocsp, now) {
            // The name is looked at last: the chain is good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_name => Ok(ServerCertVerified::assertion()),
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// The roots of a file; those of the system if none is named, or it is called `system`.
fn trusted(path: Option<&str>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match path {
        None | Some("system") => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Some(path) => {
            for certificate in certificates("sslrootcert", path)? {
                roots.add(certificate)?;
            }
        }
    }
    Ok(roots)
}

fn certificates(
    keyword: &'static str,
    path: impl AsRef<Path>,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    certificates.map_err(|error| unreadable(keyword, &error))
}

fn unreadable(keyword: &'static str, reason: &dyn fmt::Display) -> TlsError {
    TlsError::File {
        keyword,
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(text: &str) -> Result<SslMode, String> {
        let mut keywords = Keywords::parse(text).unwrap();
        let made = Tls::from_keywords(&mut keywords).map_err(|error| error.to_string());
        made.map(|(mode, _)| mode)
    }

    #[test]
    fn modes_are_those_of_the_keyword() {
        assert_eq!(mode(""), Ok(SslMode::Prefer));
        assert_eq!(mode("sslmode=disable"), Ok(SslMode::Disable));
        assert_eq!(mode("sslmode=allow"), Ok(SslMode::Prefer));
        assert_eq!(mode("sslmode=require"), Ok(SslMode::Require));
        assert_eq!(mode("sslmode=maybe"), Err("sslmode is invalid: maybe".to_owned()));
    }

    #[test]
    fn files_that_are_not_there_are_told_by_their_keyword() {
        let error = mode("sslmode=verify-ca sslrootcert=/nowhere.pem").unwrap_err();
        assert!(error.starts_with("unable to read sslrootcert: "), "{error}");
        let error = mode("sslcert=/nowhere.pem").unwrap_err();
        assert_eq!(error, "both \"sslcert\" and \"sslkey\" are required");
    }
}
