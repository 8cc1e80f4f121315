//! The way to the servers: connections, who the master is, which node owns a key, what is tried again.
//!
//! ```text
//! Client ── which server? ──▶ Server ── which thread? ──▶ Connection ──▶ Dialer ── TCP, TLS
//!   │        one node, the master of Sentinels, the owner in a Cluster
//!   └── tries again: what was not sent, what may be sent twice, what a server asks for
//! ```
//!
//! When a server is gone calls fail once their retries are used up, nothing waits for it but the calls
//! themselves, and a task of its own tries to reach it again.

mod client;
mod cluster;
mod connection;
mod dial;
mod health;
mod sentinel;
mod server;
#[cfg(test)]
pub(crate) mod testing;

pub(crate) use self::client::{Again, Client};
pub(crate) use self::cluster::slot;
pub(crate) use self::connection::Question;
pub(crate) use self::server::{Pace, Server};

/// Whether an answer says which node owns some slots.
pub(crate) fn reads_as_slots(answer: &redis::Value) -> bool {
    cluster::range(answer, "").is_ok()
}
