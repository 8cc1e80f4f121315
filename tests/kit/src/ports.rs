//! Ports of the loopback address.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::bail;
use tokio::net::TcpStream;

use crate::{Result, until};

/// Below the ports that the kernel gives to outgoing connections.
const RANGE: Range<u16> = 12_000..32_000;

const ATTEMPTS: u32 = 1000;

/// A TCP port that nobody listens on; none is given out twice by one process.
///
/// # Errors
/// If none is found.
pub fn free_port() -> Result<u16> {
    static TAKEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    for _ in 0..ATTEMPTS {
        let port = fastrand::u16(RANGE);
        let is_free = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
        if is_free && TAKEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) {
            return Ok(port);
        }
    }
    bail!("no free port")
}

/// Waits until `127.0.0.1:<port>` accepts connections.
///
/// # Errors
/// If it never does.
pub async fn wait_for_port(port: u16) -> Result<()> {
    until(format_args!("port {port} to accept connections"), async || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .ok()
            .map(drop)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_free_port_can_be_bound_and_waited_for() {
        let (first, second) = (free_port().unwrap(), free_port().unwrap());
        assert_ne!(first, second);
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        wait_for_port(first).await.unwrap();
    }
}
