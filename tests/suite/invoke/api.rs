//! The HTTP API beside invocation: health, metadata, what is not built, transports.

use outrigger_test_kit::http::{HttpConnection, raw, send_h2c};
use outrigger_test_kit::{Daprd, HttpRequest, isolated, until};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const NOWHERE: &str = r#"{"errorCode":"ERR_DIRECT_INVOKE","message":"failed getting app id either from the URL path or the header dapr-app-id"}"#;

/// Verb, target, body, status and body of the answers of a sidecar without components.
const ABSENT: [(&str, &str, &str, u16, &str); 13] = [
    (
        "GET",
        "/v1.0/secrets/nope/x",
        "",
        500,
        r#"{"errorCode":"ERR_SECRET_STORES_NOT_CONFIGURED","message":"secret store is not configured"}"#,
    ),
    (
        "POST",
        "/v1.0/bindings/nope",
        r#"{"operation":"create","data":1}"#,
        500,
        r#"{"errorCode":"ERR_INVOKE_OUTPUT_BINDING","message":"error invoking output binding nope: couldn't find output binding nope"}"#,
    ),
    (
        "POST",
        "/v1.0-alpha1/lock/nope",
        r#"{"resourceId":"a","lockOwner":"b","expiryInSeconds":3}"#,
        500,
        r#"{"errorCode":"ERR_LOCK_STORE_NOT_CONFIGURED","message":"lock store is not configured"}"#,
    ),
    (
        "POST",
        "/v1.0-alpha1/unlock/nope",
        r#"{"resourceId":"a","lockOwner":"b"}"#,
        500,
        r#"{"errorCode":"ERR_LOCK_STORE_NOT_CONFIGURED","message":"lock store is not configured"}"#,
    ),
    (
        "GET",
        "/v1.0/configuration/nope?key=a",
        "",
        500,
        r#"{"errorCode":"ERR_CONFIGURATION_STORE_NOT_CONFIGURED","message":"configuration stores not configured"}"#,
    ),
    (
        "GET",
        "/v1.0/actors/T/1/method/m",
        "",
        400,
        r#"{"errorCode":"ERR_ACTOR_NO_PLACEMENT","message":"placement service is not configured"}"#,
    ),
    (
        "GET",
        "/v1.0/workflows/dapr/1",
        "",
        400,
        r#"{"errorCode":"ERR_ACTOR_NO_PLACEMENT","message":"placement service is not configured"}"#,
    ),
    (
        "PUT",
        "/v1.0-alpha1/crypto/nope/encrypt",
        "x",
        500,
        r#"{"errorCode":"ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED","message":"crypto providers not configured"}"#,
    ),
    (
        "GET",
        "/v1.0-alpha1/jobs/j",
        "",
        500,
        r#"{"errorCode":"DAPR_SCHEDULER_GET_JOB","message":"failed to get job due to: scheduler clients are disabled","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":{"appID":"api","namespace":"default"},"reason":"DAPR_SCHEDULER_GET_JOB"}]}"#,
    ),
    (
        "POST",
        "/v1.0-alpha1/subtlecrypto/nope/sign",
        "{}",
        501,
        r#"{"errorCode":"ERR_API_UNIMPLEMENTED","message":"this API is currently not implemented"}"#,
    ),
    (
        "POST",
        "/v1.0-alpha1/conversation/nope/converse",
        r#"{"inputs":[{"content":"x"}]}"#,
        400,
        r#"{"errorCode":"ERR_CONVERSATION_NOT_FOUND","message":"failed finding conversation component nope"}"#,
    ),
    // A parameter that cannot be decoded is named.
    (
        "GET",
        "/v1.0/state/%zz/key",
        "",
        400,
        "failed to unescape request parameter \"storeName\". Error: invalid URL escape \"%zz\"\n",
    ),
    ("GET", "/nothing?x=%zz", "", 404, NOWHERE),
];

#[test]
fn what_is_not_configured_says_so_in_the_words_of_the_reference() {
    isolated!(async {
        let sidecar = Daprd::builder("api")?.start().await?;
        for (verb, target, body, status, text) in ABSENT {
            let request = HttpRequest::new(verb, target).body(body);
            let reply = sidecar.send(&request).await?;
            assert_eq!((reply.status, reply.text().as_str()), (status, text), "{target}");
            let kind = if text.starts_with('{') {
                "application/json"
            } else {
                "text/plain; charset=utf-8"
            };
            assert_eq!(
                reply.header("content-length"),
                Some(text.len().to_string().as_str()),
                "{target}"
            );
            assert!(
                reply
                    .header("content-type")
                    .is_some_and(|given| given.starts_with(&kind[..10])),
                "{target}: {:?}",
                reply.header("content-type")
            );
        }
        for (target, code, reason) in [
            (
                "/v1.0/state/nope/key",
                "ERR_STATE_STORE_NOT_CONFIGURED",
                "DAPR_STATE_NOT_CONFIGURED",
            ),
            (
                "/v1.0/publish/nope/orders",
                "ERR_PUBSUB_NOT_FOUND",
                "DAPR_PUBSUB_NOT_FOUND",
            ),
        ] {
            let verb = if target.contains("publish") { "POST" } else { "GET" };
            let reply = sidecar.send(&HttpRequest::new(verb, target)).await?;
            let body = reply.json()?;
            assert_eq!(body["errorCode"], code, "{body}");
            assert_eq!(body["details"][0]["reason"], reason, "{body}");
        }
        Ok(())
    });
}

#[test]
fn known_paths_with_other_verbs_are_not_found_and_never_405() {
    isolated!(async {
        let sidecar = Daprd::builder("api")?.start().await?;
        for (verb, path) in [
            ("DELETE", "/v1.0/healthz"),
            ("HEAD", "/v1.0/healthz"),
            ("OPTIONS", "/v1.0/metadata"),
            ("POST", "/v1.0/metadata"),
            ("PATCH", "/v1.0/state/store"),
            ("GET", "/v1.0/publish/pubsub/topic"),
            ("GET", "/v1.0/shutdown"),
            ("GET", "/v1.1/metadata"),
            ("GET", "/v1.0-alpha1/state/store/key"),
        ] {
            let reply = sidecar.send(&HttpRequest::new(verb, path)).await?;
            assert_eq!(reply.status, 404, "{verb} {path}");
            if verb != "HEAD" {
                assert_eq!(reply.text(), NOWHERE, "{verb} {path}");
            }
        }
        Ok(())
    });
}

#[test]
fn health_is_told_for_the_process_the_outbound_side_and_an_app_id() {
    isolated!(async {
        // Without its app the sidecar is not ready; outbound it is.
        let port = outrigger_test_kit::free_port()?;
        let sidecar = Daprd::builder("api")?.app("http", port).spawn()?;
        let outbound = until("the outbound side", async || {
            let reply = sidecar.get("/v1.0/healthz/outbound").await.ok()?;
            (reply.status == 204).then_some(reply)
        })
        .await?;
        assert_eq!((outbound.body.len(), outbound.header("content-type")), (0, None));
        let reply = sidecar.get("/v1.0/healthz").await?;
        assert_eq!(reply.status, 500);
        let body = reply.json()?;
        assert_eq!(body["errorCode"], "ERR_HEALTH_NOT_READY");
        let message = body["message"].as_str().unwrap_or_default();
        assert!(
            message.starts_with("dapr is not ready: [") && message.ends_with(']'),
            "{message}"
        );
        let app = outrigger_test_kit::HttpApp::start_as(Default::default(), port, async |_| {
            outrigger_test_kit::HttpResponse::ok("")
        })
        .await?;
        sidecar.ready().await?;
        let reply = sidecar.get("/v1.0/healthz").await?;
        assert_eq!((reply.status, reply.header("content-type")), (204, None));
        assert!(reply.header("date").is_some());
        assert_eq!(sidecar.get("/v1.0/healthz?appid=api").await?.status, 204);
        let reply = sidecar.get("/v1.0/healthz?appid=zzz").await?;
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (
                500,
                r#"{"errorCode":"ERR_HEALTH_APPID_NOT_MATCH","message":"dapr app-id does not match"}"#
            )
        );
        // The health of the app is not that of the sidecar.
        app.stop();
        assert_eq!(sidecar.get("/v1.0/healthz").await?.status, 204);
        Ok(())
    });
}

#[test]
fn metadata_tell_who_the_sidecar_is_and_keep_what_is_put() {
    isolated!(async {
        let app = outrigger_test_kit::HttpApp::echo().await?;
        let sidecar = Daprd::builder("api")?.app("http", app.port()).start().await?;
        let reply = sidecar.get("/v1.0/metadata").await?;
        assert_eq!(reply.header("content-type"), Some("application/json"));
        let body = reply.json()?;
        assert_eq!(body["id"], "api");
        assert_eq!(body["runtimeVersion"], body["extended"]["daprRuntimeVersion"]);
        assert_eq!(
            body["appConnectionProperties"],
            json!({"port": app.port(), "protocol": "http", "channelAddress": "127.0.0.1"})
        );
        assert_eq!(
            body["actorRuntime"],
            json!({"runtimeStatus": "DISABLED", "hostReady": false, "placement": "placement: disconnected"})
        );
        for absent in [
            "components",
            "subscriptions",
            "httpEndpoints",
            "scheduler",
            "workflows",
            "actors",
        ] {
            assert_eq!(body.get(absent), None, "{absent}");
        }
        let text = reply.text();
        let order: Vec<_> = [
            "\"id\"",
            "\"runtimeVersion\"",
            "\"extended\"",
            "\"appConnection",
            "\"actorRuntime\"",
        ]
        .iter()
        .map(|member| text.find(member))
        .collect();
        assert!(order.is_sorted() && order.iter().all(Option::is_some), "{text}");

        let put = |key: &str, value: &str| {
            HttpRequest::new("PUT", format!("/v1.0/metadata/{key}")).body(value.to_owned())
        };
        let reply = sidecar.send(&put("my%20key+x", "a <b> & ü")).await?;
        assert_eq!(
            (reply.status, reply.body.len(), reply.header("content-type")),
            (204, 0, None)
        );
        sidecar.send(&put("empty", "")).await?;
        let reply = sidecar.get("/v1.0/metadata").await?;
        let extended = reply.json()?["extended"].clone();
        assert_eq!(extended["my key x"], "a <b> & ü");
        assert_eq!(extended["empty"], "");
        assert!(
            reply.text().contains(r#""a \u003cb\u003e \u0026 ü""#),
            "{}",
            reply.text()
        );

        let client = sidecar.grpc().await?;
        let seen: outrigger_api::runtime::GetMetadataResponse = client
            .unary(
                "/dapr.proto.runtime.v1.Dapr/GetMetadata",
                http::HeaderMap::new(),
                &outrigger_api::runtime::GetMetadataRequest::default(),
            )
            .await?;
        assert_eq!(seen.id, "api");
        assert_eq!(seen.extended_metadata["my key x"], "a <b> & ü");
        Ok(())
    });
}

#[test]
fn paths_are_cleaned_before_they_are_routed() {
    isolated!(async {
        let sidecar = Daprd::builder("api")?.start().await?;
        for path in [
            "/v1.0//healthz",
            "/v1.0/healthz/",
            "//v1.0/./healthz",
            "/v1.0/x/../healthz",
            "/v1.0/healthz/outbound/",
        ] {
            assert_eq!(sidecar.get(path).await?.status, 204, "{path}");
        }
        for path in ["/v1.0%2Fhealthz", "/v1.0/x/%2E%2E/healthz"] {
            assert_eq!(sidecar.get(path).await?.status, 404, "{path}");
        }
        Ok(())
    });
}

#[test]
fn http2_is_spoken_at_once_and_after_an_upgrade_unless_it_is_turned_off() {
    isolated!(async {
        let app = outrigger_test_kit::HttpApp::echo().await?;
        let sidecar = Daprd::builder("api")?.app("http", app.port());
        let without = Daprd::builder("old")?.env("DAPR_HTTP_DISABLE_H2C", "true");
        let (sidecar, without) = super::both(sidecar, without).await?;
        let request = HttpRequest::new("GET", sidecar.url("/v1.0/healthz"));
        assert_eq!(send_h2c(&request).await?.status, 204);
        let request = HttpRequest::new("POST", sidecar.url("/v1.0/invoke/api/method/x"))
            .header("x-mine", "1")
            .body("hello");
        let reply = send_h2c(&request).await?;
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"));
        assert_eq!(app.requests_for("/x")[0].headers.get("x-mine"), Some("1"));
        assert!(
            send_h2c(&HttpRequest::new("GET", without.url("/v1.0/healthz")))
                .await
                .is_err()
        );

        let upgrade = "GET /v1.0/healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", sidecar.http_port)).await?;
        stream.write_all(upgrade.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head)?;
        assert!(
            head.starts_with("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"),
            "{head}"
        );
        let mut frame = [0; 9];
        stream.read_exact(&mut frame).await?;
        assert_eq!(frame[3], 4, "a SETTINGS frame comes first");

        let mut connection = HttpConnection::open(without.http_port).await?;
        connection.send_raw(upgrade.as_bytes()).await?;
        assert_eq!(connection.reply_head().await?.status, 204, "no upgrade");
        Ok(())
    });
}

#[test]
fn heads_that_are_too_long_are_refused() {
    isolated!(async {
        let sidecar = Daprd::builder("api")?.start().await?;
        let fits = HttpRequest::new("GET", "/v1.0/healthz").header("X-Long", "x".repeat(4000));
        assert_eq!(sidecar.send(&fits).await?.status, 204);
        let long = "x".repeat(8192);
        let reply = raw(
            sidecar.http_port,
            format!("GET /v1.0/healthz HTTP/1.1\r\nHost: x\r\nX-Long: {long}\r\n\r\n"),
        )
        .await?;
        assert!(
            reply.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"),
            "{reply}"
        );
        assert!(
            reply.contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"),
            "{reply}"
        );
        assert!(reply.contains("\r\nConnection: close\r\n"), "{reply}");
        assert!(
            reply.ends_with("\r\n\r\n431 Request Header Fields Too Large"),
            "{reply}"
        );

        let wide = Daprd::builder("wide")?
            .flag("read-buffer-size", "64Ki")
            .start()
            .await?;
        let request = HttpRequest::new("GET", "/v1.0/healthz").header("X-Long", "x".repeat(60_000));
        assert_eq!(wide.send(&request).await?.status, 204);
        Ok(())
    });
}

#[test]
fn a_socket_and_a_public_port_serve_what_they_should() {
    isolated!(async {
        let directory = outrigger_test_kit::Directory::new()?;
        let public = outrigger_test_kit::free_port()?;
        let sidecar = Daprd::builder("api")?
            .flag("dapr-public-port", public)
            .flag("dapr-public-listen-address", "127.0.0.1")
            .env("DAPR_API_TOKEN", "secret")
            .start()
            .await?;
        let url = |path: &str| format!("http://127.0.0.1:{public}{path}");
        let get = |path: &str| outrigger_test_kit::http::get(url(path));
        assert_eq!(get("/v1.0/healthz").await?.status, 204);
        assert_eq!(get("/v1.0/healthz/outbound").await?.status, 204);
        // No token is asked for.
        assert_eq!(get("/v1.0/metadata").await?.json()?["id"], "api");
        let reply = get("/v1.0/invoke/api/method/x").await?;
        assert_eq!(
            (reply.status, reply.text().trim_end()),
            (404, "404 page not found")
        );
        assert!(
            reply
                .header("content-type")
                .is_some_and(|kind| kind.starts_with("text/plain"))
        );
        let reply = outrigger_test_kit::http::post(url("/v1.0/healthz"), "").await?;
        assert_eq!(reply.status, 405);
        drop(sidecar);

        let sidecar = Daprd::builder("sock")?
            .flag("unix-domain-socket", directory.path().display())
            .spawn()?;
        let path = directory.path().join("dapr-sock-http.socket");
        sidecar
            .process
            .wait_for_line("HTTP server is running on a Unix Domain Socket")
            .await?;
        let mut stream = until("the socket", async || {
            tokio::net::UnixStream::connect(&path).await.ok()
        })
        .await?;
        stream
            .write_all(b"GET /v1.0/metadata HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await?;
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
        assert!(
            sidecar.get("/v1.0/healthz").await.is_err(),
            "the socket replaces the port"
        );
        assert!(directory.path().join("dapr-sock-grpc.socket").exists());
        Ok(())
    });
}

#[test]
fn bodies_of_the_api_have_the_limit_too() {
    isolated!(async {
        let sidecar = Daprd::builder("api")?
            .flag("max-body-size", "1Ki")
            .start()
            .await?;
        let request = HttpRequest::new("PUT", "/v1.0/metadata/key").body("x".repeat(1025));
        let reply = sidecar.send(&request).await?;
        assert_eq!(reply.status, 400);
        let expected: Value =
            json!({"errorCode": "ERR_BODY_READ", "message": "failed to read request body: stream too large"});
        assert_eq!(reply.text(), expected.to_string());
        Ok(())
    });
}
