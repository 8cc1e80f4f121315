//! What is offered, and what is agreed on.

use std::io::Cursor;

use rustls::crypto::SupportedKxGroup;
use rustls::crypto::aws_lc_rs::kx_group;
use rustls::server::Acceptor;
use rustls::{CipherSuite, HandshakeKind, NamedGroup, SignatureScheme};
use tokio::io::{AsyncReadExt, duplex};

use super::*;

/// The first flight of a client that dials `host`.
async fn hello_to(host: &str) -> rustls::server::Accepted {
    let authority = Authority::new();
    let caller = identity(&authority, &[APP]);
    let (near, mut far) = link();
    let dial = connect(caller.client_config(Expect::Any), host, near);
    let hear = async {
        let mut acceptor = Acceptor::default();
        let mut bytes = [0; 4096];
        loop {
            let count = far.read(&mut bytes).await.unwrap();
            acceptor.read_tls(&mut Cursor::new(&bytes[..count])).unwrap();
            if let Ok(Some(accepted)) = acceptor.accept() {
                return accepted;
            }
        }
    };
    either(dial, hear).await
}

/// Drives both, and returns what the second one yields.
async fn either<A, B>(first: impl Future<Output = A>, second: impl Future<Output = B>) -> B {
    tokio::pin!(first, second);
    tokio::select! {
        biased;
        result = &mut second => result,
        _ = &mut first => second.await,
    }
}

#[tokio::test]
async fn the_hello_offers_what_peers_expect() {
    let accepted = hello_to("sentry.example").await;
    let hello = accepted.client_hello();
    assert_eq!(hello.server_name(), Some("sentry.example"));
    let protocols: Vec<_> = hello.alpn().unwrap().collect();
    assert_eq!(protocols, [b"h2"]);
    assert_eq!(
        hello.signature_schemes(),
        [
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ED25519,
            SignatureScheme::RSA_PSS_SHA384,
            SignatureScheme::RSA_PSS_SHA512,
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::RSA_PKCS1_SHA384,
            SignatureScheme::RSA_PKCS1_SHA512,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP521_SHA512,
        ]
    );
    assert_eq!(
        hello.named_groups().unwrap(),
        [
            NamedGroup::X25519MLKEM768,
            NamedGroup::secp256r1MLKEM768,
            NamedGroup::X25519,
            NamedGroup::secp256r1,
            NamedGroup::secp384r1,
        ]
    );
    assert_eq!(
        hello.cipher_suites()[..3],
        [
            CipherSuite::TLS13_AES_128_GCM_SHA256,
            CipherSuite::TLS13_AES_256_GCM_SHA384,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        ]
    );
}

#[tokio::test]
async fn only_dns_names_are_sent_to_servers() {
    for (host, sent) in [
        ("localhost", Some("localhost")),
        ("dapr-sentry.ns.svc.", Some("dapr-sentry.ns.svc")),
        ("10.0.0.1", None),
        ("[::1]", None),
        ("::1", None),
        ("not a name", None),
    ] {
        assert_eq!(hello_to(host).await.client_hello().server_name(), sent, "{host}");
    }
}

#[tokio::test]
async fn a_hello_may_come_in_many_pieces() {
    let authority = Authority::new();
    let (caller, callee) = (identity(&authority, &[APP]), identity(&authority, &[OTHER]));
    let (near, far) = duplex(7);
    let (server, client) = tokio::join!(
        accept(callee.server_config(), far),
        connect(caller.client_config(app("other")), "10.0.0.1", near)
    );
    talk(&mut server.unwrap(), &mut client.unwrap()).await;
}

/// Our provider with other groups.
fn provider_with(groups: &[&'static dyn SupportedKxGroup]) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        kx_groups: groups.to_vec(),
        ..CryptoProvider::clone(&provider())
    })
}

#[tokio::test]
async fn a_peer_that_knows_only_x25519_costs_no_extra_round_trip() {
    let authority = Authority::new();
    let (caller, callee) = (identity(&authority, &[APP]), identity(&authority, &[OTHER]));
    let server = ServerConfig::builder_with_provider(provider_with(&[kx_group::X25519]))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(callee.svids().clone()));
    let server = Arc::new(finish_server(server));
    let (_, client) = handshake(server, caller.client_config(Expect::Any)).await;
    assert_eq!(
        client.unwrap().get_ref().1.handshake_kind(),
        Some(HandshakeKind::Full)
    );

    let verifier = PeerVerifier::new(authority.anchors(), Expect::Any);
    let client = ClientConfig::builder_with_provider(provider_with(&[kx_group::X25519]))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(caller.svids().clone()));
    let client = Arc::new(finish_client(client));
    let (_, client) = handshake(callee.server_config(), client).await;
    assert_eq!(
        client.unwrap().get_ref().1.handshake_kind(),
        Some(HandshakeKind::Full)
    );
}
