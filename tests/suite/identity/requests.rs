//! How a sidecar asks for its identity.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::Context as _;
use outrigger_test_kit::tls::server_config;
use outrigger_test_kit::{
    Authority, Certificate, Daprd, Directory, Result, Sentry, Signal, free_port, isolated,
};
use rustls::server::Acceptor;
use rustls::{NamedGroup, SignatureScheme};
use tokio::net::TcpListener;
use tokio_rustls::LazyConfigAcceptor;

use super::super::process::messages;
use super::authority::Lab;

/// What a client offers in its first message.
#[derive(Debug)]
struct Hello {
    server_name: Option<String>,
    protocols: Vec<Vec<u8>>,
    schemes: Vec<SignatureScheme>,
    groups: Vec<NamedGroup>,
    suites: Vec<u16>,
}

/// A server that shows a certificate and writes down what clients offer.
struct Impostor {
    port: u16,
    hellos: tokio::sync::mpsc::Receiver<(Hello, Result<(), std::io::Error>)>,
    _task: tokio_util::task::AbortOnDropHandle<()>,
}

// === impl Impostor ===

impl Impostor {
    async fn start(certificate: &Certificate) -> Result<Self> {
        Self::start_speaking(certificate, &["h2"]).await
    }

    async fn start_speaking(certificate: &Certificate, protocols: &[&str]) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let port = listener.local_addr()?.port();
        let config = server_config(certificate, protocols)?;
        let (sender, hellos) = tokio::sync::mpsc::channel(16);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(start) = LazyConfigAcceptor::new(Acceptor::default(), stream).await else {
                    continue;
                };
                let hello = Hello::of(&start.client_hello());
                let outcome = match start.into_stream(Arc::clone(&config)).await {
                    Ok(mut stream) => tokio::io::AsyncReadExt::read_u8(&mut stream).await.map(drop),
                    Err(error) => Err(error),
                };
                if sender.send((hello, outcome)).await.is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            port,
            hellos,
            _task: tokio_util::task::AbortOnDropHandle::new(task),
        })
    }

    async fn next(&mut self) -> Result<(Hello, Result<(), std::io::Error>)> {
        self.hellos.recv().await.context("the impostor has ended")
    }
}

// === impl Hello ===

impl Hello {
    fn of(hello: &rustls::server::ClientHello<'_>) -> Self {
        Self {
            server_name: hello.server_name().map(str::to_owned),
            protocols: hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect(),
            schemes: hello.signature_schemes().to_vec(),
            groups: hello.named_groups().unwrap_or_default().to_vec(),
            suites: hello
                .cipher_suites()
                .iter()
                .map(|suite| u16::from(*suite))
                .collect(),
        }
    }
}

fn sidecar(authority: &Authority, address: &str) -> Result<Daprd> {
    Daprd::builder("x")?
        .flag("enable-mtls", true)
        .flag("sentry-address", address)
        .env("DAPR_TRUST_ANCHORS", authority.anchors())
        .spawn()
}

#[test]
fn a_server_with_another_identity_is_refused_again_and_again() {
    isolated!(async {
        let authority = Authority::new()?;
        let mut impostor = Impostor::start(&authority.issue_to("myapp")?).await?;
        let mut daprd = sidecar(&authority, &format!("localhost:{}", impostor.port))?;
        for _ in 0..2 {
            let (_, outcome) = impostor.next().await?;
            let error = outcome.expect_err("the sidecar breaks the handshake off");
            assert!(error.to_string().contains("BadCertificate"), "{error}");
        }
        daprd.process.signal(Signal::Terminate).await?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        let last = messages(&daprd.process).pop().unwrap_or_default();
        assert_eq!(
            last,
            "Fatal error from runtime: failed to retrieve the initial identity: error establishing connection to \
             sentry: context canceled: connection error: desc = \"transport: authentication handshake failed: \
             unexpected ID \\\"spiffe://public/ns/default/myapp\\\"\""
        );
        Ok(())
    });
}

#[test]
fn the_first_message_offers_what_peers_need() {
    isolated!(async {
        let authority = Authority::new()?;
        let mut impostor = Impostor::start(&authority.issue_to("myapp")?).await?;
        let _daprd = sidecar(&authority, &format!("localhost:{}", impostor.port))?;
        let (hello, _) = impostor.next().await?;
        assert_eq!(hello.server_name.as_deref(), Some("localhost"));
        assert_eq!(hello.protocols, [b"h2".to_vec()]);
        for scheme in [
            SignatureScheme::ED25519,
            SignatureScheme::RSA_PSS_SHA256,
            SignatureScheme::ECDSA_NISTP256_SHA256,
        ] {
            assert!(
                hello.schemes.contains(&scheme),
                "{scheme:?} in {:?}",
                hello.schemes
            );
        }
        for group in [
            NamedGroup::X25519MLKEM768,
            NamedGroup::X25519,
            NamedGroup::secp256r1,
        ] {
            assert!(hello.groups.contains(&group), "{group:?} in {:?}", hello.groups);
        }
        // Of TLS 1.3 and of TLS 1.2.
        for suite in [
            0x1301, 0x1302, 0x1303, 0xc02b, 0xc02c, 0xcca9, 0xc02f, 0xc030, 0xcca8,
        ] {
            assert!(hello.suites.contains(&suite), "{suite:x} in {:x?}", hello.suites);
        }
        for suite in [0xc009, 0xc013, 0x009c, 0x002f] {
            assert!(!hello.suites.contains(&suite), "{suite:x} in {:x?}", hello.suites);
        }

        let mut impostor = Impostor::start(&authority.issue_to("myapp")?).await?;
        let _daprd = sidecar(&authority, &format!("127.0.0.1:{}", impostor.port))?;
        let (hello, _) = impostor.next().await?;
        assert_eq!(hello.server_name, None, "no name for an address");
        Ok(())
    });
}

#[test]
fn a_server_of_another_root_is_refused() {
    isolated!(async {
        let (own, other) = (Authority::new()?, Authority::new()?);
        let leaf = outrigger_test_kit::Leaf::of("spiffe://localhost/ns/default/dapr-sentry");
        let mut impostor = Impostor::start(&other.issue(&leaf)?).await?;
        let _daprd = sidecar(&own, &format!("127.0.0.1:{}", impostor.port))?;
        let (_, outcome) = impostor.next().await?;
        assert!(
            outcome
                .expect_err("refused")
                .to_string()
                .contains("BadCertificate")
        );
        Ok(())
    });
}

#[test]
fn a_server_that_agrees_on_no_protocol_is_left() {
    isolated!(async {
        let authority = Authority::new()?;
        let leaf = outrigger_test_kit::Leaf::of("spiffe://localhost/ns/default/dapr-sentry");
        let mut impostor = Impostor::start_speaking(&authority.issue(&leaf)?, &[]).await?;
        let mut daprd = sidecar(&authority, &format!("127.0.0.1:{}", impostor.port))?;
        impostor.next().await?.1.ok();
        daprd.process.signal(Signal::Terminate).await?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        let last = messages(&daprd.process).pop().unwrap_or_default();
        assert!(
            last.contains("credentials: cannot check peer: missing selected ALPN property"),
            "{last}"
        );
        Ok(())
    });
}

#[test]
fn a_callee_that_agrees_on_no_protocol_is_left() {
    isolated!(async {
        let sentry = Sentry::start().await?;
        let callee = Impostor::start_speaking(&sentry.authority.issue_to("callee")?, &[]).await?;
        let yaml = format!(
            "spec: {{nameResolution: {{component: nameformat, configuration: {{format: \"{{appid}}.localhost:{}\"}}}}}}",
            callee.port
        );
        let daprd = Daprd::builder("x")?
            .mtls(&sentry)
            .configuration(&yaml)?
            .start()
            .await?;
        let reply = daprd.invoke("callee", "y").await?;
        assert_eq!(reply.status, 500);
        assert!(
            reply.text().contains(
                "transport: authentication handshake failed: credentials: cannot check peer: missing selected ALPN \
                 property"
            ),
            "{}",
            reply.text()
        );
        Ok(())
    });
}

#[test]
fn the_request_names_the_workload_as_the_environment_says() {
    isolated!(async {
        let table: [(&[(&str, &str)], &str, &str); 5] = [
            (&[], "x", "spiffe://public/ns/default/x"),
            (&[("NAMESPACE", "ns1")], "x", "spiffe://public/ns/ns1/x"),
            (
                &[("SENTRY_LOCAL_IDENTITY", "other")],
                "x",
                "spiffe://public/ns/default/other",
            ),
            (
                &[],
                "dapr-scheduler",
                "spiffe://localhost/ns/default/dapr-scheduler",
            ),
            (
                &[("NAMESPACE", "ns1")],
                "dapr-scheduler",
                "spiffe://public/ns/ns1/dapr-scheduler",
            ),
        ];
        let sentry = Sentry::start().await?;
        for (variables, app_id, expected) in table {
            let mut builder = Daprd::builder(app_id)?.mtls(&sentry);
            for (name, value) in variables {
                builder = builder.env(name, value);
            }
            let daprd = builder.start().await?;
            let own = sentry.authority.issue_to("peer")?;
            let files = super::openssl::CertificateFiles::new(&own)?;
            let options = files.options();
            let options: Vec<_> = options
                .iter()
                .map(String::as_str)
                .chain(["-alpn", "h2", "-showcerts"])
                .collect();
            let shown =
                super::openssl::s_client(daprd.internal_port, &options, Some("Verify return code:")).await?;
            let begin = shown.find("-----BEGIN CERTIFICATE").unwrap_or_default();
            let leaf = super::openssl::text(shown.split_at(begin).1).await?;
            let name = super::openssl::extensions(&leaf)
                .last()
                .map(|name| (*name).to_owned())
                .unwrap_or_default();
            assert!(
                name.ends_with(&format!("URI:{expected}")),
                "{name} instead of {expected}"
            );
        }
        Ok(())
    });
}

#[test]
fn a_namespace_that_is_set_but_empty_is_refused_by_the_authority() {
    isolated!(async {
        let sentry = Sentry::start().await?;
        let mut daprd = Daprd::builder("x")?.mtls(&sentry).env("NAMESPACE", "").spawn()?;
        assert_eq!(daprd.process.exit().await?.code(), Some(1));
        let last = messages(&daprd.process).pop().unwrap_or_default();
        assert_eq!(
            last,
            "Fatal error from runtime: failed to retrieve the initial identity: error from sentry SignCertificate: rpc \
             error: code = PermissionDenied desc = invalid request: namespace is required"
        );
        Ok(())
    });
}

#[test]
fn an_authority_in_another_namespace_or_trust_domain_is_found_by_options_and_variables() {
    isolated!(async {
        let lab = Lab::new("{enabled: true}")?;
        let _sentry = lab
            .start_with(|program| {
                program
                    .env("NAMESPACE", "control")
                    .flag("trust-domain", "cluster.local")
            })
            .await?;
        let anchors = lab.file("ca.crt")?;
        let address = format!("127.0.0.1:{}", lab.port);
        let by_option = Daprd::builder("x")?
            .flag("enable-mtls", true)
            .flag("sentry-address", &address)
            .flag("control-plane-namespace", "control")
            .flag("control-plane-trust-domain", "cluster.local")
            .env("DAPR_CONTROLPLANE_NAMESPACE", "wrong")
            .env("DAPR_TRUST_ANCHORS", &anchors)
            .start()
            .await?;
        drop(by_option);
        let by_variable = Daprd::builder("x")?
            .flag("enable-mtls", true)
            .flag("sentry-address", &address)
            .env("DAPR_CONTROLPLANE_NAMESPACE", "control")
            .env("DAPR_CONTROLPLANE_TRUST_DOMAIN", "cluster.local")
            .env("DAPR_TRUST_ANCHORS", &anchors)
            .start()
            .await?;
        drop(by_variable);
        let neither = Daprd::builder("x")?
            .flag("enable-mtls", true)
            .flag("sentry-address", &address)
            .env("DAPR_TRUST_ANCHORS", &anchors)
            .spawn()?;
        neither.process.wait_for_line("Fetching initial identity").await?;
        assert!(neither.get("/v1.0/healthz").await.is_err());
        Ok(())
    });
}

#[test]
fn an_authority_that_comes_late_is_waited_for() {
    isolated!(async {
        let authority = Authority::new()?;
        let port = free_port()?;
        let daprd = sidecar(&authority, &format!("127.0.0.1:{port}"))?;
        daprd.process.wait_for_line("Fetching initial identity").await?;
        // Somebody who does not speak TLS is there first.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let (stream, _) = listener.accept().await?;
        drop((stream, listener));
        let directory = Directory::new()?;
        authority.write(directory.path())?;
        let configuration = directory.write("configuration.yaml", "")?;
        let _sentry = outrigger_test_kit::Program::outrigger("sentry")?
            .flag("port", port)
            .flag("healthz-port", free_port()?)
            .flag("metrics-port", free_port()?)
            .flag("issuer-credentials", directory.path().display())
            .flag("config", configuration.display())
            .start()?;
        daprd.ready().await
    });
}
