//! Frames of HTTP/2 that cost their sender nothing, by the tens of thousands.
//!
//! Whoever sends them may lose the connection; nobody else may notice, and memory stays within bounds.

use std::time::Duration;

use anyhow::ensure;
use outrigger_test_kit::tls::client_config;
use outrigger_test_kit::{HttpApp, Result};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::assert_served;
use crate::suite::world::World;

/// Rounds of a flood.
const ROUNDS: u32 = 20_000;
/// Rounds that are written at once.
const BATCH: u32 = 500;
/// Time for the goodbye once all is sent.
const GOODBYE: Duration = Duration::from_secs(10);
/// Time without progress after which a server is taken to hold its client back.
const HELD_BACK: Duration = Duration::from_secs(1);
/// Most memory that all floods together may cost one sidecar.
const MOST: u64 = 48 << 20;

/// Requests of one connection that never end, and most memory that each may cost: the call's future, which is
/// larger without optimisation.
const OPEN: u32 = 5000;
const OPEN_COST: u64 = 20 << 10;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const UNKNOWN: u8 = 0xfa;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ENHANCE_YOUR_CALM: u32 = 11;

/// One round of a flood; the first is round 0.
type Round = fn(&mut Vec<u8>, u32);

/// What each flood is, and whether the framing of the links must end it.
const FLOODS: [(&str, Round, bool); 10] = [
    (
        "rapid resets",
        |out, round| {
            put_request(out, 2 * round + 1, END_STREAM | END_HEADERS);
            put(out, RESET, 0, 2 * round + 1, &8_u32.to_be_bytes());
        },
        true,
    ),
    ("settings", |out, _| put(out, SETTINGS, 0, 0, &[]), true),
    (
        "changing settings",
        |out, round| {
            put(
                out,
                SETTINGS,
                0,
                0,
                &[&[0, 4][..], &(round % 65_536).to_be_bytes()].concat(),
            );
        },
        true,
    ),
    (
        "pings",
        |out, round| put(out, PING, 0, 0, &u64::from(round).to_be_bytes()),
        true,
    ),
    (
        "window updates",
        |out, _| put(out, WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()),
        false,
    ),
    (
        "priorities",
        |out, round| put(out, PRIORITY, 0, 2 * round + 1, &[0, 0, 0, 0, 1]),
        true,
    ),
    (
        "frames of no kind",
        |out, _| put(out, UNKNOWN, 0, 0, &[1, 2, 3]),
        true,
    ),
    (
        "empty data",
        |out, round| match round {
            0 => put_request(out, 1, END_HEADERS),
            _ => put(out, DATA, 0, 1, &[]),
        },
        true,
    ),
    (
        "a header block without end",
        |out, round| match round {
            0 => put_request(out, 1, 0),
            _ => put(out, CONTINUATION, 0, 1, b"\x00\x01x\x01y"),
        },
        true,
    ),
    (
        "a header block of empty frames",
        |out, round| match round {
            0 => put_request(out, 1, 0),
            _ => put(out, CONTINUATION, 0, 1, &[]),
        },
        true,
    ),
];

fn put(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// A gRPC call, in a header block without compression.
fn put_request(out: &mut Vec<u8>, stream: u32, flags: u8) {
    // POST, http, and then names and values as they are.
    let mut block = vec![0x83, 0x86];
    for (name, value) in [
        (":path", "/dapr.proto.runtime.v1.Dapr/GetMetadata"),
        (":authority", "a"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("a short text"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    put(out, HEADERS, flags, stream, &block);
}

/// How a flood ended.
#[derive(Debug, Default)]
struct Outcome {
    /// Whether the server ended the connection.
    is_ended: bool,
    /// The code of its goodbye.
    goodbye: Option<u32>,
}

/// Floods a connection, and reads what comes back or does not.
async fn flood(
    stream: impl AsyncRead + AsyncWrite,
    round: Round,
    reads: bool,
    patience: Duration,
) -> Result<Outcome> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut goodbye = None;
    let write = async {
        let mut out = PREFACE.to_vec();
        put(&mut out, SETTINGS, 0, 0, &[]);
        put(&mut out, SETTINGS, 1, 0, &[]);
        for first in (0..ROUNDS).step_by(BATCH as usize) {
            for number in first..first + BATCH {
                round(&mut out, number);
            }
            // Who is not read from is not written to for ever.
            match timeout(HELD_BACK, writer.write_all(&out)).await {
                Ok(Ok(())) => out.clear(),
                Ok(Err(_)) => return true,
                Err(_) => return false,
            }
        }
        writer.flush().await.is_err()
    };
    let read = async {
        if !reads {
            return std::future::pending().await;
        }
        let mut received = Vec::new();
        let mut buffer = vec![0; 64 << 10];
        while let Ok(len @ 1..) = reader.read(&mut buffer).await {
            received.extend_from_slice(buffer.get(..len).unwrap_or_default());
            goodbye = take_frames(&mut received).or(goodbye);
        }
    };
    let is_ended = {
        let (mut read, mut write) = (std::pin::pin!(read), std::pin::pin!(write));
        tokio::select! {
            () = &mut read => true,
            is_broken = &mut write => is_broken || timeout(patience, read).await.is_ok(),
        }
    };
    Ok(Outcome { is_ended, goodbye })
}

/// Takes whole frames off the front; returns the code of a goodbye among them.
fn take_frames(received: &mut Vec<u8>) -> Option<u32> {
    let mut goodbye = None;
    let mut at = 0;
    while let Some([a, b, c, kind, ..]) = received.get(at..at + 9) {
        let len = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some(payload) = received.get(at + 9..at + 9 + len) else {
            break;
        };
        if *kind == GOAWAY
            && let Some(code) = payload.get(4..8).and_then(|code| code.try_into().ok())
        {
            goodbye = Some(u32::from_be_bytes(code));
        }
        at += 9 + len;
    }
    received.drain(..at);
    goodbye
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_frames_cost_their_sender_the_connection_and_nobody_else_anything() -> Result<()> {
    let app = HttpApp::echo().await?;
    let world = World::start(app.port()).await?;
    assert_served(&world.caller).await?;
    let tls = TlsConnector::from(client_config(Some(&world.sentry.authority.issue_to("caller")?))?);
    for (name, round, must_end) in FLOODS {
        let floods = [true, false].map(async |reads| {
            let patience = if must_end && reads {
                GOODBYE
            } else {
                Duration::ZERO
            };
            let public = flood(
                connect(world.caller.grpc_port).await?,
                round,
                reads,
                Duration::ZERO,
            );
            let h2c = flood(
                connect(world.caller.http_port).await?,
                round,
                reads,
                Duration::ZERO,
            );
            let link = async {
                let stream = connect(world.callee.internal_port).await?;
                let stream = tls.connect(ServerName::try_from("127.0.0.1")?, stream).await?;
                flood(stream, round, reads, patience).await
            };
            let (public, h2c, link) = tokio::try_join!(public, h2c, link)?;
            println!("{name}, reading {reads}: public {public:?}, h2c {h2c:?}, link {link:?}");
            if must_end && reads {
                ensure!(link.is_ended, "{name}: the link stays");
                // The goodbye may be lost when the connection is closed in the middle of the flood.
                let is_calm = link.goodbye.is_none_or(|code| code == ENHANCE_YOUR_CALM);
                ensure!(is_calm, "{name}: {link:?}");
            }
            Ok(())
        });
        let [reading, deaf] = floods;
        let served = async {
            for _ in 0..3 {
                assert_served(&world.caller).await?;
            }
            Ok(())
        };
        tokio::try_join!(reading, deaf, served)?;
    }
    assert_served(&world.caller).await?;
    for daprd in [&world.caller, &world.callee] {
        let own = daprd.process.memory()?.own_peak();
        println!("{}: {} KiB at most", daprd.app_id, own >> 10);
        assert!(own < MOST, "{} took {own} bytes", daprd.app_id);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_never_end_cost_little_each_and_are_forgotten_with_their_connection() -> Result<()> {
    let app = HttpApp::echo().await?;
    let world = World::start(app.port()).await?;
    assert_served(&world.caller).await?;
    let own = || Ok::<_, anyhow::Error>(world.caller.process.memory()?.anonymous);
    let before = own()?;
    let mut out = PREFACE.to_vec();
    put(&mut out, SETTINGS, 0, 0, &[]);
    put(&mut out, SETTINGS, 1, 0, &[]);
    for number in 0..OPEN {
        put_request(&mut out, 2 * number + 1, END_HEADERS);
    }
    // The number of streams is not limited on this port. One ping behind them all tells that they are read.
    put(&mut out, PING, 0, 0, b"all read");
    let mut highest = 0;
    for _ in 0..3 {
        let mut stream = connect(world.caller.grpc_port).await?;
        let (mut reader, mut writer) = stream.split();
        let read = async {
            let mut received = Vec::new();
            while !received.windows(8).any(|bytes| bytes == b"all read") {
                let mut buffer = [0; 4096];
                let len = reader.read(&mut buffer).await?;
                ensure!(len > 0, "the connection ends");
                received.extend_from_slice(&buffer[..len]);
            }
            Ok(())
        };
        let write = async { Ok(writer.write_all(&out).await?) };
        timeout(super::SOON, async { tokio::try_join!(read, write) }).await??;
        assert_served(&world.caller).await?;
        highest = own()?.max(highest);
    }
    let cost = highest.saturating_sub(before) / u64::from(OPEN);
    println!("an open request costs {cost} bytes");
    assert!(cost < OPEN_COST, "{cost} bytes a request");
    Ok(())
}

async fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
