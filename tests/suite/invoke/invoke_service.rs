//! `Dapr/InvokeService`.

use http::HeaderMap;
use outrigger_api::Any;
use outrigger_api::common::{HttpExtension, InvokeRequest, InvokeResponse, http_extension::Verb};
use outrigger_api::rpc;
use outrigger_api::runtime::InvokeServiceRequest;
use outrigger_test_kit::grpc::metadata;
use outrigger_test_kit::{
    Daprd, GrpcAnswer, GrpcApp, GrpcClient, GrpcReply, HttpRequest, HttpResponse, Result, isolated,
};
use prost::Message as _;

use super::{app, both, pair};

const INVOKE: &str = "/dapr.proto.runtime.v1.Dapr/InvokeService";
const ON_INVOKE: &str = "/dapr.proto.runtime.v1.AppCallback/OnInvoke";

fn request(app_id: &str, method: &str, data: &str) -> InvokeServiceRequest {
    InvokeServiceRequest {
        id: app_id.to_owned(),
        message: Some(InvokeRequest {
            method: method.to_owned(),
            data: Some(Any {
                type_url: String::new(),
                value: data.as_bytes().to_vec().into(),
            }),
            content_type: "text/plain".to_owned(),
            http_extension: Some(HttpExtension {
                verb: Verb::Put.into(),
                querystring: "a=%20b".to_owned(),
            }),
        }),
    }
}

async fn invoke(
    client: &GrpcClient,
    metadata: HeaderMap,
    request: &InvokeServiceRequest,
) -> Result<GrpcReply> {
    client.call(INVOKE, metadata, [request.encode_to_vec()]).await
}

/// The one ErrorInfo of a status.
fn error_info(reply: &GrpcReply) -> (rpc::Status, rpc::ErrorInfo) {
    let encoded = reply.trailers["grpc-status-details-bin"].as_bytes();
    let encoded = String::from_utf8_lossy(encoded).trim_end_matches('=').to_owned();
    let bytes = base64::Engine::decode(&base64::prelude::BASE64_STANDARD_NO_PAD, encoded).expect("base64");
    let status = rpc::Status::decode(&bytes[..]).expect("a status");
    let [detail] = &status.details[..] else {
        panic!("one detail: {status:?}")
    };
    assert_eq!(detail.type_url, "type.googleapis.com/google.rpc.ErrorInfo");
    let info = rpc::ErrorInfo::decode(&detail.value[..]).expect("an ErrorInfo");
    (status, info)
}

#[test]
fn an_http_app_is_invoked_and_its_status_is_told_in_two_ways() {
    isolated!(async {
        let app = app(async |request: HttpRequest| match request.path()[1..].parse() {
            Ok(status) => HttpResponse::new(status, "x".repeat(70)).header("Content-Type", "text/plain"),
            Err(_) => HttpResponse::ok(request.body)
                .header("Content-Type", "text/plain")
                .header("X-Mine", "1")
                .header("Date", "Mon, 23 Nov 2026 07:12:17 GMT"),
        })
        .await?;
        let cluster = pair(app).await?;
        let (caller, app) = (&cluster["caller"].daprd, &cluster["callee"].app);
        let client = caller.grpc().await?;

        let sent = metadata([("x-client", "1"), ("user-agent", "mine/1"), ("x-raw-bin", "AAE=")]);
        let reply = invoke(&client, sent, &request("callee", "a/b", "hello")).await?;
        assert_eq!((reply.status, reply.message.as_str()), (0, ""));
        let response = InvokeResponse::decode(reply.messages[0].clone())?;
        assert_eq!(response.content_type, "text/plain");
        assert_eq!(&response.data.expect("data").value[..], b"hello");
        assert_eq!(reply.metadata["dapr-http-status"], "200");
        assert_eq!(reply.metadata["x-mine"], "1");
        assert_eq!(reply.metadata["dapr-date"], "Mon, 23 Nov 2026 07:12:17 GMT");
        assert_eq!(reply.metadata["dapr-content-type"], "text/plain");

        let received = &app.requests_for("/a/b")[0];
        assert_eq!(
            (received.method.as_str(), received.query()),
            ("PUT", Some("a=%20b"))
        );
        let headers = &received.headers;
        for (name, value) in [
            ("content-type", Some("text/plain")),
            ("x-client", Some("1")),
            ("dapr-caller-app-id", Some("caller")),
            ("dapr-callee-app-id", Some("callee")),
            (
                "dapr-authority",
                Some(format!("127.0.0.1:{}", caller.grpc_port).as_str()),
            ),
            ("x-raw-bin", None),
            ("te", None),
        ] {
            assert_eq!(headers.get(name), value, "{name}");
        }
        assert!(headers.get("traceparent").is_some());

        for (status, code, phrase) in [
            (400, 13, "Bad Request"),
            (401, 16, "Unauthorized"),
            (403, 7, "Forbidden"),
            (404, 5, "Not Found"),
            (408, 1, "Request Timeout"),
            (409, 6, "Conflict"),
            (429, 8, "Too Many Requests"),
            (500, 2, "Internal Server Error"),
            (501, 12, "Not Implemented"),
            (503, 14, "Service Unavailable"),
            (504, 4, "Gateway Timeout"),
            (418, 2, "I'm a teapot"),
            (302, 2, "Found"),
        ] {
            let reply = invoke(
                &client,
                HeaderMap::new(),
                &request("callee", &status.to_string(), ""),
            )
            .await?;
            assert_eq!((reply.status, reply.message.as_str()), (code, phrase), "{status}");
            let (detailed, info) = error_info(&reply);
            assert_eq!((detailed.code, detailed.message.as_str()), (code, phrase));
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (phrase, "dapr.io"));
            assert_eq!(info.metadata["http.code"], status.to_string());
            assert_eq!(info.metadata["http.error_message"], "x".repeat(63));
            assert_eq!(reply.metadata["dapr-http-status"], status.to_string());
        }
        for status in [201, 202, 299] {
            let reply = invoke(
                &client,
                HeaderMap::new(),
                &request("callee", &status.to_string(), ""),
            )
            .await?;
            assert_eq!(reply.status, 0);
            assert_eq!(reply.metadata["dapr-http-status"], status.to_string());
        }
        for line in [
            "[DEPRECATION NOTICE] InvokeService is deprecated and will be removed in the future, please use proxy mode instead.",
            "[DEPRECATION NOTICE] Invocation path of gRPC -> HTTP is deprecated and will be removed in the future.",
        ] {
            assert_eq!(caller.process.wait_for_lines(line, 1).await?.len(), 1);
        }
        Ok(())
    });
}

#[test]
fn calls_that_cannot_be_made_are_internal_errors_with_their_cause() {
    isolated!(async {
        let cluster = pair(app(async |_| HttpResponse::ok("")).await?).await?;
        let client = cluster["caller"].daprd.grpc().await?;
        let mut without_extension = request("callee", "x", "");
        without_extension
            .message
            .as_mut()
            .expect("there is one")
            .http_extension = None;
        let mut without_verb = request("callee", "x", "");
        without_verb
            .message
            .as_mut()
            .expect("there is one")
            .http_extension = Some(HttpExtension::default());
        for (request, cause) in [
            (
                request("nobody", "x", ""),
                "id: nobody, err: couldn't find service: nobody",
            ),
            (request("", "x", ""), "id: , err: app id is empty"),
            (request("a.b.c", "x", ""), "id: a.b.c, err: invalid app id a.b.c"),
            (
                request("callee", "a?b", ""),
                "id: callee, err: rpc error: code = InvalidArgument desc = invalid method: method contains \
                 forbidden character: \"a?b\"",
            ),
            (
                without_verb,
                "id: callee, err: rpc error: code = Internal desc = error invoking app channel: \
                 rpc error: code = InvalidArgument desc = invalid HTTP verb",
            ),
        ] {
            let reply = invoke(&client, HeaderMap::new(), &request).await?;
            assert_eq!(
                (reply.status, reply.message),
                (13, format!("failed to invoke, {cause}"))
            );
        }
        let reply = invoke(&client, HeaderMap::new(), &without_extension).await?;
        assert_eq!(reply.status, 13);
        assert!(
            reply.message.ends_with("missing HTTP extension field"),
            "{}",
            reply.message
        );
        Ok(())
    });
}

#[test]
fn a_grpc_app_answers_with_its_own_status_details_headers_and_trailers() {
    isolated!(async {
        let details = rpc::Status {
            code: 9,
            message: "not like this".to_owned(),
            details: vec![Any {
                type_url: "type.googleapis.com/x.Unknown".to_owned(),
                value: vec![1, 2, 3].into(),
            }],
        }
        .encode_to_vec();
        let details = base64::Engine::encode(&base64::prelude::BASE64_STANDARD_NO_PAD, details);
        let sent = details.clone();
        let app = GrpcApp::start(move |mut call| {
            let details = details.clone();
            async move {
                if call.path != ON_INVOKE {
                    return GrpcAnswer::status(12, "unknown method");
                }
                let request: InvokeRequest = call.message().await.expect("a request");
                if request.method == "fail" {
                    return GrpcAnswer::status(9, "not like this")
                        .with_trailers(metadata([("grpc-status-details-bin", details.as_str())]));
                }
                let response = InvokeResponse {
                    data: Some(Any {
                        type_url: "type.googleapis.com/x.Y".to_owned(),
                        value: request.data.unwrap_or_default().value,
                    }),
                    content_type: "x/y".to_owned(),
                };
                GrpcAnswer::message(&response)
                    .with_metadata(metadata([("x-head", "1"), ("x-raw-bin", "AAE=")]))
                    .with_trailers(metadata([("x-trail", "2")]))
            }
        })
        .await?;
        let callee = Daprd::builder("callee")?.app("grpc", app.port());
        let (caller, callee) = both(Daprd::builder("caller")?, callee).await?;
        for sidecar in [&caller, &callee] {
            let client = sidecar.grpc().await?;
            let sent_metadata = metadata([("x-client", "1"), ("x-raw-bin", "AAE")]);
            let reply = invoke(&client, sent_metadata, &request("callee", "ok", "hello")).await?;
            assert_eq!((reply.status, reply.message.as_str()), (0, ""));
            let response = InvokeResponse::decode(reply.messages[0].clone())?;
            let data = response.data.expect("data");
            assert_eq!(
                (
                    response.content_type.as_str(),
                    data.type_url.as_str(),
                    &data.value[..]
                ),
                ("x/y", "type.googleapis.com/x.Y", &b"hello"[..])
            );
            assert_eq!(reply.metadata["x-head"], "1");
            assert_eq!(reply.trailers["x-trail"], "2");
            assert_eq!(reply.metadata.get("dapr-http-status"), None);
            let received = app.calls(ON_INVOKE).pop().expect("a call");
            assert_eq!(received["x-client"], "1");
            assert_eq!(
                received["x-raw-bin"].to_str()?.trim_end_matches('='),
                "AAE",
                "binary metadata arrive as they were"
            );

            let reply = invoke(&client, HeaderMap::new(), &request("callee", "fail", "")).await?;
            assert_eq!((reply.status, reply.message.as_str()), (9, "not like this"));
            let returned = reply.trailers["grpc-status-details-bin"].to_str()?;
            assert_eq!(returned.trim_end_matches('='), sent.trim_end_matches('='));
        }
        Ok(())
    });
}
