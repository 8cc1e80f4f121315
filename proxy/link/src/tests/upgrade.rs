//! Calls that leave HTTP.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use outrigger_svc::{Body, Drain};

use super::{App, FRAMINGS, call_of, fed, pair, settings, soon, spawn_server};
use crate::{
    Framing, Invocation, PeerAddress, PeerSettings, Peers, Reply, ReplyStatus, Retries, Security, Status,
    TcpConnect, code,
};

fn upgrade(body: Body) -> Invocation {
    Invocation {
        upgrade: true,
        streaming: true,
        ..call_of("socket", body)
    }
}

/// Leaves HTTP and sends everything back; says nothing on its own.
fn parrot() -> App {
    App::new(|_, call| async move {
        assert!(call.upgrade && call.streaming);
        Ok(Reply {
            status: ReplyStatus::new(ReplyStatus::SWITCHING_PROTOCOLS),
            body: call.body,
            ..Reply::default()
        })
    })
}

async fn piece(body: &mut Body) -> Option<Bytes> {
    let frame = soon(body.frame()).await?;
    frame.unwrap().into_data().ok()
}

#[tokio::test]
async fn the_answer_comes_before_either_end_has_spoken_and_halves_end_on_their_own() {
    for framings in FRAMINGS {
        let link = pair(parrot(), framings).await;
        let (feed, body) = fed();
        let mut reply = soon(link.call(&mut upgrade(body), None)).await.unwrap();
        assert_eq!(reply.status.code, 101, "{framings:?}");
        for word in ["one", "two"] {
            feed.send(Ok(word.into()))
                .unwrap_or_else(|_| panic!("{word} {framings:?}"));
            assert_eq!(piece(&mut reply.body).await.unwrap(), word, "{framings:?}");
        }
        drop(feed);
        assert_eq!(piece(&mut reply.body).await, None, "{framings:?}");
    }
}

#[tokio::test]
async fn an_app_that_stays_with_http_answers_as_ever() {
    for framings in FRAMINGS {
        let app = App::new(|_, mut call: Invocation| async move {
            call.stay_in_http();
            assert!(!call.upgrade && !call.streaming);
            Ok(Reply {
                status: ReplyStatus::new(426),
                body: "no sockets here".into(),
                ..Reply::default()
            })
        });
        let link = pair(app, framings).await;
        let (_feed, body) = fed();
        let reply = soon(link.call(&mut upgrade(body), None)).await.unwrap();
        assert_eq!(reply.status.code, 426);
        assert_eq!(super::read(reply.body).await.unwrap(), "no sockets here");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_call_at_the_app() {
    for framings in FRAMINGS {
        let (tell, mut told) = tokio::sync::mpsc::channel::<()>(1);
        let app = App::new(move |_, call| {
            let tell = tell.clone();
            async move {
                tell.send(()).await.unwrap();
                Ok(Reply {
                    status: ReplyStatus::new(ReplyStatus::SWITCHING_PROTOCOLS),
                    body: call.body,
                    ..Reply::default()
                })
            }
        });
        let link = pair(app, framings).await;
        let (feed, body) = fed();
        let reply = soon(link.call(&mut upgrade(body), None)).await.unwrap();
        soon(told.recv()).await.unwrap();
        drop(reply);
        soon(feed.closed()).await;
    }
}

/// A peer that answers every unknown method with this status, as the reference and older sidecars do.
async fn peer_that_knows_no_upgrades(status: Status) -> (Peers, PeerAddress) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: Arc<str> = listener.local_addr().unwrap().to_string().into();
    tokio::spawn(async move {
        let drain = Drain::new();
        while let Ok((stream, _)) = listener.accept().await {
            let status = status.clone();
            let app = App::new(move |_, _| std::future::ready(Err(status.clone())));
            spawn_server(stream, app, settings(Framing::Own), &drain);
        }
    });
    let peer = PeerAddress {
        address,
        app_id: "callee".into(),
        namespace: "default".into(),
    };
    let peers = Peers::new(PeerSettings::default(), Security::Plain, Arc::new(TcpConnect));
    (peers, peer)
}

#[tokio::test]
async fn a_peer_that_knows_no_upgrades_is_named_and_other_refusals_are_told_as_they_are() {
    let missing = "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found";
    let unsupported = "the sidecar of app 'callee' does not support WebSocket";
    let denied = "rpc error: code = PermissionDenied desc = no";
    for (code, message, expected) in [
        (code::UNKNOWN, missing, unsupported),
        (code::UNIMPLEMENTED, "unknown method", unsupported),
        (code::PERMISSION_DENIED, "no", denied),
    ] {
        let (peers, peer) = peer_that_knows_no_upgrades(Status::new(code, message)).await;
        let (_feed, body) = fed();
        let called = soon(peers.call(&peer, &mut upgrade(body), Retries::BuiltIn, None)).await;
        assert_eq!(called.unwrap_err().to_string(), expected);
    }
}
