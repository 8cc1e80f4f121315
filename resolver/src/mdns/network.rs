//! Packets in and out as values, so that everything above works without a network.

use std::io;
use std::net::SocketAddr;

use outrigger_svc::BoxFuture;

/// Opens channels.
pub(crate) trait Network: Send + Sync + 'static {
    /// Joins the multicast groups wherever possible.
    ///
    /// Fails if that is nowhere.
    fn open(&self) -> io::Result<Box<dyn Channel>>;
}

/// Speaks and listens on every link.
pub(crate) trait Channel: Send {
    /// Waits for the next packet, which is written to `buffer`.
    fn receive<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, io::Result<Received>>;

    /// Sends a packet; what a link cannot carry is lost.
    fn send<'a>(&'a mut self, packet: &'a [u8], to: To) -> BoxFuture<'a, ()>;
}

/// A packet that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Bytes of the buffer that were filled.
    pub(crate) length: usize,
    /// Number of the link that it came by.
    pub(crate) link: usize,
    /// The one who sent it.
    pub(crate) sender: SocketAddr,
}

/// Who gets a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    /// The group, on every link.
    Everybody,
    /// The group, on one link.
    Link(usize),
    /// One machine, by the link that it was heard on.
    One(usize, SocketAddr),
}
