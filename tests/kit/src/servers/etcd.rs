//! etcd.

use super::{Server, installed};
use crate::{Result, free_port};

/// A running etcd of one member.
#[derive(Debug)]
pub struct Etcd {
    /// The process, its folder and the port of clients.
    pub server: Server,
}

// === impl Etcd ===

impl Etcd {
    /// Starts it; none if it is not installed.
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn start() -> Result<Option<Self>> {
        Self::start_with(&[]).await
    }

    /// Starts it with settings of its own, such as `--cert-file`; none if it is not installed.
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn start_with(flags: &[(&str, &str)]) -> Result<Option<Self>> {
        let Some(program) = installed(&["etcd"]) else {
            return Ok(None);
        };
        let peers = free_port()?;
        let scheme = if flags.iter().any(|(name, _)| *name == "cert-file") {
            "https"
        } else {
            "http"
        };
        let server = Server::start(program, |program, directory, port| {
            let clients = format!("{scheme}://127.0.0.1:{port}");
            let program = program
                .flag("data-dir", directory.join("data").display())
                .flag("listen-client-urls", &clients)
                .flag("advertise-client-urls", &clients)
                .flag("listen-peer-urls", format!("http://127.0.0.1:{peers}"))
                .flag("initial-advertise-peer-urls", format!("http://127.0.0.1:{peers}"))
                .flag("initial-cluster", format!("default=http://127.0.0.1:{peers}"));
            flags
                .iter()
                .fold(program, |program, (name, value)| program.flag(name, value))
        });
        Ok(Some(Self {
            server: server.await?,
        }))
    }
}
