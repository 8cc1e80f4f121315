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

mod running;
mod signing;
mod tokens;

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
