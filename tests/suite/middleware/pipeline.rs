//! The order of handlers, and what passes by them.

use outrigger_test_kit::http::{HttpConnection, Piece};
use outrigger_test_kit::{HttpApp, HttpRequest, HttpResponse, isolated};

use super::{middleware, own, pipelines, sidecar};

#[test]
fn handlers_run_in_the_order_of_the_configuration() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        // The alias is outside of the rule: the rule sees the new path.
        let alias = middleware(
            "alias",
            "routeralias",
            &[("routes", "/old: /v1.0/invoke/a/method/new\n")],
        );
        let rule = middleware(
            "rule",
            "routerchecker",
            &[("rule", "^/v1.0/invoke/a/method/new$|healthz")],
        );
        let upper = middleware("upper", "uppercase", &[("direction", "both")]);
        let daprd = sidecar(&app)?
            .resource("1.yaml", &upper)?
            .resource("2.yaml", &rule)?
            .resource("3.yaml", &alias)?
            .configuration(&pipelines(
                &[
                    ("alias", "routeralias"),
                    ("rule", "routerchecker"),
                    ("upper", "uppercase"),
                ],
                &[],
            ))?
            .start()
            .await?;
        let reply = daprd.post("/old", "Hello, wörld").await?;
        assert_eq!((reply.status, reply.text().as_str()), (200, "HELLO, WÖRLD"));
        assert_eq!(app.requests_for("/new")[0].text(), "HELLO, WÖRLD");
        let refused = daprd.get(&own("other")).await?;
        assert_eq!((refused.status, refused.text().as_str()), (400, "invalid router"));
        assert!(
            refused
                .header("content-type")
                .is_some_and(|kind| kind.starts_with("text/plain"))
        );
        // Its answers count, and unknown paths go through it.
        assert_eq!(daprd.get("/nothing").await?.status, 400);
        for line in [
            "Building pipeline server",
            "Adding middleware.http.uppercase/v1 upper middleware",
        ] {
            daprd
                .process
                .wait_for_line(&format!("level=info msg=\"{line}\""))
                .await?;
        }
        assert_eq!(daprd.process.lines_with("Building pipeline app").len(), 0);
        Ok(())
    });
}

#[test]
fn a_handler_that_is_not_there_is_left_out() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let daprd = sidecar(&app)?
            .resource(
                "1.yaml",
                &middleware("upper", "uppercase", &[("direction", "response")]),
            )?
            .configuration(&pipelines(
                &[("nowhere", "bearer"), ("upper", "bearer"), ("upper", "uppercase")],
                &[],
            ))?
            .start()
            .await?;
        assert_eq!(daprd.post(&own("x"), "abc").await?.text(), "ABC");
        let shown = daprd.get("/v1.0/metadata").await?.text();
        assert!(
            shown.contains(
                r#""COMPONENTS":[{"NAME":"UPPER","TYPE":"MIDDLEWARE.HTTP.UPPERCASE","VERSION":"V1"}]"#
            ),
            "{shown}"
        );
        Ok(())
    });
}

#[test]
fn a_request_without_the_token_never_reaches_the_handlers() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let daprd = sidecar(&app)?
            .resource(
                "1.yaml",
                &middleware("limit", "ratelimit", &[("maxRequestsPerSecond", "1")]),
            )?
            .configuration(&pipelines(&[("limit", "ratelimit")], &[]))?
            .env("DAPR_API_TOKEN", "t")
            .flag("enable-metrics", true)
            .spawn()?;
        daprd.process.wait_for_line("dapr initialized").await?;
        let refused = daprd.get("/v1.0/metadata").await?;
        assert_eq!(
            (refused.status, refused.header("x-rate-limit-limit")),
            (401, None)
        );
        let request = HttpRequest::new("GET", "/v1.0/metadata").header("dapr-api-token", "t");
        let passed = daprd.send(&request).await?;
        assert_eq!(
            (passed.status, passed.header("x-rate-limit-limit")),
            (200, Some("1.00"))
        );
        Ok(())
    });
}

#[test]
fn bodies_stream_through_handlers() {
    isolated!(async {
        // The app answers piece by piece, each after it has seen one.
        let app = HttpApp::start_streaming(async |_, mut pieces| {
            let (response, answer) = HttpResponse::stream(200);
            tokio::spawn(async move {
                while let Some(piece) = pieces.recv().await {
                    if answer.send(Piece::Data(piece)).await.is_err() {
                        return;
                    }
                }
            });
            response
        })
        .await?;
        let alias = middleware("alias", "routeralias", &[("routes", "/none: /nowhere")]);
        let upper = middleware("upper", "uppercase", &[("direction", "both")]);
        let handlers = [("alias", "routeralias"), ("upper", "uppercase")];
        let daprd = sidecar(&app)?
            .resource("1.yaml", &alias)?
            .resource("2.yaml", &upper)?
            .configuration(&pipelines(&handlers, &handlers))?
            .start()
            .await?;
        let mut connection = HttpConnection::open(daprd.http_port).await?;
        let request = HttpRequest::new("POST", own("echo")).header("Transfer-Encoding", "chunked");
        connection.send_head(&request).await?;
        connection.send_chunk(b"one").await?;
        assert_eq!(connection.reply_head().await?.status, 200);
        assert_eq!(connection.piece().await?.as_deref(), Some(&b"ONE"[..]));
        connection.send_chunk(b"two").await?;
        assert_eq!(connection.piece().await?.as_deref(), Some(&b"TWO"[..]));
        connection.send_chunk(b"").await?;
        assert_eq!(connection.piece().await?, None);
        Ok(())
    });
}
