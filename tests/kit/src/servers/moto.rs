//! Moto: a double of Amazon's services that many projects test against.

use super::{Server, tool};
use crate::Result;

/// A running Moto, with no data. Any key may do anything.
#[derive(Debug)]
pub struct Moto {
    /// The process and its port.
    pub server: Server,
}

const SCRIPT: &str = include_str!("moto.py");

// === impl Moto ===

impl Moto {
    /// Starts it; none if it is not installed.
    ///
    /// # Errors
    /// If it does not start, with the end of its output.
    pub async fn start() -> Result<Option<Self>> {
        let Some(program) = tool("python/bin/python3") else {
            return Ok(None);
        };
        let server = Server::start(program, |program, _, port| {
            program.args(["-c", SCRIPT]).arg(port.to_string()).label("moto")
        });
        Ok(Some(Self {
            server: server.await?,
        }))
    }

    /// `http://127.0.0.1:<port>`, the endpoint of all services.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.server.address())
    }
}
