//! Who is refused, and what it sees.

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyUsagePurpose};
use rustls::AlertDescription;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::authority::unknown_critical_extension;

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
    let mut client = open_client(&authority.anchors(), Expect::Any);
    let (alert, _) = alert_at(client.clone(), &server).await;
    assert_eq!(alert, Some(AlertDescription::CertificateRequired));

    // TLS 1.2 has no word for it.
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS12]);
    let verifier = Arc::new(PeerVerifier::new(authority.anchors(), Expect::Any));
    client = builder
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    client.alpn_protocols = vec![ALPN_H2.to_vec()];
    let (alert, _) = alert_at(client, &server).await;
    assert_eq!(alert, Some(AlertDescription::HandshakeFailure));
}

#[tokio::test]
async fn a_client_that_does_not_speak_tls_is_dropped_without_a_word() {
    let authority = Authority::new();
    let server = identity(&authority, &[OTHER]);
    let (mut near, far) = link();
    near.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let refusal = accept(server.server_config(), far).await.unwrap_err();
    assert!(matches!(refusal, HandshakeError::NotTls));
    let mut heard = Vec::new();
    near.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"");
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
