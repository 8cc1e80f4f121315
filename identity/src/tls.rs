//! TLS as every link of the product speaks it: configurations, handshakes, and who the peer is.
//!
//! | | |
//! |---|---|
//! | Versions | 1.2 and 1.3 |
//! | Suites | AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305, always with ephemeral keys |
//! | Groups | X25519MLKEM768, SecP256r1MLKEM768, X25519, P-256, P-384 |
//! | Protocol | `h2` by ALPN, and no connection without it |
//! | Resumption | never, so that every connection is verified and sees the current certificates |
//!
//! Names of hosts are never compared; what counts is the SPIFFE id. Source: specification: identity 3.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs};
use rustls::server::NoServerSessionStorage;
use rustls::{ClientConfig, CommonState, ServerConfig};
use rustls_pki_types::{DnsName, ServerName};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::anchors::AnchorSource;
use crate::certificate::Certificate;
use crate::spiffe::SpiffeId;
use crate::svid::SvidSource;
use crate::verify::{Expect, leaf_id};
use opening::Opening;

mod any;
mod corrected;
mod error;
mod opening;
mod verifier;

pub use any::AnyCertificate;
pub use corrected::Corrected;
pub use error::HandshakeError;
pub use verifier::PeerVerifier;

/// The one protocol of gRPC links, as ALPN names it.
pub const ALPN_H2: &[u8] = b"h2";

/// Versions, suites and groups of the product's links.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    use aws_lc_rs::{cipher_suite as suite, kx_group as group};
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            suite::TLS13_AES_128_GCM_SHA256,
            suite::TLS13_AES_256_GCM_SHA384,
            suite::TLS13_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
            suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
            suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
            suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![
            group::X25519MLKEM768,
            group::SECP256R1MLKEM768,
            group::X25519,
            group::SECP256R1,
            group::SECP384R1,
        ],
        ..aws_lc_rs::default_provider()
    })
});

/// The cryptography of the product's links.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    PROVIDER.clone()
}

/// The algorithms that certificates may be signed with.
#[must_use]
pub fn signature_algorithms() -> WebPkiSupportedAlgorithms {
    PROVIDER.signature_verification_algorithms
}

/// A server that shows its identity and asks clients for theirs.
#[must_use]
pub fn mutual_server(svid: &SvidSource, anchors: &AnchorSource, expect: Expect) -> ServerConfig {
    let verifier = Arc::new(PeerVerifier::new(anchors.clone(), expect));
    let builder = server_builder().with_client_cert_verifier(verifier);
    finish_server(builder.with_cert_resolver(Arc::new(svid.clone())))
}

/// A server that shows its identity and asks for none: the certificate authority.
#[must_use]
pub fn open_server(svid: &SvidSource) -> ServerConfig {
    let builder = server_builder().with_no_client_auth();
    finish_server(builder.with_cert_resolver(Arc::new(svid.clone())))
}

/// A client that shows its identity and checks the server's.
#[must_use]
pub fn mutual_client(svid: &SvidSource, anchors: &AnchorSource, expect: Expect) -> ClientConfig {
    let builder = client_builder(anchors, expect);
    finish_client(builder.with_client_cert_resolver(Arc::new(svid.clone())))
}

/// A client that checks the server's identity and shows none: whoever calls the certificate authority.
#[must_use]
pub fn open_client(anchors: &AnchorSource, expect: Expect) -> ClientConfig {
    finish_client(client_builder(anchors, expect).with_no_client_auth())
}

/// The name to dial a host by: sent to the server if it is a DNS name, and never compared with anything.
///
/// A host that is neither a DNS name nor an IP address yields a name that is not sent.
#[must_use]
pub fn server_name(host: &str) -> ServerName<'static> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = host.parse::<IpAddr>() {
        return ServerName::IpAddress(address.into());
    }
    match DnsName::try_from(host.trim_end_matches('.').to_owned()) {
        Ok(name) => ServerName::DnsName(name),
        Err(_) => ServerName::IpAddress(IpAddr::from([0, 0, 0, 0]).into()),
    }
}

/// Opens a link over a byte stream.
///
/// # Errors
/// When the handshake fails, the server is not the one expected, or it does not speak `h2`.
pub async fn connect<IO>(
    config: Arc<ClientConfig>,
    host: &str,
    io: IO,
) -> Result<tokio_rustls::client::TlsStream<IO>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let stream = TlsConnector::from(config).connect(server_name(host), io).await?;
    if speaks_h2(stream.get_ref().1) {
        Ok(stream)
    } else {
        Err(HandshakeError::NoAlpn)
    }
}

/// Accepts a link over a byte stream. A client that does not speak TLS, or then not `h2`, is dropped without a word.
///
/// # Errors
/// When the handshake fails, the client is refused, or it does not speak `h2`.
pub async fn accept<IO>(
    config: Arc<ServerConfig>,
    mut io: IO,
) -> Result<tokio_rustls::server::TlsStream<Corrected<IO>>, HandshakeError>
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let opening = Opening::read(&mut io).await?;
    if !opening.is_tls() {
        return Err(HandshakeError::NotTls);
    }
    if opening.is_of_old_version() {
        io.write_all(&opening::PROTOCOL_VERSION_ALERT).await?;
        io.flush().await?;
        return Err(HandshakeError::OldVersion);
    }
    let acceptor = TlsAcceptor::from(config);
    let mut stream = acceptor
        .accept_with(Corrected::new(io), |connection| opening.feed(connection))
        .await?;
    stream.get_mut().0.open();
    if speaks_h2(stream.get_ref().1) {
        Ok(stream)
    } else {
        Err(HandshakeError::NoAlpn)
    }
}

/// Whether a finished handshake agreed on `h2`. Without it no gRPC connection may be used.
#[must_use]
pub fn speaks_h2(connection: &CommonState) -> bool {
    connection.alpn_protocol() == Some(ALPN_H2)
}

/// Who is at the other end of a finished handshake; nobody if it showed no certificate.
///
/// The handshake has verified the certificate, so only the id is read again. Ask once a connection and keep
/// the answer.
#[must_use]
pub fn peer_id(connection: &CommonState) -> Option<SpiffeId> {
    let leaf = Certificate::parse(connection.peer_certificates()?.first()?).ok()?;
    leaf_id(&leaf).ok()
}

/// What a finished handshake agreed on, for a log line: version, cipher suite and key exchange.
#[must_use]
pub fn describe(connection: &CommonState) -> String {
    let version = match connection.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    let suite = connection
        .negotiated_cipher_suite()
        .and_then(|suite| suite.suite().as_str())
        .unwrap_or("?");
    let group = connection
        .negotiated_key_exchange_group()
        .and_then(|group| group.name().as_str());
    format!("{version}, {suite}, {}", group.unwrap_or("?"))
}

fn server_builder() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .expect("the provider has suites for both versions")
}

fn client_builder(
    anchors: &AnchorSource,
    expect: Expect,
) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .expect("the provider has suites for both versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PeerVerifier::new(anchors.clone(), expect)))
}

fn finish_server(mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    config.ignore_client_order = true;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}

fn finish_client(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![ALPN_H2.to_vec()];
    // Whether the server agreed is judged after the handshake, where the error has the expected text.
    config.check_selected_alpn = false;
    config.resumption = Resumption::disabled();
    config
}

#[cfg(test)]
mod tests;
