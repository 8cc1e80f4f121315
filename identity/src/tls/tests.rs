use std::future::Future;
use std::io::Cursor;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose};
use rustls::crypto::{SupportedKxGroup, aws_lc_rs::kx_group};
use rustls::server::Acceptor;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::anchors::TrustAnchors;
use crate::authority::{APP, Authority, Leaf, SENTRY, unknown_critical_extension};
use crate::identity::Identity;
use crate::key::KeyType;
use crate::svid::Svid;

type ClientStream = tokio_rustls::client::TlsStream<DuplexStream>;
type ServerStream = tokio_rustls::server::TlsStream<DuplexStream>;

const OTHER: &str = "spiffe://public/ns/default/other";

fn link() -> (DuplexStream, DuplexStream) {
    duplex(64 * 1024)
}

/// Runs both ends of a handshake.
async fn handshake(
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
) -> (
    Result<ServerStream, HandshakeError>,
    Result<ClientStream, HandshakeError>,
) {
    let (near, far) = link();
    tokio::join!(accept(server, far), connect(client, "10.0.0.1", near))
}

fn identity(authority: &Authority, uris: &'static [&'static str]) -> Identity {
    let svid = authority.svid(&Leaf {
        uris,
        ..Leaf::default()
    });
    Identity::new(svid, authority.anchors())
}

fn app(app_id: &str) -> Expect {
    Expect::App {
        namespace: "default".to_owned(),
        app_id: app_id.to_owned(),
    }
}

/// A client that shows `leaf`, even one that no identity can be made of.
fn client_with(
    authority: &Authority,
    leaf: &Leaf,
    version: &'static SupportedProtocolVersion,
) -> ClientConfig {
    let (chain, key) = authority.chain(leaf);
    client_showing(chain, &key, authority, version)
}

fn client_showing(
    chain: Vec<rustls_pki_types::CertificateDer<'static>>,
    key: &crate::key::PrivateKey,
    authority: &Authority,
    version: &'static SupportedProtocolVersion,
) -> ClientConfig {
    let certified = CertifiedKey::new(chain, key.to_signing_key().unwrap());
    let verifier = PeerVerifier::new(authority.anchors(), Expect::Any);
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    finish_client(config)
}

/// What a client sees of a server's refusal: the alert, whenever it comes.
async fn alert_at(client: ClientConfig, server: &Identity) -> (Option<AlertDescription>, String) {
    let (near, far) = link();
    let refusal = async { accept(server.server_config(), far).await.unwrap_err().to_string() };
    let see = async {
        let error = match connect(Arc::new(client), "10.0.0.1", near).await {
            Err(error) => error,
            Ok(mut stream) => HandshakeError::from(stream.read_u8().await.unwrap_err()),
        };
        match error {
            HandshakeError::Alert(alert) => Some(alert),
            _ => None,
        }
    };
    let (refusal, alert) = tokio::join!(refusal, see);
    (alert, refusal)
}

/// Lets a message cross in each direction.
async fn talk(server: &mut ServerStream, client: &mut ClientStream) {
    assert_eq!(say(client, server, b"ping").await, *b"ping");
    assert_eq!(say(server, client, b"pong").await, *b"pong");
}

async fn say<W, R>(from: &mut W, to: &mut R, words: &[u8; 4]) -> [u8; 4]
where
    W: AsyncWrite + Unpin,
    R: AsyncRead + Unpin,
{
    let speak = async {
        from.write_all(words).await.unwrap();
        from.flush().await.unwrap();
    };
    let mut heard = [0; 4];
    let (_, count) = tokio::join!(speak, to.read_exact(&mut heard));
    count.unwrap();
    heard
}

#[tokio::test]
async fn two_sidecars_learn_who_the_other_is() {
    let authority = Authority::new();
    let (caller, callee) = (identity(&authority, &[APP]), identity(&authority, &[OTHER]));
    let (server, client) = handshake(callee.server_config(), caller.client_config(app("other"))).await;
    let (mut server, mut client) = (server.unwrap(), client.unwrap());
    talk(&mut server, &mut client).await;
    assert_eq!(peer_id(server.get_ref().1).unwrap().as_str(), APP);
    assert_eq!(peer_id(client.get_ref().1).unwrap().as_str(), OTHER);
    for connection in [
        server.get_ref().1.peer_certificates(),
        client.get_ref().1.peer_certificates(),
    ] {
        assert_eq!(connection.unwrap().len(), 2, "leaf and issuer, not the root");
    }
    assert_eq!(
        server.get_ref().1.protocol_version(),
        Some(ProtocolVersion::TLSv1_3)
    );
    assert_eq!(
        server.get_ref().1.negotiated_cipher_suite().unwrap().suite(),
        CipherSuite::TLS13_AES_128_GCM_SHA256
    );
    assert_eq!(
        client.get_ref().1.negotiated_key_exchange_group().unwrap().name(),
        NamedGroup::X25519MLKEM768
    );
}

#[tokio::test]
async fn every_kind_of_key_can_be_at_either_end() {
    let authority = Authority::new();
    for version in [&TLS12, &TLS13] {
        for key in [KeyType::Ed25519, KeyType::EcdsaP256, KeyType::Rsa2048] {
            let leaf = Leaf {
                key,
                ..Leaf::default()
            };
            let server = Identity::new(authority.svid(&leaf), authority.anchors());
            let client = client_with(&authority, &leaf, version);
            let (server, client) = handshake(server.server_config(), Arc::new(client)).await;
            let (mut server, mut client) = (server.unwrap(), client.unwrap());
            talk(&mut server, &mut client).await;
            assert_eq!(
                client.get_ref().1.protocol_version(),
                Some(version.version),
                "{key:?}"
            );
        }
    }
}

#[tokio::test]
async fn bad_clients_see_bad_certificate() {
    let leaf = Leaf::default;
    let rows: [(&str, Leaf, &str); 12] = [
        ("no URI", Leaf { uris: &[], ..leaf() }, "no URI SAN"),
        (
            "two URIs",
            Leaf {
                uris: &[APP, OTHER],
                ..leaf()
            },
            "more than one URI SAN",
        ),
        (
            "https URI",
            Leaf {
                uris: &["https://public/ns/default/myapp"],
                ..leaf()
            },
            "scheme is missing or invalid",
        ),
        (
            "upper case",
            Leaf {
                uris: &["spiffe://PUBLIC/ns/default/myapp"],
                ..leaf()
            },
            "trust domain characters",
        ),
        (
            "no path",
            Leaf {
                uris: &["spiffe://public"],
                ..leaf()
            },
            "path is missing",
        ),
        (
            "expired",
            Leaf {
                valid: -3600..-60,
                ..leaf()
            },
            "certificate has expired",
        ),
        (
            "not yet valid",
            Leaf {
                valid: 60..3600,
                ..leaf()
            },
            "not yet valid",
        ),
        (
            "unknown critical extension",
            Leaf {
                change: |params| params.custom_extensions.push(unknown_critical_extension()),
                ..leaf()
            },
            "unhandled critical extension",
        ),
        (
            "keyCertSign",
            Leaf {
                change: |params| params.key_usages.push(KeyUsagePurpose::KeyCertSign),
                ..leaf()
            },
            "KeyCertSign",
        ),
        (
            "cRLSign",
            Leaf {
                change: |params| params.key_usages.push(KeyUsagePurpose::CrlSign),
                ..leaf()
            },
            "KeyCrlSign",
        ),
        (
            "CA:TRUE",
            Leaf {
                change: make_authority,
                ..leaf()
            },
            "CA flag set to true",
        ),
        (
            "no EKU, two URIs",
            Leaf {
                uris: &[OTHER, APP],
                change: no_usage,
                ..leaf()
            },
            "more than one",
        ),
    ];
    let authority = Authority::new();
    let server = identity(&authority, &[OTHER]);
    for version in [&TLS12, &TLS13] {
        for (kind, leaf, reason) in &rows {
            let (alert, refusal) = alert_at(client_with(&authority, leaf, version), &server).await;
            assert_eq!(
                alert,
                Some(AlertDescription::BadCertificate),
                "{kind} {version:?}"
            );
            assert!(refusal.contains(reason), "{kind}: {refusal}");
        }
    }
}

fn make_authority(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

fn no_usage(params: &mut CertificateParams) {
    params.extended_key_usages.clear();
}

#[tokio::test]
async fn clients_of_strangers_see_bad_certificate() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = identity(&ours, &[OTHER]);
    for version in [&TLS12, &TLS13] {
        let (chain, key) = theirs.chain(&Leaf::default());
        let stranger = client_showing(chain, &key, &ours, version);
        let (mut chain, key) = ours.chain(&Leaf::default());
        chain.truncate(1);
        let without_issuer = client_showing(chain, &key, &ours, version);
        for client in [stranger, without_issuer] {
            let (alert, refusal) = alert_at(client, &server).await;
            assert_eq!(alert, Some(AlertDescription::BadCertificate));
            assert!(
                refusal.contains("certificate signed by unknown authority"),
                "{refusal}"
            );
        }
    }
}

#[tokio::test]
async fn a_client_that_does_not_own_its_certificate_is_refused() {
    let authority = Authority::new();
    let server = identity(&authority, &[OTHER]);
    let (chain, _) = authority.chain(&Leaf::default());
    let (_, another_key) = authority.chain(&Leaf::default());
    for version in [&TLS12, &TLS13] {
        let thief = client_showing(chain.clone(), &another_key, &authority, version);
        let (alert, _) = alert_at(thief, &server).await;
        assert_eq!(alert, Some(AlertDescription::DecryptError));
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_told_to_bring_one() {
    let authority = Authority::new();
    let server = identity(&authority, &[OTHER]);
    let (alert, _) = alert_at(open_client(&authority.anchors(), Expect::Any), &server).await;
    assert_eq!(alert, Some(AlertDescription::CertificateRequired));
}

#[tokio::test]
async fn a_client_that_sends_its_root_too_is_welcome() {
    let authority = Authority::new();
    let server = identity(&authority, &[OTHER]);
    let (mut chain, key) = authority.chain(&Leaf::default());
    chain.push(authority.root.der.clone());
    let client = client_showing(chain, &key, &authority, &TLS13);
    let (server, client) = handshake(server.server_config(), Arc::new(client)).await;
    talk(&mut server.unwrap(), &mut client.unwrap()).await;
}

#[tokio::test]
async fn a_client_that_speaks_no_h2_is_dropped_without_a_word() {
    let authority = Authority::new();
    let server = identity(&authority, &[OTHER]);
    for version in [&TLS12, &TLS13] {
        let mut client = client_with(&authority, &Leaf::default(), version);
        client.alpn_protocols.clear();
        let (near, far) = link();
        let refuse = async { accept(server.server_config(), far).await.unwrap_err() };
        let see = async {
            let connector = TlsConnector::from(Arc::new(client));
            let mut stream = connector.connect(server_name("10.0.0.1"), near).await.unwrap();
            let mut heard = Vec::new();
            // The end comes without a farewell, which some call an error; what counts is that nothing was said.
            drop(stream.read_to_end(&mut heard).await);
            heard
        };
        let (refusal, heard) = tokio::join!(refuse, see);
        assert!(matches!(refusal, HandshakeError::NoAlpn));
        assert_eq!(heard, b"");
    }
}

#[tokio::test]
async fn a_server_that_speaks_no_h2_is_left() {
    let authority = Authority::new();
    let (caller, callee) = (identity(&authority, &[APP]), identity(&authority, &[OTHER]));
    let mut config = ServerConfig::clone(&callee.server_config());
    config.alpn_protocols.clear();
    let (_, client) = handshake(Arc::new(config), caller.client_config(Expect::Any)).await;
    assert_eq!(
        client.unwrap_err().to_string(),
        "credentials: cannot check peer: missing selected ALPN property"
    );
}

#[tokio::test]
async fn a_client_refuses_a_server_that_is_somebody_else() {
    let authority = Authority::new();
    let (caller, callee) = (identity(&authority, &[APP]), identity(&authority, &[OTHER]));
    let sentry = Expect::Exact(SpiffeId::parse(SENTRY).unwrap());
    let rows = [
        (sentry, format!("unexpected ID \"{OTHER}\"")),
        (app("third"), format!("unexpected SPIFFE ID: \"{OTHER}\"")),
    ];
    for (expect, text) in rows {
        let (server, client) = handshake(callee.server_config(), caller.client_config(expect)).await;
        assert_eq!(client.unwrap_err().to_string(), text);
        assert_eq!(
            server.unwrap_err().to_string(),
            "remote error: tls: bad certificate"
        );
    }
}

#[tokio::test]
async fn a_server_of_another_trust_domain_is_the_same_app() {
    let authority = Authority::new();
    let caller = identity(&authority, &[APP]);
    let callee = identity(&authority, &["spiffe://elsewhere/ns/default/other"]);
    let (server, client) = handshake(callee.server_config(), caller.client_config(app("other"))).await;
    assert!(server.is_ok() && client.is_ok());
}

#[tokio::test]
async fn the_authority_asks_for_no_certificate() {
    let authority = Authority::new();
    let server = open_server(&authority.source(&[SENTRY]));
    let sentry = Expect::Exact(SpiffeId::parse(SENTRY).unwrap());
    let client = open_client(&authority.anchors(), sentry);
    let (server, client) = handshake(Arc::new(server), Arc::new(client)).await;
    let (mut server, mut client) = (server.unwrap(), client.unwrap());
    talk(&mut server, &mut client).await;
    assert_eq!(peer_id(server.get_ref().1), None);
}

#[tokio::test]
async fn a_renewed_identity_is_shown_in_the_next_handshake_and_disturbs_no_connection() {
    let authority = Authority::new();
    let (caller, callee) = (identity(&authority, &[APP]), identity(&authority, &[OTHER]));
    let (server_config, client_config) = (callee.server_config(), caller.client_config(app("other")));
    let (server, client) = handshake(server_config.clone(), client_config.clone()).await;
    let (mut server, mut client) = (server.unwrap(), client.unwrap());
    for (identity, uris) in [(&caller, &[APP]), (&callee, &[OTHER])] {
        identity.svids().replace(authority.svid(&Leaf {
            uris,
            ..Leaf::default()
        }));
    }
    talk(&mut server, &mut client).await;

    let (new_server, new_client) = handshake(server_config, client_config).await;
    let (new_server, new_client) = (new_server.unwrap(), new_client.unwrap());
    let shown_to_server = |stream: &ServerStream| stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let shown_to_client = |stream: &ClientStream| stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    assert_ne!(shown_to_server(&server), shown_to_server(&new_server));
    assert_eq!(shown_to_server(&new_server), caller.svid().chain()[0]);
    assert_ne!(shown_to_client(&client), shown_to_client(&new_client));
    assert_eq!(shown_to_client(&new_client), callee.svid().chain()[0]);
    talk(&mut server, &mut client).await;
}

#[tokio::test]
async fn no_session_is_resumed() {
    let authority = Authority::new();
    let (caller, callee) = (identity(&authority, &[APP]), identity(&authority, &[OTHER]));
    let config = caller.client_config(app("other"));
    for _ in 0..3 {
        let (server, client) = handshake(callee.server_config(), config.clone()).await;
        let (mut server, mut client) = (server.unwrap(), client.unwrap());
        talk(&mut server, &mut client).await;
        assert_eq!(client.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    }
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
async fn a_server_that_speaks_plain_http2_is_recognised() {
    let authority = Authority::new();
    let caller = identity(&authority, &[APP]);
    let (near, mut far) = link();
    far.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let error = connect(caller.client_config(Expect::Any), "10.0.0.1", near)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "tls: first record does not look like a TLS handshake"
    );
}

#[tokio::test]
async fn tls_1_1_is_refused_by_its_version() {
    let authority = Authority::new();
    let server = identity(&authority, &[OTHER]);
    let (mut near, far) = link();
    let mut hello = vec![1, 0, 0, 43, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0, 0, 0]);
    let record = [&[22, 3, 1, 0, u8::try_from(hello.len()).unwrap()], &hello[..]].concat();
    near.write_all(&record).await.unwrap();
    let refused = accept(server.server_config(), far).await;
    assert!(refused.is_err());
    let mut answer = [0; 7];
    near.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[5..], [2, 70], "fatal, protocol_version");
}

#[tokio::test]
async fn anchors_that_change_are_in_force_at_the_next_handshake() {
    let (old, new) = (Authority::new(), Authority::new());
    let folder = crate::fixtures::Folder::new();
    let path = folder.path().join("ca.crt");
    std::fs::write(&path, old.anchors_pem()).unwrap();
    let cancel = tokio_util::sync::CancellationToken::new();
    let (mut anchors, watch) = AnchorSource::watch(&path, &cancel).await.unwrap();
    tokio::spawn(watch.run());
    let callee = Identity::new(old.svid(&Leaf::default()), anchors.clone());
    let caller = |authority: &Authority| {
        let both = [old.anchors_pem(), new.anchors_pem()].concat();
        let trusting = AnchorSource::fixed(TrustAnchors::from_pem(both).unwrap());
        Identity::new(authority.svid(&Leaf::default()), trusting).client_config(Expect::Any)
    };
    let accepted = |client| {
        let server = callee.server_config();
        async move { handshake(server, client).await.0.is_ok() }
    };
    assert!(accepted(caller(&old)).await);
    assert!(!accepted(caller(&new)).await);

    std::fs::write(folder.path().join("new"), new.anchors_pem()).unwrap();
    std::fs::rename(folder.path().join("new"), &path).unwrap();
    anchors.changed().await;
    assert!(accepted(caller(&new)).await);
    assert!(!accepted(caller(&old)).await);
}

#[test]
fn an_svid_is_made_of_one_workload() {
    let authority = Authority::new();
    let (chain, key) = authority.chain(&Leaf {
        uris: &[],
        ..Leaf::default()
    });
    assert_eq!(
        Svid::new(chain, key).unwrap_err().to_string(),
        "error parsing spiffe id from newly signed certificate: certificate contains no URI SAN"
    );
}
