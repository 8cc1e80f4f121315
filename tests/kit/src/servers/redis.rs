//! Redis: one server, a master with a replica and sentinels, a cluster.

use std::path::Path;

use anyhow::{Context as _, ensure};

use tokio::process::Command;

use super::{PATH, Server, installed};
use crate::{Authority, Directory, Leaf, Program, Result, free_port, until};

/// A running Redis.
#[derive(Debug)]
pub struct Redis {
    /// The process, its folder and its port.
    pub server: Server,
    /// What `redis-cli` needs to be let in.
    access: Vec<String>,
}

/// A master, a replica and three sentinels that watch them.
#[derive(Debug)]
pub struct RedisSentinel {
    /// The master at the start.
    pub master: Redis,
    /// Its replica at the start.
    pub replica: Redis,
    /// The sentinels.
    pub sentinels: Vec<Redis>,
}

/// Three masters that share the keys.
#[derive(Debug)]
pub struct RedisCluster {
    /// The masters.
    pub nodes: Vec<Redis>,
}

/// Name of the master of [`RedisSentinel`].
pub const MASTER_NAME: &str = "main";

const SENTINELS: usize = 3;
const MASTERS: usize = 3;

// === impl Redis ===

impl Redis {
    /// Starts a server that keeps nothing on disk; none if it is not installed.
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn start() -> Result<Option<Self>> {
        Self::start_with(&[]).await
    }

    /// Starts a server with settings of its own, such as `appendonly yes`; none if it is not installed.
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn start_with(settings: &[&str]) -> Result<Option<Self>> {
        Self::start_in(Directory::new()?, Vec::new(), |_, port| {
            let own = [format!("port {port}")];
            own.into_iter()
                .chain(settings.iter().map(ToString::to_string))
                .collect()
        })
        .await
    }

    /// Starts a server that lets in whoever knows a password; none if it is not installed.
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn start_with_password(password: &str) -> Result<Option<Self>> {
        let access = ["-a", password, "--no-auth-warning"].map(str::to_owned);
        Self::start_in(Directory::new()?, access.into(), |_, port| {
            vec![format!("port {port}"), format!("requirepass {password}")]
        })
        .await
    }

    /// Starts a server that speaks TLS as `localhost` and 127.0.0.1 and wants a certificate of the same authority if
    /// `mutual`; none if it is not installed.
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn start_with_tls(authority: &Authority, mutual: bool) -> Result<Option<Self>> {
        let directory = Directory::new()?;
        let leaf = Leaf {
            dns_names: vec!["localhost".to_owned()],
            ..Leaf::default()
        };
        let certificate = authority.issue(&leaf)?;
        let file = |name: &str| directory.path().join(name).display().to_string();
        for (name, text) in [
            ("tls.crt", certificate.chain.as_str()),
            ("tls.key", certificate.key.as_str()),
            ("ca.crt", authority.anchors()),
        ] {
            std::fs::write(directory.path().join(name), text)?;
        }
        let access = [
            "--tls",
            "--cacert",
            &file("ca.crt"),
            "--cert",
            &file("tls.crt"),
            "--key",
            &file("tls.key"),
        ];
        let access = access.map(str::to_owned).into();
        Self::start_in(directory, access, |folder, port| {
            let file = |name: &str| folder.join(name).display().to_string();
            vec![
                "port 0".to_owned(),
                format!("tls-port {port}"),
                format!("tls-cert-file {}", file("tls.crt")),
                format!("tls-key-file {}", file("tls.key")),
                format!("tls-ca-cert-file {}", file("ca.crt")),
                format!("tls-auth-clients {}", if mutual { "yes" } else { "no" }),
            ]
        })
        .await
    }

    async fn start_in(
        directory: Directory,
        access: Vec<String>,
        settings: impl FnOnce(&Path, u16) -> Vec<String>,
    ) -> Result<Option<Self>> {
        let Some(program) = installed(&["redis-server"]) else {
            return Ok(None);
        };
        let server = Server::start_in(directory, program, |program, folder, port| {
            let own = [
                format!("dir {}", folder.display()),
                "bind 127.0.0.1".to_owned(),
                "save \"\"".to_owned(),
                "enable-debug-command yes".to_owned(),
            ];
            let lines: Vec<_> = own.into_iter().chain(settings(folder, port)).collect();
            let file = folder.join("redis.conf");
            // A file that cannot be written is told by the program, which does not find it.
            std::fs::write(&file, lines.join("\n")).ok();
            program.arg(file)
        });
        Ok(Some(Self {
            server: server.await?,
            access,
        }))
    }

    /// `127.0.0.1:<port>`
    #[must_use]
    pub fn address(&self) -> String {
        self.server.address()
    }

    /// What a command answers, as `redis-cli` shows it: a line for each value.
    ///
    /// # Errors
    /// If the server does not answer, or with an error.
    pub fn cli<A: AsRef<str>>(
        &self,
        words: &[A],
    ) -> impl Future<Output = Result<Vec<String>>> + Send + use<A> {
        let port = self.server.port().to_string();
        let mut command = Command::new("redis-cli");
        command
            .env("PATH", PATH)
            .args(["-h", "127.0.0.1", "-p", &port, "-e"])
            .args(&self.access)
            .args(words.iter().map(AsRef::as_ref))
            .kill_on_drop(true);
        async move {
            let output = command.output().await.context("cannot run redis-cli")?;
            let text = String::from_utf8_lossy(&output.stdout);
            let errors = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "redis-cli: {text} {errors}");
            Ok(text.lines().map(str::to_owned).collect())
        }
    }

    async fn wait_for(&self, words: &[&str], text: &str) -> Result<()> {
        let what = format!("{text} at {}", self.address());
        until(what, async || {
            let lines = self.cli(words).await.unwrap_or_default();
            lines.iter().any(|line| line.contains(text)).then_some(())
        })
        .await
    }
}

// === impl RedisSentinel ===

impl RedisSentinel {
    /// Starts all and waits until they know each other; none if it is not installed.
    ///
    /// # Errors
    /// If one does not start or they do not find each other.
    pub async fn start() -> Result<Option<Self>> {
        let Some(master) = Redis::start().await? else {
            return Ok(None);
        };
        let port = master.server.port();
        let replicaof = format!("replicaof 127.0.0.1 {port}");
        let Some(replica) = Redis::start_with(&[&replicaof, "repl-diskless-sync-delay 0"]).await? else {
            return Ok(None);
        };
        replica
            .wait_for(&["INFO", "replication"], "master_link_status:up")
            .await?;
        let mut sentinels = Vec::new();
        for _ in 0..SENTINELS {
            let Some(program) = installed(&["redis-sentinel"]) else {
                return Ok(None);
            };
            let server = Server::start(program, |program, folder, own| {
                let lines = [
                    format!("port {own}"),
                    format!("dir {}", folder.display()),
                    "bind 127.0.0.1".to_owned(),
                    format!("sentinel monitor {MASTER_NAME} 127.0.0.1 {port} 2"),
                    format!("sentinel down-after-milliseconds {MASTER_NAME} 1000"),
                    format!("sentinel failover-timeout {MASTER_NAME} 3000"),
                ];
                let file = folder.join("sentinel.conf");
                std::fs::write(&file, lines.join("\n")).ok();
                program.arg(file)
            });
            sentinels.push(Redis {
                server: server.await?,
                access: Vec::new(),
            });
        }
        for sentinel in &sentinels {
            let line = format!("slaves=1,sentinels={SENTINELS}");
            sentinel.wait_for(&["INFO", "sentinel"], &line).await?;
        }
        Ok(Some(Self {
            master,
            replica,
            sentinels,
        }))
    }

    /// The addresses of the sentinels, with commas between.
    #[must_use]
    pub fn addresses(&self) -> String {
        let addresses: Vec<_> = self.sentinels.iter().map(Redis::address).collect();
        addresses.join(",")
    }
}

// === impl RedisCluster ===

impl RedisCluster {
    /// Starts the nodes and waits until they own all keys; none if it is not installed.
    ///
    /// # Errors
    /// If one does not start or they do not find each other.
    pub async fn start() -> Result<Option<Self>> {
        let mut nodes = Vec::new();
        for _ in 0..MASTERS {
            // The port of the others is the own one and 10000 unless it is named, which is too much for high ports.
            let bus = format!("cluster-port {}", free_port()?);
            let settings = ["cluster-enabled yes", "cluster-node-timeout 2000", &bus];
            let Some(node) = Redis::start_with(&settings).await? else {
                return Ok(None);
            };
            nodes.push(node);
        }
        let own = Self { nodes };
        let Some(program) = installed(&["redis-cli"]) else {
            return Ok(None);
        };
        let program: Program = program.args(["--cluster", "create"]);
        let program = own
            .nodes
            .iter()
            .fold(program, |program, node| program.arg(node.address()));
        let (status, process) = program.arg("--cluster-yes").run().await?;
        ensure!(status.success(), "{}", process.tail());
        for node in &own.nodes {
            node.wait_for(&["CLUSTER", "INFO"], "cluster_state:ok").await?;
        }
        Ok(Some(own))
    }

    /// The addresses of the nodes, with commas between.
    #[must_use]
    pub fn addresses(&self) -> String {
        let addresses: Vec<_> = self.nodes.iter().map(Redis::address).collect();
        addresses.join(",")
    }
}
