//! The whole authority, started in this process and called over its ports.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper_util::rt::TokioIo;
use outrigger_api::sentry::ca_client::CaClient;
use outrigger_api::sentry::{SignCertificateRequest, SignCertificateResponse};
use outrigger_config::sentry::{Flags, Settings};
use outrigger_identity::certificate::Certificate;
use outrigger_identity::key::{KeyType, PrivateKey};
use outrigger_identity::spiffe::SpiffeId;
use outrigger_identity::verify::verify_chain;
use outrigger_identity::{AnchorSource, Expect, TrustAnchors, csr, pem, tls};
use outrigger_telemetry::metrics::{Metrics, MetricsSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::scratch::Scratch;
use crate::{Error, Handle, Sentry};

const SENTRY: &str = "spiffe://localhost/ns/default/dapr-sentry";

/// A running authority with its own directory.
struct Lab {
    scratch: Scratch,
    handle: Handle,
    metrics: Metrics,
}

impl Lab {
    async fn start(configuration: &str, flags: &[&str]) -> Self {
        Self::try_start(Scratch::new(), configuration, flags)
            .await
            .unwrap()
    }

    async fn try_start(scratch: Scratch, configuration: &str, flags: &[&str]) -> Result<Self, Error> {
        let metrics = Metrics::new(&MetricsSettings::default()).unwrap();
        std::fs::write(scratch.path().join("config.yaml"), configuration).unwrap();
        let settings = settings(scratch.path(), flags);
        let handle = Sentry::start(&settings, &metrics).await?;
        Ok(Self {
            scratch,
            handle,
            metrics,
        })
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.scratch.path().join(name)).unwrap()
    }

    fn anchors(&self) -> TrustAnchors {
        TrustAnchors::from_pem(self.file("ca.crt")).unwrap()
    }

    async fn client(&self) -> CaClient<Channel> {
        let expect = Expect::Exact(SpiffeId::parse(SENTRY).unwrap());
        let config = Arc::new(tls::open_client(&AnchorSource::fixed(self.anchors()), expect));
        let address = self.handle.addresses().grpc;
        let connect = tower::service_fn(move |_: http::Uri| {
            let config = config.clone();
            async move {
                let stream = TcpStream::connect(loopback(address)).await?;
                let stream = tls::connect(config, "127.0.0.1", stream)
                    .await
                    .map_err(std::io::Error::other)?;
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        let channel = Endpoint::from_static("http://sentry")
            .connect_with_connector(connect)
            .await
            .unwrap();
        CaClient::new(channel)
    }

    async fn sign(&self, request: SignCertificateRequest) -> Result<SignCertificateResponse, Status> {
        self.client()
            .await
            .sign_certificate(request)
            .await
            .map(tonic::Response::into_inner)
    }

    /// Waits until a metric has been printed with this value.
    async fn metric(&self, line: &str) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let text = String::from_utf8(self.metrics.encode().to_vec()).unwrap();
            if text.lines().any(|found| found == line) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "no {line} in\n{text}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn settings(directory: &Path, flags: &[&str]) -> Settings {
    let own = [
        "--listen-address=127.0.0.1",
        "--port=0",
        "--healthz-listen-address=127.0.0.1",
        "--healthz-port=0",
        "--metrics-listen-address=127.0.0.1",
        "--metrics-port=0",
        "--oidc-server-listen-port=0",
    ];
    let directory = directory.display();
    let paths = [
        format!("--issuer-credentials={directory}"),
        format!("--config={directory}/config.yaml"),
    ];
    let arguments = own
        .iter()
        .chain(flags)
        .map(|flag| (*flag).to_owned())
        .chain(paths);
    Settings::new(
        Flags::parse(arguments).unwrap().flags,
        &BTreeMap::<String, String>::new(),
    )
    .unwrap()
}

fn request() -> SignCertificateRequest {
    let key = PrivateKey::generate(KeyType::Ed25519).unwrap();
    SignCertificateRequest {
        id: "myapp".to_owned(),
        namespace: "default".to_owned(),
        certificate_signing_request: csr::request(&key).unwrap().into(),
        ..SignCertificateRequest::default()
    }
}

fn loopback(address: SocketAddr) -> SocketAddr {
    ([127, 0, 0, 1], address.port()).into()
}

fn leaf(response: &SignCertificateResponse) -> Certificate {
    Certificate::parse(&pem::certificates(&response.workload_certificate)[0]).unwrap()
}

/// Asks for a document; the result is the head and the body of the answer.
async fn get(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    path: &str,
) -> (String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: h:1\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A TLS server may close without a farewell.
    stream.read_to_end(&mut answer).await.ok();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

async fn get_plain(address: SocketAddr, path: &str) -> (String, String) {
    get(TcpStream::connect(loopback(address)).await.unwrap(), path).await
}

/// A bundle of another maker: anchors, issuer chain, issuer key.
fn foreign_bundle() -> [String; 3] {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.distinguished_name.push(rcgen::DnType::CommonName, "root");
    let root =
        rcgen::CertifiedIssuer::self_signed(params.clone(), rcgen::KeyPair::generate().unwrap()).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "issuer");
    let issuer = params.signed_by(&key, &root).unwrap();
    [root.pem(), issuer.pem(), key.serialize_pem()]
}

#[tokio::test]
async fn a_workload_gets_a_certificate_that_its_peers_believe() {
    let lab = Lab::start("", &[]).await;
    let response = lab.sign(request()).await.unwrap();
    let chain = pem::certificates(&response.workload_certificate);
    let algorithms = tls::signature_algorithms();
    let id = verify_chain(
        &chain[0],
        &chain[1..],
        &lab.anchors(),
        SystemTime::now(),
        algorithms,
    )
    .unwrap();
    assert_eq!(id.as_str(), "spiffe://public/ns/default/myapp");
    assert_eq!(chain.len(), 2);
    assert_eq!(response.trust_chain_certificates, [lab.file("ca.crt")]);
    let leaf = leaf(&response);
    let valid_until = response.valid_until.unwrap();
    assert_eq!(
        (valid_until.seconds, valid_until.nanos),
        (crate::ca::unix_seconds(leaf.not_after()), 0)
    );
    let lifetime = leaf.not_after().duration_since(leaf.not_before()).unwrap();
    assert_eq!(lifetime, Duration::from_secs((24 * 60 + 15) * 60));
    assert_eq!((response.jwt, response.per_audience_jwts.len()), (None, 0));

    let (head, body) = get_plain(lab.handle.addresses().healthz, "/healthz").await;
    assert!(head.starts_with("HTTP/1.1 200 OK") && body.is_empty());
    let (_, text) = get_plain(lab.handle.addresses().metrics.unwrap(), "/").await;
    let issuer = Certificate::parse(&pem::certificates(lab.file("issuer.crt").as_bytes())[0]).unwrap();
    let expiry = crate::ca::unix_seconds(issuer.not_after()) as f64;
    for line in [
        "dapr_sentry_cert_sign_request_received_total 1".to_owned(),
        "dapr_sentry_cert_sign_success_total 1".to_owned(),
        "dapr_sentry_issuercert_changed_total 1".to_owned(),
        format!("dapr_sentry_issuercert_expiry_timestamp {}e+09", expiry / 1e9),
    ] {
        assert!(text.lines().any(|found| found == line), "no {line} in\n{text}");
    }
    lab.handle.stop().await.unwrap();
}

#[tokio::test]
async fn requests_fail_with_the_specified_code_and_text() {
    let lab = Lab::start("", &[]).await;
    let with = |change: fn(&mut SignCertificateRequest)| {
        let mut changed = request();
        change(&mut changed);
        changed
    };
    let key = PrivateKey::generate(KeyType::Ed25519).unwrap().to_pem().unwrap();
    let not_enabled = "the requested validator is not enabled";
    let rows: Vec<(SignCertificateRequest, Code, &str)> = vec![
        (
            with(|request| request.token_validator = -1),
            Code::InvalidArgument,
            not_enabled,
        ),
        (
            with(|request| request.token_validator = 2),
            Code::InvalidArgument,
            not_enabled,
        ),
        (
            with(|request| request.token_validator = 3),
            Code::InvalidArgument,
            not_enabled,
        ),
        (
            with(|request| request.certificate_signing_request = "".into()),
            Code::PermissionDenied,
            "invalid request: CSR is required",
        ),
        (
            with(|request| request.namespace.clear()),
            Code::PermissionDenied,
            "invalid request: namespace is required",
        ),
        (
            SignCertificateRequest::default(),
            Code::PermissionDenied,
            "invalid request: parameter app-id cannot be empty\nCSR is required\nnamespace is required",
        ),
        (
            with(|request| request.id = "a:b".to_owned()),
            Code::Internal,
            "failed to sign certificate",
        ),
        (
            with(|request| request.id = "a/b".to_owned()),
            Code::Internal,
            "failed to sign certificate",
        ),
        (
            with(|request| request.namespace = "x/y".to_owned()),
            Code::Internal,
            "failed to sign certificate",
        ),
        (
            with(|request| request.trust_domain = "Bad".to_owned()),
            Code::PermissionDenied,
            "trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores",
        ),
        (
            SignCertificateRequest {
                certificate_signing_request: key.into(),
                ..request()
            },
            Code::InvalidArgument,
            "invalid certificate signing request",
        ),
    ];
    let count = rows.len();
    for (request, code, message) in rows {
        let status = lab.sign(request).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, message));
    }
    lab.metric(&format!(
        "dapr_sentry_cert_sign_failure_total{{reason=\"sign\"}} {count}"
    ))
    .await;
}

#[tokio::test]
async fn names_of_the_control_plane_are_given_in_its_namespace() {
    let lab = Lab::start("", &[]).await;
    let ask = |id: &str, namespace: &str, trust_domain: &str| SignCertificateRequest {
        id: id.to_owned(),
        namespace: namespace.to_owned(),
        trust_domain: trust_domain.to_owned(),
        ..request()
    };
    let injector = leaf(
        &lab.sign(ask("dapr-injector", "default", "localhost"))
            .await
            .unwrap(),
    );
    assert_eq!(injector.names().dns, ["dapr-sidecar-injector.default.svc"]);
    assert_eq!(
        injector.names().uri,
        ["spiffe://localhost/ns/default/dapr-injector"]
    );
    let scheduler = leaf(
        &lab.sign(ask("dapr-scheduler", "default", "localhost"))
            .await
            .unwrap(),
    );
    assert_eq!(
        scheduler.names().dns[2],
        "dapr-scheduler-server-2.dapr-scheduler-server.default.svc.localhost"
    );
    let elsewhere = leaf(&lab.sign(ask("dapr-operator", "other", "")).await.unwrap());
    assert!(elsewhere.names().dns.is_empty());
    assert_eq!(elsewhere.names().uri, ["spiffe://public/ns/other/dapr-operator"]);
}

#[tokio::test]
async fn clients_without_h2_are_dropped() {
    let lab = Lab::start("", &[]).await;
    let mut config = tls::open_client(&AnchorSource::fixed(lab.anchors()), Expect::Any);
    config.alpn_protocols.clear();
    let stream = TcpStream::connect(lab.handle.addresses().grpc).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let mut stream = connector
        .connect(tls::server_name("127.0.0.1"), stream)
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.peer_certificates().unwrap().len(), 2);
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok();
    assert!(answer.is_empty(), "no byte of HTTP/2");
}

#[tokio::test]
async fn tokens_come_with_certificates_and_their_keys_are_published() {
    let flags = [
        "--jwt-enabled",
        "--oidc-enabled",
        "--oidc-server-tls-enabled=false",
    ];
    let lab = Lab::start("", &flags).await;
    let jwt_audiences = vec!["a1".to_owned(), "a2".to_owned()];
    let response = lab
        .sign(SignCertificateRequest {
            jwt_audiences,
            ..request()
        })
        .await
        .unwrap();
    let oidc = lab.handle.addresses().oidc.unwrap();
    let (head, jwks) = get_plain(oidc, "/jwks.json").await;
    assert!(
        head.contains("content-type: application/json")
            && head.contains("cache-control: public, max-age=3600")
    );
    assert_eq!(jwks, lab.file("jwks.json"));
    let (_, discovery) = get_plain(oidc, "/.well-known/openid-configuration").await;
    assert!(
        discovery.starts_with(r#"{"issuer":"http://h:1","jwks_uri":"http://h:1/jwks.json","#),
        "{discovery}"
    );

    let audience = |token: &str| {
        let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&jwks).unwrap();
        let key = jsonwebtoken::DecodingKey::from_jwk(&keys.keys[0]).unwrap();
        let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
        validation.validate_aud = false;
        let claims = jsonwebtoken::decode::<serde_json::Value>(token, &key, &validation)
            .unwrap()
            .claims;
        assert_eq!(claims["sub"], "spiffe://public/ns/default/myapp");
        claims["aud"].clone()
    };
    assert_eq!(
        audience(&response.jwt.unwrap()),
        serde_json::json!(["public", "a1", "a2"])
    );
    assert_eq!(response.per_audience_jwts.len(), 3);
    for (name, token) in response.per_audience_jwts {
        assert_eq!(audience(&token), serde_json::json!([name]));
    }
}

#[tokio::test]
async fn discovery_comes_by_tls_with_a_certificate_that_may_come_late() {
    let scratch = Scratch::new();
    let (certificate, key) = (scratch.path().join("tls.crt"), scratch.path().join("tls.key"));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    let files = [
        format!("--oidc-server-tls-cert-file={}", certificate.display()),
        format!("--oidc-server-tls-key-file={}", key.display()),
    ];
    let flags = ["--jwt-enabled", "--oidc-enabled", &files[0], &files[1]];
    let lab = Lab::try_start(scratch, "", &flags).await.unwrap();

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let config = rustls::ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(loopback(lab.handle.addresses().oidc.unwrap()))
        .await
        .unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector
        .connect("localhost".try_into().unwrap(), stream)
        .await
        .unwrap();
    let (_, discovery) = get(stream, "/.well-known/openid-configuration").await;
    assert!(
        discovery.starts_with(r#"{"issuer":"https://h:1","#),
        "{discovery}"
    );
}

#[tokio::test]
async fn new_files_are_taken_into_use_without_closing_a_port() {
    let lab = Lab::start("", &[]).await;
    let addresses = lab.handle.addresses();
    let before = leaf(&lab.sign(request()).await.unwrap());
    let names = ["ca.crt", "issuer.crt", "issuer.key"];
    for (name, text) in names.iter().zip(foreign_bundle()) {
        std::fs::write(lab.scratch.path().join(name), text).unwrap();
    }
    lab.metric("dapr_sentry_issuercert_changed_total 2").await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    // The old bundle is in use until all files have been replaced; then clients must know the new anchors.
    let after = loop {
        let expect = Expect::Exact(SpiffeId::parse(SENTRY).unwrap());
        let config = Arc::new(tls::open_client(&AnchorSource::fixed(lab.anchors()), expect));
        let stream = TcpStream::connect(addresses.grpc).await.unwrap();
        if tls::connect(config, "127.0.0.1", stream).await.is_ok() {
            break leaf(&lab.sign(request()).await.unwrap());
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "the new bundle is not in use"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_ne!(after.issuer(), before.issuer());
    assert_eq!(lab.handle.addresses(), addresses);
    lab.handle.stop().await.unwrap();
}

#[tokio::test]
async fn files_that_do_not_fit_together_end_the_authority() {
    let mut lab = Lab::start("", &[]).await;
    std::fs::write(
        lab.scratch.path().join("issuer.key"),
        foreign_bundle()[2].as_str(),
    )
    .unwrap();
    let error = lab.handle.ended().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "error creating CA: failed to get CA bundle: failed to verify CA bundle: issuer key does not match issuer certificate"
    );
    assert!(
        TcpStream::connect(lab.handle.addresses().healthz).await.is_err(),
        "all ports are closed"
    );
}

#[tokio::test]
async fn the_own_certificate_is_renewed() {
    let short = "spec: {mtls: {enabled: true, workloadCertTTL: 2s, allowedClockSkew: 0s}}";
    let lab = Lab::start(short, &[]).await;
    let certificate = async || {
        let config = tls::open_client(&AnchorSource::fixed(lab.anchors()), Expect::Any);
        let stream = TcpStream::connect(lab.handle.addresses().grpc).await.unwrap();
        let stream = tls::connect(Arc::new(config), "127.0.0.1", stream).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let first = certificate().await;
    while certificate().await == first {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn with_known_keys_only_good_tokens_get_certificates() {
    let keys = r#"spec: {mtls: {tokenValidators: [{name: JWKS, options: {source: '{"keys":[]}'}}]}}"#;
    let lab = Lab::start(keys, &[]).await;
    let ask = async |token_validator: i32, token: &str| {
        let request = SignCertificateRequest {
            token_validator,
            token: token.to_owned(),
            ..request()
        };
        let status = lab.sign(request).await.unwrap_err();
        (status.code(), status.message().to_owned())
    };
    let no_default = "a validator name must be specified in this environment";
    assert_eq!(ask(0, "").await, (Code::InvalidArgument, no_default.to_owned()));
    assert_eq!(
        ask(1, "").await,
        (
            Code::InvalidArgument,
            "the requested validator is not enabled".to_owned()
        )
    );
    let no_token = "the request does not contain a token";
    assert_eq!(ask(3, "").await, (Code::PermissionDenied, no_token.to_owned()));
    let (head, _) = get_plain(lab.handle.addresses().healthz, "/healthz").await;
    assert!(head.starts_with("HTTP/1.1 200 OK"));
    let bad_token = "token validation failed: invalid JWT";
    assert_eq!(ask(3, "x").await, (Code::PermissionDenied, bad_token.to_owned()));
}

#[tokio::test]
async fn mistakes_at_the_start_are_reported_exactly() {
    let start = async |configuration: &str, flags: &[&str]| {
        let failed = Lab::try_start(Scratch::new(), configuration, flags).await;
        failed.err().expect("sentry does not start").to_string()
    };
    let error = start("spec: {mtls: {tokenValidators: [{name: insecure}]}}", &[]).await;
    assert!(
        error.starts_with("loading default config. couldn't find config name \"/"),
        "{error}"
    );
    assert!(
        error.ends_with(
            "/config.yaml\": invalid token validator: the built-in 'kubernetes' and 'insecure' validators cannot be configured manually"
        ),
        "{error}"
    );
    let error = start("spec: {mtls: {tokenValidators: [{name: jwks}]}}", &[]).await;
    assert_eq!(
        error,
        "error initializing validators: property 'location' must not be empty"
    );
    let error = start("", &["--issuer-ca-filename=/no/such/ca.crt"]).await;
    assert_eq!(error, "failed to add target /no/such: no such file or directory");
    let error = start("", &["--trust-domain=Bad"]).await;
    assert!(
        error.starts_with("invalid control plane trust domain: trust domain characters"),
        "{error}"
    );
}
