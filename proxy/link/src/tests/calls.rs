//! Hot calls that succeed.

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt;
use outrigger_svc::Body;
use outrigger_telemetry::trace::TraceContext;
use tokio::sync::{mpsc, oneshot};

use super::{App, FRAMINGS, call_of, fed, noise, pair, pair_with, read, soon};
use crate::{HttpExtension, Reply, ReplyStatus, Text, Verb};

#[tokio::test]
async fn everything_of_a_call_arrives_and_everything_of_its_answer_comes_back() {
    for framing in FRAMINGS {
        let app = App::new(|scope, mut call| async move {
            assert!(scope.context.peer.is_none());
            assert_eq!(call.version, 1);
            assert_eq!(call.method, "orders/1");
            let http = call.http.unwrap();
            assert_eq!((http.verb, http.query), (Verb::PUT, Text::from("a=1&b=%20")));
            assert_eq!(call.content_type, "application/json");
            assert_eq!(call.metadata.values("X-Two").collect::<Vec<_>>(), [b"1", b"2"]);
            assert_eq!(read(std::mem::take(&mut call.body)).await.unwrap(), "ping");
            Ok(Reply {
                status: ReplyStatus {
                    code: 5,
                    message: "gone".into(),
                    details: vec![Bytes::from_static(b"\x0a\x01t")],
                },
                headers: [("h", "1")].into_iter().collect(),
                trailers: [("t", "2")].into_iter().collect(),
                content_type: "text/plain".into(),
                type_url: "type.googleapis.com/x".into(),
                body: Body::from("pong"),
            })
        });
        let link = pair(app, framing).await;
        let mut call = call_of("orders/1", Body::from("ping"));
        call.http = Some(HttpExtension {
            verb: Verb::PUT,
            query: "a=1&b=%20".into(),
        });
        call.content_type = "application/json".into();
        call.metadata.push("X-Two", "1");
        call.metadata.push("X-Two", "2");
        for _ in 0..3 {
            call.body = Body::from("ping");
            let reply = soon(link.call(&mut call, None)).await.unwrap();
            assert_eq!(reply.status.code, 5);
            assert_eq!(reply.status.message, "gone");
            assert_eq!(reply.status.details, [Bytes::from_static(b"\x0a\x01t")]);
            assert_eq!(reply.headers.first("h"), Some("1"));
            assert_eq!(reply.trailers.first("t"), Some("2"));
            assert_eq!(reply.content_type, "text/plain");
            assert_eq!(reply.type_url, "type.googleapis.com/x");
            assert_eq!(read(reply.body).await.unwrap(), "pong");
        }
    }
}

#[tokio::test]
async fn bodies_of_any_size_pass_in_both_directions() {
    for framing in FRAMINGS {
        let link = pair(App::echo(), framing).await;
        for len in [
            0,
            1,
            1000,
            16 << 10,
            (64 << 10) - 1,
            64 << 10,
            (64 << 10) + 1,
            300_000,
            6 << 20,
        ] {
            let sent = noise(len);
            let mut call = call_of("echo", Body::from(sent.clone()));
            let reply = soon(link.call(&mut call, None)).await.unwrap();
            assert_eq!(reply.status.code, 200);
            assert!(
                soon(read(reply.body)).await.unwrap() == sent,
                "{len} bytes with {framing:?}"
            );
        }
    }
}

#[tokio::test]
async fn many_calls_share_one_connection() {
    for framing in FRAMINGS {
        let link = std::sync::Arc::new(pair(App::echo(), framing).await);
        let calls = (0..200_usize).map(|number| {
            let link = link.clone();
            tokio::spawn(async move {
                let sent = noise(number * 997);
                let mut call = call_of("echo", Body::from(sent.clone()));
                let reply = link.call(&mut call, None).await.unwrap();
                assert!(read(reply.body).await.unwrap() == sent, "call {number}");
            })
        });
        for call in calls.collect::<Vec<_>>() {
            soon(call).await.unwrap();
        }
        assert_eq!(link.calls(), 0);
    }
}

#[tokio::test]
async fn a_small_answer_is_whole_at_once() {
    for framing in FRAMINGS {
        let link = pair(App::echo(), framing).await;
        let reply = soon(link.call(&mut call_of("echo", Body::from("x")), None))
            .await
            .unwrap();
        assert_eq!(reply.body.size_hint().exact(), Some(1));
        assert_eq!(link.calls(), 0);
        let reply = soon(link.call(&mut call_of("echo", Body::empty()), None))
            .await
            .unwrap();
        assert!(reply.body.is_end_stream());
    }
}

#[tokio::test]
async fn an_answer_may_begin_before_the_call_has_ended() {
    for framing in FRAMINGS {
        let link = pair(App::echo(), framing).await;
        let (feed, body) = fed();
        let mut call = call_of("echo", body);
        feed.send(Ok(Bytes::from_static(b"one"))).unwrap();
        let mut reply = soon(link.call(&mut call, None)).await.unwrap();
        for piece in ["one", "two", "three"] {
            let frame = soon(reply.body.frame()).await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), piece);
            let next = if piece == "one" { "two" } else { "three" };
            feed.send(Ok(Bytes::from(next))).unwrap();
        }
        drop(feed);
        let last = soon(reply.body.frame()).await.unwrap().unwrap();
        assert_eq!(last.into_data().unwrap(), "three");
        assert!(soon(reply.body.frame()).await.is_none());
    }
}

#[tokio::test]
async fn bytes_of_the_app_are_sent_as_soon_as_they_are_there() {
    for framing in FRAMINGS {
        let (feeds, mut started) = mpsc::unbounded_channel();
        let app = App::new(move |_, _| {
            let (feed, body) = fed();
            feeds.send(feed).unwrap();
            async move {
                Ok(Reply {
                    status: ReplyStatus::new(200),
                    body,
                    ..Reply::default()
                })
            }
        });
        let link = pair(app, framing).await;
        let mut call = call_of("m", Body::empty());
        let (reply, feed) = soon(async {
            tokio::join!(link.call(&mut call, None), async {
                let feed = started.recv().await.unwrap();
                feed.send(Ok(Bytes::from_static(b"a"))).unwrap();
                feed
            })
        })
        .await;
        let mut body = reply.unwrap().body;
        assert_eq!(
            soon(body.frame()).await.unwrap().unwrap().into_data().unwrap(),
            "a"
        );
        feed.send(Ok(Bytes::from_static(b"b"))).unwrap();
        assert_eq!(
            soon(body.frame()).await.unwrap().unwrap().into_data().unwrap(),
            "b"
        );
        drop(feed);
        assert!(soon(body.frame()).await.is_none());
    }
}

#[tokio::test]
async fn the_trace_of_a_call_arrives() {
    for framing in FRAMINGS {
        let (seen, mut traces) = mpsc::unbounded_channel();
        let app = App::new(move |scope, _| {
            seen.send(scope.trace).unwrap();
            async { Ok(Reply::default()) }
        });
        let link = pair(app, framing).await;
        let text = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for trace in [
            TraceContext::from_traceparent(text),
            Some(TraceContext::ZERO),
            None,
        ] {
            soon(link.call(&mut call_of("m", Body::empty()), trace.as_ref()))
                .await
                .unwrap();
            assert_eq!(traces.recv().await.unwrap(), trace);
        }
    }
}

#[tokio::test]
async fn events_are_flushed_one_by_one_with_status_zero_on_the_wire() {
    for framing in FRAMINGS {
        let app = App::new(|_, _| async {
            Ok(Reply {
                status: ReplyStatus::new(201),
                headers: [("X-App", "1")].into_iter().collect(),
                content_type: "text/event-stream".into(),
                body: Body::from("x".repeat(2500)),
                ..Reply::default()
            })
        });
        let link = pair(app, framing).await;
        let mut call = call_of("events", Body::empty());
        call.metadata.push("Accept", "text/event-stream");
        let mut reply = soon(link.call(&mut call, None)).await.unwrap();
        assert_eq!(reply.status.code, 200);
        assert_eq!(reply.content_type, "");
        assert_eq!(reply.headers.first("X-App"), Some("1"));
        for len in [1024, 1024, 452] {
            let frame = soon(reply.body.frame()).await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap().len(), len);
        }
        assert!(soon(reply.body.frame()).await.is_none());
    }
}

#[tokio::test]
async fn a_reader_that_is_slow_holds_up_nobody_else() {
    for framing in FRAMINGS {
        let (link, _drain) = pair_with(App::echo(), framing, |settings| {
            settings.stream_window = 64 << 10;
            settings.connection_window = 1 << 20;
        })
        .await;
        let sent = noise(400_000);
        let mut slow = call_of("echo", Body::from(sent.clone()));
        let slow = soon(link.call(&mut slow, None)).await.unwrap();
        for _ in 0..20 {
            let mut call = call_of("echo", Body::from(sent.clone()));
            let reply = soon(link.call(&mut call, None)).await.unwrap();
            assert!(soon(read(reply.body)).await.unwrap() == sent);
        }
        assert!(soon(read(slow.body)).await.unwrap() == sent);
    }
}

#[tokio::test]
async fn giving_up_a_call_ends_it_at_the_callee() {
    for framing in FRAMINGS {
        let (seen, mut ends) = mpsc::unbounded_channel::<oneshot::Receiver<()>>();
        let app = App::new(move |_, _| {
            let (alive, end) = oneshot::channel::<()>();
            seen.send(end).unwrap();
            async move {
                let _alive = alive;
                std::future::pending().await
            }
        });
        let link = pair(app, framing).await;
        let mut call = call_of("m", Body::from("x"));
        let end = tokio::select! {
            _ = link.call(&mut call, None) => panic!("the callee never answers"),
            end = ends.recv() => end.unwrap(),
        };
        assert!(soon(end).await.is_err());
    }
}

#[tokio::test]
async fn giving_up_the_body_of_an_answer_ends_it_at_the_callee() {
    for framing in FRAMINGS {
        let (feeds, mut started) = mpsc::unbounded_channel();
        let app = App::new(move |_, _| {
            let (feed, body) = fed();
            feed.send(Ok(Bytes::from_static(b"a"))).unwrap();
            feeds.send(feed).unwrap();
            async move {
                Ok(Reply {
                    status: ReplyStatus::new(200),
                    body,
                    ..Reply::default()
                })
            }
        });
        let link = pair(app, framing).await;
        let reply = soon(link.call(&mut call_of("m", Body::empty()), None))
            .await
            .unwrap();
        assert_eq!(link.calls(), 1);
        drop(reply);
        assert_eq!(link.calls(), 0);
        soon(started.recv().await.unwrap().closed()).await;
    }
}
