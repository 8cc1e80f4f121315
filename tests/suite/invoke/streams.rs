//! Bodies that are long, that come piece by piece, or that never end.

use std::time::Duration;

use outrigger_test_kit::http::{HttpConnection, Piece};
use outrigger_test_kit::{Daprd, HttpApp, HttpRequest, HttpResponse, Result, isolated};
use tokio::time::timeout;

use super::{assert_failure, both, pair};

/// Longer than any buffer between the ends, and no multiple of one.
const LONG: usize = 10 * 1024 * 1024 + 7;

/// A text in which no two places look alike for long.
fn long_body() -> Vec<u8> {
    (0..LONG)
        .map(|index| (index % 251) as u8 ^ (index >> 11) as u8)
        .collect()
}

#[test]
fn long_bodies_arrive_whole_both_ways_by_length_and_in_chunks() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let caller_app = HttpApp::echo().await?;
        let caller = Daprd::builder("caller")?
            .app("http", caller_app.port())
            .flag("max-body-size", "16Mi");
        let callee = Daprd::builder("callee")?.app("http", app.port());
        let (caller, _callee) = both(caller, callee).await?;
        let body = long_body();
        for target in ["callee", "caller"] {
            let request =
                HttpRequest::new("POST", format!("/v1.0/invoke/{target}/method/long")).body(body.clone());
            for request in [request.clone(), request.chunked([1, 2047, 2048, 2049, 100_000])] {
                let reply = caller.send(&request).await?;
                assert_eq!(reply.status, 200);
                assert!(reply.body == body, "{} bytes came back", reply.body.len());
            }
        }
        let [sized, chunked] = &app.requests_for("/long")[..] else {
            panic!("two requests")
        };
        let length = LONG.to_string();
        assert_eq!(sized.headers.get("content-length"), Some(length.as_str()));
        assert_eq!(chunked.headers.get("content-length"), None);
        assert_eq!(chunked.headers.get("transfer-encoding"), Some("chunked"));
        Ok(())
    });
}

#[test]
fn a_body_over_the_limit_is_refused() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let caller = Daprd::builder("caller")?.flag("max-body-size", "4Ki");
        let callee = Daprd::builder("callee")?
            .app("http", app.port())
            .flag("max-body-size", "4Ki");
        let (caller, _callee) = both(caller, callee).await?;
        let at_limit = HttpRequest::new("POST", "/v1.0/invoke/callee/method/x").body(vec![b'x'; 4096]);
        assert_eq!(caller.send(&at_limit).await?.body.len(), 4096);
        assert_eq!(caller.send(&at_limit.chunked([1000])).await?.body.len(), 4096);
        let over = HttpRequest::new("POST", "/v1.0/invoke/callee/method/x").body(vec![b'x'; 4097]);
        for request in [over.clone(), over.chunked([1000])] {
            let reply = caller.send(&request).await?;
            assert_eq!(reply.status, 500);
            let text = reply.text();
            assert!(
                text.starts_with(
                    r#"{"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke, id: callee, err: "#
                ) && text.ends_with("stream too large\"}"),
                "{text}"
            );
        }
        Ok(())
    });
}

#[test]
fn pieces_go_both_ways_while_the_bodies_are_open() {
    isolated!(async {
        let app = HttpApp::start_streaming(async |_, mut pieces| {
            let (response, sender) = HttpResponse::stream(200);
            tokio::spawn(async move {
                while let Some(piece) = pieces.recv().await {
                    if sender.send(Piece::Data(piece)).await.is_err() {
                        return;
                    }
                }
            });
            response
        })
        .await?;
        let cluster = pair(app).await?;
        let mut connection = HttpConnection::open(cluster["caller"].daprd.http_port).await?;
        let request = HttpRequest::new("POST", "/v1.0/invoke/callee/method/chat")
            .header("Transfer-Encoding", "chunked");
        connection.send_head(&request).await?;
        let talk = async {
            connection.send_chunk(b"one").await?;
            // The request goes out whole before the answer is read, so the answer waits.
            connection.send_chunk(b"two").await?;
            connection.send_chunk(b"").await?;
            assert_eq!(connection.reply_head().await?.status, 200);
            let mut whole = Vec::new();
            while let Some(piece) = connection.piece().await? {
                whole.extend_from_slice(&piece);
            }
            assert_eq!(whole, b"onetwo");
            Result::<_>::Ok(())
        };
        timeout(Duration::from_secs(10), talk).await??;
        let seen = cluster["callee"].app.requests_for("/chat");
        assert_eq!(seen[0].body, "onetwo");
        Ok(())
    });
}

#[test]
fn the_app_sees_the_first_bytes_before_the_client_sent_the_last() {
    isolated!(async {
        let (first, mut seen) = tokio::sync::mpsc::channel(4);
        let app = HttpApp::start_streaming(move |_, mut pieces| {
            let first = first.clone();
            async move {
                let mut count = 0;
                while let Some(piece) = pieces.recv().await {
                    if count == 0 {
                        first.send(piece.clone()).await.ok();
                    }
                    count += piece.len();
                }
                HttpResponse::ok(count.to_string())
            }
        })
        .await?;
        let cluster = pair(app).await?;
        // Over the link, and locally.
        for sidecar in ["caller", "callee"] {
            let mut connection = HttpConnection::open(cluster[sidecar].daprd.http_port).await?;
            let request = HttpRequest::new("POST", "/v1.0/invoke/callee/method/up")
                .header("Transfer-Encoding", "chunked");
            connection.send_head(&request).await?;
            connection.send_chunk(&[b'a'; 5000]).await?;
            let piece = timeout(Duration::from_secs(10), seen.recv()).await?;
            assert!(piece.is_some_and(|piece| piece.starts_with(b"aa")));
            connection.send_chunk(b"rest").await?;
            connection.send_chunk(b"").await?;
            let reply = connection.reply_head().await?;
            assert_eq!(reply.status, 200);
            assert_eq!(connection.piece().await?.as_deref(), Some(&b"5004"[..]));
        }
        Ok(())
    });
}

#[test]
fn the_client_sees_each_piece_when_the_app_wrote_it() {
    isolated!(async {
        let (give, mut take) = tokio::sync::mpsc::channel(4);
        let app = super::app(move |_| {
            let (response, sender) = HttpResponse::stream(200);
            let give = give.clone();
            async move {
                give.send(sender).await.ok();
                response.header("Content-Type", "text/plain")
            }
        })
        .await?;
        let cluster = pair(app).await?;
        let mut connection = HttpConnection::open(cluster["caller"].daprd.http_port).await?;
        connection
            .send_head(&HttpRequest::new("GET", "/v1.0/invoke/callee/method/down"))
            .await?;
        let sender = take.recv().await.expect("the app is asked");
        let talk = async {
            for (index, text) in ["first", "second", "third"].into_iter().enumerate() {
                sender.send(Piece::Data(text.into())).await?;
                if index == 0 {
                    assert_eq!(connection.reply_head().await?.status, 200);
                }
                assert_eq!(connection.piece().await?.as_deref(), Some(text.as_bytes()));
            }
            drop(sender);
            assert_eq!(connection.piece().await?, None);
            Result::<_>::Ok(())
        };
        timeout(Duration::from_secs(10), talk).await??;
        Ok(())
    });
}

#[test]
fn server_sent_events_arrive_one_by_one_over_the_link_and_locally() {
    isolated!(async {
        let (give, mut take) = tokio::sync::mpsc::channel(4);
        let handler = move |_| {
            let (response, sender) = HttpResponse::stream(201);
            let give = give.clone();
            async move {
                give.send(sender).await.ok();
                response
                    .header("Content-Type", "text/event-stream; charset=utf-8")
                    .header("X-Mine", "1")
            }
        };
        let app = super::app(handler.clone()).await?;
        let caller_app = super::app(handler).await?;
        let caller = Daprd::builder("caller")?.app("http", caller_app.port());
        let callee = Daprd::builder("callee")?.app("http", app.port());
        let (caller, _callee) = both(caller, callee).await?;
        for target in ["callee", "caller"] {
            let mut connection = HttpConnection::open(caller.http_port).await?;
            let request = HttpRequest::new("GET", format!("/v1.0/invoke/{target}/method/events"))
                .header("Accept", " Text/Event-Stream ");
            connection.send_head(&request).await?;
            let sender = take.recv().await.expect("the app is asked");
            let talk = async {
                for index in 0..3 {
                    let event = format!("data: {index}\n\n");
                    sender.send(Piece::Data(event.clone().into())).await?;
                    if index == 0 {
                        let head = connection.reply_head().await?;
                        assert_eq!(head.status, 200);
                        assert_eq!(head.header("cache-control"), Some("no-cache"), "{target}");
                        assert_eq!(head.header("content-length"), None);
                        assert_eq!(head.header("x-mine"), Some("1"));
                        if target == "callee" {
                            assert_eq!(head.header("content-type"), Some("text/event-stream"));
                            assert_eq!(head.header("connection"), Some("keep-alive"));
                        }
                    }
                    assert_eq!(connection.piece().await?.as_deref(), Some(event.as_bytes()));
                }
                Result::<_>::Ok(())
            };
            timeout(Duration::from_secs(10), talk).await??;
            drop(sender);
            assert_eq!(connection.piece().await?, None);
        }
        Ok(())
    });
}

#[test]
fn an_app_that_gives_no_events_is_no_source_of_events() {
    isolated!(async {
        let app = super::app(async |_| HttpResponse::new(404, "no such stream")).await?;
        let cluster = pair(app).await?;
        let request =
            HttpRequest::new("GET", "/v1.0/invoke/callee/method/x").header("Accept", "text/event-stream");
        let reply = cluster["caller"].daprd.send(&request).await?;
        assert_failure(
            &reply,
            "callee",
            "rpc error: code = Internal desc = error invoking app channel: no response received from stream",
        );
        Ok(())
    });
}

#[test]
fn a_client_that_goes_away_ends_the_work_of_the_app() {
    isolated!(async {
        let (give, mut take) = tokio::sync::mpsc::channel(4);
        let app = super::app(move |_| {
            let (response, sender) = HttpResponse::stream(200);
            let give = give.clone();
            async move {
                give.send(sender).await.ok();
                response
            }
        })
        .await?;
        let cluster = pair(app).await?;
        let mut connection = HttpConnection::open(cluster["caller"].daprd.http_port).await?;
        connection
            .send_head(&HttpRequest::new("GET", "/v1.0/invoke/callee/method/endless"))
            .await?;
        let sender = take.recv().await.expect("the app is asked");
        sender.send(Piece::Data("x".into())).await?;
        connection.reply_head().await?;
        drop(connection);
        let work = async {
            while sender.send(Piece::Data(vec![b'x'; 1000].into())).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(10), work).await?;
        Ok(())
    });
}

#[test]
fn an_app_may_answer_before_it_has_read_the_request() {
    isolated!(async {
        let app = HttpApp::start_streaming(async |_, _| HttpResponse::new(403, "no need to go on")).await?;
        let cluster = pair(app).await?;
        let request =
            HttpRequest::new("POST", "/v1.0/invoke/callee/method/early").body(vec![b'x'; 3_000_000]);
        for request in [request.clone(), request.chunked([70_000])] {
            let reply = cluster["caller"].daprd.send(&request).await?;
            assert_eq!((reply.status, reply.text().as_str()), (403, "no need to go on"));
        }
        Ok(())
    });
}

#[test]
fn an_answer_that_breaks_off_is_cut_and_logged() {
    isolated!(async {
        let (give, mut take) = tokio::sync::mpsc::channel(4);
        let app = super::app(move |_| {
            let (response, sender) = HttpResponse::stream(200);
            let give = give.clone();
            async move {
                give.send(sender).await.ok();
                response
            }
        })
        .await?;
        let cluster = pair(app).await?;
        let caller = &cluster["caller"].daprd;
        let mut connection = HttpConnection::open(caller.http_port).await?;
        connection
            .send_head(&HttpRequest::new("GET", "/v1.0/invoke/callee/method/cut"))
            .await?;
        let sender = take.recv().await.expect("the app is asked");
        sender.send(Piece::Data("part".into())).await?;
        assert_eq!(connection.reply_head().await?.status, 200);
        assert_eq!(connection.piece().await?.as_deref(), Some(&b"part"[..]));
        sender.send(Piece::Cut).await?;
        assert!(connection.piece().await.is_err(), "the end is missing");
        caller
            .process
            .wait_for_line("HTTP service invocation failed to complete with error: ")
            .await?;
        Ok(())
    });
}
