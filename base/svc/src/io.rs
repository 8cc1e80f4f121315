//! Connections as values, so that every layer can be tested without a network.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::BoxFuture;

/// A byte stream that both sides read and write.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

/// A connection of a kind that the holder does not care about.
pub type BoxConnection = Box<dyn Connection>;

/// Opens connections to addresses of the form `host:port` or to Unix sockets.
pub trait Connect: Send + Sync + 'static {
    /// Opens one connection.
    fn connect<'a>(&'a self, address: &'a str) -> BoxFuture<'a, std::io::Result<BoxConnection>>;
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection for T {}
