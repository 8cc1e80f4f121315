//! Requests that two parsers would read differently, and paths that mean another one.

use anyhow::ensure;
use outrigger_test_kit::http::raw;
use outrigger_test_kit::{HttpApp, HttpRequest, Result};

use super::assert_served;
use crate::suite::world::World;

/// What must become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is refused with 400, nothing of it reaches the app, and the connection ends.
    Refused,
    /// It reaches the app once, as one request without anything in its body that could be another.
    Once,
}
use Fate::{Once, Refused};

/// What an attacker wants the app to see.
const HIDDEN: &str = "GET /v1.0/invoke/callee/method/hidden HTTP/1.1\r\nHost: a\r\n\r\n";

/// Heads behind the request line and `Host`, with their bodies; `{}` stands for [`HIDDEN`].
const REQUESTS: [(&str, &str, Fate); 34] = [
    (
        "two lengths",
        "Content-Length: 5\r\nContent-Length: 0\r\n\r\n{}",
        Refused,
    ),
    ("two lengths in a list", "Content-Length: 5, 0\r\n\r\n{}", Refused),
    ("a length with a sign", "Content-Length: +5\r\n\r\n12345", Refused),
    ("a negative length", "Content-Length: -1\r\n\r\n{}", Refused),
    (
        "a hexadecimal length",
        "Content-Length: 0x5\r\n\r\n12345",
        Refused,
    ),
    (
        "a length with a letter",
        "Content-Length: 5a\r\n\r\n12345",
        Refused,
    ),
    ("an empty length", "Content-Length: \r\n\r\n{}", Refused),
    (
        "a length beyond all bounds",
        "Content-Length: 99999999999999999999999\r\n\r\n{}",
        Refused,
    ),
    (
        "a space before the colon of the length",
        "Content-Length : 5\r\n\r\n12345",
        Refused,
    ),
    (
        "a space before the colon of the coding",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{}",
        Refused,
    ),
    (
        "a tab before the colon",
        "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n{}",
        Refused,
    ),
    (
        "another coding last",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{}",
        Refused,
    ),
    (
        "an unknown coding",
        "Transfer-Encoding: cow\r\n\r\n0\r\n\r\n{}",
        Refused,
    ),
    (
        "a coding that looks like chunked",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{}",
        Refused,
    ),
    (
        "a coding with a control character",
        "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n{}",
        Refused,
    ),
    (
        "a folded header",
        "X: 1\r\n Transfer-Encoding: chunked\r\n\r\n{}",
        Refused,
    ),
    ("a folded length", "Content-Length:\r\n 5\r\n\r\n12345", Refused),
    (
        "a header that begins with a space",
        " Content-Length: 5\r\n\r\n12345",
        Refused,
    ),
    (
        "a header without a colon",
        "Content-Length 5\r\n\r\n12345",
        Refused,
    ),
    ("a header without a name", ": 5\r\n\r\n", Refused),
    (
        "a bare carriage return in a value",
        "X: 1\rContent-Length: 5\r\n\r\n12345",
        Refused,
    ),
    ("a zero byte in a value", "X: 1\0\r\n\r\n", Refused),
    (
        "a chunk size with a sign",
        "Transfer-Encoding: chunked\r\n\r\n+5\r\n12345\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "a chunk size in C's form",
        "Transfer-Encoding: chunked\r\n\r\n0x5\r\n12345\r\n0\r\n\r\n",
        Refused,
    ),
    (
        "a chunk size beyond all bounds",
        "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}",
        Refused,
    ),
    (
        "a chunk without its end",
        "Transfer-Encoding: chunked\r\n\r\n5\r\n1234567\r\n0\r\n\r\n{}",
        Refused,
    ),
    (
        "an empty chunk size",
        "Transfer-Encoding: chunked\r\n\r\n\r\n{}",
        Refused,
    ),
    (
        "a length and a coding",
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{}",
        Once,
    ),
    (
        "a coding and a length",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n{}",
        Once,
    ),
    (
        "the same length twice",
        "Content-Length: 5\r\nContent-Length: 5\r\nConnection: close\r\n\r\n12345",
        Once,
    ),
    (
        "a coding in another case",
        "Transfer-Encoding: CHUNKED\r\nConnection: close\r\n\r\n5\r\n12345\r\n0\r\n\r\n",
        Once,
    ),
    (
        "an extension of a chunk",
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5;a=\"b\"\r\n12345\r\n0;x\r\n\r\n",
        Once,
    ),
    (
        "a trailer that is a length",
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\n12345\r\n0\r\nContent-Length: 99\r\n\r\n",
        Once,
    ),
    (
        "a hop that names the length",
        "Connection: close, Content-Length\r\nContent-Length: 5\r\n\r\n12345",
        Once,
    ),
];

#[tokio::test]
async fn no_request_hides_another_one() -> Result<()> {
    let app = HttpApp::echo().await?;
    let world = World::start(app.port()).await?;
    // To another app, and to the own one.
    for daprd in [&world.caller, &world.callee] {
        for (name, rest, fate) in REQUESTS {
            app.clear();
            let rest = rest.replace("{}", HIDDEN);
            let request = format!("POST /v1.0/invoke/callee/method/front HTTP/1.1\r\nHost: a\r\n{rest}");
            let reply = raw(daprd.http_port, &request).await?;
            let seen = app.requests();
            let paths: Vec<_> = seen.iter().map(HttpRequest::path).collect();
            let name = format!("{name}, {}", daprd.app_id);
            match fate {
                Refused => {
                    ensure!(paths.is_empty(), "{name}: the app saw {seen:?}");
                    let statuses = reply.matches("HTTP/1.1 ").count();
                    // A body that breaks off is the error of its call, in front of which stands no other answer.
                    let is_refused = reply.starts_with("HTTP/1.1 400 ") || reply.starts_with("HTTP/1.1 500 ");
                    ensure!(statuses == 1 && is_refused || reply.is_empty(), "{name}: {reply}");
                }
                Once => {
                    ensure!(paths == ["/front"], "{name}: the app saw {paths:?}");
                    ensure!(reply.starts_with("HTTP/1.1 200 "), "{name}: {reply}");
                    let seen = &seen[0];
                    let framings = seen.headers.all("content-length").count()
                        + seen.headers.all("transfer-encoding").count();
                    ensure!(framings <= 1, "{name}: {:?}", seen.headers);
                    ensure!(
                        ["", "12345"].contains(&seen.text().as_str()),
                        "{name}: {}",
                        seen.text()
                    );
                }
            }
        }
    }
    assert_served(&world.caller).await
}

/// Request lines that are none, or that mean another place.
const LINES: [&str; 16] = [
    "GET  /v1.0/invoke/callee/method/x HTTP/1.1",
    "GET /v1.0/invoke/callee/method/x  HTTP/1.1",
    "GET /v1.0/invoke/callee/method/x y HTTP/1.1",
    "GET\t/v1.0/invoke/callee/method/x\tHTTP/1.1",
    "GET /v1.0/invoke/callee/method/x HTTP/1.2",
    "GET /v1.0/invoke/callee/method/x HTTP/11",
    "GET /v1.0/invoke/callee/method/x http/1.1",
    "GET /v1.0/invoke/callee/method/x HTTP/2.0",
    "GET /v1.0/invoke/callee/method/x\x01 HTTP/1.1",
    "GET /v1.0/invoke/callee/method/x\x7f HTTP/1.1",
    "GET /v1.0/invoke/callee/method/x\0 HTTP/1.1",
    "G<T /v1.0/invoke/callee/method/x HTTP/1.1",
    " GET /v1.0/invoke/callee/method/x HTTP/1.1",
    "GET v1.0/invoke/callee/method/x HTTP/1.1",
    "GET /v1.0/invoke/callee/method/x",
    "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03",
];

#[tokio::test]
async fn request_lines_that_are_none_reach_nobody() -> Result<()> {
    let app = HttpApp::echo().await?;
    let world = World::start(app.port()).await?;
    app.clear();
    for line in LINES {
        let reply = raw(
            world.caller.http_port,
            format!("{line}\r\nHost: a\r\nConnection: close\r\n\r\n"),
        )
        .await?;
        ensure!(
            reply.is_empty() || reply.starts_with("HTTP/1.1 4") || reply.starts_with("HTTP/1.1 505 "),
            "{line:?}: {reply}"
        );
        ensure!(
            app.requests().is_empty(),
            "{line:?}: the app saw {:?}",
            app.requests()
        );
    }
    Ok(())
}

/// Ways to write "up", "here" and "/" that somebody, somewhere takes for it.
const STEPS: [&str; 26] = [
    "../",
    "./",
    "..;/",
    "%2e%2e/",
    "%2e%2e%2f",
    "..%2f",
    ".%2e/",
    "%2E%2E%2F",
    "..%5c",
    "..\\",
    "%2e%2e%5c",
    "....//",
    "..././",
    "//",
    "/./",
    "%2f%2f",
    "..%c0%af",
    "..%ef%bc%8f",
    "%c0%ae%c0%ae/",
    "..%00/",
    "..%0d/",
    "..%23/",
    "..%3f/",
    "%e2%80%a5/",
    "..%u2215",
    "%252e%252e%252f",
];

#[tokio::test]
async fn paths_reach_the_app_without_a_step_up_or_not_at_all() -> Result<()> {
    let app = HttpApp::echo().await?;
    let world = World::start(app.port()).await?;
    for daprd in [&world.caller, &world.callee] {
        for step in STEPS {
            for path in [
                format!("/v1.0/invoke/callee/method/public/{step}admin"),
                format!("/v1.0/invoke/callee/method/{step}{step}{step}etc/passwd"),
                format!("/v1.0/invoke/callee/method/public/{step}"),
                format!("/v1.0/{step}invoke/callee/method/admin"),
            ] {
                app.clear();
                let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
                let reply = raw(daprd.http_port, request).await?;
                let seen = app.requests();
                ensure!(reply.starts_with("HTTP/1.1 "), "{path}: {reply}");
                ensure!(seen.len() <= 1, "{path}: {seen:?}");
                let is_good = reply.starts_with("HTTP/1.1 200 ");
                ensure!(is_good != seen.is_empty(), "{path}: {reply} {seen:?}");
                for request in &seen {
                    let target = request.path();
                    let segments: Vec<_> = target.split('/').skip(1).collect();
                    ensure!(
                        target.starts_with('/')
                            && !segments.iter().any(|segment| [".", ".."].contains(segment))
                            && !segments.iter().rev().skip(1).any(|segment| segment.is_empty())
                            && !target.contains(['\\', '\0', '\r', '\n', '#', '?']),
                        "{path}: the app saw {target}"
                    );
                }
            }
        }
    }
    Ok(())
}
