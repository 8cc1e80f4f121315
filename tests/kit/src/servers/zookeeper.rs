//! ZooKeeper, one server by itself.

use super::{Server, installed};
use crate::{Directory, Result, free_port};

/// A running ZooKeeper.
#[derive(Debug)]
pub struct ZooKeeper {
    /// The process and its port.
    pub server: Server,
}

/// Where Debian puts what the server is made of.
const CLASSES: &str = "/usr/share/java/*:/etc/zookeeper/conf";

// === impl ZooKeeper ===

impl ZooKeeper {
    /// Starts it; none if it is not installed.
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn start() -> Result<Option<Self>> {
        if !std::path::Path::new("/usr/share/java/zookeeper.jar").is_file() {
            crate::skip("zookeeper is not installed");
            return Ok(None);
        }
        let Some(java) = installed(&["java"]) else {
            return Ok(None);
        };
        let directory = Directory::new()?;
        let port = free_port()?;
        let data = directory.path().display();
        // Values are at the disk before they are acknowledged, and there is no port for administrators.
        let settings = directory.write(
            "zoo.cfg",
            format!("tickTime=500\ndataDir={data}\nclientPort={port}\nadmin.enableServer=false\n"),
        )?;
        let program = java
            .args(["-Xmx128m", "-Dzookeeper.admin.enableServer=false", "-cp", CLASSES])
            .args(["org.apache.zookeeper.server.quorum.QuorumPeerMain"])
            .arg(settings);
        let server = Server::start_on(port, directory, program).await?;
        Ok(Some(Self { server }))
    }
}
