//! HTTP callers of apps that speak gRPC.

use http::HeaderMap;
use outrigger_api::Any;
use outrigger_api::common::{InvokeRequest, InvokeResponse, http_extension::Verb};
use outrigger_api::rpc;
use outrigger_test_kit::grpc::metadata;
use outrigger_test_kit::{Daprd, GrpcAnswer, GrpcApp, HttpRequest, Result, isolated};
use prost::Message as _;
use serde_json::json;
use tokio::sync::mpsc;

use super::both;

const ON_INVOKE: &str = "/dapr.proto.runtime.v1.AppCallback/OnInvoke";

/// Details of a status, with their text as protobuf JSON.
fn details() -> (Vec<u8>, serde_json::Value) {
    let info = rpc::ErrorInfo {
        reason: "WHY".to_owned(),
        domain: "mine.io".to_owned(),
        metadata: [("k".to_owned(), "v".to_owned())].into(),
    };
    let status = rpc::Status {
        code: 5,
        message: "not here".to_owned(),
        details: vec![Any {
            type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(),
            value: info.encode_to_vec().into(),
        }],
    };
    let json = json!([{
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "WHY",
        "domain": "mine.io",
        "metadata": {"k": "v"},
    }]);
    (status.encode_to_vec(), json)
}

/// An app whose method names the status that it answers with, else an echo of what it was sent.
async fn app() -> Result<(GrpcApp, mpsc::UnboundedReceiver<InvokeRequest>)> {
    let (give, take) = mpsc::unbounded_channel();
    let app = GrpcApp::start(move |mut call| {
        let give = give.clone();
        async move {
            if call.path != ON_INVOKE {
                return GrpcAnswer::status(12, "unknown method");
            }
            let request: InvokeRequest = call.message().await.expect("a request");
            give.send(request.clone()).ok();
            if request.method == "details" {
                let mut trailers = HeaderMap::new();
                let encoded = base64::Engine::encode(&base64::prelude::BASE64_STANDARD_NO_PAD, details().0);
                trailers.insert("grpc-status-details-bin", encoded.parse().expect("text"));
                return GrpcAnswer::status(5, "not here").with_trailers(trailers);
            }
            if let Ok(code) = request.method.parse() {
                return GrpcAnswer::status(code, "as asked <&>");
            }
            let response = InvokeResponse {
                content_type: match request.method.as_str() {
                    "typed" => String::new(),
                    _ => request.content_type,
                },
                data: request.data.map(|data| Any {
                    type_url: match request.method.as_str() {
                        "typed" => "type.googleapis.com/x.Y".to_owned(),
                        _ => String::new(),
                    },
                    ..data
                }),
            };
            GrpcAnswer::message(&response).with_metadata(metadata([("x-app", "1"), ("server", "mine")]))
        }
    })
    .await?;
    Ok((app, take))
}

#[test]
fn statuses_of_a_grpc_app_become_http_statuses_with_the_status_as_body() {
    isolated!(async {
        let (app, _requests) = app().await?;
        let callee = Daprd::builder("callee")?.app("grpc", app.port());
        let (caller, callee) = both(Daprd::builder("caller")?, callee).await?;
        let codes = [
            (1, 408),
            (2, 500),
            (3, 400),
            (4, 504),
            (5, 404),
            (6, 409),
            (7, 403),
            (8, 429),
            (9, 400),
            (10, 409),
            (11, 400),
            (12, 501),
            (13, 500),
            (14, 503),
            (15, 500),
            (16, 401),
            (20, 500),
        ];
        for sidecar in [&caller, &callee] {
            for (code, status) in codes {
                let reply = sidecar.invoke("callee", &code.to_string()).await?;
                assert_eq!(reply.status, status, "{code}: {}", reply.text());
                let body = json!({"code": code, "message": "as asked <&>"});
                assert_eq!(reply.json()?, body, "{code}");
            }
            let reply = sidecar.invoke("callee", "details").await?;
            assert_eq!(reply.status, 404);
            assert_eq!(
                reply.json()?,
                json!({"code": 5, "message": "not here", "details": details().1})
            );
        }
        // A status of an app is an answer: it is not asked for again.
        assert_eq!(app.calls(ON_INVOKE).len(), 2 * codes.len() + 2);
        Ok(())
    });
}

#[test]
fn a_grpc_app_receives_the_whole_http_request_and_its_answer_becomes_one() {
    isolated!(async {
        let (app, mut requests) = app().await?;
        let callee = Daprd::builder("callee")?
            .app("grpc", app.port())
            .env("APP_API_TOKEN", "secret");
        let (caller, _callee) = both(Daprd::builder("caller")?, callee).await?;
        let request = HttpRequest::new("PUT", "/v1.0/invoke/callee/method//a/b?x=%20y&z")
            .header("Content-Type", "text/plain")
            .header("User-Agent", "curl/7.88.1")
            .header("Accept-Language", "de")
            .header("Cookie", "c=1")
            .header("Accept", "*/*")
            .header("X-Mine", "1")
            .header("x-mine", "2")
            .header("x-raw-bin", "AAE=")
            .body("hello");
        let reply = caller.send(&request).await?;
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"));
        assert_eq!(reply.header("content-type"), Some("text/plain"));
        assert_eq!(reply.header("x-app"), Some("1"));

        let received = requests.recv().await.expect("a request");
        assert_eq!(received.method, "/a/b", "the extra slash stays");
        assert_eq!(received.content_type, "text/plain");
        assert_eq!(&received.data.expect("data").value[..], b"hello");
        let extension = received.http_extension.expect("the HTTP part");
        assert_eq!(extension.verb(), Verb::Put);
        assert_eq!(extension.querystring, "x=%20y&z");

        let metadata = app.calls(ON_INVOKE).remove(0);
        let all = |name: &str| -> Vec<_> {
            metadata
                .get_all(name)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .collect()
        };
        for (name, values) in [
            ("dapr-caller-app-id", &["caller"][..]),
            ("dapr-callee-app-id", &["callee"]),
            ("dapr-caller-namespace", &["default"]),
            ("dapr-api-token", &["secret"]),
            ("dapr-accept", &["*/*"]),
            ("dapr-accept-language", &["de"]),
            ("dapr-cookie", &["c=1"]),
            ("dapr-content-type", &["text/plain"]),
            ("dapr-content-length", &["5"]),
            ("x-mine", &["1", "2"]),
            ("destination-app-id", &[]),
            ("accept", &[]),
            ("cookie", &[]),
        ] {
            assert_eq!(all(name), values, "{name}");
        }
        assert_eq!(all("traceparent").len(), 1);
        assert_eq!(all("grpc-trace-bin").len(), 1);
        assert!(all("forwarded")[0].starts_with("for="));

        let reply = caller.post("/v1.0/invoke/callee/method/typed", "x").await?;
        assert_eq!(reply.header("content-type"), Some("application/x-protobuf"));
        assert_eq!(reply.text(), "x");

        let long = vec![b'x'; 3_000_000];
        let reply = caller
            .send(
                &HttpRequest::new("POST", "/v1.0/invoke/callee/method/long")
                    .body(long)
                    .chunked([70_000]),
            )
            .await?;
        assert_eq!((reply.status, reply.body.len()), (200, 3_000_000));
        Ok(())
    });
}

#[test]
fn a_message_over_the_limit_of_the_callee_is_exhausted() {
    isolated!(async {
        let (app, _requests) = app().await?;
        let callee = Daprd::builder("callee")?
            .app("grpc", app.port())
            .flag("max-body-size", "10k");
        let (caller, _callee) = both(Daprd::builder("caller")?, callee).await?;
        let reply = caller
            .post("/v1.0/invoke/callee/method/x", vec![b'x'; 20_000])
            .await?;
        assert_eq!(reply.status, 429, "{}", reply.text());
        let body = reply.json()?;
        assert_eq!(body["code"], 8);
        let message = body["message"].as_str().unwrap_or_default();
        assert!(
            message.starts_with("trying to send message larger than max (")
                && message.ends_with(" vs. 10000)"),
            "{message}"
        );
        Ok(())
    });
}
