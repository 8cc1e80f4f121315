//! TLS configurations that believe everybody, for tests of those who do not.

use std::sync::Arc;

use anyhow::Context as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, DigitallySignedStruct, Error, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::{Certificate, Result};

/// A client that shows a certificate, or none, and does not look at the server's. Offers `h2`.
///
/// # Errors
/// If the certificate or the key is broken.
pub fn client_config(certificate: Option<&Certificate>) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible(provider)));
    let mut config = match certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let (chain, key) = parse(certificate)?;
            builder.with_client_auth_cert(chain, key)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// A server that shows a certificate and asks for none. Speaks `protocols`, any if there are none.
///
/// # Errors
/// If the certificate or the key is broken.
pub fn server_config(certificate: &Certificate, protocols: &[&str]) -> Result<Arc<ServerConfig>> {
    let (chain, key) = parse(certificate)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = protocols
        .iter()
        .map(|protocol| protocol.as_bytes().to_vec())
        .collect();
    Ok(Arc::new(config))
}

fn parse(certificate: &Certificate) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = CertificateDer::pem_slice_iter(certificate.chain.as_bytes()).collect::<Result<_, _>>();
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes());
    Ok((
        chain.context("the chain is broken")?,
        key.context("the key is broken")?,
    ))
}

/// Believes every server.
#[derive(Debug)]
struct Gullible(Arc<CryptoProvider>);

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::{Authority, GrpcApp, GrpcClient};

    #[tokio::test]
    async fn an_app_can_be_called_in_tls() {
        let authority = Authority::new().unwrap();
        let server = server_config(&authority.issue_to("app").unwrap(), &["h2"]).unwrap();
        let app = GrpcApp::start_with(Some(server), async |_| crate::GrpcAnswer::bytes(["m"]))
            .await
            .unwrap();
        let client = client_config(Some(&authority.issue_to("client").unwrap())).unwrap();
        let client = GrpcClient::connect_tls(app.port(), client).await.unwrap();
        let reply = client.call("/a.B/C", HeaderMap::new(), [""; 0]).await.unwrap();
        assert_eq!((reply.status, &reply.messages[0][..]), (0, &b"m"[..]));
    }
}
