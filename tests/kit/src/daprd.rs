//! A sidecar as a process.

use anyhow::{Context as _, bail};
use bytes::Bytes;

use crate::http::{get, post, send};
use crate::{
    Directory, GrpcClient, HttpReply, HttpRequest, Process, Program, Result, Sentry, Signal, free_port, until,
};

/// A running sidecar with ports of its own.
#[derive(Debug)]
pub struct Daprd {
    /// Id of its app.
    pub app_id: String,
    /// Port of the HTTP API.
    pub http_port: u16,
    /// Port of the gRPC API.
    pub grpc_port: u16,
    /// Port for other sidecars.
    pub internal_port: u16,
    /// Port of the metrics server.
    pub metrics_port: u16,
    /// The process.
    pub process: Process,
    program: Program,
    directory: Directory,
}

/// How a sidecar is started.
#[derive(Debug)]
pub struct DaprdBuilder {
    app_id: String,
    program: Program,
    directory: Directory,
    ports: [u16; 4],
}

// === impl Daprd ===

impl Daprd {
    /// A sidecar that listens on the loopback address only.
    ///
    /// # Errors
    /// If the binary is not there or no port is free.
    pub fn builder(app_id: &str) -> Result<DaprdBuilder> {
        let directory = Directory::new()?;
        std::fs::create_dir(directory.path().join("resources"))?;
        let ports = [free_port()?, free_port()?, free_port()?, free_port()?];
        let [http_port, grpc_port, internal_port, metrics_port] = ports;
        let program = Program::outrigger("daprd")?
            .label(app_id)
            .flag("app-id", app_id)
            .flag("dapr-http-port", http_port)
            .flag("dapr-grpc-port", grpc_port)
            .flag("dapr-internal-grpc-port", internal_port)
            .flag("metrics-port", metrics_port)
            .flag("dapr-listen-addresses", "127.0.0.1")
            .flag("dapr-internal-grpc-listen-address", "127.0.0.1")
            .flag("metrics-listen-address", "127.0.0.1")
            .flag("resources-path", directory.path().join("resources").display());
        Ok(DaprdBuilder {
            app_id: app_id.to_owned(),
            program,
            directory,
            ports,
        })
    }

    /// Waits until the sidecar says that it is healthy.
    ///
    /// # Errors
    /// If it does not, with the end of its output.
    pub async fn ready(&self) -> Result<()> {
        until(
            format_args!("sidecar {} to be healthy", self.app_id),
            async || {
                let reply = self.get("/v1.0/healthz").await.ok()?;
                (reply.status == 204).then_some(())
            },
        )
        .await
        .map_err(|error| error.context(self.process.tail()))
    }

    /// Kills the process at once, as a crash would.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.signal(Signal::Kill).await?;
        self.process.exit().await.map(drop)
    }

    /// Starts it again with the same options and ports, after [`kill`](Self::kill).
    ///
    /// # Errors
    /// If it cannot be executed.
    pub fn restart(&mut self) -> Result<()> {
        self.process = self.program.start()?;
        Ok(())
    }

    /// The URL of a path of the HTTP API.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http_port)
    }

    /// Fetches a path of the HTTP API.
    ///
    /// # Errors
    /// If there is no whole reply.
    pub async fn get(&self, path: &str) -> Result<HttpReply> {
        get(self.url(path)).await
    }

    /// Posts to a path of the HTTP API.
    ///
    /// # Errors
    /// If there is no whole reply.
    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Result<HttpReply> {
        post(self.url(path), body).await
    }

    /// Sends a request whose target is a path of the HTTP API.
    ///
    /// # Errors
    /// If there is no whole reply.
    pub async fn send(&self, request: &HttpRequest) -> Result<HttpReply> {
        let target = self.url(&request.target);
        send(&HttpRequest {
            target,
            ..request.clone()
        })
        .await
    }

    /// Calls a method of an app with `GET`.
    ///
    /// # Errors
    /// If there is no whole reply.
    pub async fn invoke(&self, app_id: &str, method: &str) -> Result<HttpReply> {
        self.get(&format!("/v1.0/invoke/{app_id}/method/{method}")).await
    }

    /// A client of the gRPC API.
    ///
    /// # Errors
    /// If nobody speaks HTTP/2 there.
    pub async fn grpc(&self) -> Result<GrpcClient> {
        GrpcClient::connect(self.grpc_port).await
    }

    /// The whole text of the metrics server.
    ///
    /// # Errors
    /// If it does not answer with 200.
    pub async fn metrics(&self) -> Result<String> {
        let reply = get(format!("http://127.0.0.1:{}/metrics", self.metrics_port)).await?;
        if reply.status != 200 {
            bail!("metrics: status {}", reply.status);
        }
        Ok(reply.text())
    }

    /// The value of a series, whose labels may stand in any order; none if there is no such series.
    ///
    /// # Errors
    /// If the metrics server does not answer.
    pub async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Result<Option<f64>> {
        let text = self.metrics().await?;
        let wanted: Vec<_> = labels
            .iter()
            .map(|(label, value)| format!("{label}=\"{value}\""))
            .collect();
        let series = text.lines().find(|line| {
            let Some(rest) = line.strip_prefix(name) else {
                return false;
            };
            rest.starts_with(['{', ' ']) && wanted.iter().all(|label| rest.contains(label.as_str()))
        });
        let Some(series) = series else { return Ok(None) };
        let value = series.rsplit(' ').next().context("a series without value")?;
        Ok(Some(value.parse()?))
    }

    /// The folder of its files.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }
}

// === impl DaprdBuilder ===

impl DaprdBuilder {
    /// Puts an app behind it: `http`, `https`, `h2c`, `grpc` or `grpcs` on a port.
    #[must_use]
    pub fn app(self, protocol: &str, port: u16) -> Self {
        self.flag("app-protocol", protocol).flag("app-port", port)
    }

    /// Gets its identity from a certificate authority.
    #[must_use]
    pub fn mtls(self, sentry: &Sentry) -> Self {
        self.flag("enable-mtls", true)
            .flag("sentry-address", format_args!("127.0.0.1:{}", sentry.port))
            .env("DAPR_TRUST_ANCHORS", sentry.authority.anchors())
    }

    /// Gives it a Configuration resource.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn configuration(self, yaml: &str) -> Result<Self> {
        let path = self.directory.write("configuration.yaml", yaml)?;
        Ok(self.flag("config", path.display()))
    }

    /// Adds a file to its resources folder.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn resource(self, name: &str, yaml: &str) -> Result<Self> {
        self.directory.write(&format!("resources/{name}"), yaml)?;
        Ok(self)
    }

    /// Adds `--<name>=<value>`.
    #[must_use]
    pub fn flag(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.program = self.program.flag(name, value);
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.program = self.program.env(name, value);
        self
    }

    /// Starts it and waits until it is healthy.
    ///
    /// # Errors
    /// If it does not get there, with the end of its output.
    pub async fn start(self) -> Result<Daprd> {
        let daprd = self.spawn()?;
        daprd.ready().await?;
        Ok(daprd)
    }

    /// Starts it.
    ///
    /// # Errors
    /// If it cannot be executed.
    pub fn spawn(self) -> Result<Daprd> {
        let [http_port, grpc_port, internal_port, metrics_port] = self.ports;
        let (app_id, directory) = (self.app_id, self.directory);
        let program = self.program;
        let process = program.start()?;
        Ok(Daprd {
            app_id,
            http_port,
            grpc_port,
            internal_port,
            metrics_port,
            process,
            program,
            directory,
        })
    }
}
