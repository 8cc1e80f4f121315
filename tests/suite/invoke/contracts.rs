//! Small contracts of the API, of its metrics and of the start.

use http::HeaderMap;
use outrigger_api::common::{HttpExtension, InvokeRequest, http_extension::Verb};
use outrigger_api::internals::{InternalInvokeRequest, ListStringValue};
use outrigger_test_kit::{Daprd, GrpcClient, HttpApp, HttpRequest, HttpResponse, isolated};
use prost::Message as _;
use serde_json::json;

use super::both;

#[test]
fn credentials_that_name_an_empty_app_name_none() {
    isolated!(async {
        let sidecar = Daprd::builder("caller")?.start().await?;
        for (path, user) in [
            ("/x", "dapr-app-id:"),
            ("/v1.0/invoke/caller/method/x", "Dapr-App-Id:"),
        ] {
            let credentials = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, user);
            let request =
                HttpRequest::new("GET", path).header("authorization", format!("Basic {credentials}"));
            let reply = sidecar.send(&request).await?;
            let message = "failed getting app id either from the URL path or the header dapr-app-id";
            let body = json!({"errorCode": "ERR_DIRECT_INVOKE", "message": message});
            assert_eq!((reply.status, reply.text()), (404, body.to_string()), "{path}");
        }
        Ok(())
    });
}

#[test]
fn the_metadata_shows_how_an_app_would_be_reached_without_a_port_too() {
    isolated!(async {
        let sidecar = Daprd::builder("bare")?.start().await?;
        let metadata = sidecar.get("/v1.0/metadata").await?;
        let shown = r#""appConnectionProperties":{"protocol":"http","channelAddress":"127.0.0.1"}"#;
        assert!(metadata.text().contains(shown), "{}", metadata.text());
        Ok(())
    });
}

#[test]
fn a_port_that_is_taken_is_told_in_the_words_of_the_reference() {
    isolated!(async {
        let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let port = taken.local_addr()?.port();
        let mut sidecar = Daprd::builder("late")?.flag("metrics-port", port).spawn()?;
        assert_eq!(sidecar.process.exit().await?.code(), Some(1));
        let text = format!(
            "Fatal error from runtime: failed to start metrics server: listen tcp 127.0.0.1:{port}: bind: address already in use"
        );
        sidecar.process.wait_for_line(&text).await?;
        assert!(sidecar.process.lines_with("os error").is_empty());
        Ok(())
    });
}

#[test]
fn a_query_without_a_state_store_tells_the_app_id() {
    isolated!(async {
        let sidecar = Daprd::builder("asker")?.start().await?;
        let reply = sidecar.post("/v1.0-alpha1/state/s/query", "{}").await?;
        assert_eq!(reply.status, 500);
        let body = reply.json()?;
        assert_eq!(body["errorCode"], "ERR_STATE_STORE_NOT_CONFIGURED");
        assert_eq!(body["message"], "state store s is not configured");
        assert_eq!(body["details"][0]["metadata"], json!({"appID": "asker"}));
        Ok(())
    });
}

#[test]
fn a_server_outside_is_called_by_the_proxy_of_the_environment() {
    isolated!(async {
        let proxy = HttpApp::start(async |request: HttpRequest| HttpResponse::ok(request.target)).await?;
        let direct = HttpApp::echo().await?;
        let sidecar = Daprd::builder("caller")?
            .env(
                "HTTP_PROXY",
                &format!("http://me:secret@127.0.0.1:{}", proxy.port()),
            )
            .env("NO_PROXY", "inside.example,10.0.0.0/8")
            .start()
            .await?;
        let reply = sidecar
            .get("/v1.0/invoke/http://outside.example:81/method/a/b?c=1")
            .await?;
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (200, "http://outside.example:81/a/b?c=1")
        );
        let seen = proxy.requests().remove(0);
        assert_eq!(seen.headers.get("host"), Some("outside.example:81"));
        assert_eq!(
            seen.headers.get("proxy-authorization"),
            Some("Basic bWU6c2VjcmV0")
        );
        // The own machine, and what the exceptions name, is called directly.
        let path = format!("/v1.0/invoke/http://127.0.0.1:{}/method/x", direct.port());
        assert_eq!(sidecar.get(&path).await?.status, 200);
        assert_eq!(direct.requests().len(), 1);
        let reply = sidecar.get("/v1.0/invoke/http://inside.example/method/x").await?;
        assert_eq!(reply.status, 500);
        assert_eq!(proxy.requests().len(), 1);
        Ok(())
    });
}

#[test]
fn a_call_that_an_old_caller_makes_in_vain_counts_as_an_internal_error() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let (callee, _caller) = both(
            Daprd::builder("callee")?.app("http", app.port()),
            Daprd::builder("caller")?,
        )
        .await?;
        app.stop();
        let values = vec!["caller".to_owned()];
        let request = InternalInvokeRequest {
            ver: 1,
            metadata: [("dapr-caller-app-id".to_owned(), ListStringValue { values })].into(),
            message: Some(InvokeRequest {
                method: "x".to_owned(),
                http_extension: Some(HttpExtension {
                    verb: Verb::Get.into(),
                    querystring: String::new(),
                }),
                ..InvokeRequest::default()
            }),
            actor: None,
        };
        let client = GrpcClient::connect(callee.internal_port).await?;
        let path = "/dapr.proto.internals.v1.ServiceInvocation/CallLocal";
        let reply = outrigger_test_kit::until("the app to be gone", async || {
            let reply = client
                .call(path, HeaderMap::new(), [request.encode_to_vec()])
                .await
                .ok()?;
            (reply.status == 13).then_some(reply)
        })
        .await?;
        assert!(
            reply.message.starts_with("error invoking app channel: "),
            "{}",
            reply.message
        );
        let labels = [("dst_app_id", "caller"), ("status", "13")];
        let name = "dapr_runtime_service_invocation_res_sent_total";
        assert_eq!(callee.metric(name, &labels).await?, Some(1.0));
        Ok(())
    });
}
