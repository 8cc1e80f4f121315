//! memcached.

use super::{Server, installed};
use crate::Result;

/// A running memcached.
#[derive(Debug)]
pub struct Memcached {
    /// The process and its port.
    pub server: Server,
}

// === impl Memcached ===

impl Memcached {
    /// Starts it; none if it is not installed.
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn start() -> Result<Option<Self>> {
        let Some(program) = installed(&["memcached"]) else {
            return Ok(None);
        };
        let server = Server::start(program, |program, _, port| {
            let port = port.to_string();
            // Values up to 4 MiB, so that those of 1 MiB have room for their key.
            program.args(["-l", "127.0.0.1", "-p", &port, "-u", "root", "-I", "4m"])
        });
        Ok(Some(Self {
            server: server.await?,
        }))
    }
}
