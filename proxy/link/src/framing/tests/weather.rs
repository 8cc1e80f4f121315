//! The framing against the `h2` crate, over connections that move little at a time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use outrigger_svc::{Body, Drain};
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

use super::greeting;
use crate::tests::{App, FRAMINGS, Framings, call_of, noise, read, settings, soon, spawn_server};
use crate::{Framing, Link, LinkSettings};

/// A connection that moves a few bytes at a time, and sometimes none.
struct Choppy {
    inner: DuplexStream,
    state: u32,
}

impl Choppy {
    /// How much moves this time; nothing every few times, but soon again.
    fn portion(&mut self, cx: &Context<'_>) -> Poll<usize> {
        self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let draw = (self.state >> 16) as usize;
        if draw.is_multiple_of(5) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready([1, 3, 9, 17, 100, 5000][draw % 6])
    }
}

impl AsyncRead for Choppy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let len = ready!(self.portion(cx)).min(buffer.remaining());
        let mut bytes = vec![0; len];
        let mut part = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut part))?;
        buffer.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Choppy {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let len = ready!(self.portion(cx)).min(bytes.len());
        Pin::new(&mut self.inner).poll_write(cx, &bytes[..len])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

async fn calls_in_bad_weather(framings: Framings, seed: u32, window: u32, sizes: &[usize]) {
    let windows = |settings: LinkSettings| LinkSettings {
        stream_window: window,
        connection_window: (2 * window).max(65_535),
        ..settings
    };
    let (near, far) = tokio::io::duplex(1000);
    let drain = Drain::new();
    let far = Choppy {
        inner: far,
        state: seed,
    };
    spawn_server(far, App::echo(), windows(framings.server()), &drain);
    let near = Choppy {
        inner: near,
        state: !seed,
    };
    let client = Arc::new(windows(framings.client()));
    let link = Arc::new(Link::connect(near, "callee:1".into(), client).await.unwrap());
    let calls = sizes.iter().copied().enumerate().map(|(number, size)| {
        let link = link.clone();
        tokio::spawn(async move {
            let sent = noise(size);
            let mut call = call_of("echo", Body::from(sent.clone()));
            call.metadata.push("X-Pad", "p".repeat(number * 700));
            let reply = link.call(&mut call, None).await.unwrap();
            if number % 4 == 3 {
                return drop(reply);
            }
            assert!(read(reply.body).await.unwrap() == sent, "{size} bytes");
        })
    });
    for call in calls.collect::<Vec<_>>() {
        soon(call).await.unwrap();
    }
    assert_eq!(link.calls(), 0);
    drop(link);
    assert!(soon(drain.run(None)).await);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn calls_survive_any_weather_with_either_framing_at_either_end(
        seed in any::<u32>(),
        window in 200_u32..50_000,
        sizes in prop::collection::vec(0_usize..20_000, 1..10),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for framings in FRAMINGS {
            if framings.is_own() {
                runtime.block_on(calls_in_bad_weather(framings, seed, window, &sizes));
            } else {
                // The oracle stalls if its windows shrink below the default after data has come.
                let sizes: Vec<_> = sizes.iter().map(|size| 4 * size).collect();
                runtime.block_on(calls_in_bad_weather(framings, seed, 65_535, &sizes));
            }
        }
    }

    #[test]
    fn noise_ends_a_connection_and_nothing_else(bytes in prop::collection::vec(any::<u8>(), 0..200), greets in any::<bool>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut near, far) = tokio::io::duplex(64 << 10);
            let drain = Drain::new();
            spawn_server(far, App::echo(), settings(Framing::Own), &drain);
            if greets {
                near.write_all(&greeting()).await.unwrap();
            }
            drop(near.write_all(&bytes).await);
            drop(near);
            assert!(soon(drain.run(None)).await);
        });
    }
}
