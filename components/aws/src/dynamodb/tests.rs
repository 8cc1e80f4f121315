use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use bytes::Bytes;
use outrigger_component::conformance::state::{NoTime, Refusal, Traits};
use outrigger_component::state::{Concurrency, Value};
use outrigger_component::{Properties, conformance, testing};
use outrigger_test_kit::servers::Moto;
use serde_json::json;

use super::*;

const TABLE: &str = "states";

/// Settings of a component that keeps its state in the double.
fn settings(endpoint: &str) -> Properties {
    Properties::from([
        ("table", TABLE),
        ("region", "eu-west-1"),
        ("endpoint", endpoint),
        ("accessKey", "key"),
        ("secretKey", "secret"),
        ("ttlAttributeName", "end"),
    ])
}

async fn create_table(endpoint: &str) {
    let settings = settings(endpoint);
    let access = Access::read(&settings.fields().unwrap()).unwrap();
    let client = Client::new(&access.config(testing::http_client()).await);
    let key = AttributeDefinition::builder()
        .attribute_name("key")
        .attribute_type(ScalarAttributeType::S);
    let schema = KeySchemaElement::builder()
        .attribute_name("key")
        .key_type(KeyType::Hash);
    let create = client
        .create_table()
        .table_name(TABLE)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(key.build().unwrap())
        .key_schema(schema.build().unwrap());
    create.send().await.unwrap();
}

/// A store on a double of its own, which lives as long; none if there is no double here.
async fn store() -> Option<(Moto, DynamoDb)> {
    let server = Moto::start().await.unwrap()?;
    create_table(&server.endpoint()).await;
    let store = DynamoDb::connect(&testing::init(settings(&server.endpoint())))
        .await
        .unwrap();
    Some((server, store))
}

fn set(key: &str, value: impl Into<Value>) -> SetRequest {
    SetRequest::new(key, value)
}

async fn read(store: &DynamoDb, key: &str) -> Option<Item> {
    store.get(&GetRequest::new(key)).await.unwrap()
}

#[tokio::test]
async fn settings_are_judged_before_anybody_is_asked() {
    let make = |properties| async { make(testing::init(properties)).await.unwrap_err().to_string() };
    assert_eq!(make(Properties::default()).await, "missing dynamodb table name");
    let anywhere = [
        ("table", "t"),
        ("trustProfileArn", "p"),
        ("trustAnchorArn", "a"),
        ("assumeRoleArn", "r"),
    ];
    let error = make(Properties::from(anywhere)).await;
    assert!(error.starts_with("IAM Roles Anywhere "), "{error}");
}

#[tokio::test]
async fn a_table_that_is_not_there_is_an_init_error() {
    let Some(server) = Moto::start().await.unwrap() else {
        return;
    };
    let error = make(testing::init(settings(&server.endpoint())))
        .await
        .unwrap_err()
        .to_string();
    let start = "error validating DynamoDB table 'states' access: operation error DynamoDB: GetItem, ";
    assert!(
        error.starts_with(start) && error.contains("ResourceNotFoundException"),
        "{error}"
    );
}

#[tokio::test]
async fn items_are_as_others_write_and_read_them() {
    let Some((_server, store)) = store().await else {
        return;
    };
    store
        .set(&set("json", json!({ "b": 1, "a": "x" })))
        .await
        .unwrap();
    store
        .set(&set("raw", Bytes::from_static(b"\0\xff")))
        .await
        .unwrap();
    let item = |key: &str| {
        store
            .client
            .get_item()
            .table_name(TABLE)
            .key("key", AttributeValue::S(key.to_owned()))
    };
    let json = item("json").send().await.unwrap().item.unwrap();
    assert_eq!(json["value"], AttributeValue::S(r#"{"a":"x","b":1}"#.to_owned()));
    let raw = item("raw").send().await.unwrap().item.unwrap();
    assert!(
        raw["value"].is_b() && raw["etag"].is_s() && raw.len() == 3,
        "{raw:?}"
    );
    assert_eq!(read(&store, "raw").await.unwrap().data.unwrap(), &b"\0\xff"[..]);
    assert_eq!(read(&store, "none").await, None);
}

#[tokio::test]
async fn only_who_names_the_tag_hears_of_a_mismatch() {
    let Some((_server, store)) = store().await else {
        return;
    };
    let mut first = set("k", json!(1));
    first.options.concurrency = Concurrency::FirstWrite;
    store.set(&first).await.unwrap();
    let error = store.set(&first).await.unwrap_err();
    assert!(
        !error.is_about_etag() && error.to_string().contains("ConditionalCheckFailed"),
        "{error}"
    );

    let etag = read(&store, "k").await.unwrap().etag;
    let with = |etag: Option<String>| SetRequest {
        etag,
        ..set("k", json!(2))
    };
    store.set(&with(etag.clone())).await.unwrap();
    assert!(store.set(&with(etag.clone())).await.unwrap_err().is_about_etag());
    let mut delete = DeleteRequest {
        etag,
        ..DeleteRequest::new("k")
    };
    assert!(store.delete(&delete).await.unwrap_err().is_about_etag());
    delete.etag = read(&store, "k").await.unwrap().etag;
    store.delete(&delete).await.unwrap();
    assert_eq!(read(&store, "k").await, None);
    store.delete(&DeleteRequest::new("k")).await.unwrap();
}

#[tokio::test]
async fn a_transaction_is_done_whole_or_not_at_all_and_the_last_of_a_key_counts() {
    let Some((_server, store)) = store().await else {
        return;
    };
    store.set(&set("gone", json!(0))).await.unwrap();
    let transaction = |operations| Transaction {
        operations,
        ..Transaction::default()
    };
    let wrong = DeleteRequest {
        etag: Some("wrong".to_owned()),
        ..DeleteRequest::new("gone")
    };
    let operations = vec![
        Operation::Set(set("a", json!("first"))),
        Operation::Delete(wrong),
        Operation::Set(set("a", json!("last"))),
        Operation::Set(set("b", json!(2))),
    ];
    store.transact(&transaction(operations)).await.unwrap();
    assert_eq!(read(&store, "a").await.unwrap().data.unwrap(), "\"last\"");
    assert_eq!(read(&store, "gone").await, None, "tags of deletions do not count");

    let stale = SetRequest {
        etag: Some("stale".to_owned()),
        ..set("b", json!(3))
    };
    let operations = vec![Operation::Set(set("a", json!("never"))), Operation::Set(stale)];
    let error = store.transact(&transaction(operations)).await.unwrap_err();
    assert!(
        error.to_string().contains("TransactionCanceledException"),
        "{error}"
    );
    assert_eq!(read(&store, "a").await.unwrap().data.unwrap(), "\"last\"");
    store.transact(&transaction(Vec::new())).await.unwrap();
    assert_eq!(store.max_operations().await, Some(100));
}

#[tokio::test]
async fn many_values_come_in_the_order_of_their_keys() {
    let Some((_server, store)) = store().await else {
        return;
    };
    let keys: Vec<_> = (0..120).map(|number| format!("k{number}")).collect();
    let writes: Vec<_> = keys.iter().step_by(2).map(|key| set(key, json!(key))).collect();
    store.bulk_set(&writes).await.unwrap();
    let requests: Vec<_> = keys.iter().map(GetRequest::new).collect();
    let items = store.bulk_get(&requests, 0).await.unwrap();
    assert_eq!(items.len(), keys.len());
    for (number, (item, key)) in items.iter().zip(&keys).enumerate() {
        assert_eq!(&item.key, key);
        let item = item.outcome.as_ref().unwrap();
        assert_eq!(item.is_some(), number % 2 == 0, "{key}");
    }
}

#[tokio::test]
async fn values_expire_where_the_table_has_an_attribute_for_it() {
    let Some((_server, store)) = store().await else {
        return;
    };
    let mut request = set("k", json!(1));
    request
        .metadata
        .insert("ttlInSeconds".to_owned(), "100".to_owned());
    store.set(&request).await.unwrap();
    assert!(
        read(&store, "k")
            .await
            .unwrap()
            .metadata
            .contains_key("ttlExpireTime")
    );
    store.set(&set("k", json!(1))).await.unwrap();
    assert!(
        read(&store, "k").await.unwrap().metadata.is_empty(),
        "a write without an end takes it away"
    );
    request.metadata.insert("ttlInSeconds".to_owned(), "0".to_owned());
    store.set(&request).await.unwrap();
    assert_eq!(read(&store, "k").await, None);
    let features: Vec<_> = store.features().iter().map(Feature::as_str).collect();
    assert_eq!(features, ["ETAG", "TRANSACTIONAL", "TTL"]);
}

#[tokio::test]
async fn the_store_keeps_the_contract_of_state_stores() {
    let Some((_server, store)) = store().await else {
        return;
    };
    let traits = Traits {
        features: &["ETAG", "TRANSACTIONAL", "TTL"],
        // An item has at most 400 KiB.
        largest_value: 300 << 10,
        first_write: Refusal::Other,
        checks_options: false,
        no_time: NoTime::Gone,
        max_operations: Some(100),
        checks_deletes_in_transactions: false,
        ..Traits::new("state.aws.dynamodb")
    };
    conformance::state::run(Arc::new(store), traits).await;
}
