//! The API over gRPC, and values that go from one surface to the other.

use std::collections::HashMap;

use bytes::Bytes;
use outrigger_api::common::StateItem;
use outrigger_api::runtime as api;
use outrigger_test_kit::isolated;

use super::{call, read, save, with_memory};

fn item(key: &str, value: &'static str) -> StateItem {
    StateItem {
        key: key.to_owned(),
        value: Bytes::from_static(value.as_bytes()),
        ..StateItem::default()
    }
}

fn saving(store: &str, states: Vec<StateItem>) -> api::SaveStateRequest {
    api::SaveStateRequest {
        store_name: store.to_owned(),
        states,
    }
}

fn getting(store: &str, key: &str) -> api::GetStateRequest {
    api::GetStateRequest {
        store_name: store.to_owned(),
        key: key.to_owned(),
        ..Default::default()
    }
}

#[test]
fn values_go_from_one_surface_to_the_other() {
    isolated!(async {
        let daprd = with_memory("a")?.start().await?;
        let client = daprd.grpc().await?;
        let json = HashMap::from([("contentType".to_owned(), "application/json".to_owned())]);
        let typed = StateItem {
            metadata: json,
            ..item("typed", "{ \"b\": 1.50, \"a\": null }")
        };
        let states = vec![item("raw", "{ \"b\": 1 }"), typed, item("text", "no JSON")];
        assert_eq!(
            call(&client, "SaveState", &saving("mem", states)).await?.status,
            0
        );
        assert_eq!(
            read(&daprd, "mem", "raw").await?,
            (200, "{ \"b\": 1 }".to_owned())
        );
        assert_eq!(read(&daprd, "mem", "text").await?, (200, "no JSON".to_owned()));
        assert_eq!(
            read(&daprd, "mem", "typed").await?,
            (200, "{\"a\":null,\"b\":1.5}".to_owned())
        );
        save(&daprd, "mem", r#"[{"key":"http","value":"<x>"}]"#).await?;
        let path = "/dapr.proto.runtime.v1.Dapr/GetState";
        let found: api::GetStateResponse = client
            .unary(path, http::HeaderMap::new(), &getting("mem", "http"))
            .await?;
        assert_eq!(found.data, "\"\\u003cx\\u003e\"");
        assert_eq!(found.etag.len(), 36);
        let none: api::GetStateResponse = client
            .unary(path, http::HeaderMap::new(), &getting("mem", "none"))
            .await?;
        assert_eq!(none, api::GetStateResponse::default());
        Ok(())
    });
}

#[test]
fn refusals_have_the_code_of_their_kind() {
    isolated!(async {
        let daprd = with_memory("a")?.start().await?;
        let client = daprd.grpc().await?;
        let reply = call(&client, "GetState", &getting("nope", "k")).await?;
        assert_eq!(
            (reply.status, reply.message.as_str()),
            (3, "state store nope is not found")
        );
        let reply = call(&client, "SaveState", &saving("mem", vec![item("", "v")])).await?;
        assert_eq!(
            (reply.status, reply.message.as_str()),
            (3, "state key cannot be empty")
        );
        let reply = call(&client, "SaveState", &saving("mem", vec![item("a||b", "v")])).await?;
        assert_eq!(
            (reply.status, reply.message.as_str()),
            (3, "input key/keyPrefix 'a||b' can't contain '||'")
        );
        let tagged = StateItem {
            etag: Some(outrigger_api::common::Etag {
                value: "9".to_owned(),
            }),
            ..item("k", "v")
        };
        let reply = call(&client, "SaveState", &saving("mem", vec![tagged])).await?;
        assert_eq!(
            (reply.status, reply.message.as_str()),
            (
                10,
                "failed saving state in state store mem: possible etag mismatch. error from state store: state not \
                 exist or expired for key=a||k"
            )
        );
        let query = api::QueryStateRequest {
            store_name: "mem".to_owned(),
            query: "{}".to_owned(),
            ..Default::default()
        };
        let reply = call(&client, "QueryStateAlpha1", &query).await?;
        assert_eq!(
            (reply.status, reply.message.as_str()),
            (13, "state store does not support querying")
        );
        Ok(())
    });
}

#[test]
fn several_values_are_read_and_deleted_at_once() {
    isolated!(async {
        let daprd = with_memory("a")?.start().await?;
        let client = daprd.grpc().await?;
        let states = vec![item("x", "1"), item("y", "2"), item("z", "3")];
        assert_eq!(
            call(&client, "SaveState", &saving("mem", states)).await?.status,
            0
        );
        let request = api::GetBulkStateRequest {
            store_name: "mem".to_owned(),
            keys: ["y", "none", "x"].map(str::to_owned).to_vec(),
            ..Default::default()
        };
        let path = "/dapr.proto.runtime.v1.Dapr/GetBulkState";
        let found: api::GetBulkStateResponse = client.unary(path, http::HeaderMap::new(), &request).await?;
        let found: Vec<_> = found
            .items
            .iter()
            .map(|item| (item.key.as_str(), &*item.data))
            .collect();
        assert_eq!(found, [("y", &b"2"[..]), ("none", b""), ("x", b"1")]);
        let request = api::DeleteBulkStateRequest {
            store_name: "mem".to_owned(),
            states: vec![item("x", ""), item("y", "")],
        };
        assert_eq!(call(&client, "DeleteBulkState", &request).await?.status, 0);
        for (key, status) in [("x", 204), ("y", 204), ("z", 200)] {
            assert_eq!(read(&daprd, "mem", key).await?.0, status, "{key}");
        }
        Ok(())
    });
}
