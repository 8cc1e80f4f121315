//! Who may use the API, and what is written about its use: tokens, lists, CORS, log.

use http::HeaderMap;
use outrigger_test_kit::grpc::metadata;
use outrigger_test_kit::http::HttpConnection;
use outrigger_test_kit::{Daprd, GrpcApp, HttpApp, HttpReply, HttpRequest, isolated};

const GET_METADATA: &str = "/dapr.proto.runtime.v1.Dapr/GetMetadata";

fn configuration(spec: &str) -> String {
    format!("apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {{name: c}}\nspec: {spec}\n")
}

/// The values of all headers of a name, in order.
fn all(reply: &HttpReply, name: &str) -> Vec<String> {
    reply
        .headers
        .all(name)
        .flat_map(|value| value.split(", "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_token_is_asked_for_everywhere_but_at_the_health_checks() {
    isolated!(async {
        let app = GrpcApp::echo().await?;
        let sidecar = Daprd::builder("safe")?
            .app("grpc", app.port())
            .env("DAPR_API_TOKEN", "secret")
            .start()
            .await?;
        for path in ["/v1.0/healthz", "/v1.0/healthz/", "/v1.0/healthz/outbound"] {
            assert_eq!(sidecar.get(path).await?.status, 204, "{path}");
        }
        for path in ["/v1.0/metadata", "/v1.0/invoke/safe/method/x", "/nothing"] {
            for token in [None, Some("wrong"), Some("")] {
                let request = HttpRequest::new("GET", path);
                let request = match token {
                    Some(token) => request.header("dapr-api-token", token),
                    None => request,
                };
                let reply = sidecar.send(&request).await?;
                assert_eq!(
                    (reply.status, reply.text().as_str()),
                    (401, "invalid api token\n"),
                    "{path}"
                );
                assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
                assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
            }
        }
        let request = HttpRequest::new("GET", "/v1.0/metadata").header("Dapr-Api-Token", "secret");
        assert_eq!(sidecar.send(&request).await?.status, 200);

        let client = sidecar.grpc().await?;
        for (sent, text) in [
            (HeaderMap::new(), "missing api token in request metadata"),
            (
                metadata([("dapr-api-token", "wrong")]),
                "authentication error: api token mismatch",
            ),
        ] {
            for path in [GET_METADATA, "/mine.Service/Echo"] {
                let mut sent = sent.clone();
                sent.extend(metadata([("dapr-app-id", "safe")]));
                let reply = client.call(path, sent, [""]).await?;
                assert_eq!(
                    (reply.status, reply.message.as_str()),
                    (16, "Unauthorized"),
                    "{path}"
                );
                let details = reply.trailers["grpc-status-details-bin"].as_bytes();
                let details = base64::Engine::decode(
                    &base64::prelude::BASE64_STANDARD_NO_PAD,
                    String::from_utf8_lossy(details).trim_end_matches('='),
                )?;
                let details = String::from_utf8_lossy(&details).into_owned();
                assert!(details.contains(text), "{details}");
                assert!(details.contains("http.code"), "{details}");
            }
        }
        let sent = metadata([("dapr-api-token", "secret"), ("dapr-app-id", "safe")]);
        assert_eq!(client.call(GET_METADATA, sent.clone(), [""]).await?.status, 0);
        assert_eq!(client.call("/mine.Service/Echo", sent, ["x"]).await?.status, 0);
        assert_eq!(app.calls("/mine.Service/Echo")[0].get("dapr-api-token"), None);
        Ok(())
    });
}

#[test]
fn lists_take_apis_away() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let yaml = configuration(
            "{api: {denied: [{name: metadata, version: v1, protocol: http}, {name: metadata, version: v1, protocol: grpc}]}}",
        );
        let denying = Daprd::builder("denying")?
            .app("http", app.port())
            .configuration(&yaml)?;
        let yaml = configuration("{api: {allowed: [{name: state, version: v1.0, protocol: HTTP}]}}");
        let allowing = Daprd::builder("allowing")?
            .app("http", app.port())
            .configuration(&yaml)?;
        let (denying, allowing) = super::both(denying, allowing).await?;

        assert_eq!(denying.invoke("denying", "x").await?.status, 200);
        let reply = denying.get("/v1.0/metadata").await?;
        assert_eq!(reply.status, 404);
        assert_eq!(reply.json()?["errorCode"], "ERR_DIRECT_INVOKE");
        let client = denying.grpc().await?;
        let reply = client.call(GET_METADATA, HeaderMap::new(), [""]).await?;
        assert_eq!((reply.status, reply.message.as_str()), (12, "Not Implemented"));
        let details = reply.trailers["grpc-status-details-bin"].as_bytes();
        let details = base64::Engine::decode(
            &base64::prelude::BASE64_STANDARD_NO_PAD,
            String::from_utf8_lossy(details).trim_end_matches('='),
        )?;
        let details = String::from_utf8_lossy(&details).into_owned();
        assert!(
            details.contains("requested endpoint is not available"),
            "{details}"
        );

        // Without the invoke API there is no fallback.
        assert_eq!(allowing.get("/v1.0/healthz").await?.status, 204);
        for path in ["/v1.0/metadata", "/v1.0/invoke/allowing/method/x", "/nothing"] {
            let reply = allowing.get(path).await?;
            assert_eq!(
                (reply.status, reply.text().trim_end()),
                (404, "404 page not found"),
                "{path}"
            );
        }
        let reply = allowing.send(&HttpRequest::new("PATCH", "/v1.0/state/s")).await?;
        assert_eq!((reply.status, reply.body.len()), (405, 0));
        assert_eq!(allowing.get("/v1.0/state/s/k").await?.status, 500);
        // The rules are for HTTP only.
        let client = allowing.grpc().await?;
        assert_eq!(client.call(GET_METADATA, HeaderMap::new(), [""]).await?.status, 0);
        Ok(())
    });
}

#[test]
fn browsers_of_allowed_origins_are_let_in() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let some = Daprd::builder("some")?
            .app("http", app.port())
            .env("DAPR_API_TOKEN", "secret")
            .flag("allowed-origins", "http://one.example,https://*.two.example");
        let any = Daprd::builder("any")?.flag("allowed-origins", "*");
        let (some, any) = super::both(some, any).await?;
        let preflight = |origin: &str| {
            HttpRequest::new("OPTIONS", "/v1.0/metadata")
                .header("Origin", origin)
                .header("Access-Control-Request-Method", "PUT")
                .header("Access-Control-Request-Headers", "x-mine")
        };
        for origin in ["http://one.example", "https://a.two.example"] {
            // Before the token is asked for.
            let reply = some.send(&preflight(origin)).await?;
            assert_eq!((reply.status, reply.body.len()), (200, 0));
            assert_eq!(all(&reply, "access-control-allow-origin"), [origin]);
            assert_eq!(all(&reply, "access-control-allow-methods"), ["PUT"]);
            assert_eq!(
                all(&reply, "access-control-allow-headers")
                    .join(",")
                    .to_ascii_lowercase(),
                "x-mine"
            );
            assert_eq!(
                all(&reply, "vary"),
                [
                    "Origin",
                    "Access-Control-Request-Method",
                    "Access-Control-Request-Headers"
                ]
            );
            let request = HttpRequest::new("GET", "/v1.0/metadata")
                .header("Origin", origin)
                .header("dapr-api-token", "secret");
            let reply = some.send(&request).await?;
            assert_eq!(reply.status, 200);
            assert_eq!(all(&reply, "access-control-allow-origin"), [origin]);
            assert_eq!(all(&reply, "vary"), ["Origin"]);
        }
        let reply = some.send(&preflight("http://evil.example")).await?;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("access-control-allow-origin"), None);
        let reply = any.send(&preflight("http://evil.example")).await?;
        assert_eq!(all(&reply, "access-control-allow-origin"), ["*"]);
        // A request of no browser is none of this.
        let reply = any.get("/v1.0/healthz").await?;
        assert_eq!(
            (reply.status, all(&reply, "vary")),
            (204, vec!["Origin".to_owned()])
        );
        Ok(())
    });
}

#[test]
fn calls_of_the_api_are_logged_with_what_was_asked() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let sidecar = Daprd::builder("loud")?
            .app("http", app.port())
            .flag("enable-api-logging", true)
            .flag("log-level", "error");
        let yaml = configuration(
            "{logging: {apiLogging: {enabled: true, obfuscateURLs: true, omitHealthChecks: true}}}",
        );
        let quiet = Daprd::builder("quiet")?
            .app("http", app.port())
            .configuration(&yaml)?;
        let (sidecar, quiet) = super::both(sidecar, quiet).await?;
        for sidecar in [&sidecar, &quiet] {
            let id = &sidecar.app_id;
            let mut connection = HttpConnection::open(sidecar.http_port).await?;
            for path in [
                "/v1.0/healthz".to_owned(),
                format!("/v1.0/invoke/{id}/method/secret?a=b"),
                "/v1.0/metadata".to_owned(),
            ] {
                let request = HttpRequest::new("GET", path).header("User-Agent", "curl/7");
                connection.send(&request).await?;
            }
            let client = sidecar.grpc().await?;
            client.call(GET_METADATA, HeaderMap::new(), [""]).await?;
            let line = sidecar.process.wait_for_line("gRPC API Called").await?;
            assert!(
                line.contains("method=/dapr.proto.runtime.v1.Dapr/GetMetadata"),
                "{line}"
            );
            assert!(line.contains("scope=dapr.runtime.grpc.api-info"), "{line}");
            assert!(line.contains(" code=0 "), "{line}");
        }
        let lines = sidecar.process.lines_with("HTTP API Called");
        let find = |lines: &[String], text: &str| {
            let found: Vec<_> = lines.iter().filter(|line| line.contains(text)).cloned().collect();
            assert!(!found.is_empty(), "{text} in {lines:#?}");
            found[found.len() - 1].clone()
        };
        let line = find(&lines, "method=\"GET /v1.0/invoke/loud/method/secret\"");
        for field in [
            "level=info",
            "scope=dapr.runtime.http-info",
            "useragent=curl/7",
            " code=200 ",
            " size=",
            " duration=",
        ] {
            assert!(line.contains(field), "{field} in {line}");
        }
        find(&lines, "method=\"GET /v1.0/healthz\"");
        find(&lines, "method=\"GET /v1.0/metadata\"");

        let lines = quiet.process.lines_with("HTTP API Called");
        find(&lines, "method=InvokeService/quiet");
        find(&lines, "method=GetMetadata");
        assert!(!lines.iter().any(|line| line.contains("ealthz")), "{lines:#?}");
        Ok(())
    });
}
