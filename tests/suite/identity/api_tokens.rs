//! The token between an app and its sidecar, in both directions, and lists of allowed APIs.

use http::HeaderMap;
use outrigger_test_kit::grpc::metadata;
use outrigger_test_kit::{Daprd, GrpcReply, HttpApp, HttpRequest, Result, isolated};

const METADATA: &str = "/dapr.proto.runtime.v1.Dapr/GetMetadata";

/// Details of a refusal for want of a token, as base64 without padding. The entries of the map may change places.
const MISSING: [&str; 2] = [
    "CBASDFVuYXV0aG9yaXplZBqSAQoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLkVycm9ySW5mbxJmCgxVbmF1dGhvcml6ZWQSB2RhcHIu\
     aW8aEAoJaHR0cC5jb2RlEgM0MDEaOwoSaHR0cC5lcnJvcl9tZXNzYWdlEiVtaXNzaW5nIGFwaSB0b2tlbiBpbiByZXF1ZXN0IG1ldGFkYXRh",
    "CBASDFVuYXV0aG9yaXplZBqSAQoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLkVycm9ySW5mbxJmCgxVbmF1dGhvcml6ZWQSB2RhcHIu\
     aW8aOwoSaHR0cC5lcnJvcl9tZXNzYWdlEiVtaXNzaW5nIGFwaSB0b2tlbiBpbiByZXF1ZXN0IG1ldGFkYXRhGhAKCWh0dHAuY29kZRIDNDAx",
];

/// Details of a refused API; the map in the order of the sheet.
const NOT_IMPLEMENTED: &str = "CAwSD05vdCBJbXBsZW1lbnRlZBqTAQoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLkVycm9ySW5mbxJnCg9Ob3QgSW1wbGVtZW50ZWQS\
     B2RhcHIuaW8aEAoJaHR0cC5jb2RlEgM1MDEaOQoSaHR0cC5lcnJvcl9tZXNzYWdlEiNyZXF1ZXN0ZWQgZW5kcG9pbnQgaXMgbm90IGF2YWlsYWJs\
     ZQ";

fn details(reply: &GrpcReply) -> &str {
    reply
        .trailers
        .get("grpc-status-details-bin")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

#[test]
fn the_http_api_wants_the_token_everywhere_but_for_health() {
    isolated!(async {
        let daprd = Daprd::builder("a")?
            .env("DAPR_API_TOKEN", "tok123")
            .start()
            .await?;
        for (verb, path, status) in [
            ("GET", "/v1.0/metadata", 401),
            ("GET", "/v1.0/healthz", 204),
            ("GET", "/v1.0/healthz/", 204),
            ("GET", "/v1.0/healthz/outbound", 204),
            ("POST", "/v1.0/healthz", 401),
            ("GET", "/v1.0/healthz/x", 401),
            ("GET", "/v1.0/metadata?x=/healthz", 401),
            ("GET", "/v1.0/metadata?/v1.0/healthz", 401),
            ("GET", "/v1.0/metadata/healthz", 401),
            ("GET", "/no/such/path", 401),
            ("POST", "/v1.0/shutdown", 401),
        ] {
            let reply = daprd.send(&HttpRequest::new(verb, path)).await?;
            assert_eq!(reply.status, status, "{verb} {path}");
            if status == 401 {
                assert_eq!(reply.text(), "invalid api token\n", "{verb} {path}");
                assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
                assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
            }
        }
        for (token, status) in [
            ("tok123", 200),
            ("tok124", 401),
            ("tok12", 401),
            ("", 401),
            ("TOK123", 401),
        ] {
            let request = HttpRequest::new("GET", "/v1.0/metadata").header("dapr-api-token", token);
            assert_eq!(daprd.send(&request).await?.status, status, "{token:?}");
        }
        Ok(())
    });
}

#[test]
fn the_grpc_api_wants_the_token_for_every_service() {
    isolated!(async {
        let daprd = Daprd::builder("a")?
            .env("DAPR_API_TOKEN", "tok123")
            .start()
            .await?;
        let client = daprd.grpc().await?;
        let reply = client.call(METADATA, HeaderMap::new(), [""]).await?;
        assert_eq!((reply.status, reply.message.as_str()), (16, "Unauthorized"));
        assert!(MISSING.contains(&details(&reply)), "{}", details(&reply));

        let wrong = metadata([("dapr-api-token", "wrong")]);
        let reply = client.call(METADATA, wrong, [""]).await?;
        assert_eq!((reply.status, reply.message.as_str()), (16, "Unauthorized"));
        let bytes =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD_NO_PAD, details(&reply))?;
        let text = String::from_utf8_lossy(&bytes);
        assert!(
            text.contains("authentication error: api token mismatch"),
            "{text:?}"
        );

        for path in [
            "/grpc.health.v1.Health/Check",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            "/any.Service/Method",
            "/dapr.proto.runtime.v1.Dapr/Shutdown",
        ] {
            assert_eq!(
                client.call(path, HeaderMap::new(), [""]).await?.status,
                16,
                "{path}"
            );
        }
        let right = metadata([("dapr-api-token", "tok123")]);
        assert_eq!(client.call(METADATA, right, [""]).await?.status, 0);
        Ok(())
    });
}

#[test]
fn the_app_sees_its_own_token_and_never_that_of_a_caller() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let with_token = Daprd::builder("callee")?
            .app("http", app.port())
            .env("DAPR_API_TOKEN", "tok123")
            .env("APP_API_TOKEN", "apptok")
            .start()
            .await?;
        let call =
            HttpRequest::new("GET", "/v1.0/invoke/callee/method/hello").header("dapr-api-token", "tok123");
        assert_eq!(with_token.send(&call).await?.status, 200);
        assert_eq!(tokens(&app, "/hello"), ["apptok"]);
        assert_eq!(tokens(&app, "/dapr/config"), ["apptok"]);

        let plain_app = HttpApp::echo().await?;
        let without_token = Daprd::builder("plain")?
            .app("http", plain_app.port())
            .start()
            .await?;
        let call =
            HttpRequest::new("GET", "/v1.0/invoke/plain/method/hello").header("dapr-api-token", "secret");
        assert_eq!(without_token.send(&call).await?.status, 200);
        assert_eq!(tokens(&plain_app, "/hello"), [""; 0]);

        // The caller's tokens stay where they are.
        app.clear();
        let call =
            HttpRequest::new("GET", "/v1.0/invoke/plain/method/remote").header("dapr-api-token", "tok123");
        assert_eq!(with_token.send(&call).await?.status, 200);
        assert_eq!(tokens(&plain_app, "/remote"), [""; 0]);
        let call =
            HttpRequest::new("GET", "/v1.0/invoke/callee/method/remote").header("dapr-api-token", "secret");
        assert_eq!(without_token.send(&call).await?.status, 200);
        assert_eq!(tokens(&app, "/remote"), ["apptok"]);
        Ok(())
    });
}

#[test]
fn the_probe_of_the_app_carries_no_token() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let _daprd = Daprd::builder("a")?
            .app("http", app.port())
            .flag("enable-app-health-check", true)
            .env("APP_API_TOKEN", "apptok")
            .start()
            .await?;
        app.wait_for_requests("/healthz", 1).await?;
        assert_eq!(tokens(&app, "/healthz"), [""; 0]);
        app.wait_for_requests("/dapr/config", 1).await?;
        assert_eq!(tokens(&app, "/dapr/config"), ["apptok"]);
        Ok(())
    });
}

#[test]
fn an_api_that_is_not_allowed_does_not_exist() {
    isolated!(async {
        let yaml = "spec: {api: {denied: [{name: metadata, version: v1, protocol: http}, {name: metadata, version: v1, \
            protocol: grpc}]}}";
        let daprd = Daprd::builder("a")?.configuration(yaml)?.start().await?;
        // What is left is the way that invokes apps, which finds none here.
        let reply = daprd.get("/v1.0/metadata").await?;
        assert_eq!(reply.status, 404);
        let reply = daprd.grpc().await?.call(METADATA, HeaderMap::new(), [""]).await?;
        assert_eq!((reply.status, reply.message.as_str()), (12, "Not Implemented"));
        assert_eq!(sorted(details(&reply))?, sorted(NOT_IMPLEMENTED)?);

        let yaml = "spec: {api: {denied: [{name: invoke, version: v1, protocol: http}]}}";
        let daprd = Daprd::builder("a")?.configuration(yaml)?.start().await?;
        let reply = daprd.invoke("a", "x").await?;
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (404, "404 page not found\n")
        );
        assert_eq!(daprd.get("/v1.0/metadata").await?.status, 200);
        Ok(())
    });
}

#[test]
fn an_allow_list_leaves_health_and_what_is_on_it() {
    isolated!(async {
        let yaml = "spec: {api: {allowed: [{name: invoke, version: v1, protocol: http}, {name: invoke, version: v1, \
            protocol: grpc}]}}";
        let daprd = Daprd::builder("a")?
            .configuration(yaml)?
            .env("DAPR_API_TOKEN", "tok123")
            .start()
            .await?;
        assert_eq!(daprd.get("/v1.0/healthz").await?.status, 204);
        let client = daprd.grpc().await?;
        // The list comes before the token.
        let reply = client.call(METADATA, HeaderMap::new(), [""]).await?;
        assert_eq!((reply.status, reply.message.as_str()), (12, "Not Implemented"));
        let reply = client
            .call(
                "/dapr.proto.runtime.v1.Dapr/InvokeService",
                HeaderMap::new(),
                [""],
            )
            .await?;
        assert_eq!(reply.status, 16);
        Ok(())
    });
}

fn tokens(app: &HttpApp, path: &str) -> Vec<String> {
    let requests = app.requests_for(path);
    let tokens = requests
        .iter()
        .flat_map(|request| request.headers.all("dapr-api-token"));
    tokens.map(str::to_owned).collect()
}

/// The bytes of the details, which are the same whatever the order of a map is.
fn sorted(details: &str) -> Result<Vec<u8>> {
    let mut bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD_NO_PAD, details)?;
    bytes.sort_unstable();
    Ok(bytes)
}
