//! The time a client has to make its first request.
//!
//! A connection that opens and says nothing, or says its header a byte at a time, holds a descriptor and a
//! buffer. It has ten seconds until its first request is read; after that a connection may idle for ever, as
//! pooled connections of apps do. HTTP/2 clients have said enough with their preface.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Whether a connection has made its first request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opened(Arc<AtomicBool>);

/// A connection that notices an HTTP/2 preface.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    inner: T,
    opened: Opened,
    first_read: bool,
}

/// Time until the first request must have been read.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

// === impl Opened ===

impl Opened {
    /// The first request is there.
    pub(crate) fn set(&self) {
        if !self.is_set() {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Resolves if the first request is not there in time; else never.
    pub(crate) async fn overdue(&self) {
        tokio::time::sleep(PATIENCE).await;
        if self.is_set() {
            std::future::pending().await
        }
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl Watched ===

impl<T> Watched<T> {
    /// Watches the first bytes of `inner`.
    pub(crate) fn new(inner: T, opened: Opened) -> Self {
        Self {
            inner,
            opened,
            first_read: false,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = Pin::new(&mut self.inner).poll_read(cx, buf);
        if !self.first_read && buf.filled().len() > before {
            self.first_read = true;
            if buf.filled()[before..].starts_with(b"PRI") {
                self.opened.set();
            }
        }
        outcome
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_overdue_after_ten_seconds() {
        let begun = tokio::time::Instant::now();
        Opened::default().overdue().await;
        assert_eq!(begun.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_request_gives_all_the_time_there_is() {
        let opened = Opened::default();
        opened.set();
        assert!(
            tokio::time::timeout(PATIENCE * 10, opened.overdue())
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn an_http2_preface_counts_as_opened_and_other_bytes_do_not() {
        for (bytes, expected) in [(&b"PRI * HTTP/2.0"[..], true), (b"GET / HT", false)] {
            let (mut client, server) = tokio::io::duplex(64);
            let opened = Opened::default();
            let mut server = Watched::new(server, opened.clone());
            client.write_all(bytes).await.unwrap();
            let mut first = [0; 64];
            assert!(server.read(&mut first).await.unwrap() > 0);
            assert_eq!(opened.is_set(), expected);
        }
    }
}
