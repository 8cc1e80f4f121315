//! Who may connect to a sidecar's internal port.

use anyhow::Context as _;
use bytes::Bytes;
use http::HeaderMap;
use outrigger_api::internals::InternalInvokeResponse;
use outrigger_test_kit::certificates::Tail;
use outrigger_test_kit::tls::client_config;
use outrigger_test_kit::{
    Certificate, Daprd, GrpcClient, GrpcReply, HttpApp, HttpRequest, HttpResponse, Leaf, Result, Sentry,
    isolated,
};
use prost::Message as _;

use super::openssl::{CertificateFiles, alert, s_client};

const CALL_LOCAL: &str = "/dapr.proto.internals.v1.ServiceInvocation/CallLocal";

/// A whole gRPC frame: `GET public` with the metadata `x-test: 1`, as the reference encodes it.
const FRAME: [u8; 48] =
    *b"\x00\x00\x00\x00\x2b\x08\x01\x12\x0d\x0a\x06x-test\x12\x03\x0a\x011\x1a\x18\x0a\x06public\
    \x1a\x0atext/plain\x22\x02\x08\x01";

/// A sidecar with mTLS whose app answers `GET /public`.
struct Callee {
    sentry: Sentry,
    app: HttpApp,
    daprd: Daprd,
}

// === impl Callee ===

impl Callee {
    async fn start() -> Result<Self> {
        let sentry = Sentry::start().await?;
        let app = HttpApp::start(async |request: HttpRequest| {
            HttpResponse::ok(format!("{} {}", request.method, request.path())).header("X-App", "1")
        })
        .await?;
        let daprd = Daprd::builder("callee")?
            .app("http", app.port())
            .mtls(&sentry)
            .start()
            .await?;
        Ok(Self { sentry, app, daprd })
    }

    /// Calls the app as a peer with this certificate.
    async fn call(&self, certificate: Option<&Certificate>) -> Result<GrpcReply> {
        let client = GrpcClient::connect_tls(self.daprd.internal_port, client_config(certificate)?).await?;
        let mut stream = client.open(CALL_LOCAL, HeaderMap::new()).await?;
        stream.send_frame(Bytes::from_static(&FRAME)).await?;
        stream.finish().await
    }

    /// What the app answered to a peer that was let in.
    async fn called(&self, leaf: &Leaf) -> Result<InternalInvokeResponse> {
        let reply = self.call(Some(&self.sentry.authority.issue(leaf)?)).await?;
        anyhow::ensure!(reply.status == 0, "status {}: {}", reply.status, reply.message);
        Ok(InternalInvokeResponse::decode(
            reply.messages.first().context("no message")?.clone(),
        )?)
    }
}

#[test]
fn every_shape_of_certificate_is_judged_and_the_sidecar_survives() {
    isolated!(async {
        let callee = Callee::start().await?;
        assert!(callee.call(None).await.is_err(), "no certificate at all");
        let shapes = Leaf::shapes("myapp");
        assert_eq!(shapes.len(), 24);
        for (name, leaf, let_in) in &shapes {
            let certificate = callee.sentry.authority.issue(leaf)?;
            let reply = callee.call(Some(&certificate)).await;
            match reply {
                Ok(reply) => {
                    assert!(let_in, "{name} was let in");
                    // The id is good enough for TLS, but names no app that access control could judge.
                    let expected = match *name {
                        "short" => (7, "malformed SPIFFE ID: spiffe://public/myapp"),
                        _ => (0, ""),
                    };
                    assert_eq!((reply.status, reply.message.as_str()), expected, "{name}");
                }
                Err(error) => assert!(!let_in, "{name} was refused: {error:#}"),
            }
        }
        let is_answered = |name: &str, let_in: bool| let_in && name != "short";
        let answered = shapes
            .iter()
            .filter(|(name, _, let_in)| is_answered(name, *let_in))
            .count();
        assert_eq!(callee.app.requests_for("/public").len(), answered);
        assert_eq!(
            callee.daprd.get("/v1.0/healthz").await?.status,
            204,
            "the sidecar is still alive"
        );
        Ok(())
    });
}

#[test]
fn a_peer_that_is_let_in_gets_the_answer_of_the_app() {
    isolated!(async {
        let callee = Callee::start().await?;
        let answer = callee
            .called(&Leaf::of("spiffe://public/ns/default/myapp"))
            .await?;
        assert_eq!(answer.status.context("a status")?.code, 200);
        let data = answer.message.context("a message")?.data.context("data")?;
        assert_eq!(
            (data.type_url.as_str(), &data.value[..]),
            ("", &b"GET /public"[..])
        );
        assert_eq!(answer.headers["X-App"].values, ["1"]);
        let received = callee.app.requests_for("/public").remove(0);
        assert_eq!(received.headers.get("x-test"), Some("1"));
        assert_eq!(received.headers.get("content-type"), Some("text/plain"));
        Ok(())
    });
}

#[test]
fn a_chain_in_any_order_and_with_strangers_in_it_is_enough() {
    isolated!(async {
        let callee = Callee::start().await?;
        let stranger = outrigger_test_kit::Authority::new()?.issue_to("stranger")?;
        let own = callee.sentry.authority.issue(&Leaf {
            tail: Tail::IssuerAndRoot,
            ..Leaf::of("spiffe://public/ns/default/myapp")
        })?;
        let blocks: Vec<_> = own.chain.split_inclusive("-----END CERTIFICATE-----\n").collect();
        let [leaf, issuer, root] = blocks[..] else {
            panic!("three certificates")
        };
        for chain in [
            [leaf, root, issuer].concat(),
            [leaf, &stranger.chain, issuer].concat(),
        ] {
            let certificate = Certificate {
                chain,
                key: own.key.clone(),
            };
            assert_eq!(callee.call(Some(&certificate)).await?.status, 0);
        }
        Ok(())
    });
}

#[test]
fn refusals_have_the_alerts_that_clients_know() {
    isolated!(async {
        let callee = Callee::start().await?;
        let port = callee.daprd.internal_port;
        let text = s_client(port, &["-alpn", "h2"], None).await?;
        assert_eq!(alert(&text), Some(116), "no certificate: {text}");
        let text = s_client(port, &["-alpn", "h2", "-tls1_2"], None).await?;
        assert_eq!(alert(&text), Some(40), "no certificate, TLS 1.2: {text}");

        for (name, leaf, let_in) in Leaf::shapes("myapp") {
            if let_in {
                continue;
            }
            let files = CertificateFiles::new(&callee.sentry.authority.issue(&leaf)?)?;
            let options = files.options();
            let options: Vec<_> = options
                .iter()
                .map(String::as_str)
                .chain(["-alpn", "h2"])
                .collect();
            let text = s_client(port, &options, None).await?;
            assert_eq!(alert(&text), Some(42), "{name}: {text}");
        }
        let expired = Leaf {
            begin: -180,
            end: -60,
            ..Leaf::of("spiffe://public/ns/default/myapp")
        };
        let files = CertificateFiles::new(&callee.sentry.authority.issue(&expired)?)?;
        let options = files.options();
        let options: Vec<_> = options
            .iter()
            .map(String::as_str)
            .chain(["-alpn", "h2", "-tls1_2"])
            .collect();
        let text = s_client(port, &options, None).await?;
        assert_eq!(alert(&text), Some(42), "expired, TLS 1.2: {text}");
        let text = s_client(port, &["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], None).await?;
        assert_eq!(alert(&text), Some(70), "TLS 1.1: {text}");
        Ok(())
    });
}

#[test]
fn a_peer_without_alpn_is_closed_without_a_word_of_http2() {
    isolated!(async {
        let callee = Callee::start().await?;
        let files = CertificateFiles::new(&callee.sentry.authority.issue_to("myapp")?)?;
        let options = files.options();
        let mut options: Vec<_> = options.iter().map(String::as_str).collect();
        options.push("-quiet");
        let text = s_client(callee.daprd.internal_port, &options, None).await?;
        assert_eq!(alert(&text), None, "the handshake itself is good: {text}");
        assert!(!text.contains("\u{0}\u{0}"), "no frame: {text:?}");
        Ok(())
    });
}

#[test]
fn the_internal_port_shows_its_identity_and_asks_for_any() {
    isolated!(async {
        let callee = Callee::start().await?;
        let files = CertificateFiles::new(&callee.sentry.authority.issue_to("myapp")?)?;
        let options = files.options();
        let options: Vec<_> = options
            .iter()
            .map(String::as_str)
            .chain(["-alpn", "h2", "-showcerts"])
            .collect();
        let text = s_client(callee.daprd.internal_port, &options, Some("Verify return code:")).await?;
        for line in [
            "ALPN protocol: h2",
            "No client certificate CA names sent",
            "New, TLSv1.3",
        ] {
            assert!(text.contains(line), "no {line:?} in {text}");
        }
        assert_eq!(text.matches("BEGIN CERTIFICATE").count(), 2);
        let begin = text.find("-----BEGIN CERTIFICATE").unwrap_or_default();
        let leaf = super::openssl::text(text.split_at(begin).1).await?;
        assert_eq!(
            super::openssl::extensions(&leaf).last(),
            Some(&"URI:spiffe://public/ns/default/callee")
        );
        assert!(
            !text.contains("TLS session ticket:"),
            "sessions are not resumed: {text}"
        );
        Ok(())
    });
}
