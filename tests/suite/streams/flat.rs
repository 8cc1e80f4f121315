//! Memory stays flat however long a body is, and a slow reader holds its sender back.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use outrigger_test_kit::{DaprdBuilder, Direction, Result, until_within};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use super::long::{Connection, LongApp, receive_body, send_body};
use crate::suite::world::World;

/// Bytes of each body: 2 GiB by `just streams`, which measures the program as it ships. A program without
/// optimisation needs a minute for that, and gets a quarter.
static LENGTH: LazyLock<u64> = LazyLock::new(|| match std::env::var_os("TESTKIT_LONG") {
    Some(_) => 2 << 30,
    None => 512 << 20,
});

/// Most memory of one sidecar.
const MOST: u64 = 32 << 20;

/// Longest run of the long bodies on a busy machine.
const LONG: Duration = Duration::from_secs(150);

/// The sidecars have kept within [`MOST`]. Pages of the program's own file are left out: they belong to the
/// system's cache, and a build without optimisation has tens of megabytes of them.
fn assert_flat(world: &World) -> Result<()> {
    for daprd in [&world.caller, &world.callee] {
        let memory = daprd.process.memory()?;
        let (own, all) = (memory.own_peak(), memory.peak);
        println!(
            "{}: {} KiB at most, {} KiB with its program",
            daprd.app_id,
            own >> 10,
            all >> 10
        );
        assert!(own < MOST, "{} took {own} bytes", daprd.app_id);
    }
    Ok(())
}

pub(in crate::suite) async fn upload(port: u16, length: u64) -> Result<()> {
    let mut connection = Connection::open(port).await?;
    connection
        .send_head("POST /v1.0/invoke/callee/method/up HTTP/1.1\nHost: a\nTransfer-Encoding: chunked")
        .await?;
    let digest = send_body(&mut connection.writer, length).await?;
    let head = connection.head().await?.context("no answer")?;
    ensure!(head.starts_with("http/1.1 200"), "{head}");
    let mut line = String::new();
    connection.reader.read_line(&mut line).await?;
    let mut answer = vec![0; usize::from_str_radix(line.trim(), 16)?];
    connection.reader.read_exact(&mut answer).await?;
    assert_eq!(String::from_utf8(answer)?, format!("{length} {digest}"));
    Ok(())
}

pub(in crate::suite) async fn download(port: u16, length: u64) -> Result<()> {
    let mut connection = Connection::open(port).await?;
    connection
        .send_head(&format!(
            "GET /v1.0/invoke/callee/method/down/{length} HTTP/1.1\nHost: a"
        ))
        .await?;
    let head = connection.head().await?.context("no answer")?;
    ensure!(head.starts_with("http/1.1 200"), "{head}");
    let received = receive_body(&mut connection.reader).await?;
    let expected = send_body(&mut tokio::io::sink(), length).await?;
    assert_eq!(received, (length, expected));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_bodies_pass_two_sidecars_each_way_in_less_than_32_mebibytes_each() -> Result<()> {
    let app = LongApp::start().await?;
    let unlimited = |caller: DaprdBuilder| caller.flag("max-body-size", "3Gi");
    let world = World::start_with(app.port, unlimited, |callee| callee).await?;
    let port = world.caller.http_port;
    let began = Instant::now();
    timeout(LONG, upload(port, *LENGTH))
        .await
        .context("the upload takes too long")??;
    let up = began.elapsed();
    timeout(LONG, download(port, *LENGTH))
        .await
        .context("the download takes too long")??;
    println!("up {up:?}, down {:?}", began.elapsed() - up);
    assert_flat(&world)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_holds_back_the_sender_and_costs_no_memory() -> Result<()> {
    let app = LongApp::start().await?;
    let world = World::start(app.port).await?;
    let mut connection = Connection::open(world.caller.http_port).await?;
    connection
        .send_head(&format!(
            "GET /v1.0/invoke/callee/method/down/{} HTTP/1.1\nHost: a",
            *LENGTH
        ))
        .await?;
    connection.head().await?.context("no answer")?;
    // Nobody reads: the way fills, and then stands still.
    let carried = || world.link.carried(Direction::ToClient);
    let mut last = carried();
    let held = until_within(
        Duration::from_secs(20),
        "the sender to be held back",
        async || {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = carried();
            let stands = now == last && now > 1 << 20;
            last = now;
            stands.then_some(now)
        },
    )
    .await?;
    assert!(held < 64 << 20, "{held} bytes are on the way");
    assert_flat(&world)?;
    // Others are not held up by it.
    timeout(
        Duration::from_secs(20),
        download(world.caller.http_port, 10 << 20),
    )
    .await??;
    // And what was held back goes on as soon as it is read.
    let mut some = vec![0; 1 << 20];
    for _ in 0..96 {
        connection.reader.read_exact(&mut some).await?;
    }
    assert!(carried() > held);
    connection.writer.shutdown().await?;
    Ok(())
}
