//! The first bytes of a client, looked at before TLS does.
//!
//! A client that does not speak TLS at all is owed nothing: an alert would be read as whatever it speaks.
//!
//! A client that knows nothing newer than TLS 1.1 is owed alert 70, `protocol_version`. The TLS library reports
//! the first thing that such a hello lacks instead, so the version is checked here.

use std::io;

use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The alert `protocol_version`, fatal, in a record of TLS 1.0.
pub(super) const PROTOCOL_VERSION_ALERT: [u8; 7] = [21, 3, 1, 0, 2, 2, 70];

/// First byte of a record with a handshake message.
const HANDSHAKE: u8 = 22;

/// Record header, handshake header, and the version that the client speaks.
const LENGTH: usize = 5 + 4 + 2;

/// The first bytes of a client: as many as it takes to see its version.
pub(super) struct Opening {
    bytes: [u8; LENGTH],
    length: usize,
}

// === impl Opening ===

impl Opening {
    /// Reads the first bytes; fewer if they are no handshake or the client leaves.
    pub(super) async fn read<IO: AsyncRead + Unpin>(io: &mut IO) -> io::Result<Self> {
        let mut bytes = [0; LENGTH];
        let mut length = 0;
        while let (_, free @ [_, ..]) = bytes.split_at_mut(length) {
            match io.read(free).await? {
                0 => break,
                count => length += count,
            }
            if bytes.first() != Some(&HANDSHAKE) {
                break;
            }
        }
        Ok(Self { bytes, length })
    }

    /// Whether this is the begin of TLS; a client that leaves without a word has not said otherwise.
    pub(super) fn is_tls(&self) -> bool {
        self.length == 0 || self.bytes.first() == Some(&HANDSHAKE)
    }

    /// Whether this is a hello of a version before TLS 1.2. Later versions say 1.2 here and more further on.
    pub(super) fn is_of_old_version(&self) -> bool {
        matches!(
            self.bytes,
            [HANDSHAKE, 3, _, _, _, 1, _, _, _, 3, 0..=2] if self.length == LENGTH
        )
    }

    /// Gives the bytes to the connection that they are for.
    pub(super) fn feed(&self, connection: &mut ServerConnection) {
        let mut bytes = self.bytes.split_at(self.length).0;
        while !bytes.is_empty() && connection.read_tls(&mut bytes).is_ok() {}
    }
}
