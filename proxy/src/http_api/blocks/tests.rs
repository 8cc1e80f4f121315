use http::{HeaderMap, Method};
use outrigger_svc::{Body, collect_limited};

use super::*;
use crate::http_api::rescue::answer;

async fn refused(operation: Operation, values: &[&str], uri: &str, body: &str) -> (u16, String) {
    let blocks = Blocks {
        building_blocks: BuildingBlocks::default(),
        app_id: "caller".into(),
        namespace: "default".into(),
    };
    let mut request = Request::new(Body::from(body.to_owned()));
    *request.method_mut() = Method::POST;
    *request.headers_mut() = HeaderMap::new();
    *request.uri_mut() = uri.parse().unwrap();
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    let response = answer(&blocks.answer(operation, values, request).await.unwrap_err());
    let status = response.status().as_u16();
    let body = collect_limited(response.into_body(), 10_000).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn each_block_says_that_it_has_no_component() {
    use Operation as O;
    let details = |reason: &str, metadata: &str| {
        format!(
            r#","details":[{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","domain":"dapr.io","metadata":{metadata},"reason":"{reason}"}}]"#
        )
    };
    let table = [
        (
            O::GetState,
            "",
            500,
            "ERR_STATE_STORE_NOT_CONFIGURED",
            "state store x is not configured",
            details("DAPR_STATE_NOT_CONFIGURED", r#"{"appID":"caller"}"#),
        ),
        (
            O::GetSecret,
            "",
            500,
            "ERR_SECRET_STORES_NOT_CONFIGURED",
            "secret store is not configured",
            String::new(),
        ),
        (
            O::PublishEvent,
            "x",
            404,
            "ERR_PUBSUB_NOT_FOUND",
            "pubsub x is not found",
            details("DAPR_PUBSUB_NOT_FOUND", r#"{"k":"v"}"#),
        ),
        (
            O::InvokeBinding,
            r#"{"operation":"create","data":1}"#,
            500,
            "ERR_INVOKE_OUTPUT_BINDING",
            "error invoking output binding x: couldn't find output binding x",
            String::new(),
        ),
        (
            O::InvokeBinding,
            "{}",
            500,
            "ERR_INVOKE_OUTPUT_BINDING",
            "error invoking output binding x: operation field is missing from request",
            String::new(),
        ),
        (
            O::InvokeBinding,
            r#"{"oper"#,
            400,
            "ERR_MALFORMED_REQUEST",
            "failed deserializing HTTP body: unexpected EOF",
            String::new(),
        ),
        (
            O::InvokeBinding,
            "",
            400,
            "ERR_MALFORMED_REQUEST",
            "failed deserializing HTTP body: EOF",
            String::new(),
        ),
        (
            O::InvokeBinding,
            "no",
            400,
            "ERR_MALFORMED_REQUEST",
            "failed deserializing HTTP body: invalid character 'o' in literal null (expecting 'u')",
            String::new(),
        ),
        (
            O::TryLock,
            r#"{"resourceId":"a","lockOwner":"b","expiryInSeconds":3}"#,
            500,
            "ERR_LOCK_STORE_NOT_CONFIGURED",
            "lock store is not configured",
            String::new(),
        ),
        (
            O::TryLock,
            "{}",
            400,
            "ERR_MALFORMED_REQUEST",
            "ExpiryInSeconds is not positive in lock store x",
            String::new(),
        ),
        (
            O::Unlock,
            "",
            500,
            "ERR_LOCK_STORE_NOT_CONFIGURED",
            "lock store is not configured",
            String::new(),
        ),
        (
            O::GetConfiguration,
            "",
            500,
            "ERR_CONFIGURATION_STORE_NOT_CONFIGURED",
            "configuration stores not configured",
            String::new(),
        ),
        (
            O::InvokeActor,
            "",
            400,
            "ERR_ACTOR_NO_PLACEMENT",
            "placement service is not configured",
            String::new(),
        ),
        (
            O::GetWorkflow,
            "",
            400,
            "ERR_ACTOR_NO_PLACEMENT",
            "placement service is not configured",
            String::new(),
        ),
        (
            O::Encrypt,
            "x",
            500,
            "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED",
            "crypto providers not configured",
            String::new(),
        ),
        (
            O::SubtleSign,
            "",
            501,
            "ERR_API_UNIMPLEMENTED",
            "this API is currently not implemented",
            String::new(),
        ),
        (
            O::ConverseAlpha1,
            "{}",
            400,
            "ERR_CONVERSATION_NOT_FOUND",
            "failed finding conversation component x",
            String::new(),
        ),
        (
            O::GetJob,
            "",
            500,
            "DAPR_SCHEDULER_GET_JOB",
            "failed to get job due to: scheduler clients are disabled",
            details(
                "DAPR_SCHEDULER_GET_JOB",
                r#"{"appID":"caller","namespace":"default"}"#,
            ),
        ),
        (
            O::ScheduleJob,
            r#"{"name":"j"}"#,
            400,
            "DAPR_SCHEDULER_JOB_NAME",
            "Set the job name in the url only",
            details("DAPR_SCHEDULER_JOB_NAME", r#"{"appID":"caller"}"#),
        ),
        (
            O::ScheduleJob,
            "{}",
            400,
            "DAPR_SCHEDULER_SCHEDULE_EMPTY",
            "Schedule is empty",
            details(
                "DAPR_SCHEDULER_SCHEDULE_EMPTY",
                r#"{"appID":"caller","namespace":"default"}"#,
            ),
        ),
        (
            O::ScheduleJob,
            r#"{"schedule":"@daily"}"#,
            500,
            "DAPR_SCHEDULER_SCHEDULE_JOB",
            "failed to schedule job due to: scheduler clients are disabled",
            details(
                "DAPR_SCHEDULER_SCHEDULE_JOB",
                r#"{"appID":"caller","namespace":"default"}"#,
            ),
        ),
    ];
    for (operation, body, status, code, message, details) in table {
        let expected = format!(r#"{{"errorCode":"{code}","message":"{message}"{details}}}"#);
        let answer = refused(operation, &["x", "y"], "/?metadata.k=v", body).await;
        assert_eq!(answer, (status, expected), "{operation} {body}");
    }
}
