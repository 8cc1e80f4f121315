//! More connections than anybody expects.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use outrigger_test_kit::http::HttpConnection;
use outrigger_test_kit::{HttpApp, HttpRequest, Result};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::assert_served;
use crate::suite::world::World;

const IDLE: usize = 5000;
const ACTIVE: usize = 500;
const CALLS: usize = 10;

/// Most memory that an idle connection may cost, two buffers of 8 KiB included, and an active one.
const IDLE_COST: u64 = 24 << 10;
const ACTIVE_COST: u64 = 64 << 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_thousand_idle_and_five_hundred_active_connections_are_all_answered_in_bounded_memory()
-> Result<()> {
    let app = HttpApp::echo().await?;
    let world = World::start(app.port()).await?;
    let port = world.caller.http_port;
    assert_served(&world.caller).await?;
    let before = world.caller.process.memory()?.anonymous;

    // Connections of a pool: each has made a request, and waits for the next.
    let mut idle = Vec::with_capacity(IDLE);
    let request = HttpRequest::new("GET", "/v1.0/healthz");
    for _ in 0..IDLE / 100 {
        let batch = (0..100).map(async |_| {
            let mut connection = HttpConnection::open(port).await?;
            let reply = connection.send(&request).await?;
            ensure!(reply.status == 204, "status {}", reply.status);
            Ok(connection)
        });
        idle.extend(futures_util::future::try_join_all(batch).await?);
    }
    let with_idle = world.caller.process.memory()?.anonymous;
    let cost = with_idle.saturating_sub(before) / IDLE as u64;
    println!("an idle connection costs {cost} bytes");
    assert!(cost < IDLE_COST, "{cost} bytes a connection");

    let mut active = JoinSet::new();
    for number in 0..ACTIVE {
        active.spawn(async move {
            let mut connection = HttpConnection::open(port).await?;
            for call in 0..CALLS {
                let body = format!("{number} {call}");
                let request = HttpRequest::new("POST", "/v1.0/invoke/callee/method/echo").body(body.clone());
                let reply = connection.send(&request).await?;
                ensure!((reply.status, reply.text()) == (200, body), "{}", reply.text());
            }
            Result::<_>::Ok(())
        });
    }
    let all = async {
        while let Some(outcome) = active.join_next().await {
            outcome??;
        }
        Result::<_>::Ok(())
    };
    timeout(Duration::from_secs(60), all)
        .await
        .context("not all are answered")??;
    let peak = world.caller.process.memory()?.own_peak();
    let cost = peak.saturating_sub(with_idle) / ACTIVE as u64;
    println!("an active connection costs {cost} bytes");
    assert!(cost < ACTIVE_COST, "{cost} bytes a connection");

    // Who was idle is still heard.
    for connection in idle.iter_mut().step_by(50) {
        assert_eq!(connection.send(&request).await?.status, 204);
    }
    Ok(())
}

#[tokio::test]
async fn clients_that_say_nothing_are_shown_out_and_nobody_waits_for_them() -> Result<()> {
    let app = HttpApp::echo().await?;
    let world = World::start(app.port()).await?;
    for port in [
        world.caller.http_port,
        world.caller.grpc_port,
        world.callee.internal_port,
    ] {
        let mut silent = Vec::new();
        for _ in 0..200 {
            silent.push(TcpStream::connect(("127.0.0.1", port)).await?);
        }
        assert_served(&world.caller).await?;
    }
    Ok(())
}
