//! State in a component in another process.

use outrigger_api::components as wire;
use outrigger_test_kit::{HttpReply, HttpRequest, Result, isolated, until};
use serde_json::{Value, json};

use super::Rig;

const STORE: &str = "/v1.0/state/mystore";

fn outcome(reply: &HttpReply) -> Result<(u16, Value)> {
    Ok((reply.status, reply.json().unwrap_or(Value::Null)))
}

#[test]
fn values_are_saved_read_changed_and_deleted() {
    isolated!(async {
        let rig = Rig::start().await?;
        let saved = rig
            .http(
                "POST",
                STORE,
                r#"[{"key":"a","value":{"n":1}},{"key":"b","value":"text"}]"#,
            )
            .await?;
        assert_eq!(saved.status, 204, "{}", saved.text());
        assert_eq!(rig.component.calls("StateStore/BulkSet").len(), 1);
        let read = rig.http("GET", &format!("{STORE}/a"), "").await?;
        assert_eq!((read.status, read.text().as_str()), (200, r#"{"n":1}"#));
        assert_eq!(read.header("etag"), Some("1"));
        let get: wire::GetRequest = rig.component.calls("StateStore/Get")[0].message()?;
        assert_eq!(get.key, "app||a");

        let bulk = rig
            .http("POST", &format!("{STORE}/bulk"), r#"{"keys":["a","b","c"]}"#)
            .await?;
        let expected =
            json!([{"key":"a","data":{"n":1},"etag":"1"}, {"key":"b","data":"text","etag":"2"}, {"key":"c"}]);
        assert_eq!(outcome(&bulk)?, (200, expected));

        let delete = HttpRequest::new("DELETE", format!("{STORE}/a")).header("If-Match", "7");
        let refused = rig.daprd.send(&delete).await?;
        let message = "failed deleting state with key a: possible etag mismatch. error from state store: it has changed";
        assert_eq!(
            outcome(&refused)?,
            (409, json!({"errorCode": "ERR_STATE_DELETE", "message": message}))
        );
        let deleted = rig.http("DELETE", &format!("{STORE}/a"), "").await?;
        assert_eq!(deleted.status, 204);
        assert_eq!(rig.http("GET", &format!("{STORE}/a"), "").await?.status, 204);

        let nil = rig.http("POST", STORE, r#"[{"key":"a","value":null}]"#).await?;
        let message = "failed saving state in state store mystore: an attempt to set a nil value was received, try to use \
                       Delete instead";
        assert_eq!(
            outcome(&nil)?,
            (500, json!({"errorCode": "ERR_STATE_SAVE", "message": message}))
        );
        Ok(())
    });
}

#[test]
fn transactions_are_as_long_as_the_component_allows() {
    isolated!(async {
        let rig = Rig::start().await?;
        let path = format!("{STORE}/transaction");
        let body = json!({"operations": [
            {"operation": "upsert", "request": {"key": "a", "value": 1}},
            {"operation": "delete", "request": {"key": "b"}},
        ]})
        .to_string();
        assert_eq!(rig.http("POST", &path, &body).await?.status, 204);
        let asked = rig.component.calls("TransactionalStoreMultiMaxSize/MultiMaxSize");
        assert_eq!(asked.len(), 1);
        rig.daprd
            .process
            .wait_for_line("failed to get multi max size from state store")
            .await?;
        rig.component.set_max_size(1);
        let refused = rig.http("POST", &path, &body).await?;
        assert_eq!(refused.status, 400);
        let refusal = refused.json()?;
        assert_eq!(refusal["errorCode"], "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS");
        assert_eq!(
            refusal["message"],
            "the transaction contains 2 operations, which is more than what the state store supports: 1"
        );
        assert_eq!(rig.component.calls("TransactionalStateStore/Transact").len(), 1);
        Ok(())
    });
}

#[test]
fn a_query_is_the_components_business() {
    isolated!(async {
        let rig = Rig::start().await?;
        rig.component.set_found(wire::QueryResponse {
            items: vec![wire::QueryItem {
                key: "app||a".to_owned(),
                data: r#"{"n":1}"#.into(),
                etag: Some(wire::Etag {
                    value: "5".to_owned(),
                }),
                ..wire::QueryItem::default()
            }],
            token: "next".to_owned(),
            ..wire::QueryResponse::default()
        });
        let query = r#"{"filter":{"EQ":{"n":1}},"sort":[{"key":"n","order":"DESC"}],"page":{"limit":3}}"#;
        let found = rig
            .http("POST", "/v1.0-alpha1/state/mystore/query", query)
            .await?;
        let expected = json!({"results": [{"key": "a", "data": {"n": 1}, "etag": "5"}], "token": "next"});
        assert_eq!(outcome(&found)?, (200, expected));
        let request: wire::QueryRequest = rig.component.calls("QueriableStateStore/Query")[0].message()?;
        let sent = request.query.unwrap_or_default();
        assert_eq!(sent.filter["EQ"].value, r#"{"n":1}"#);
        assert_eq!((sent.sort[0].key.as_str(), sent.sort[0].order), ("n", 1));
        Ok(())
    });
}

#[test]
fn a_component_that_is_gone_is_told_of_and_found_again() {
    isolated!(async {
        let mut rig = Rig::start().await?;
        rig.http("POST", STORE, r#"[{"key":"a","value":1}]"#).await?;
        rig.component.stop();
        let path = format!("{STORE}/a");
        let message = format!(
            "fail to get a from state store mystore: rpc error: code = Unavailable desc = connection error: desc = \
             \"transport: Error while dialing: dial unix {}: connect: connection refused\"",
            rig.component.socket().display()
        );
        until("the connection to be refused", async || {
            let reply = rig.http("GET", &path, "").await.ok()?;
            let error = reply.json().ok()?;
            (reply.status == 500 && error["message"] == message.as_str()).then_some(())
        })
        .await?;
        let metadata = rig.daprd.get("/v1.0/metadata").await?.json()?;
        assert_eq!(metadata["extended"]["componentState/mystore"], "degraded");

        rig.component.restart()?;
        let reply = rig.http("GET", &path, "").await?;
        assert_eq!((reply.status, reply.text().as_str()), (200, "1"));
        until("the component to be ready", async || {
            let metadata = rig.daprd.get("/v1.0/metadata").await.ok()?.json().ok()?;
            metadata["extended"]
                .get("componentState/mystore")
                .is_none()
                .then_some(())
        })
        .await?;
        Ok(())
    });
}
