//! What has become of a connection so far: the time it has for its first request, and whether anybody would miss it.
//!
//! A connection that opens and says nothing, or says its header a byte at a time, holds a descriptor and a
//! buffer. It has ten seconds until its first request is read; after that a connection may idle for ever, as
//! pooled connections of apps do. HTTP/2 clients have said enough with their preface.
//!
//! When the sidecar stops, HTTP/1 connections end with their last answer. Those of HTTP/2 are told, and end when the
//! client has heard it; a client that does not listen is left as soon as none of its requests runs.
//!
//! A connection that ends while its client is still sending would take the answer with it: the system resets what is
//! closed with bytes unread, and a client that is reset may never read the answer. Such a connection says that it has
//! said all, and listens for half a second more. (RFC 9112, section 9.6.)

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use outrigger_svc::{Body, BoxError, DrainSignal};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Whether a connection has made its first request, and how many it is making.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opened(Arc<Progress>);

#[derive(Debug, Default)]
struct Progress {
    is_opened: AtomicBool,
    is_http2: AtomicBool,
    /// Requests of HTTP/2 that are being answered.
    running: AtomicUsize,
    /// Requests of HTTP/2 that there have ever been.
    begun: AtomicUsize,
}

/// Counts a request until it is dropped.
#[derive(Debug)]
pub(crate) struct Running(Opened);

/// The body of an answer, which is not over before it has been sent.
struct Answered {
    body: Body,
    _running: Running,
}

/// A connection that notices an HTTP/2 preface, and that hears its client out before it is closed.
#[derive(Debug)]
pub(crate) struct Watched<T> {
    inner: T,
    opened: Opened,
    first_read: bool,
    stop: DrainSignal,
    lingering: Option<Pin<Box<Sleep>>>,
}

/// Time until the first request must have been read.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Looks at an idle connection until it is given up.
const IDLE_STEPS: u32 = 12;
/// Time that an HTTP/2 client has to hear that the connection ends.
const FAREWELL: Duration = Duration::from_secs(1);
/// Time that a client has to finish sending when everything has been said to it.
const LINGER: Duration = Duration::from_millis(500);
/// Bytes that are thrown away at a time.
const DISCARD: usize = 8192;

// === impl Opened ===

impl Opened {
    /// A connection that is known to be of HTTP/2.
    pub(crate) fn http2() -> Self {
        let opened = Self::default();
        opened.set_http2();
        opened
    }

    /// The first request is there.
    pub(crate) fn set(&self) {
        if !self.is_set() {
            self.0.is_opened.store(true, Ordering::Relaxed);
        }
    }

    /// The client speaks HTTP/2.
    pub(crate) fn set_http2(&self) {
        self.0.is_http2.store(true, Ordering::Relaxed);
        self.set();
    }

    /// Counts a request of HTTP/2.
    pub(crate) fn run(&self) -> Running {
        self.0.running.fetch_add(1, Ordering::Relaxed);
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        Running(self.clone())
    }

    /// Resolves once no request of HTTP/2 has run for so long, within a twelfth of that time.
    pub(crate) async fn idle(&self, limit: Duration) {
        let (mut quiet, mut seen) = (0, 0);
        while quiet < IDLE_STEPS {
            tokio::time::sleep(limit / IDLE_STEPS).await;
            let begun = self.0.begun.load(Ordering::Relaxed);
            let is_quiet = begun == seen && self.0.running.load(Ordering::Relaxed) == 0;
            quiet = if is_quiet { quiet + 1 } else { 0 };
            seen = begun;
        }
    }

    /// Resolves when it is known whether the client stays silent: with `false` when the first request is there, with
    /// `true` when it is not there in time.
    pub(crate) async fn settled(&self) -> bool {
        let mut patience = std::pin::pin!(tokio::time::sleep(PATIENCE));
        std::future::poll_fn(|cx| match self.is_set() {
            true => Poll::Ready(false),
            false => patience.as_mut().poll(cx).map(|()| true),
        })
        .await
    }

    /// Resolves once a connection that was told to end would be missed by nobody.
    pub(crate) async fn forsaken(&self) {
        if !self.is_set() {
            return;
        }
        if !self.0.is_http2.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        loop {
            tokio::time::sleep(FAREWELL).await;
            if self.0.running.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
    }

    fn is_set(&self) -> bool {
        self.0.is_opened.load(Ordering::Relaxed)
    }
}

// === impl Running ===

impl Running {
    /// The same body, which counts until it has been sent.
    pub(crate) fn until_sent(self, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Answered { body, _running: self })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Answered ===

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

// === impl Watched ===

impl<T> Watched<T> {
    /// Watches the first bytes of `inner`; once `stop` is given, its end does not linger.
    pub(crate) fn new(inner: T, opened: Opened, stop: DrainSignal) -> Self {
        Self {
            inner,
            opened,
            first_read: false,
            stop,
            lingering: None,
        }
    }
}

impl<T: AsyncRead + Unpin> Watched<T> {
    /// Throws away what comes, until the client ends or has had its time.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut discarded = [MaybeUninit::uninit(); DISCARD];
        let patience = self
            .lingering
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER)));
        while !self.stop.is_stopping() && patience.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::uninit(&mut discarded);
            let outcome = ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf));
            // A client that breaks off has ended, too.
            if outcome.is_err() || buf.filled().is_empty() {
                break;
            }
        }
        Poll::Ready(Ok(()))
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
                self.opened.set_http2();
            }
        }
        outcome
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<T> {
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
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
        }
        self.poll_linger(cx)
    }
}

#[cfg(test)]
mod tests {
    use outrigger_svc::Drain;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_ends_hears_its_client_out_for_half_a_second() {
        let drain = Drain::new();
        let watched = |server| Watched::new(server, Opened::default(), drain.signal());
        let begun = tokio::time::Instant::now();

        let (mut client, server) = tokio::io::duplex(64);
        let talk = async {
            client.write_all(&[b'x'; 100_000]).await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            drop(client);
        };
        let mut server = watched(server);
        let (outcome, ()) = tokio::join!(server.shutdown(), talk);
        outcome.unwrap();
        assert!(begun.elapsed().is_zero(), "the client has ended");

        let (_client, server) = tokio::io::duplex(64);
        watched(server).shutdown().await.unwrap();
        assert_eq!(begun.elapsed(), LINGER, "the client goes on");

        let (_client, server) = tokio::io::duplex(64);
        drain.run(None).await;
        watched(server).shutdown().await.unwrap();
        assert_eq!(begun.elapsed(), LINGER, "the sidecar stops");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_silent_after_ten_seconds() {
        let begun = tokio::time::Instant::now();
        assert!(Opened::default().settled().await);
        assert_eq!(begun.elapsed(), PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_first_request_gives_all_the_time_there_is() {
        let opened = Opened::default();
        let mut settled = std::pin::pin!(opened.settled());
        assert!(futures_util::poll!(settled.as_mut()).is_pending());
        opened.set();
        assert!(!settled.await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_nothing_has_run_for_the_whole_time() {
        let limit = Duration::from_secs(180);
        let opened = Opened::http2();
        let running = opened.run();
        assert!(tokio::time::timeout(limit * 2, opened.idle(limit)).await.is_err());
        drop(running);
        let begun = tokio::time::Instant::now();
        let end = async {
            tokio::time::sleep(limit / 2).await;
            drop(opened.run());
        };
        tokio::join!(opened.idle(limit), end);
        let waited = begun.elapsed();
        assert!(limit * 3 / 2 <= waited && waited <= limit * 2, "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_http2_connection_with_running_requests_is_missed() {
        let begun = tokio::time::Instant::now();
        Opened::default().forsaken().await;
        assert!(begun.elapsed().is_zero(), "nothing was ever asked");

        let http1 = Opened::default();
        http1.set();
        assert!(tokio::time::timeout(PATIENCE, http1.forsaken()).await.is_err());

        let http2 = Opened::http2();
        let running = http2.run();
        let body = running.until_sent(Body::from(Bytes::from_static(b"content")));
        assert!(tokio::time::timeout(PATIENCE, http2.forsaken()).await.is_err());
        drop(body);
        let begun = tokio::time::Instant::now();
        http2.forsaken().await;
        assert_eq!(begun.elapsed(), FAREWELL);
    }

    #[tokio::test]
    async fn an_http2_preface_counts_as_opened_and_other_bytes_do_not() {
        for (bytes, expected) in [(&b"PRI * HTTP/2.0"[..], true), (b"GET / HT", false)] {
            let (mut client, server) = tokio::io::duplex(64);
            let opened = Opened::default();
            let mut server = Watched::new(server, opened.clone(), Drain::new().signal());
            client.write_all(bytes).await.unwrap();
            let mut first = [0; 64];
            assert!(server.read(&mut first).await.unwrap() > 0);
            assert_eq!(opened.is_set(), expected);
        }
    }
}
