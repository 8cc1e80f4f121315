//! Statuses and bodies of apps, as callers see them.

use outrigger_test_kit::http::{HttpConnection, raw};
use outrigger_test_kit::{HttpRequest, HttpResponse, isolated};

use super::pair;

#[test]
fn every_status_of_an_app_reaches_the_caller() {
    isolated!(async {
        let app = super::app(async |request: HttpRequest| {
            let status = request.path()[1..].parse().expect("a number");
            let response = HttpResponse::new(status, "body").header("X-Mine", "1");
            match status {
                204 | 304 => response.without_body(),
                _ => response,
            }
        })
        .await?;
        let cluster = pair(app).await?;
        let caller = &cluster["caller"].daprd;
        for status in [
            200, 201, 202, 203, 206, 226, 299, 300, 301, 302, 303, 307, 308, 399, 400, 401, 403, 404, 405,
            409, 413, 418, 429, 451, 499, 500, 501, 502, 503, 504, 509, 546, 599, 600, 799, 999,
        ] {
            let reply = caller.invoke("callee", &status.to_string()).await?;
            assert_eq!((reply.status, reply.text().as_str()), (status, "body"));
            assert_eq!(reply.header("x-mine"), Some("1"), "{status}");
        }
        for status in [204, 304] {
            let reply = caller.invoke("callee", &status.to_string()).await?;
            assert_eq!((reply.status, reply.body.len()), (status, 0));
            assert_eq!(reply.header("content-length"), None, "{status}");
            assert_eq!(reply.header("transfer-encoding"), None, "{status}");
        }
        // Nothing was asked for twice.
        assert_eq!(cluster["callee"].app.requests().len(), 38);
        Ok(())
    });
}

#[test]
fn a_redirect_is_the_callers_to_follow() {
    isolated!(async {
        let app = super::app(async |_| {
            HttpResponse::new(302, "moved").header("Location", "http://127.0.0.1:1/elsewhere")
        })
        .await?;
        let cluster = pair(app).await?;
        let reply = cluster["caller"].invoke("callee", "old").await?;
        assert_eq!((reply.status, reply.text().as_str()), (302, "moved"));
        assert_eq!(reply.header("location"), Some("http://127.0.0.1:1/elsewhere"));
        assert_eq!(cluster["callee"].app.requests().len(), 1);
        Ok(())
    });
}

#[test]
fn failures_of_an_app_keep_their_body_and_have_a_length() {
    isolated!(async {
        let app = super::app(async |request: HttpRequest| match request.path() {
            "/typed" => HttpResponse::new(418, "short and stout").header("Content-Type", "text/plain"),
            "/streamed" => {
                let (response, sender) = HttpResponse::stream(500);
                for piece in ["one ", "two"] {
                    let piece = outrigger_test_kit::http::Piece::Data(piece.into());
                    sender.try_send(piece).expect("there is room");
                }
                response
            }
            _ => HttpResponse::new(503, ""),
        })
        .await?;
        let cluster = pair(app).await?;
        let caller = &cluster["caller"].daprd;
        for (method, status, body, kind) in [
            ("typed", 418, "short and stout", "text/plain"),
            ("streamed", 500, "one two", "application/json"),
            ("empty", 503, "", "application/json"),
        ] {
            let reply = caller.invoke("callee", method).await?;
            assert_eq!((reply.status, reply.text().as_str()), (status, body));
            assert_eq!(reply.header("content-type"), Some(kind), "{method}");
            assert_eq!(
                reply.header("content-length"),
                Some(body.len().to_string().as_str())
            );
        }
        let reason = raw(
            caller.http_port,
            "GET /v1.0/invoke/callee/method/typed HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        .await?;
        assert!(reason.starts_with("HTTP/1.1 418 I'm a teapot\r\n"), "{reason}");
        Ok(())
    });
}

#[test]
fn empty_answers_and_answers_to_head_leave_the_connection_usable() {
    isolated!(async {
        let app = super::app(async |request: HttpRequest| match request.path() {
            "/empty" => HttpResponse::ok(""),
            "/none" => HttpResponse::new(204, "").without_body(),
            _ => HttpResponse::ok("not shown"),
        })
        .await?;
        let cluster = pair(app).await?;
        let mut connection = HttpConnection::open(cluster["caller"].daprd.http_port).await?;
        for target in ["callee", "caller"] {
            for (verb, method, status) in [
                ("GET", "empty", 200),
                ("HEAD", "long", 200),
                ("GET", "none", 204),
                ("POST", "empty", 200),
            ] {
                let path = format!("/v1.0/invoke/{target}/method/{method}");
                let reply = connection.send(&HttpRequest::new(verb, path)).await?;
                let status = if target == "callee" { status } else { 200 };
                assert_eq!(
                    (reply.status, reply.body.len()),
                    (status, 0),
                    "{target} {verb} {method}"
                );
            }
        }
        let reply = connection
            .send(&HttpRequest::new("GET", "/v1.0/invoke/callee/method/long"))
            .await?;
        assert_eq!(reply.text(), "not shown");
        Ok(())
    });
}

#[test]
fn a_length_that_an_app_does_not_keep_does_not_reach_the_caller() {
    isolated!(async {
        let app = super::app(async |_| HttpResponse::ok("x").header("X-A", "1")).await?;
        let cluster = pair(app).await?;
        let reply = cluster["caller"].invoke("callee", "x").await?;
        assert_eq!(reply.header("content-length"), None);
        assert_eq!(reply.header("transfer-encoding"), Some("chunked"));
        assert_eq!(reply.text(), "x");
        Ok(())
    });
}

#[test]
fn interim_answers_are_passed_over() {
    isolated!(async {
        // An app by hand: 102 and 103 before the answer.
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let app = tokio::spawn(async move {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            loop {
                let Ok((mut stream, _)) = listener.accept().await else {
                    return;
                };
                let mut head = vec![0; 4096];
                if stream.read(&mut head).await.is_err() {
                    return;
                }
                let answer = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\
                     Connection: close\r\n\r\nlate";
                stream.write_all(answer.as_bytes()).await.ok();
            }
        });
        let callee = outrigger_test_kit::Daprd::builder("callee")?.app("http", port);
        let (caller, _callee) = super::both(outrigger_test_kit::Daprd::builder("caller")?, callee).await?;
        let reply = caller.invoke("callee", "x").await?;
        assert_eq!((reply.status, reply.text().as_str()), (200, "late"));
        app.abort();
        Ok(())
    });
}
