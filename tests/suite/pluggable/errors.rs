//! What a component's errors become for HTTP and for gRPC callers.

use outrigger_api::common::StateItem;
use outrigger_api::rpc::ErrorInfo;
use outrigger_api::runtime::{DeleteBulkStateRequest, GetStateRequest, SaveStateRequest};
use outrigger_test_kit::{Refusal, isolated};
use serde_json::json;

use super::{Rig, details};

/// Codes of gRPC.
const INVALID_ARGUMENT: i32 = 3;
const FAILED_PRECONDITION: i32 = 9;
const ABORTED: i32 = 10;
const INTERNAL: i32 = 13;
const DATA_LOSS: i32 = 15;

const SAVE: &str = r#"[{"key":"key1","value":"v"}]"#;

fn with_face(message: &str) -> Refusal {
    let face = [("kit_error", "true"), ("http_code", "506"), ("tag", "ERR_TAG")];
    Refusal::with_info(DATA_LOSS, message, &face)
}

#[test]
fn http_callers_see_the_status_that_a_component_chooses() {
    isolated!(async {
        let rig = Rig::start().await?;
        rig.component.refuse("StateStore/Get", with_face("get-error"));
        rig.component.refuse("StateStore/Set", with_face("set-error"));
        rig.component
            .refuse("StateStore/Delete", with_face("delete-error"));
        rig.component
            .refuse("QueriableStateStore/Query", with_face("query-error"));
        let key = "/v1.0/state/mystore/key1";
        for (method, path, body, code, message) in [
            (
                "GET",
                key,
                "",
                "ERR_STATE_GET",
                "fail to get key1 from state store mystore: api error: code = DataLoss desc = get-error",
            ),
            (
                "POST",
                "/v1.0/state/mystore",
                SAVE,
                "ERR_STATE_SAVE",
                "failed saving state in state store mystore: api error: code = DataLoss desc = set-error",
            ),
            (
                "DELETE",
                key,
                "",
                "ERR_STATE_DELETE",
                "failed deleting state with key key1: api error: code = DataLoss desc = delete-error",
            ),
        ] {
            let reply = rig.http(method, path, body).await?;
            let expected = json!({"errorCode": code, "message": message});
            assert_eq!((reply.status, reply.json()?), (506, expected), "{method}");
        }
        let reply = rig.http("POST", "/v1.0-alpha1/state/mystore/query", "{}").await?;
        let expected = json!({
            "errorCode": "ERR_TAG",
            "message": "query-error",
            "details": [{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "domain": "example.org",
                "metadata": null,
                "reason": "REASON",
            }],
        });
        assert_eq!((reply.status, reply.json()?), (506, expected));
        Ok(())
    });
}

#[test]
fn http_callers_see_what_is_wrong_with_a_tag() {
    isolated!(async {
        let rig = Rig::start().await?;
        let save = "failed saving state in state store mystore: ";
        for (refusal, status, message) in [
            (
                Refusal::about_field(FAILED_PRECONDITION, "no", "etag", "it is another"),
                409,
                "possible etag mismatch. error from state store: it is another",
            ),
            (
                Refusal::about_field(INVALID_ARGUMENT, "no", "etag", "no number"),
                400,
                "invalid etag value: no number",
            ),
            (
                Refusal::about_field(FAILED_PRECONDITION, "no", "key", "too long"),
                500,
                "rpc error: code = FailedPrecondition desc = no",
            ),
            (
                Refusal::new(INTERNAL, "disk full"),
                500,
                "rpc error: code = Internal desc = disk full",
            ),
        ] {
            rig.component.refuse("StateStore/Set", refusal);
            let reply = rig.http("POST", "/v1.0/state/mystore", SAVE).await?;
            let expected = json!({"errorCode": "ERR_STATE_SAVE", "message": format!("{save}{message}")});
            assert_eq!((reply.status, reply.json()?), (status, expected));
        }
        rig.component
            .refuse("QueriableStateStore/Query", Refusal::new(12, "no queries"));
        let reply = rig.http("POST", "/v1.0-alpha1/state/mystore/query", "{}").await?;
        assert_eq!(reply.status, 500);
        let error = reply.json()?;
        assert_eq!(error["errorCode"], "ERR_STATE_QUERY");
        assert_eq!(
            error["message"],
            "state store mystore query failed: rpc error: code = Unimplemented desc = no queries"
        );
        Ok(())
    });
}

#[test]
fn grpc_callers_see_the_status_that_a_component_chooses() {
    isolated!(async {
        let rig = Rig::start().await?;
        rig.component.refuse("StateStore/Get", with_face("get-error"));
        let get = GetStateRequest {
            store_name: "mystore".to_owned(),
            key: "key1".to_owned(),
            ..GetStateRequest::default()
        };
        let reply = rig.grpc("GetState", &get).await?;
        assert_eq!((reply.status, reply.message.as_str()), (DATA_LOSS, "get-error"));
        let status = details(&reply);
        let info: Option<ErrorInfo> = status.details.first().and_then(|detail| detail.unpack().ok()?);
        let info = info.unwrap_or_default();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("REASON", "example.org")
        );
        assert!(info.metadata.is_empty(), "{info:?}");
        Ok(())
    });
}

#[test]
fn grpc_callers_see_what_is_wrong_with_a_tag() {
    isolated!(async {
        let rig = Rig::start().await?;
        let item = |key: &str| StateItem {
            key: key.to_owned(),
            value: "v".into(),
            ..StateItem::default()
        };
        let save = SaveStateRequest {
            store_name: "mystore".to_owned(),
            states: vec![item("key1")],
        };
        for (refusal, code, message) in [
            (
                Refusal::about_field(FAILED_PRECONDITION, "no", "etag", "it is another"),
                ABORTED,
                "possible etag mismatch. error from state store: it is another",
            ),
            (
                Refusal::about_field(INVALID_ARGUMENT, "no", "etag", "no number"),
                INVALID_ARGUMENT,
                "invalid etag value: no number",
            ),
            (
                Refusal::new(ABORTED, "try again"),
                INTERNAL,
                "rpc error: code = Aborted desc = try again",
            ),
        ] {
            rig.component.refuse("StateStore/Set", refusal);
            let reply = rig.grpc("SaveState", &save).await?;
            let message = format!("failed saving state in state store mystore: {message}");
            assert_eq!((reply.status, reply.message), (code, message));
        }
        let rows = [("expected", "2"), ("affected", "1")];
        rig.component.refuse(
            "StateStore/BulkDelete",
            Refusal::with_info(INTERNAL, "rows", &rows),
        );
        let delete = DeleteBulkStateRequest {
            store_name: "mystore".to_owned(),
            states: vec![item("a"), item("b")],
        };
        let reply = rig.grpc("DeleteBulkState", &delete).await?;
        assert_eq!(
            (reply.status, reply.message.as_str()),
            (
                INTERNAL,
                "failed deleting state in state store mystore: delete affected only 1 rows, expected 2"
            )
        );
        Ok(())
    });
}
