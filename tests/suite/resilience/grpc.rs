//! `InvokeService`.

use http::HeaderMap;
use outrigger_api::common::{HttpExtension, InvokeRequest, InvokeResponse, http_extension::Verb};
use outrigger_api::runtime::InvokeServiceRequest;
use outrigger_test_kit::{Daprd, GrpcApp, GrpcReply, Result, isolated};
use prost::Message as _;

use super::{Attempts, flaky, sidecars};

const SPEC: &str = "{policies: {timeouts: {t: 300ms}, retries: {r: {duration: 1ms, maxRetries: 2, matching: \
                    {httpStatusCodes: 404, gRPCStatusCodes: 5}}}}, targets: {apps: {callee: {timeout: t, retry: r}}}}";

async fn invoke(caller: &Daprd, method: &str) -> Result<GrpcReply> {
    let request = InvokeServiceRequest {
        id: "callee".to_owned(),
        message: Some(InvokeRequest {
            method: method.to_owned(),
            http_extension: Some(HttpExtension {
                verb: Verb::Post.into(),
                querystring: String::new(),
            }),
            ..InvokeRequest::default()
        }),
    };
    let client = caller.grpc().await?;
    let path = "/dapr.proto.runtime.v1.Dapr/InvokeService";
    client
        .call(path, HeaderMap::new(), [request.encode_to_vec()])
        .await
}

#[test]
fn every_failure_of_an_http_app_is_tried_again_whatever_its_status() {
    isolated!(async {
        let (app, attempts) = flaky().await?;
        let (caller, _callee) = sidecars("http", app.port(), SPEC).await?;
        let reply = invoke(&caller, "fail/2/500/a").await?;
        assert_eq!(reply.status, 0, "{}", reply.message);
        assert_eq!(reply.metadata["dapr-http-status"], "200");
        assert_eq!(attempts.of("/fail/2/500/a"), 3);

        let reply = invoke(&caller, "fail/9/503/b").await?;
        assert_eq!(
            (reply.status, reply.message.as_str()),
            (14, "Service Unavailable")
        );
        assert_eq!(attempts.of("/fail/9/503/b"), 3);

        let reply = invoke(&caller, "hang/9/c").await?;
        assert_eq!(
            (reply.status, reply.message.as_str()),
            (4, "context deadline exceeded")
        );
        assert_eq!(attempts.of("/hang/9/c"), 3);
        Ok(())
    });
}

#[test]
fn every_status_of_a_grpc_app_is_tried_again() {
    isolated!(async {
        let attempts = Attempts::default();
        let counter = attempts.clone();
        let app = GrpcApp::on_invoke(move |request, _| match counter.count(&request.method) {
            3 if request.method == "a" => Ok(InvokeResponse::default()),
            attempt => Err((9, format!("attempt {attempt}"))),
        })
        .await?;
        let (caller, _callee) = sidecars("grpc", app.port(), SPEC).await?;
        assert_eq!(invoke(&caller, "a").await?.status, 0);
        let reply = invoke(&caller, "b").await?;
        assert_eq!((reply.status, reply.message.as_str()), (9, "attempt 3"));
        // Over HTTP a status of a gRPC app is an answer, and no failure.
        let reply = caller.invoke("callee", "c").await?;
        assert_eq!(reply.status, 400);
        assert_eq!(["a", "b", "c"].map(|method| attempts.of(method)), [3, 3, 1]);
        Ok(())
    });
}
