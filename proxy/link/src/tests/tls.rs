//! Links over TCP with mutual TLS.

use std::net::SocketAddr;
use std::sync::Arc;

use outrigger_identity::key::PrivateKey;
use outrigger_identity::{AnchorSource, Expect, Svid, SvidSource, TrustAnchors, tls};
use outrigger_svc::{Body, Drain};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use tokio::net::TcpListener;

use super::{App, FRAMINGS, Framings, call_of, context, noise, read, soon};
use crate::{Framing, PeerAddress, PeerSettings, Peers, Retries, Security, TcpConnect, code, serve};

/// An authority and the anchors that hold it.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    anchors: AnchorSource,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = params.self_signed(&key).unwrap();
        let anchors = AnchorSource::fixed(TrustAnchors::from_pem(root.pem()).unwrap());
        Self {
            issuer: Issuer::new(params, key),
            anchors,
        }
    }

    fn identity(&self, app_id: &str) -> SvidSource {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let id = format!("spiffe://public/ns/default/{app_id}");
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKey::from_pem(key.serialize_pem().as_bytes()).unwrap();
        SvidSource::new(Svid::from_pem(leaf.pem().as_bytes(), key).unwrap())
    }
}

/// Serves an echo as `app_id` and returns where.
async fn listen(authority: &Authority, app_id: &str, framing: Framings, drain: &Drain) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = Arc::new(tls::mutual_server(
        &authority.identity(app_id),
        &authority.anchors,
        Expect::Any,
    ));
    let signal = drain.signal();
    tokio::spawn(async move {
        let app = Arc::new(App::echo());
        while let Ok((stream, _)) = listener.accept().await {
            let (config, app, signal) = (config.clone(), app.clone(), signal.clone());
            tokio::spawn(async move {
                if let Ok(io) = tls::accept(config, stream).await {
                    serve(io, Arc::new(framing.server()), context(), app, signal).await;
                }
            });
        }
    });
    address
}

fn peers(authority: &Authority, framing: Framings) -> Peers {
    let security = Security::Mutual {
        svid: authority.identity("caller"),
        anchors: authority.anchors.clone(),
    };
    let settings = PeerSettings {
        link: framing.client(),
        ..PeerSettings::default()
    };
    Peers::new(settings, security, Arc::new(TcpConnect))
}

fn peer(address: SocketAddr, app_id: &str) -> PeerAddress {
    PeerAddress {
        address: address.to_string().into(),
        app_id: app_id.into(),
        namespace: "default".into(),
    }
}

#[tokio::test]
async fn calls_pass_over_mutual_tls() {
    for framing in FRAMINGS {
        let (authority, drain) = (Authority::new(), Drain::new());
        let address = listen(&authority, "callee", framing, &drain).await;
        let peers = peers(&authority, framing);
        for len in [0, 100, 64 << 10, 1 << 20] {
            let mut call = call_of("m", Body::from(noise(len)));
            let reply = soon(peers.call(&peer(address, "callee"), &mut call, Retries::None, None))
                .await
                .unwrap();
            assert!(soon(read(reply.body)).await.unwrap() == noise(len));
        }
        assert_eq!(peers.links(), 1);
    }
}

#[tokio::test]
async fn a_peer_that_is_someone_else_gets_no_calls() {
    for framing in FRAMINGS {
        let (authority, drain) = (Authority::new(), Drain::new());
        let address = listen(&authority, "other", framing, &drain).await;
        let peers = peers(&authority, framing);
        let mut call = call_of("m", Body::empty());
        let error = soon(peers.call(&peer(address, "callee"), &mut call, Retries::None, None))
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "rpc error: code = Unavailable desc = connection error: desc = \"transport: authentication handshake \
             failed: unexpected SPIFFE ID: \\\"spiffe://public/ns/default/other\\\"\""
        );
    }
}

#[tokio::test]
async fn a_caller_that_is_not_trusted_is_unavailable() {
    for framing in FRAMINGS {
        let (authority, drain) = (Authority::new(), Drain::new());
        let address = listen(&authority, "callee", framing, &drain).await;
        let stranger = Peers::new(
            PeerSettings {
                link: framing.client(),
                ..PeerSettings::default()
            },
            Security::Mutual {
                svid: Authority::new().identity("caller"),
                anchors: authority.anchors.clone(),
            },
            Arc::new(TcpConnect),
        );
        let mut call = call_of("m", Body::empty());
        let error = soon(stranger.call(&peer(address, "callee"), &mut call, Retries::None, None))
            .await
            .unwrap_err();
        assert_eq!(error.code(), code::UNAVAILABLE, "{error}");
    }
}

#[tokio::test]
async fn a_plain_peer_is_told_from_one_with_tls() {
    for framing in FRAMINGS {
        let (authority, drain) = (Authority::new(), Drain::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plain = listener.local_addr().unwrap();
        let signal = drain.signal();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            serve(
                stream,
                Arc::new(framing.server()),
                context(),
                Arc::new(App::echo()),
                signal,
            )
            .await;
        });
        let mut call = call_of("m", Body::empty());
        let peers = peers(&authority, framing);
        let error = soon(peers.call(&peer(plain, "callee"), &mut call, Retries::None, None))
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "rpc error: code = Unavailable desc = connection error: desc = \"transport: authentication handshake \
             failed: tls: first record does not look like a TLS handshake\""
        );

        let secure = listen(&authority, "callee", framing, &drain).await;
        let peers = Peers::new(
            PeerSettings {
                link: framing.client(),
                ..PeerSettings::default()
            },
            Security::Plain,
            Arc::new(TcpConnect),
        );
        let error = soon(peers.call(&peer(secure, "callee"), &mut call, Retries::None, None))
            .await
            .unwrap_err();
        assert_eq!(error.code(), code::UNAVAILABLE);
        if framing.client == Framing::Own {
            let text = error.to_string();
            assert!(text.contains("error reading server preface"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_refuses() {
    for framing in FRAMINGS {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let mut call = call_of("m", Body::empty());
        let peers = Peers::new(
            PeerSettings {
                link: framing.client(),
                ..PeerSettings::default()
            },
            Security::Plain,
            Arc::new(TcpConnect),
        );
        let error = soon(peers.call(&peer(address, "callee"), &mut call, Retries::None, None))
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing: dial \
                 tcp {address}: connect: connection refused\""
            )
        );
    }
}
