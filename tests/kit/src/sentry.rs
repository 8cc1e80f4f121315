//! The certificate authority as a process.

use std::path::Path;

use crate::http::get;
use crate::{Authority, Directory, Process, Program, Result, free_port, until};

const CONFIGURATION: &str = "\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: sentry
spec:
  mtls:
    enabled: true
";

/// A running certificate authority whose root and issuer the test knows.
#[derive(Debug)]
pub struct Sentry {
    /// What it signs with.
    pub authority: Authority,
    /// Port of its gRPC server.
    pub port: u16,
    /// Port of its health server.
    pub health_port: u16,
    /// Port of its metrics server.
    pub metrics_port: u16,
    /// The process.
    pub process: Process,
    directory: Directory,
}

// === impl Sentry ===

impl Sentry {
    /// Starts it with a new root and waits until it is healthy.
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn start() -> Result<Self> {
        Self::start_with(|program| program).await
    }

    /// Starts it with what `adjust` adds to its command line.
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn start_with(adjust: impl FnOnce(Program) -> Program) -> Result<Self> {
        let directory = Directory::new()?;
        let authority = Authority::new()?;
        let credentials = directory.path().join("credentials");
        authority.write(&credentials)?;
        let configuration = directory.write("configuration.yaml", CONFIGURATION)?;
        let (port, health_port, metrics_port) = (free_port()?, free_port()?, free_port()?);
        let program = Program::outrigger("sentry")?
            .flag("port", port)
            .flag("listen-address", "127.0.0.1")
            .flag("healthz-port", health_port)
            .flag("healthz-listen-address", "127.0.0.1")
            .flag("metrics-port", metrics_port)
            .flag("metrics-listen-address", "127.0.0.1")
            .flag("issuer-credentials", credentials.display())
            .flag("config", configuration.display());
        let process = adjust(program).start()?;
        let sentry = Self {
            authority,
            port,
            health_port,
            metrics_port,
            process,
            directory,
        };
        until("the certificate authority to be healthy", async || {
            let reply = get(format!("http://127.0.0.1:{health_port}/healthz"))
                .await
                .ok()?;
            (reply.status == 200).then_some(())
        })
        .await
        .map_err(|error| error.context(sentry.process.tail()))?;
        Ok(sentry)
    }

    /// The folder with its credentials.
    #[must_use]
    pub fn credentials(&self) -> std::path::PathBuf {
        self.directory().join("credentials")
    }

    fn directory(&self) -> &Path {
        self.directory.path()
    }
}
