//! Limits and times of links.

use std::time::Duration;

/// Which HTTP/2 implementation carries the links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// The `h2` crate.
    H2,
    /// The framing of this crate, made for many small calls on one connection.
    #[default]
    Own,
}

/// Limits and times of one connection between sidecars, at either end.
///
/// Source of the defaults: specification, service invocation 14 and gRPC API 1.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    /// Most bytes of one gRPC message that are sent or accepted; 4 MiB.
    pub max_message_size: usize,
    /// Most bytes of a received header list, counted as HTTP/2 counts them; 4 MiB.
    pub max_header_list: u32,
    /// Bytes that a peer may send on one stream before it must wait for the reader; 4 MiB.
    pub stream_window: u32,
    /// Bytes that a peer may send on all streams together; 32 MiB.
    pub connection_window: u32,
    /// Silence after which a ping is sent; 10 s.
    pub ping_after: Duration,
    /// Time that the peer has to answer a ping; 5 s.
    pub ping_timeout: Duration,
    /// Time without streams after which a server says goodbye; 3 min.
    pub idle_after: Duration,
    /// Least time between two pings of a client before a server counts them against it; 8 s. Only
    /// [`Framing::Own`] counts them.
    pub min_ping_interval: Duration,
    /// Which HTTP/2 implementation is used.
    pub framing: Framing,
}

/// Limits and times of the pool of links.
#[derive(Clone, Debug)]
pub struct PeerSettings {
    /// Settings of each connection.
    pub link: LinkSettings,
    /// Time to reach a peer, handshake included; 30 s.
    pub dial_timeout: Duration,
    /// Calls that one connection carries at once before another is opened; 2048.
    pub max_calls: usize,
    /// Time without calls after which a connection is closed; 3 min.
    pub max_idle: Duration,
    /// Time between two looks for idle connections; 45 s.
    pub purge_every: Duration,
    /// Number of worker threads that make calls; 1.
    pub workers: usize,
}

// === impl LinkSettings ===

impl Default for LinkSettings {
    fn default() -> Self {
        Self {
            max_message_size: 4 << 20,
            max_header_list: 4 << 20,
            stream_window: 4 << 20,
            connection_window: 32 << 20,
            ping_after: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(5),
            idle_after: Duration::from_secs(180),
            min_ping_interval: Duration::from_secs(8),
            framing: Framing::default(),
        }
    }
}

// === impl PeerSettings ===

impl Default for PeerSettings {
    fn default() -> Self {
        Self {
            link: LinkSettings::default(),
            dial_timeout: Duration::from_secs(30),
            max_calls: 2048,
            max_idle: Duration::from_secs(180),
            purge_every: Duration::from_secs(45),
            workers: 1,
        }
    }
}
