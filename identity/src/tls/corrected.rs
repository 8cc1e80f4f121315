//! The one alert that the TLS library sends and that a client of TLS 1.2 does not know.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The byte stream below an accepted link, which corrects an alert while the handshake lasts.
///
/// A client of TLS 1.2 without a certificate is told `handshake_failure` (RFC 5246, 7.4.6). The library tells it
/// `certificate_required`, which came with TLS 1.3. There alerts are encrypted, and nothing is changed.
#[derive(Debug)]
pub struct Corrected<IO> {
    io: IO,
    is_open: bool,
}

/// The fatal alert `certificate_required` in a plain record.
const CERTIFICATE_REQUIRED: [u8; 7] = [21, 3, 3, 0, 2, 2, 116];

/// The fatal alert `handshake_failure` in a plain record.
const HANDSHAKE_FAILURE: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];

// === impl Corrected ===

impl<IO> Corrected<IO> {
    pub(super) const fn new(io: IO) -> Self {
        Self { io, is_open: false }
    }

    /// Passes everything on as it is: the handshake is over.
    pub(super) const fn open(&mut self) {
        self.is_open = true;
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Corrected<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Corrected<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let bytes = match self.is_open {
            false if bytes == CERTIFICATE_REQUIRED => &HANDSHAKE_FAILURE,
            _ => bytes,
        };
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_open {
            return Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        }
        let first = slices.iter().find(|slice| !slice.is_empty());
        self.poll_write(cx, first.map_or(&[], |slice| slice))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
