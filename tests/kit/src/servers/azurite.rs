//! Azurite: a double of Azure's storage accounts by their makers.

use super::{Server, installed, module};
use crate::{Result, free_port, wait_for_port};

/// A running Azurite with the account that it always has, and no data.
#[derive(Debug)]
pub struct Azurite {
    /// The process and the port of blobs.
    pub server: Server,
    tables: u16,
}

// === impl Azurite ===

impl Azurite {
    /// Name of the account.
    pub const ACCOUNT: &str = "devstoreaccount1";

    /// Key of the account, which everybody knows.
    pub const KEY: &str =
        "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

    /// Starts it; none if it is not installed.
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn start() -> Result<Option<Self>> {
        let (Some(node), Some(modules)) = (installed(&["node"]), module("azurite")) else {
            return Ok(None);
        };
        let (tables, queues) = (free_port()?, free_port()?);
        let server = Server::start(node, |program, directory, port| {
            let ports = [("blobPort", port), ("tablePort", tables), ("queuePort", queues)];
            let program = program
                .label("azurite")
                .arg(modules.join("azurite/dist/src/azurite.js"))
                .args([
                    "--silent",
                    "--skipApiVersionCheck",
                    "--disableTelemetry",
                    "--location",
                ])
                .arg(directory);
            ports.into_iter().fold(program, |program, (name, port)| {
                program.arg(format!("--{name}")).arg(port.to_string())
            })
        });
        let server = server.await?;
        wait_for_port(tables).await?;
        Ok(Some(Self { server, tables }))
    }

    /// `http://127.0.0.1:<port>`: where the blobs of all accounts are.
    #[must_use]
    pub fn blobs(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// `http://127.0.0.1:<port>/<account>`: where the tables of the account are.
    #[must_use]
    pub fn tables(&self) -> String {
        format!("http://127.0.0.1:{}/{}", self.tables, Self::ACCOUNT)
    }
}
