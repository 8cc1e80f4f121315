//! Worlds in which something is broken, or somebody means harm. Each test states what holds nevertheless.

mod bombs;
mod crowds;
mod floods;
mod network;
mod smuggling;

use std::time::Duration;

use anyhow::ensure;
use outrigger_test_kit::{Daprd, Result};
use tokio::time::timeout;

/// Longest wait for an ordinary call beside a broken one, on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// An ordinary call is answered as ever.
async fn assert_served(caller: &Daprd) -> Result<()> {
    let reply = timeout(SOON, caller.invoke("callee", "hello")).await??;
    ensure!(reply.status == 200, "status {}: {}", reply.status, reply.text());
    Ok(())
}
