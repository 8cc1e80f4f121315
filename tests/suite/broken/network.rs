//! A network between two sidecars that breaks in every way it can.

use std::time::Duration;

use outrigger_test_kit::http::{HttpConnection, Piece};
use outrigger_test_kit::{
    Daprd, Direction, Fault, HttpApp, HttpRequest, HttpResponse, Result, Signal, until,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::{SOON, assert_served};
use crate::suite::streams::long::LongApp;
use crate::suite::streams::{download, upload};
use crate::suite::world::{World, resolving_to};

/// Time in which a silent peer is found: a ping after 10 s, and 5 s for its answer.
const FOUND: std::ops::Range<Duration> = Duration::from_secs(5)..Duration::from_secs(25);

const BAD_LINK: &str = "rpc error: code = Unavailable";

/// What a call says that met a broken link, and how long it took.
///
/// It comes by the connection that has made a call before, so that it takes the same link.
async fn failure(connection: &mut HttpConnection) -> Result<(String, Duration)> {
    let began = Instant::now();
    // A body whose length is not known is not sent again.
    let request = HttpRequest::new("POST", "/v1.0/invoke/callee/method/hello")
        .body("one two")
        .chunked([3]);
    let reply = timeout(FOUND.end, connection.send(&request)).await??;
    assert_eq!(reply.status, 500, "{}", reply.text());
    Ok((reply.text(), began.elapsed()))
}

#[tokio::test]
async fn a_link_that_goes_silent_is_found_in_fifteen_seconds_and_replaced() -> Result<()> {
    // Both ways in which a link can be silent, at the same time in two worlds.
    let silences = [Fault::Swallow, Fault::Hang].map(async |fault| {
        let app = HttpApp::echo().await?;
        let world = World::start(app.port()).await?;
        let mut connection = HttpConnection::open(world.caller.http_port).await?;
        let request = HttpRequest::new("GET", "/v1.0/invoke/callee/method/hello");
        assert_eq!(connection.send(&request).await?.status, 200);
        world.link.set_both(fault);
        let (text, took) = failure(&mut connection).await?;
        assert!(text.contains(BAD_LINK), "{fault:?}: {text}");
        assert!(FOUND.contains(&took), "{fault:?}: found after {took:?}");
        world.link.heal().await?;
        // Links of the other workers find out by themselves, or with their next call.
        until("calls to go through again", async || {
            assert_served(&world.caller).await.ok()
        })
        .await
    });
    let [swallowed, hung] = silences;
    tokio::try_join!(swallowed, hung)?;
    Ok(())
}

#[tokio::test]
async fn a_link_that_breaks_costs_its_calls_only_and_a_call_that_may_be_repeated_not_even_itself()
-> Result<()> {
    let app = HttpApp::echo().await?;
    let world = World::start(app.port()).await?;
    for _ in 0..5 {
        assert_served(&world.caller).await?;
        world.link.cut();
    }
    // For a moment there is no way at all: the call is made again until there is.
    world.link.refuse().await?;
    let (call, healed) = tokio::join!(assert_served(&world.caller), async {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        world.link.heal().await
    });
    call?;
    healed?;
    // Nothing is opened that is not needed: one link a worker and a break.
    assert!(world.link.accepted() < 40, "{} links", world.link.accepted());
    Ok(())
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_body_is_told_to_both_ends() -> Result<()> {
    let (give, mut take) = mpsc::channel(4);
    let (tell, mut told) = mpsc::channel(4);
    let app = HttpApp::start_streaming(move |request: HttpRequest, mut pieces| {
        let (give, tell) = (give.clone(), tell.clone());
        async move {
            if request.path() == "/up" {
                tokio::spawn(async move {
                    let mut count = 0_usize;
                    while let Some(piece) = pieces.recv().await {
                        count += piece.len();
                    }
                    tell.send(count).await.ok();
                });
            }
            if request.path().starts_with("/dapr") {
                return HttpResponse::new(404, "");
            }
            let (response, sender) = HttpResponse::stream(200);
            give.send(sender).await.ok();
            response
        }
    })
    .await?;
    let world = World::start(app.port()).await?;

    // Of an answer: the client sees that it is not whole.
    let mut connection = HttpConnection::open(world.caller.http_port).await?;
    connection
        .send_head(&HttpRequest::new("GET", "/v1.0/invoke/callee/method/down"))
        .await?;
    let sender = take.recv().await.expect("the app is asked");
    sender.send(Piece::Data("part".into())).await?;
    assert_eq!(connection.reply_head().await?.status, 200);
    assert_eq!(connection.piece().await?.as_deref(), Some(&b"part"[..]));
    world.link.cut();
    let rest = timeout(SOON, connection.piece()).await?;
    assert!(rest.is_err(), "the answer is not whole: {rest:?}");
    // And the app that nobody listens to any more.
    timeout(SOON, async {
        while sender.send(Piece::Data(vec![b'x'; 1000].into())).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await?;

    // Of a request: the app must not take what it got for the whole.
    let mut connection = HttpConnection::open(world.caller.http_port).await?;
    let request =
        HttpRequest::new("POST", "/v1.0/invoke/callee/method/up").header("Transfer-Encoding", "chunked");
    connection.send_head(&request).await?;
    connection.send_chunk(&[b'x'; 5000]).await?;
    let sender = take.recv().await.expect("the app is asked");
    world.link.cut();
    timeout(SOON, told.recv()).await?;
    timeout(SOON, sender.closed()).await?;
    assert_eq!(app.requests_for("/up").len(), 0, "no whole request was seen");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn long_bodies_that_break_off_leave_nothing_behind() -> Result<()> {
    let app = LongApp::start().await?;
    let large = |caller: outrigger_test_kit::DaprdBuilder| caller.flag("max-body-size", "1Gi");
    let world = World::start_with(app.port, large, |callee| callee).await?;
    let port = world.caller.http_port;
    upload(port, 1 << 20).await?;
    for round in 0..6_u64 {
        let direction = [Direction::ToServer, Direction::ToClient][usize::try_from(round % 2)?];
        world.link.cut();
        world
            .link
            .set(direction, Fault::ResetAfter((1 << 20) * (round + 1)));
        let outcome = match direction {
            Direction::ToServer => timeout(SOON, upload(port, 64 << 20)).await?,
            Direction::ToClient => timeout(SOON, download(port, 64 << 20)).await?,
        };
        assert!(outcome.is_err(), "a body of 64 MiB cannot have passed");
        world.link.heal().await?;
    }
    upload(port, 8 << 20).await?;
    download(port, 8 << 20).await?;
    for daprd in [&world.caller, &world.callee] {
        let own = daprd.process.memory()?.own_peak();
        assert!(own < 48 << 20, "{} took {own} bytes", daprd.app_id);
    }
    Ok(())
}

#[tokio::test]
async fn a_delayed_and_narrow_link_carries_everything_in_time() -> Result<()> {
    let app = HttpApp::echo().await?;
    let world = World::start(app.port()).await?;
    world.link.set_both(Fault::Delay(Duration::from_millis(100)));
    let began = Instant::now();
    let calls = (0..20).map(|_| assert_served(&world.caller));
    for outcome in futures_util::future::join_all(calls).await {
        outcome?;
    }
    // They share the delay: one after the other it would be four seconds.
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    world.link.set_both(Fault::Throttle(1 << 20));
    let body = vec![b'x'; 300_000];
    let reply = timeout(
        SOON,
        world.caller.post("/v1.0/invoke/callee/method/echo", body.clone()),
    )
    .await??;
    assert!(reply.body == body);
    Ok(())
}

#[tokio::test]
async fn a_peer_that_was_killed_is_missed_at_once_and_found_again_when_it_is_back() -> Result<()> {
    let app = HttpApp::start(async |request: HttpRequest| match request.path() {
        "/never" => std::future::pending().await,
        _ => HttpResponse::new(404, ""),
    })
    .await?;
    let mut world = World::start(app.port()).await?;
    let pending = world.caller.get("/v1.0/invoke/callee/method/never");
    let kill = async {
        until("the call to be under way", async || {
            (world.link.open() > 0 && app.connections() > 1).then_some(())
        })
        .await?;
        world.callee.process.signal(Signal::Kill).await
    };
    let began = Instant::now();
    let (reply, killed) = tokio::join!(pending, kill);
    killed?;
    let reply = reply?;
    assert_eq!(reply.status, 500);
    assert!(reply.text().contains(BAD_LINK), "{}", reply.text());
    assert!(began.elapsed() < SOON);

    let app = HttpApp::echo().await?;
    world.callee.process.exit().await?;
    let callee = Daprd::builder("callee")?
        .app("http", app.port())
        .mtls(&world.sentry)
        .configuration(&resolving_to(1))?
        .flag("dapr-internal-grpc-port", world.callee.internal_port)
        .start()
        .await?;
    assert_served(&world.caller).await?;
    drop(callee);
    Ok(())
}
