//! Heads that are too long, too many, or never end.

use anyhow::ensure;
use outrigger_test_kit::http::{HttpConnection, raw};
use outrigger_test_kit::{HttpApp, HttpRequest, Result};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{SOON, assert_served};
use crate::suite::world::World;

/// Most that all of it may cost a sidecar.
const MOST: u64 = 32 << 20;

#[tokio::test]
async fn heads_beyond_the_limit_are_refused_before_they_are_read() -> Result<()> {
    let app = HttpApp::echo().await?;
    let world = World::start(app.port()).await?;
    let line = "GET /v1.0/invoke/callee/method/hello HTTP/1.1\r\nHost: a\r\n";
    let many: String = (0..2000).map(|index| format!("X-{index}: 1\r\n")).collect();
    for (name, head) in [
        (
            "one long value",
            format!("{line}X: {}\r\n\r\n", "x".repeat(1 << 20)),
        ),
        (
            "one long name",
            format!("{line}{}: x\r\n\r\n", "x".repeat(1 << 20)),
        ),
        ("many headers", format!("{line}{many}\r\n")),
        (
            "a long target",
            format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(1 << 20)),
        ),
        (
            "a long verb",
            format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "X".repeat(1 << 20)),
        ),
        (
            "many cookies",
            format!("{line}{}\r\n", "Cookie: a=b\r\n".repeat(10_000)),
        ),
    ] {
        let reply = raw(world.caller.http_port, &head).await?;
        let refusals = ["HTTP/1.1 431 ", "HTTP/1.1 414 ", "HTTP/1.1 400 "];
        ensure!(
            refusals.iter().any(|refusal| reply.starts_with(refusal))
                && reply.matches("HTTP/1.1 ").count() == 1,
            "{name}: {reply}"
        );
    }
    ensure!(
        app.requests_for("/hello").is_empty(),
        "none of them reached the app"
    );
    assert_served(&world.caller).await?;
    let own = world.caller.process.memory()?.own_peak();
    assert!(own < MOST, "{own} bytes");
    Ok(())
}

#[tokio::test]
async fn chunks_of_one_byte_and_endless_trailers_are_borne_or_cut() -> Result<()> {
    let app = HttpApp::echo().await?;
    let world = World::start(app.port()).await?;
    // A body in crumbs is a body.
    let mut connection = HttpConnection::open(world.caller.http_port).await?;
    let head =
        HttpRequest::new("POST", "/v1.0/invoke/callee/method/crumbs").header("Transfer-Encoding", "chunked");
    connection.send_head(&head).await?;
    let crumbs = "1\r\na\r\n".repeat(20_000) + "0\r\n\r\n";
    connection.send_raw(crumbs.as_bytes()).await?;
    ensure!(
        timeout(SOON, connection.reply_head()).await??.status == 200,
        "crumbs are taken"
    );
    ensure!(app.requests_for("/crumbs")[0].body.len() == 20_000, "all of them");

    // An extension and a trailer without end are not read for ever.
    for (name, begin, more) in [
        ("an extension", "1;", "x"),
        ("a trailer", "0\r\nX: ", "x"),
        ("trailers", "0\r\n", "X: y\r\n"),
    ] {
        let mut stream = TcpStream::connect(("127.0.0.1", world.caller.http_port)).await?;
        let head = "POST /v1.0/invoke/callee/method/endless HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(format!("{head}{begin}").as_bytes()).await?;
        let piece = more.repeat((64 << 10) / more.len());
        // What comes behind the mistake is thrown away for a moment, so that the client hears the answer.
        let cut = timeout(SOON, async {
            while stream.write_all(piece.as_bytes()).await.is_ok() {}
        });
        ensure!(cut.await.is_ok(), "{name} is read for ever");
    }
    assert_served(&world.caller).await?;
    let own = world.caller.process.memory()?.own_peak();
    assert!(own < MOST, "{own} bytes");
    Ok(())
}
