//! A double of Azure Cosmos DB: the package `@vercel/cosmosdb-server`.

use anyhow::ensure;
use serde_json::{Value, json};

use super::{Server, installed, module};
use crate::{Result, http};

/// A running double with one empty container. Any key may do anything; it knows no accounts.
#[derive(Debug)]
pub struct Cosmos {
    /// The process and its port.
    pub server: Server,
}

/// Name of the database.
const DATABASE: &str = "db";

/// Name of the container.
const CONTAINER: &str = "states";

const SCRIPT: &str = include_str!("cosmos.js");

// === impl Cosmos ===

impl Cosmos {
    /// Starts it; none if it is not installed.
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn start() -> Result<Option<Self>> {
        let (Some(node), Some(modules)) = (installed(&["node"]), module("@vercel/cosmosdb-server")) else {
            return Ok(None);
        };
        let server = Server::start(node, |program, _, port| {
            program
                .label("cosmos")
                .env("NODE_PATH", modules)
                .args(["-e", SCRIPT])
                .arg(port.to_string())
        });
        let cosmos = Self {
            server: server.await?,
        };
        cosmos.create("/dbs", &json!({ "id": DATABASE })).await?;
        let partition = json!({ "paths": ["/partitionKey"], "kind": "Hash" });
        let container = json!({ "id": CONTAINER, "partitionKey": partition });
        cosmos
            .create(&format!("/dbs/{DATABASE}/colls"), &container)
            .await?;
        Ok(Some(cosmos))
    }

    /// The metadata of a component that keeps its state in it.
    #[must_use]
    pub fn metadata(&self) -> [(&'static str, String); 4] {
        [
            ("url", format!("http://{}", self.server.address())),
            ("database", DATABASE.to_owned()),
            ("collection", CONTAINER.to_owned()),
            ("masterKey", "a2V5".to_owned()),
        ]
    }

    async fn create(&self, path: &str, what: &Value) -> Result<()> {
        let url = format!("http://{}{path}", self.server.address());
        let reply = http::post(url, what.to_string()).await?;
        ensure!(reply.status == 201, "{path}: {}", reply.status);
        Ok(())
    }
}
