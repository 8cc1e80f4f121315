//! A certificate authority that a test starts, stops and starts again with the same files and ports.

use std::path::PathBuf;

use anyhow::Context as _;
use bytes::Bytes;
use http::HeaderMap;
use outrigger_api::sentry::{SignCertificateRequest, SignCertificateResponse};
use outrigger_test_kit::http::get;
use outrigger_test_kit::tls::client_config;
use outrigger_test_kit::{Directory, GrpcClient, GrpcReply, Process, Program, Result, free_port, until};
use prost::Message as _;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ED25519};

/// Path of the one method.
const SIGN: &str = "/dapr.proto.sentry.v1.CA/SignCertificate";

/// Files and ports of an authority.
#[derive(Debug)]
pub(super) struct Lab {
    pub(super) directory: Directory,
    pub(super) port: u16,
    pub(super) health_port: u16,
    pub(super) metrics_port: u16,
    pub(super) oidc_port: u16,
}

// === impl Lab ===

impl Lab {
    /// An authority without files, whose Configuration has this under `mtls`.
    pub(super) fn new(mtls: &str) -> Result<Self> {
        let lab = Self {
            directory: Directory::new()?,
            port: free_port()?,
            health_port: free_port()?,
            metrics_port: free_port()?,
            oidc_port: free_port()?,
        };
        std::fs::create_dir(lab.credentials())?;
        lab.configure(mtls)?;
        Ok(lab)
    }

    /// Writes another Configuration, for the next start.
    pub(super) fn configure(&self, mtls: &str) -> Result<()> {
        let yaml = format!(
            "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {{name: c}}\nspec: {{mtls: {mtls}}}\n"
        );
        self.directory.write("configuration.yaml", yaml)?;
        Ok(())
    }

    /// The folder of its certificates and keys.
    pub(super) fn credentials(&self) -> PathBuf {
        self.directory.path().join("credentials")
    }

    /// A file of the credentials folder.
    pub(super) fn file(&self, name: &str) -> Result<String> {
        let path = self.credentials().join(name);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    /// The command line.
    pub(super) fn program(&self) -> Result<Program> {
        Ok(Program::outrigger("sentry")?
            .flag("port", self.port)
            .flag("listen-address", "127.0.0.1")
            .flag("healthz-port", self.health_port)
            .flag("healthz-listen-address", "127.0.0.1")
            .flag("metrics-port", self.metrics_port)
            .flag("metrics-listen-address", "127.0.0.1")
            .flag("oidc-server-listen-port", self.oidc_port)
            .flag("issuer-credentials", self.credentials().display())
            .flag(
                "config",
                self.directory.path().join("configuration.yaml").display(),
            ))
    }

    /// Starts it and waits until it is healthy.
    pub(super) async fn start(&self) -> Result<Process> {
        self.start_with(|program| program).await
    }

    /// Starts it with what `adjust` adds, and waits until it is healthy.
    pub(super) async fn start_with(&self, adjust: impl FnOnce(Program) -> Program) -> Result<Process> {
        let process = adjust(self.program()?).start()?;
        self.healthy().await.with_context(|| process.tail())?;
        Ok(process)
    }

    /// Waits until it is healthy.
    pub(super) async fn healthy(&self) -> Result<()> {
        until("the certificate authority to be healthy", async || {
            let url = format!("http://127.0.0.1:{}/healthz", self.health_port);
            (get(url).await.ok()?.status == 200).then_some(())
        })
        .await
    }

    /// The value of a metric without labels, or with the labels as they are printed.
    pub(super) async fn metric(&self, series: &str) -> Result<Option<f64>> {
        let text = get(format!("http://127.0.0.1:{}/", self.metrics_port))
            .await?
            .text();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map(|value| Ok(value.parse()?)).transpose()
    }

    /// Asks for a certificate.
    pub(super) async fn sign(&self, request: &SignCertificateRequest) -> Result<GrpcReply> {
        let client = GrpcClient::connect_tls(self.port, client_config(None)?).await?;
        client
            .call(SIGN, HeaderMap::new(), [request.encode_to_vec()])
            .await
    }

    /// Asks for a certificate and expects to get one.
    pub(super) async fn signed(&self, request: &SignCertificateRequest) -> Result<SignCertificateResponse> {
        let reply = self.sign(request).await?;
        anyhow::ensure!(reply.status == 0, "status {}: {}", reply.status, reply.message);
        let message = reply.messages.into_iter().next().context("no message")?;
        Ok(SignCertificateResponse::decode(message)?)
    }
}

/// A request as a sidecar of the app `myapp` makes it.
pub(super) fn request() -> Result<SignCertificateRequest> {
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    request_with(&key, nameless())
}

/// A request with a key and what the certificate request says.
pub(super) fn request_with(key: &KeyPair, params: CertificateParams) -> Result<SignCertificateRequest> {
    let pem = params.serialize_request(key)?.pem()?;
    Ok(SignCertificateRequest {
        id: "myapp".to_owned(),
        namespace: "default".to_owned(),
        certificate_signing_request: pem.into(),
        ..SignCertificateRequest::default()
    })
}

/// A certificate request that says nothing.
pub(super) fn nameless() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
}

/// The text of a PEM field.
pub(super) fn pem(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
