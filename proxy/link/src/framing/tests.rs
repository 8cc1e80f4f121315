//! The framing against the `h2` crate under bad weather, and against peers that misbehave.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use outrigger_svc::{Body, Drain};
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};

use super::frame::{
    FrameHead, HEAD, Kind, PREFACE, Settings, flag, put_block, put_head, put_ping, put_window_update, reason,
};
use super::hpack::Encoder;
use crate::codec::encode_request_chunk;
use crate::tests::{App, FRAMINGS, Framings, call_of, noise, read, settings, soon, spawn_server};
use crate::transport::Rpc;
use crate::{Framing, Link, LinkSettings, Reply, ReplyStatus};

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
        if draw % 5 == 0 {
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
            runtime.block_on(calls_in_bad_weather(framings, seed, window, &sizes));
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

/// What a client sends first.
fn greeting() -> Vec<u8> {
    let mut out = PREFACE.to_vec();
    Settings::default().write(&mut out);
    super::frame::put_settings_ack(&mut out);
    out
}

/// A frame that a server sent.
#[derive(Debug)]
struct Received {
    head: FrameHead,
    payload: Vec<u8>,
}

/// A client that the test plays frame by frame.
struct Puppet {
    io: DuplexStream,
    drain: Drain,
}

impl Puppet {
    async fn new(app: App) -> Self {
        Self::with(app, |_| {}).await
    }

    async fn with(app: App, change: impl Fn(&mut LinkSettings)) -> Self {
        let (mut io, far) = tokio::io::duplex(1 << 20);
        let drain = Drain::new();
        let mut settings = settings(Framing::Own);
        change(&mut settings);
        spawn_server(far, app, settings, &drain);
        io.write_all(&greeting()).await.unwrap();
        Self { io, drain }
    }

    async fn send(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        write(&mut out);
        // A server that has had enough closes the connection while more is sent.
        drop(self.io.write_all(&out).await);
    }

    async fn receive(&mut self) -> Option<Received> {
        let mut head = [0; HEAD];
        soon(self.io.read_exact(&mut head)).await.ok()?;
        let head = FrameHead::read(&head)?;
        let mut payload = vec![0; head.len];
        soon(self.io.read_exact(&mut payload)).await.ok()?;
        Some(Received { head, payload })
    }

    async fn next(&mut self, kind: Kind) -> Received {
        while let Some(received) = self.receive().await {
            if received.head.kind == kind && !(kind == Kind::Settings && received.head.has(flag::ACK)) {
                return received;
            }
        }
        panic!("the connection ended before a frame of kind {kind:?}");
    }

    /// The error code and text of the server's goodbye, which must be followed by the end.
    async fn goodbye(&mut self) -> (u32, String) {
        let received = self.next(Kind::GoAway).await;
        let code = u32::from_be_bytes(received.payload[4..8].try_into().unwrap());
        while self.receive().await.is_some() {}
        soon(async {
            while self.drain.in_flight() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        (code, String::from_utf8(received.payload[8..].to_vec()).unwrap())
    }
}

/// The head and the one message of a hot call.
fn put_call(out: &mut Vec<u8>, encoder: &mut Encoder, stream: u32) {
    let mut block = Vec::new();
    encoder.call(&mut block, Rpc::Stream, "callee:1", None);
    put_block(out, stream, 0, &block, 16_384);
    let mut message = Vec::new();
    let mut call = call_of("m", Body::empty());
    encode_request_chunk(&mut message, usize::MAX, &mut call, None).unwrap();
    put_head(out, message.len(), Kind::Data, flag::END_STREAM, stream);
    out.extend_from_slice(&message);
}

#[tokio::test]
async fn a_server_greets_before_the_client_does() {
    let (mut near, far) = tokio::io::duplex(1000);
    let drain = Drain::new();
    spawn_server(far, App::echo(), settings(Framing::Own), &drain);
    let mut head = [0; HEAD];
    soon(near.read_exact(&mut head)).await.unwrap();
    assert_eq!(FrameHead::read(&head).unwrap().kind, Kind::Settings);
}

#[tokio::test]
async fn a_call_by_hand_is_answered_in_three_frames() {
    let mut puppet = Puppet::new(App::echo()).await;
    puppet.send(|out| put_call(out, &mut Encoder::new(), 1)).await;
    let head = puppet.next(Kind::Headers).await;
    assert_eq!((head.head.stream, head.head.flags), (1, flag::END_HEADERS));
    let data = puppet.receive().await.unwrap();
    assert_eq!((data.head.kind, data.head.flags), (Kind::Data, 0));
    let end = puppet.receive().await.unwrap();
    assert_eq!(
        (end.head.kind, end.head.flags),
        (Kind::Headers, flag::END_HEADERS | flag::END_STREAM)
    );
}

#[tokio::test]
async fn violations_end_the_connection_with_their_code() {
    type Write = fn(&mut Vec<u8>);
    let cases: [(&str, Write, u32); 17] = [
        (
            "data on no stream",
            |out| put_head(out, 0, Kind::Data, 0, 0),
            reason::PROTOCOL_ERROR,
        ),
        (
            "data on an idle stream",
            |out| put_head(out, 0, Kind::Data, 0, 5),
            reason::PROTOCOL_ERROR,
        ),
        (
            "headers on an even stream",
            |out| put_block(out, 2, 0, b"\x82", 100),
            reason::PROTOCOL_ERROR,
        ),
        (
            "a block that cannot be read",
            |out| put_block(out, 1, 0, b"\x80", 100),
            reason::COMPRESSION_ERROR,
        ),
        (
            "a continuation of nothing",
            |out| put_head(out, 0, Kind::Continuation, 0, 1),
            reason::PROTOCOL_ERROR,
        ),
        (
            "a ping inside a block",
            |out| {
                put_head(out, 1, Kind::Headers, 0, 1);
                out.push(0x82);
                put_ping(out, 0, &[0; 8]);
            },
            reason::PROTOCOL_ERROR,
        ),
        (
            "a frame that is too long",
            |out| put_head(out, 1 << 20, Kind::Data, 0, 1),
            reason::FRAME_SIZE_ERROR,
        ),
        (
            "a ping on a stream",
            |out| put_head(out, 8, Kind::Ping, 0, 1),
            reason::PROTOCOL_ERROR,
        ),
        (
            "a short ping",
            |out| put_ping(out, 0, &[0; 7]),
            reason::FRAME_SIZE_ERROR,
        ),
        (
            "a push",
            |out| put_head(out, 0, Kind::Push, 0, 1),
            reason::PROTOCOL_ERROR,
        ),
        (
            "a reset of an idle stream",
            |out| super::frame::put_reset(out, 7, 8),
            reason::PROTOCOL_ERROR,
        ),
        (
            "no window",
            |out| put_window_update(out, 0, 0),
            reason::PROTOCOL_ERROR,
        ),
        (
            "too large a window",
            |out| put_window_update(out, 0, (1 << 31) - 1),
            reason::FLOW_CONTROL_ERROR,
        ),
        (
            "too large a window for streams",
            |out| {
                put_call(out, &mut Encoder::new(), 1);
                put_window_update(out, 0, 1);
                let settings = Settings {
                    initial_window_size: Some(u32::MAX),
                    ..Settings::default()
                };
                settings.write(out);
            },
            reason::FLOW_CONTROL_ERROR,
        ),
        (
            "an acknowledgement with content",
            |out| put_head(out, 6, Kind::Settings, flag::ACK, 0),
            reason::FRAME_SIZE_ERROR,
        ),
        (
            "settings of odd length",
            |out| {
                put_head(out, 5, Kind::Settings, 0, 0);
                out.extend_from_slice(&[0; 5]);
            },
            reason::FRAME_SIZE_ERROR,
        ),
        (
            "padding beyond the frame",
            |out| {
                put_call(out, &mut Encoder::new(), 1);
                put_head(out, 2, Kind::Data, flag::PADDED, 1);
                out.extend_from_slice(&[9, 0]);
            },
            reason::PROTOCOL_ERROR,
        ),
    ];
    for (name, write, code) in cases {
        let mut puppet = Puppet::new(App::new(|_, _| std::future::pending())).await;
        puppet.send(write).await;
        puppet.send(|out| out.extend_from_slice(&[0; 64])).await;
        assert_eq!(puppet.goodbye().await.0, code, "{name}");
    }
}

#[tokio::test]
async fn floods_end_the_connection() {
    type Write = fn(&mut Vec<u8>, u32);
    let cases: [(&str, Write); 6] = [
        ("settings", |out, _| Settings::default().write(out)),
        ("priorities", |out, _| {
            put_head(out, 5, Kind::Priority, 0, 1);
            out.extend_from_slice(&[0, 0, 0, 0, 1]);
        }),
        ("unknown frames", |out, _| {
            out.extend_from_slice(&[0, 0, 0, 77, 0, 0, 0, 0, 0])
        }),
        ("empty data", |out, number| {
            if number == 0 {
                put_call(out, &mut Encoder::new(), 1);
            }
            put_head(out, 0, Kind::Data, 0, 1);
        }),
        ("resets", |out, number| {
            let mut encoder = Encoder::new();
            encoder.limit_table(0);
            put_call(out, &mut encoder, 2 * number + 1);
            super::frame::put_reset(out, 2 * number + 1, reason::CANCEL);
        }),
        ("continuations", |out, number| {
            let kind = if number == 0 {
                Kind::Headers
            } else {
                Kind::Continuation
            };
            put_head(out, 0, kind, 0, 1);
        }),
    ];
    for (name, write) in cases {
        let mut puppet = Puppet::new(App::new(|_, _| std::future::pending())).await;
        for number in 0..5000 {
            puppet.send(|out| write(out, number)).await;
        }
        assert_eq!(puppet.goodbye().await.0, reason::ENHANCE_YOUR_CALM, "{name}");
    }
}

#[tokio::test]
async fn too_many_pings_are_named_in_the_goodbye() {
    let mut puppet = Puppet::new(App::echo()).await;
    for number in 0..4 {
        puppet.send(|out| put_ping(out, 0, &[number; 8])).await;
    }
    for number in 0..4 {
        let pong = puppet.next(Kind::Ping).await;
        assert_eq!((pong.head.flags, pong.payload), (flag::ACK, vec![number; 8]));
    }
    assert_eq!(
        puppet.goodbye().await,
        (reason::ENHANCE_YOUR_CALM, "too_many_pings".to_owned())
    );
}

#[tokio::test]
async fn pings_that_answer_messages_are_welcome() {
    let mut puppet = Puppet::new(App::echo()).await;
    let mut encoder = Encoder::new();
    for number in 0..20_u32 {
        puppet
            .send(|out| put_call(out, &mut encoder, 2 * number + 1))
            .await;
        puppet.next(Kind::Data).await;
        puppet.send(|out| put_ping(out, 0, b"bdp ping")).await;
        assert_eq!(puppet.next(Kind::Ping).await.payload, b"bdp ping");
    }
}

#[tokio::test]
async fn a_header_list_over_the_limit_costs_only_its_stream() {
    let mut puppet = Puppet::with(App::echo(), |settings| settings.max_header_list = 1000).await;
    let mut encoder = Encoder::new();
    puppet
        .send(|out| {
            let mut block = Vec::new();
            encoder.call(&mut block, Rpc::Stream, "callee:1", None);
            block.extend_from_slice(b"\x00\x01a\x7f\xff\x06");
            block.extend_from_slice(&[b'x'; 127 + 0x37f]);
            put_block(out, 1, 0, &block, 16_384);
            put_call(out, &mut encoder, 3);
        })
        .await;
    assert_eq!(puppet.next(Kind::Reset).await.head.stream, 1);
    assert_eq!(puppet.next(Kind::Headers).await.head.stream, 3);
}

#[tokio::test]
async fn more_data_than_the_window_allows_costs_the_stream() {
    let app = App::new(|_, _| std::future::pending());
    let mut puppet = Puppet::with(app, |settings| {
        settings.stream_window = 10_000;
        settings.connection_window = 65_535;
    })
    .await;
    let mut encoder = Encoder::new();
    let put_much = |out: &mut Vec<u8>, stream| {
        put_head(out, 11_000, Kind::Data, 0, stream);
        out.extend_from_slice(&[0; 11_000]);
    };
    puppet
        .send(|out| {
            let mut block = Vec::new();
            encoder.call(&mut block, Rpc::Stream, "callee:1", None);
            put_block(out, 1, 0, &block, 16_384);
            put_much(out, 1);
        })
        .await;
    let reset = puppet.next(Kind::Reset).await;
    assert_eq!((reset.head.stream, reset.payload), (1, vec![0, 0, 0, 3]));
    // What comes late on the stream counts for the connection, and is given back to it.
    puppet.send(|out| put_much(out, 1)).await;
    assert_eq!(puppet.next(Kind::WindowUpdate).await.head.stream, 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_asked_and_then_given_up() {
    let mut puppet = Puppet::new(App::echo()).await;
    puppet.next(Kind::Settings).await;
    let start = tokio::time::Instant::now();
    let mut io = puppet.io;
    let mut bytes = Vec::new();
    io.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(15));
    let heads: Vec<_> = (0..bytes.len())
        .filter_map(|at| FrameHead::read(&bytes[at..]))
        .collect();
    assert!(
        heads
            .iter()
            .any(|head| head.kind == Kind::Ping && head.len == 8 && head.stream == 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_asks_a_silent_server_and_gives_it_up() {
    let (near, mut far) = tokio::io::duplex(64 << 10);
    let link = Link::connect(near, "callee:1".into(), Arc::new(settings(Framing::Own)))
        .await
        .unwrap();
    let mut greeting = Vec::new();
    Settings::default().write(&mut greeting);
    far.write_all(&greeting).await.unwrap();
    let start = tokio::time::Instant::now();
    let error = link
        .call(&mut call_of("m", Body::empty()), None)
        .await
        .unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_secs(15));
    assert_eq!(
        error.to_string(),
        "rpc error: code = Unavailable desc = error reading from server: keepalive ping failed to receive ACK within \
         timeout"
    );
    assert!(!link.is_open());
}

#[tokio::test]
async fn streams_beyond_a_goodbye_are_known_to_be_unprocessed() {
    let (near, mut far) = tokio::io::duplex(64 << 10);
    let link = Link::connect(near, "callee:1".into(), Arc::new(settings(Framing::Own)))
        .await
        .unwrap();
    let mut bytes = Vec::new();
    Settings::default().write(&mut bytes);
    super::frame::put_go_away(&mut bytes, 0, reason::NO_ERROR, b"");
    let mut call = call_of("m", Body::empty());
    let (attempt, sent) = tokio::join!(
        soon(link.attempt(&mut call, Body::empty(), None, link.checkout())),
        far.write_all(&bytes)
    );
    sent.unwrap();
    assert!(attempt.unwrap_err().unprocessed);
    assert!(!link.is_open());
}

#[tokio::test]
async fn a_client_keeps_to_the_streams_that_a_server_takes() {
    let (near, far) = tokio::io::duplex(64 << 10);
    tokio::spawn(async move {
        let mut connection = h2::server::Builder::new()
            .max_concurrent_streams(2)
            .handshake::<_, bytes::Bytes>(far)
            .await
            .unwrap();
        let mut open = Vec::new();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let head = http::Response::builder()
                .header("content-type", "application/grpc")
                .body(())
                .unwrap();
            let mut send = respond.send_response(head, false).unwrap();
            let mut message = Vec::new();
            let reply = Reply {
                status: ReplyStatus::new(200),
                ..Reply::default()
            };
            crate::codec::encode_response_chunk(&mut message, usize::MAX, &reply, false, None).unwrap();
            send.send_data(message.into(), false).unwrap();
            open.push(send);
        }
    });
    let link = Link::connect(near, "callee:1".into(), Arc::new(settings(Framing::Own)))
        .await
        .unwrap();
    let one = soon(link.call(&mut call_of("m", Body::empty()), None))
        .await
        .unwrap();
    let two = soon(link.call(&mut call_of("m", Body::empty()), None))
        .await
        .unwrap();
    let mut call = call_of("m", Body::empty());
    let mut three = std::pin::pin!(link.call(&mut call, None));
    for _ in 0..100 {
        assert!(futures_util::poll!(&mut three).is_pending());
        tokio::task::yield_now().await;
    }
    drop(one);
    assert_eq!(soon(three).await.unwrap().status.code, 200);
    drop(two);
}
