use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, HandshakeKind, NamedGroup, ProtocolVersion, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::anchors::TrustAnchors;
use crate::authority::{APP, Authority, Leaf, SENTRY};
use crate::identity::Identity;
use crate::key::KeyType;
use crate::svid::Svid;

mod hello;
mod refusals;

type ClientStream = tokio_rustls::client::TlsStream<DuplexStream>;
type ServerStream = tokio_rustls::server::TlsStream<Corrected<DuplexStream>>;

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
    assert_eq!(
        describe(client.get_ref().1),
        "TLS 1.3, TLS13_AES_128_GCM_SHA256, X25519MLKEM768"
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
