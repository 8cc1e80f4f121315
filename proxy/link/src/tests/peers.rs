//! The pool of links.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Request, Response};
use outrigger_svc::{Body, BoxConnection, BoxFuture, Connect, Drain};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{App, FRAMINGS, Framings, call_of, fed, noise, read, soon, spawn_server};
use crate::{PeerAddress, PeerSettings, Peers, Reply, ReplyStatus, Retries, Security, Status, code};

/// Opens pipes to callees that share an app and a drain.
struct Pipes {
    app: Box<dyn Fn() -> App + Send + Sync>,
    opened: AtomicUsize,
    /// Number of connections that are refused before one is accepted.
    refusals: AtomicUsize,
    framings: Framings,
    drain: Drain,
}

impl Pipes {
    fn new(framings: Framings, app: impl Fn() -> App + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            app: Box::new(app),
            opened: AtomicUsize::new(0),
            refusals: AtomicUsize::new(0),
            framings,
            drain: Drain::new(),
        })
    }

    fn peers(self: &Arc<Self>, change: impl FnOnce(&mut PeerSettings)) -> Peers {
        let mut settings = PeerSettings {
            link: self.framings.client(),
            ..PeerSettings::default()
        };
        change(&mut settings);
        Peers::new(settings, Security::Plain, self.clone())
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

impl Connect for Pipes {
    fn connect<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<BoxConnection>> {
        Box::pin(async move {
            if self.refusals.load(Ordering::Relaxed) > 0 {
                self.refusals.fetch_sub(1, Ordering::Relaxed);
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            self.opened.fetch_add(1, Ordering::Relaxed);
            let (near, far) = tokio::io::duplex(64 << 10);
            spawn_server(far, (self.app)(), self.framings.server(), &self.drain);
            Ok(Box::new(near) as BoxConnection)
        })
    }
}

fn peer() -> PeerAddress {
    PeerAddress {
        address: "127.0.0.1:1".into(),
        app_id: "callee".into(),
        namespace: "default".into(),
    }
}

/// Waits for what other tasks will do, without waiting for time.
async fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if done() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it never comes true");
}

#[tokio::test]
async fn calls_to_one_peer_share_a_link_and_calls_at_once_wait_for_one() {
    for framing in FRAMINGS {
        let pipes = Pipes::new(framing, App::echo);
        let peers = pipes.peers(|_| {});
        let calls = (0..20_usize).map(|number| {
            let peers = peers.clone();
            tokio::spawn(async move {
                let mut call = call_of("m", Body::from(noise(number)));
                let reply = peers
                    .call(&peer(), &mut call, Retries::BuiltIn, None)
                    .await
                    .unwrap();
                assert_eq!(read(reply.body).await.unwrap(), noise(number));
            })
        });
        for call in calls.collect::<Vec<_>>() {
            soon(call).await.unwrap();
        }
        assert_eq!((pipes.opened(), peers.links()), (1, 1));
        let other = PeerAddress {
            namespace: "other".into(),
            ..peer()
        };
        soon(peers.call(&other, &mut call_of("m", Body::empty()), Retries::None, None))
            .await
            .unwrap();
        assert_eq!((pipes.opened(), peers.links()), (2, 2));
    }
}

#[tokio::test]
async fn a_full_link_is_joined_by_another() {
    for framing in FRAMINGS {
        let pipes = Pipes::new(framing, App::echo);
        let peers = pipes.peers(|settings| settings.max_calls = 2);
        let mut open = Vec::new();
        for expected in [1, 1, 2, 2, 3] {
            let (feed, body) = fed();
            feed.send(Ok("x".into())).unwrap();
            let mut call = call_of("m", body);
            open.push((
                soon(peers.call(&peer(), &mut call, Retries::None, None))
                    .await
                    .unwrap(),
                feed,
            ));
            assert_eq!(pipes.opened(), expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_unavailable_peer_is_tried_four_times_a_second_apart() {
    for framing in FRAMINGS {
        let pipes = Pipes::new(framing, App::echo);
        pipes.refusals.store(4, Ordering::Relaxed);
        let (forgotten, mut forgets) = mpsc::unbounded_channel();
        let peers = pipes
            .peers(|_| {})
            .on_discard(move |peer| forgotten.send(peer.clone()).unwrap());
        let start = Instant::now();
        let mut call = call_of("m", Body::from("x"));
        let error = peers
            .call(&peer(), &mut call, Retries::BuiltIn, None)
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "failed to invoke target callee after 3 retries. Error: rpc error: code = Unavailable desc = connection \
             error: desc = \"transport: Error while dialing: dial tcp 127.0.0.1:1: connect: connection refused\""
        );
        assert_eq!(error.code(), code::UNAVAILABLE);
        assert_eq!(start.elapsed().as_secs(), 3);
        for _ in 0..4 {
            assert_eq!(forgets.try_recv().unwrap(), peer());
        }
        assert!(forgets.try_recv().is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_retried_call_sends_its_body_again() {
    for framing in FRAMINGS {
        let failures = Arc::new(AtomicUsize::new(2));
        let app = move || {
            let failures = failures.clone();
            App::new(move |_, call| {
                let failures = failures.clone();
                async move {
                    let body = read(call.body).await.unwrap();
                    if failures.load(Ordering::Relaxed) > 0 {
                        failures.fetch_sub(1, Ordering::Relaxed);
                        return Err(Status::new(code::UNAUTHENTICATED, "who are you"));
                    }
                    Ok(Reply {
                        status: ReplyStatus::new(200),
                        body: body.into(),
                        ..Reply::default()
                    })
                }
            })
        };
        let pipes = Pipes::new(framing, app);
        let peers = pipes.peers(|_| {});
        let (feed, body) = fed();
        for piece in ["ab", "cd", "ef"] {
            feed.send(Ok(piece.into())).unwrap();
        }
        drop(feed);
        let mut call = call_of("m", body);
        let reply = peers
            .call(&peer(), &mut call, Retries::BuiltIn, None)
            .await
            .unwrap();
        assert_eq!(read(reply.body).await.unwrap(), "abcdef");
        assert_eq!(pipes.opened(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_stream_and_other_errors_are_not_retried() {
    for framing in FRAMINGS {
        let cases = [
            (code::UNAVAILABLE, true, Retries::BuiltIn),
            (code::UNAVAILABLE, false, Retries::None),
            (code::INTERNAL, false, Retries::BuiltIn),
            (code::PERMISSION_DENIED, false, Retries::BuiltIn),
            (code::DEADLINE_EXCEEDED, false, Retries::BuiltIn),
        ];
        for (code, streaming, retries) in cases {
            let pipes = Pipes::new(framing, move || {
                App::new(move |_, _| async move { Err(Status::new(code, "no")) })
            });
            let peers = pipes.peers(|_| {});
            let start = Instant::now();
            let mut call = call_of("m", Body::from("x"));
            call.streaming = streaming;
            let error = peers.call(&peer(), &mut call, retries, None).await.unwrap_err();
            assert_eq!(error.to_string(), Status::new(code, "no").to_string());
            assert_eq!(start.elapsed(), Duration::ZERO);
        }
    }
}

#[tokio::test]
async fn a_peer_without_streamed_calls_is_called_the_old_way() {
    for framing in FRAMINGS {
        let pipes = Pipes::new(framing, || {
            App::new(|_, call| async move {
                if call.metadata.first("streamed").is_none() && call.type_url.is_empty() {
                    return Err(Status::new(code::UNIMPLEMENTED, "unknown method"));
                }
                Ok(Reply {
                    status: ReplyStatus::new(200),
                    content_type: "a/b".into(),
                    body: call.body,
                    ..Reply::default()
                })
            })
        });
        let peers = pipes.peers(|_| {});
        let (feed, body) = fed();
        feed.send(Ok("a".into())).unwrap();
        feed.send(Ok("b".into())).unwrap();
        let mut call = call_of("m", body);
        call.streaming = true;
        let error = soon(peers.call(&peer(), &mut call, Retries::BuiltIn, None))
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "target app 'callee' is running a version of Dapr that does not support streaming-based service \
             invocation"
        );
    }
}

#[tokio::test]
async fn a_unary_call_carries_the_whole_body_both_ways() {
    for framing in FRAMINGS {
        let (link, _drain) = super::pair_with(App::echo(), framing, |_| {}).await;
        for len in [0, 5, 100_000] {
            let sent = noise(len);
            let mut call = call_of("m", Body::empty());
            call.content_type = "a/b".into();
            let reply = soon(link.attempt_unary(&mut call, &sent, None)).await.unwrap();
            assert_eq!(reply.status.code, 200);
            assert_eq!(reply.content_type, "a/b");
            assert_eq!(reply.headers.first("dapr-caller-app-id"), Some("caller"));
            assert!(read(reply.body).await.unwrap() == sent);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_without_calls_is_closed_after_a_while() {
    for framing in FRAMINGS {
        let pipes = Pipes::new(framing, App::echo);
        let peers = pipes.peers(|_| {});
        let mut call = call_of("m", Body::from("x"));
        peers.call(&peer(), &mut call, Retries::None, None).await.unwrap();
        let (feed, body) = fed();
        feed.send(Ok("x".into())).unwrap();
        let slow = peers
            .call(&peer(), &mut call_of("m", body), Retries::None, None)
            .await
            .unwrap();
        tokio::time::advance(Duration::from_secs(1000)).await;
        until(|| true).await;
        assert_eq!(peers.links(), 1);
        drop((slow, feed));
        until(|| pipes.drain.in_flight() == 1).await;
        tokio::time::sleep(Duration::from_secs(230)).await;
        assert_eq!(peers.links(), 0);
        until(|| pipes.drain.in_flight() == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_callee_says_goodbye_after_three_idle_minutes_and_calls_go_on_elsewhere() {
    for framing in FRAMINGS {
        let pipes = Pipes::new(framing, App::echo);
        let peers = pipes.peers(|settings| settings.max_idle = Duration::from_secs(9999));
        for expected in [1, 2] {
            let mut call = call_of("m", Body::from("x"));
            let reply = peers.call(&peer(), &mut call, Retries::None, None).await.unwrap();
            assert_eq!(read(reply.body).await.unwrap(), "x");
            assert_eq!(pipes.opened(), expected);
            tokio::time::sleep(Duration::from_secs(185)).await;
            until(|| pipes.drain.in_flight() == 0).await;
        }
    }
}

#[tokio::test]
async fn a_drain_lets_running_calls_end() {
    for framing in FRAMINGS {
        let pipes = Pipes::new(framing, App::echo);
        let peers = pipes.peers(|_| {});
        let (feed, body) = fed();
        feed.send(Ok("a".into())).unwrap();
        let reply = soon(peers.call(&peer(), &mut call_of("m", body), Retries::None, None))
            .await
            .unwrap();
        let drain = pipes.drain.clone();
        let draining = tokio::spawn(async move { drain.run(Some(Duration::from_secs(15))).await });
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        feed.send(Ok("b".into())).unwrap();
        drop(feed);
        assert_eq!(soon(read(reply.body)).await.unwrap(), "ab");
        assert!(soon(draining).await.unwrap());
    }
}

#[tokio::test]
async fn a_raw_request_survives_a_connection_that_cannot_be_made_at_first() {
    for framing in FRAMINGS {
        let app =
            || App::echo().with_other(|request: Request<Body>| async { Response::new(request.into_body()) });
        let pipes = Pipes::new(framing, app);
        pipes.refusals.store(1, Ordering::Relaxed);
        let peers = pipes.peers(|_| {});
        let request = || Request::post("/a.B/C").body(Body::from("x")).unwrap();
        let response = soon(peers.forward(&peer(), request())).await.unwrap();
        assert_eq!(read(response.into_body()).await.unwrap(), "x");
        pipes.refusals.store(2, Ordering::Relaxed);
        peers.discard(&peer());
        let error = soon(peers.forward(&peer(), request())).await.unwrap_err();
        assert_eq!(error.code, code::UNAVAILABLE);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_hangs_up_at_once_is_not_dialled_over_and_over() {
    /// Connections that are closed as soon as they are open.
    struct Dead(AtomicUsize);

    impl Connect for Dead {
        fn connect<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<BoxConnection>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Ok(Box::new(tokio::io::duplex(10).0) as BoxConnection) })
        }
    }

    for framing in FRAMINGS {
        let dead = Arc::new(Dead(AtomicUsize::new(0)));
        let settings = PeerSettings {
            link: framing.client(),
            ..PeerSettings::default()
        };
        let peers = Peers::new(settings, Security::Plain, dead.clone());
        let mut call = call_of("m", Body::empty());
        let error = soon(peers.call(&peer(), &mut call, Retries::BuiltIn, None))
            .await
            .unwrap_err();
        assert_eq!(error.code(), code::UNAVAILABLE, "{error}");
        // Each of four attempts may notice before it sends anything, and then tries one more connection.
        let dialled = dead.0.load(Ordering::Relaxed);
        assert!((4..=8).contains(&dialled), "{dialled} times");
    }
}
