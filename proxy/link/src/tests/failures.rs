//! Hot calls that fail, and peers that misbehave.

use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Response};
use outrigger_svc::Body;

use super::{App, FRAMINGS, Framings, call_of, fed, noise, pair, pair_with, read, soon};
use crate::codec::{Piece, encode_response_chunk, encode_tail_chunk};
use crate::{Invocation, Link, LinkSettings, Reply, ReplyStatus, Status, code};

/// A link to a server that the test plays, one call at a time.
async fn scripted<F, R>(framing: Framings, script: F) -> Link
where
    F: Fn(SendResponse<Bytes>) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let (near, far) = tokio::io::duplex(64 << 10);
    tokio::spawn(async move {
        let mut connection = h2::server::handshake(far).await.unwrap();
        while let Some(Ok((_, respond))) = connection.accept().await {
            tokio::spawn(script(respond));
        }
    });
    Link::connect(near, "callee:1".into(), Arc::new(framing.client()))
        .await
        .unwrap()
}

fn grpc() -> Response<()> {
    Response::builder()
        .header("content-type", "application/grpc")
        .body(())
        .unwrap()
}

fn trailers(code: &'static str) -> HeaderMap {
    [("grpc-status", code)]
        .into_iter()
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
        .collect()
}

fn first_message(seq: u64, data: &[u8]) -> Bytes {
    let mut out = Vec::new();
    let reply = Reply {
        status: ReplyStatus::new(200),
        ..Reply::default()
    };
    let piece = Piece { len: data.len(), seq };
    encode_response_chunk(&mut out, usize::MAX, &reply, false, Some(piece)).unwrap();
    out.extend_from_slice(data);
    out.into()
}

fn later_message(seq: u64, data: &[u8]) -> Bytes {
    let mut out = Vec::new();
    let piece = Piece { len: data.len(), seq };
    encode_tail_chunk(&mut out, usize::MAX, false, piece).unwrap();
    out.extend_from_slice(data);
    out.into()
}

fn framed(message: &[u8]) -> Bytes {
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &len[..], message].concat().into()
}

/// The text of the failure of a call, or of the body of its answer.
async fn outcome(link: &Link, call: &mut Invocation) -> Result<Bytes, String> {
    match soon(link.call(call, None)).await {
        Ok(reply) => soon(read(reply.body)).await,
        Err(error) => Err(error.to_string()),
    }
}

#[tokio::test]
async fn the_status_of_the_callee_reaches_the_caller() {
    for framing in FRAMINGS {
        let app = App::new(|_, _| async {
            Err(Status {
                code: 20,
                message: "odd, 100%\n".to_owned(),
                details: Bytes::from_static(b"\x08\x14"),
            })
        });
        let link = pair(app, framing).await;
        let error = soon(link.call(&mut call_of("m", Body::from("x")), None))
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "rpc error: code = Code(20) desc = odd, 100%\n");
        assert_eq!(Status::from(error).details, Bytes::from_static(b"\x08\x14"));
        assert_eq!(link.calls(), 0);
    }
}

#[tokio::test]
async fn a_callee_without_an_app_refuses_every_call() {
    for framing in FRAMINGS {
        let app = App::refusing(Status::internal("app channel is not initialized"));
        let link = pair(app, framing).await;
        let failed = outcome(&link, &mut call_of("m", Body::empty())).await;
        let text = "rpc error: code = Internal desc = app channel is not initialized";
        assert_eq!(failed.unwrap_err(), text);
    }
}

#[tokio::test]
async fn a_call_without_metadata_is_refused() {
    for framing in FRAMINGS {
        let link = pair(App::echo(), framing).await;
        let failed = outcome(&link, &mut Invocation::new("m")).await;
        let text = "rpc error: code = InvalidArgument desc = parsing InternalInvokeRequest error: request does not \
                    contain the required fields in the leading chunk";
        assert_eq!(failed.unwrap_err(), text);
    }
}

#[tokio::test]
async fn events_are_refused_unless_the_app_answers_well() {
    for framing in FRAMINGS {
        let app = App::new(|_, _| async {
            Ok(Reply {
                status: ReplyStatus::new(404),
                ..Reply::default()
            })
        });
        let link = pair(app, framing).await;
        let mut call = call_of("m", Body::empty());
        call.metadata.push("Accept", "text/event-stream");
        let text =
            "rpc error: code = Internal desc = error invoking app channel: no response received from stream";
        assert_eq!(outcome(&link, &mut call).await.unwrap_err(), text);
    }
}

#[tokio::test]
async fn messages_over_the_limit_are_refused_at_both_ends() {
    for framing in FRAMINGS {
        let small = |settings: &mut LinkSettings| settings.max_message_size = 3000;
        let (link, _drain) = pair_with(App::echo(), framing, small).await;
        let mut call = call_of("m", Body::from(noise(10_000)));
        assert_eq!(outcome(&link, &mut call).await.unwrap().len(), 10_000);
        let mut call = call_of("m", Body::empty());
        call.metadata.push("X-Big", "x".repeat(3000));
        assert_eq!(
            outcome(&link, &mut call).await.unwrap_err(),
            "error sending message: rpc error: code = ResourceExhausted desc = trying to send message larger than max \
             (3058 vs. 3000)"
        );

        let reply = App::new(|_, _| async {
            Ok(Reply {
                headers: [("h", "x".repeat(3000))].into_iter().collect(),
                ..Reply::default()
            })
        });
        let (link, _drain) = pair_with(reply, framing, small).await;
        let failed = outcome(&link, &mut call_of("m", Body::empty()))
            .await
            .unwrap_err();
        let text = "rpc error: code = ResourceExhausted desc = trying to send message larger than max (3019 vs. 3000)";
        assert_eq!(failed, text);
    }
}

#[tokio::test]
async fn a_received_message_over_the_limit_ends_the_call() {
    for framing in FRAMINGS {
        let link = scripted(framing, |mut respond| async move {
            let mut send = respond.send_response(grpc(), false).unwrap();
            send.send_data(Bytes::from_static(b"\0\x01\0\0\0"), false)
                .unwrap();
            std::future::pending::<()>().await;
        })
        .await;
        let text = "rpc error: code = ResourceExhausted desc = grpc: received message larger than max \
                    (16777216 vs. 4194304)";
        assert_eq!(
            outcome(&link, &mut call_of("m", Body::empty()))
                .await
                .unwrap_err(),
            text
        );
    }
}

#[tokio::test]
async fn pieces_out_of_order_fail_the_body_after_their_bytes() {
    for framing in FRAMINGS {
        let link = scripted(framing, |mut respond| async move {
            let mut send = respond.send_response(grpc(), false).unwrap();
            send.send_data(first_message(0, b"good"), false).unwrap();
            send.send_data(later_message(2, b"bad"), false).unwrap();
            send.send_trailers(trailers("0")).unwrap();
        })
        .await;
        let reply = soon(link.call(&mut call_of("m", Body::empty()), None))
            .await
            .unwrap();
        let mut body = reply.body;
        for piece in ["good", "bad"] {
            let frame = soon(http_body_util::BodyExt::frame(&mut body))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(frame.into_data().unwrap(), piece);
        }
        let error = soon(http_body_util::BodyExt::frame(&mut body))
            .await
            .unwrap()
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid sequence number received: 2 (expected: 1)"
        );
    }
}

#[tokio::test]
async fn answers_that_break_the_contract_are_errors() {
    type Script = fn(SendResponse<Bytes>) -> outrigger_svc::BoxFuture<'static, ()>;
    let cases: [(Script, &str); 9] = [
        (
            |mut respond| {
                Box::pin(async move {
                    let mut send = respond.send_response(grpc(), false).unwrap();
                    send.send_trailers(trailers("0")).unwrap();
                })
            },
            "EOF",
        ),
        (
            |mut respond| {
                Box::pin(async move {
                    let mut send = respond.send_response(grpc(), false).unwrap();
                    send.send_data(later_message(0, b"x"), false).unwrap();
                    send.send_trailers(trailers("0")).unwrap();
                })
            },
            "response does not contain the required fields in the leading chunk",
        ),
        (
            |mut respond| {
                Box::pin(async move {
                    let mut send = respond.send_response(grpc(), false).unwrap();
                    send.send_data(first_message(0, b"x"), false).unwrap();
                    send.send_data(first_message(1, b"x"), false).unwrap();
                    send.send_trailers(trailers("0")).unwrap();
                })
            },
            "response metadata found in non-leading chunk",
        ),
        (
            |mut respond| {
                Box::pin(async move {
                    let mut send = respond.send_response(grpc(), false).unwrap();
                    send.send_data(first_message(0, b"x"), false).unwrap();
                    send.send_trailers(trailers("14")).unwrap();
                })
            },
            "error receiving message: rpc error: code = Unavailable desc = ",
        ),
        (
            |mut respond| {
                Box::pin(async move {
                    let mut send = respond.send_response(grpc(), false).unwrap();
                    send.send_data(framed(b"\xff"), true).unwrap();
                })
            },
            "rpc error: code = Internal desc = grpc: failed to unmarshal the received message: proto: cannot parse \
             invalid wire-format data",
        ),
        (
            |mut respond| {
                Box::pin(async move {
                    let mut send = respond.send_response(grpc(), false).unwrap();
                    send.send_data(Bytes::from_static(b"\0\0\0"), false).unwrap();
                    send.send_trailers(trailers("0")).unwrap();
                })
            },
            "rpc error: code = Internal desc = unexpected EOF",
        ),
        (
            |mut respond| {
                Box::pin(async move {
                    let head = Response::builder()
                        .status(404)
                        .header("content-type", "text/html")
                        .body(())
                        .unwrap();
                    respond.send_response(head, true).unwrap();
                })
            },
            "rpc error: code = Unimplemented desc = unexpected HTTP status code received from server: 404 (Not \
             Found); transport: received unexpected content-type \"text/html\"",
        ),
        (
            |mut respond| {
                Box::pin(async move {
                    let mut send = respond.send_response(grpc(), false).unwrap();
                    send.send_reset(h2::Reason::CANCEL);
                })
            },
            "rpc error: code = Canceled desc = stream terminated by RST_STREAM with error code: CANCEL",
        ),
        (
            |mut respond| {
                Box::pin(async move {
                    let mut send = respond.send_response(grpc(), false).unwrap();
                    send.send_data(first_message(0, b""), true).unwrap();
                })
            },
            "error receiving message: rpc error: code = Internal desc = server closed the stream without sending \
             trailers",
        ),
    ];
    for framing in FRAMINGS {
        for (script, text) in cases {
            let link = scripted(framing, script).await;
            let failed = outcome(&link, &mut call_of("m", Body::empty())).await;
            assert_eq!(failed.unwrap_err(), text, "{framing:?}");
            assert_eq!(link.calls(), 0);
        }
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_breaks_off_at_the_other_end() {
    for framing in FRAMINGS {
        let app = App::new(|_, call| async move {
            match read(call.body).await {
                Ok(_) => Err(Status::internal("whole")),
                Err(error) => Err(Status::internal(error)),
            }
        });
        let link = pair(app, framing).await;
        let (feed, body) = fed();
        feed.send(Ok(Bytes::from_static(b"a"))).unwrap();
        feed.send(Err("stream too large".into())).unwrap();
        let failed = outcome(&link, &mut call_of("m", body)).await;
        assert_eq!(failed.unwrap_err(), "stream too large");

        let app = App::new(|_, _| async move {
            let (feed, body) = fed();
            feed.send(Ok(Bytes::from_static(b"a"))).unwrap();
            feed.send(Err("app went away".into())).unwrap();
            Ok(Reply {
                status: ReplyStatus::new(200),
                body,
                ..Reply::default()
            })
        });
        let link = pair(app, framing).await;
        let failed = outcome(&link, &mut call_of("m", Body::empty())).await;
        let text = "error receiving message: rpc error: code = Internal desc = app went away";
        assert_eq!(failed.unwrap_err(), text);
    }
}

#[tokio::test]
async fn a_peer_that_goes_away_makes_calls_unavailable() {
    for framing in FRAMINGS {
        let (near, far) = tokio::io::duplex(64 << 10);
        let drain = outrigger_svc::Drain::new();
        let app = App::new(|_, _| std::future::pending());
        super::spawn_server(far, app, framing.server(), &drain);
        let link = Link::connect(near, "callee:1".into(), Arc::new(framing.client()))
            .await
            .unwrap();
        let mut call = call_of("m", Body::from("x"));
        let (failed, _) = tokio::join!(
            soon(link.call(&mut call, None)),
            drain.run(Some(std::time::Duration::from_millis(50)))
        );
        assert_eq!(failed.unwrap_err().code(), code::UNAVAILABLE);
        let failed = soon(link.call(&mut call, None)).await.unwrap_err();
        assert_eq!(failed.code(), code::UNAVAILABLE);
    }
}

#[tokio::test]
async fn a_peer_that_does_not_speak_http_2_makes_calls_unavailable() {
    for framing in FRAMINGS {
        let (near, mut far) = tokio::io::duplex(64 << 10);
        tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut far, b"HTTP/1.1 400 Bad Request\r\n\r\n")
                .await
                .unwrap();
            std::future::pending::<()>().await;
        });
        let link = Link::connect(near, "callee:1".into(), Arc::new(framing.client())).await;
        let failed = match link {
            Ok(link) => soon(link.call(&mut call_of("m", Body::empty()), None))
                .await
                .unwrap_err(),
            Err(status) => status.into(),
        };
        assert_eq!(failed.code(), code::UNAVAILABLE, "{failed}");
    }
}
