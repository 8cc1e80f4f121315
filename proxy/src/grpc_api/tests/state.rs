//! State over gRPC, through the whole stack.

use std::collections::HashMap;

use outrigger_api::common::{Etag, StateItem, StateOptions};
use outrigger_component::Feature;
use outrigger_component::state::{RichError, StateError};

use super::*;
use crate::state::testing::Shelf;
use crate::state::{Keys, State};

type Client = DaprClient<BoxedService<http::Request<tonic::body::Body>, Response, Infallible>>;

fn client_of(state: State) -> Client {
    let mut fake = Fake::new();
    Arc::get_mut(&mut fake.0).unwrap().building_blocks.state = state;
    dapr(plain(&fake))
}

fn world() -> (Arc<Shelf>, Client) {
    let shelf = Arc::new(Shelf::new());
    let client = client_of(State::of("mem", &shelf, None));
    (shelf, client)
}

fn item(key: &str, value: &'static str) -> StateItem {
    StateItem {
        key: key.to_owned(),
        value: Bytes::from_static(value.as_bytes()),
        ..StateItem::default()
    }
}

fn tagged(key: &str, etag: &str) -> StateItem {
    StateItem {
        etag: Some(Etag {
            value: etag.to_owned(),
        }),
        ..item(key, "v")
    }
}

fn json_item(key: &str, value: &'static str) -> StateItem {
    let metadata = HashMap::from([("contentType".to_owned(), "application/json".to_owned())]);
    StateItem {
        metadata,
        ..item(key, value)
    }
}

fn save(states: Vec<StateItem>) -> api::SaveStateRequest {
    api::SaveStateRequest {
        store_name: "mem".to_owned(),
        states,
    }
}

fn get(key: &str) -> api::GetStateRequest {
    api::GetStateRequest {
        store_name: "mem".to_owned(),
        key: key.to_owned(),
        ..Default::default()
    }
}

fn transaction(operations: Vec<(&str, StateItem)>) -> api::ExecuteStateTransactionRequest {
    let operations = operations
        .into_iter()
        .map(|(kind, item)| api::TransactionalStateOperation {
            operation_type: kind.to_owned(),
            request: Some(item),
        });
    api::ExecuteStateTransactionRequest {
        store_name: "mem".to_owned(),
        operations: operations.collect(),
        metadata: HashMap::new(),
    }
}

fn parts<T: std::fmt::Debug>(outcome: Result<tonic::Response<T>, tonic::Status>) -> (Code, String) {
    let status = outcome.unwrap_err();
    (status.code(), status.message().to_owned())
}

#[tokio::test]
async fn bytes_are_kept_as_they_are_and_json_in_its_one_form() {
    let (shelf, mut client) = world();
    let states = vec![
        item("raw", " {\"b\": 1} "),
        json_item("json", "{\"b\": 1.50, \"a\": \"<\"}"),
    ];
    client.save_state(save(states)).await.unwrap();
    let shown = [
        ("app||json", r#"{"a":"\u003c","b":1.5}"#),
        ("app||raw", " {\"b\": 1} "),
    ];
    assert_eq!(
        shelf.shown(),
        shown.map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
    let answer = client.get_state(get("raw")).await.unwrap().into_inner();
    assert_eq!((&*answer.data, answer.etag.as_str()), (&b" {\"b\": 1} "[..], "1"));
    let answer = client.get_state(get("none")).await.unwrap().into_inner();
    assert_eq!(answer, api::GetStateResponse::default());
    let outcome = client.save_state(save(vec![json_item("k", "{")])).await;
    assert_eq!(
        parts(outcome),
        (Code::Unknown, "unexpected end of JSON input".to_owned())
    );
    client.save_state(save(Vec::new())).await.unwrap();
}

#[tokio::test]
async fn errors_carry_their_code_and_reason() {
    let (shelf, mut client) = world();
    let status = client.save_state(save(vec![item("", "v")])).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::InvalidArgument, "state key cannot be empty")
    );
    assert_eq!(info(&status).reason, "ERR_STATE_SAVE");
    let illegal = client.get_state(get("a||b")).await.unwrap_err();
    let text = "input key/keyPrefix 'a||b' can't contain '||'";
    assert_eq!((illegal.code(), illegal.message()), (Code::InvalidArgument, text));
    assert_eq!(info(&illegal).reason, "DAPR_STATE_ILLEGAL_KEY");
    let failed = "failed saving state in state store mem: ";
    let outcome = client.save_state(save(vec![tagged("k", "9")])).await;
    assert_eq!(
        parts(outcome),
        (
            Code::Aborted,
            format!("{failed}possible etag mismatch. error from state store: key app||k")
        )
    );
    let (code, _) = parts(client.save_state(save(vec![tagged("k", "x")])).await);
    assert_eq!(code, Code::InvalidArgument);
    client.save_state(save(vec![tagged("k", "")])).await.unwrap();
    shelf.fail([Some(StateError::other("broken"))]);
    let status = client.get_state(get("k")).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Internal, "fail to get k from state store mem: broken")
    );
    assert_eq!(info(&status).reason, "ERR_STATE_GET");
    shelf.fail([Some(StateError::Rich(Box::new(RichError {
        code: 15,
        code_name: "DataLoss".to_owned(),
        http_status: 506,
        message: "get-error".to_owned(),
        tag: String::new(),
        reason: "REASON".to_owned(),
        domain: "example.com".to_owned(),
    })))]);
    let status = client.get_state(get("k")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::DataLoss, "get-error"));
    assert_eq!(
        (&*info(&status).reason, &*info(&status).domain),
        ("REASON", "example.com")
    );
}

#[tokio::test]
async fn several_values_are_read_and_deleted_at_once() {
    let (shelf, mut client) = world();
    client
        .save_state(save(vec![item("a", "1"), item("b", "no JSON")]))
        .await
        .unwrap();
    let request = api::GetBulkStateRequest {
        store_name: "mem".to_owned(),
        keys: ["b", "none", "a"].map(str::to_owned).to_vec(),
        parallelism: -1,
        ..Default::default()
    };
    let items = client
        .get_bulk_state(request.clone())
        .await
        .unwrap()
        .into_inner()
        .items;
    let items: Vec<_> = items
        .iter()
        .map(|item| (item.key.as_str(), &*item.data, item.etag.as_str()))
        .collect();
    assert_eq!(
        items,
        [("b", &b"no JSON"[..], "1"), ("none", b"", ""), ("a", b"1", "1")]
    );
    shelf.fail([Some(StateError::other("broken"))]);
    let items = client.get_bulk_state(request).await.unwrap().into_inner().items;
    assert_eq!((items[0].error.as_str(), &*items[0].data), ("broken", &b""[..]));
    let delete = |states| api::DeleteBulkStateRequest {
        store_name: "mem".to_owned(),
        states,
    };
    let outcome = client.delete_bulk_state(delete(vec![tagged("a", "9")])).await;
    assert_eq!(
        parts(outcome),
        (
            Code::Aborted,
            "failed deleting state in state store mem: possible etag mismatch. error from state store: key app||a"
                .to_owned()
        )
    );
    client
        .delete_bulk_state(delete(vec![tagged("a", "1"), item("b", "")]))
        .await
        .unwrap();
    assert!(shelf.shown().is_empty());
    let request = api::DeleteStateRequest {
        store_name: "mem".to_owned(),
        key: "a".to_owned(),
        options: Some(StateOptions {
            concurrency: 1,
            consistency: 2,
        }),
        ..Default::default()
    };
    client.delete_state(request).await.unwrap();
}

#[tokio::test]
async fn writes_happen_together() {
    let (shelf, mut client) = world();
    client.save_state(save(vec![item("old", "1")])).await.unwrap();
    let operations = vec![
        ("upsert", json_item("new", "{\"b\": 1}")),
        ("delete", item("old", "")),
    ];
    client
        .execute_state_transaction(transaction(operations))
        .await
        .unwrap();
    assert_eq!(shelf.shown(), [("app||new".to_owned(), "{\"b\": 1}".to_owned())]);
    let outcome = client
        .execute_state_transaction(transaction(vec![("frob", item("k", ""))]))
        .await;
    assert_eq!(
        parts(outcome),
        (
            Code::Unimplemented,
            "operation type frob not supported".to_owned()
        )
    );
    let outcome = client
        .execute_state_transaction(transaction(vec![("delete", tagged("new", "9"))]))
        .await;
    assert_eq!(parts(outcome).0, Code::Internal);
    shelf.calls();
    // An empty list is the store's business.
    client
        .execute_state_transaction(transaction(Vec::new()))
        .await
        .unwrap();
    assert_eq!(shelf.calls(), ["transact "]);
    let mut client = client_of(State::of("mem", &Arc::new(Shelf::that_can(&[])), None));
    let outcome = client.execute_state_transaction(transaction(Vec::new())).await;
    assert_eq!(
        parts(outcome),
        (
            Code::Unimplemented,
            "state store mem doesn't support transactions".to_owned()
        )
    );
}

#[tokio::test]
async fn the_bytes_of_a_request_are_what_is_encrypted() {
    let shelf = Arc::new(Shelf::new());
    let keys = Keys::new(("pg", "000102030405060708090a0b0c0d0e0f"), None).unwrap();
    let mut client = client_of(State::of("mem", &shelf, Some(keys)));
    client
        .save_state(save(vec![json_item("a", "{\"b\": 1} not JSON")]))
        .await
        .unwrap();
    let operations = vec![("upsert", item("b", "val"))];
    client
        .execute_state_transaction(transaction(operations))
        .await
        .unwrap();
    assert!(shelf.shown().iter().all(|(_, stored)| stored.ends_with("||pg")));
    for (key, expected) in [("a", "{\"b\": 1} not JSON"), ("b", "val")] {
        let answer = client.get_state(get(key)).await.unwrap().into_inner();
        assert_eq!(answer.data, expected);
    }
}

#[tokio::test]
async fn queries_are_answered() {
    let shelf = Arc::new(Shelf::that_can(&[Feature::QUERY_API]));
    shelf.put("app||a", b"{}");
    let mut client = client_of(State::of("mem", &shelf, None));
    let query = |text: &str| api::QueryStateRequest {
        store_name: "mem".to_owned(),
        query: text.to_owned(),
        ..Default::default()
    };
    let answer = client.query_state_alpha1(query("{}")).await.unwrap().into_inner();
    let results: Vec<_> = answer
        .results
        .iter()
        .map(|item| (item.key.as_str(), &*item.data, item.etag.as_str()))
        .collect();
    assert_eq!(results, [("a", &b"{}"[..], "1")]);
    let outcome = client.query_state_alpha1(query("[")).await;
    assert_eq!(
        parts(outcome),
        (
            Code::Internal,
            "state store mem query failed: failed to parse JSON query body: unexpected end of JSON input"
                .to_owned()
        )
    );
}
