//! The servers, and which of them has a key.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use outrigger_component::state::StateError;
use tokio::time::timeout;

use crate::connection::{Connection, ProtocolError};
use crate::settings::Settings;

/// All servers.
#[derive(Debug)]
pub(crate) struct Servers(Vec<Server>);

/// One server, with the connections to it that wait for work.
#[derive(Debug)]
pub(crate) struct Server {
    address: String,
    idle: Mutex<Vec<Connection>>,
    max_idle: usize,
    timeout: Duration,
}

/// What is asked of a server.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Call<'a> {
    Get(&'a [&'a str]),
    Set {
        key: &'a str,
        value: &'a [u8],
        expiry: i64,
    },
    Delete(&'a str),
    Version,
}

/// Values with their keys.
pub(crate) type Values = Vec<(String, Bytes)>;

/// Why a server has not done what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Keys are 1 to 250 bytes without spaces and control characters.
    #[error("malformed: key is too long or contains invalid characters")]
    Key,
    /// It took too long.
    #[error("memcache: connect timeout to {0}")]
    Timeout(String),
    /// What the connection says.
    #[error("{address}: {error}")]
    Protocol {
        address: String,
        #[source]
        error: ProtocolError,
    },
}

/// The longest key.
const LONGEST_KEY: usize = 250;

// === impl Servers ===

impl Servers {
    pub(crate) fn new(settings: &Settings) -> Self {
        let server = |address: &String| Server {
            address: address.clone(),
            idle: Mutex::default(),
            max_idle: settings.max_idle,
            timeout: settings.timeout,
        };
        Self(settings.hosts.iter().map(server).collect())
    }

    pub(crate) fn all(&self) -> &[Server] {
        &self.0
    }

    /// The number of the server that has a key: the checksum of the key divided by how many there are, as clients
    /// of Go have it.
    pub(crate) fn number_of(&self, key: &str) -> usize {
        match self.0.len() {
            1 => 0,
            count => crc32(key.as_bytes()) as usize % count,
        }
    }

    /// The server that has a key.
    ///
    /// # Errors
    /// A key that none can have.
    pub(crate) fn of(&self, key: &str) -> Result<&Server, CallError> {
        let is_plain = |byte: u8| byte > b' ' && byte != 0x7f;
        match key.len() <= LONGEST_KEY && !key.is_empty() && key.bytes().all(is_plain) {
            true => Ok(&self.0[self.number_of(key)]),
            false => Err(CallError::Key),
        }
    }
}

// === impl Server ===

impl Server {
    /// Asks, and takes a connection back that can be used again. One that has waited too long may be gone; then a
    /// new one is tried, since doing any of the calls twice is like doing it once.
    pub(crate) async fn call(&self, call: Call<'_>) -> Result<Values, CallError> {
        let outcome = timeout(self.timeout, async {
            if let Some(waiting) = self.take() {
                match self.call_on(waiting, call).await {
                    Err(ProtocolError::Io(_)) => {}
                    outcome => return outcome,
                }
            }
            self.call_on(Connection::open(&self.address).await?, call).await
        });
        match outcome.await {
            Ok(outcome) => outcome.map_err(|error| CallError::Protocol {
                address: self.address.clone(),
                error,
            }),
            Err(_) => Err(CallError::Timeout(self.address.clone())),
        }
    }

    async fn call_on(&self, mut connection: Connection, call: Call<'_>) -> Result<Values, ProtocolError> {
        let outcome = match call {
            Call::Get(keys) => connection.get(keys).await,
            Call::Set { key, value, expiry } => connection.set(key, value, expiry).await.map(|()| Vec::new()),
            Call::Delete(key) => connection.delete(key).await.map(|()| Vec::new()),
            Call::Version => connection.version().await.map(|()| Vec::new()),
        };
        if !outcome.as_ref().is_err_and(ProtocolError::is_broken) {
            self.give_back(connection);
        }
        outcome
    }

    fn take(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn give_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.max_idle {
            idle.push(connection);
        }
    }
}

/// The checksum of IEEE 802.3.
fn crc32(bytes: &[u8]) -> u32 {
    let mut sum = u32::MAX;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            let mask = (sum & 1).wrapping_neg();
            sum = (sum >> 1) ^ (0xedb8_8320 & mask);
        }
    }
    !sum
}

impl From<CallError> for StateError {
    fn from(error: CallError) -> Self {
        Self::other(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(hosts: &[&str]) -> Servers {
        Servers::new(&Settings {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            max_idle: 2,
            timeout: Duration::from_secs(1),
        })
    }

    #[test]
    fn the_checksum_of_a_key_says_which_server_has_it() {
        // The check value of the algorithm.
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let servers = servers(&["a", "b", "c"]);
        assert_eq!(servers.number_of("123456789"), 0xcbf4_3926_usize % 3);
    }

    #[test]
    fn keys_that_the_protocol_cannot_carry_are_refused() {
        let servers = servers(&["a"]);
        assert!(servers.of("app||ünïcödé").is_ok());
        assert!(servers.of(&"k".repeat(250)).is_ok());
        for key in ["", "a b", "a\nb", "a\0b", "a\x7fb", &"k".repeat(251)] {
            let error = servers.of(key).unwrap_err().to_string();
            assert_eq!(error, "malformed: key is too long or contains invalid characters");
        }
    }
}
