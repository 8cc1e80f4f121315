//! The store against a double of its server; there is no real one to be had here.

mod double;
mod filter;

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Bson, doc};
use outrigger_component::conformance::init;
use outrigger_component::conformance::state::{BulkOrder, NoTime, QueryTraits, Traits, run};
use outrigger_component::state::{
    GetRequest, Operation, SetRequest, StateStore, TTL_IN_SECONDS, Transaction, Transactions as _,
};
use outrigger_svc::BoxError;
use serde_json::json;

use self::double::Double;
use crate::state::{MongoState, open};

async fn store(double: &Double) -> Result<Arc<MongoState>, BoxError> {
    let uri = double.uri();
    open(init([("connectionString", uri.as_str())])).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_is_a_state_store() -> Result<(), BoxError> {
    let double = Double::start().await?;
    let traits = Traits {
        features: &["ETAG", "TRANSACTIONAL", "QUERY_API", "TTL", "KEYS_LIKE"],
        is_binary_safe: false,
        inserts_with_etag: true,
        no_time: NoTime::Forever,
        bulk_order: BulkOrder::Requested,
        lists_oldest_first: false,
        queries: QueryTraits {
            compares_numbers: true,
            ..Traits::new("state.mongodb").queries
        },
        ..Traits::new("state.mongodb")
    };
    run(store(&double).await?, traits).await;
    Ok(())
}

#[tokio::test]
async fn documents_have_their_members() -> Result<(), BoxError> {
    let double = Double::start().await?;
    let store = store(&double).await?;
    let index = &double.commands("createIndexes")[0];
    let index = index.get_array("indexes")?[0].as_document().unwrap();
    assert_eq!(index.get_document("key")?, &doc! { "_ttl": 1 });
    assert_eq!(index.get("expireAfterSeconds"), Some(&Bson::Int32(0)));

    store.set(&SetRequest::new("app||k", json!({ "a": 1 }))).await?;
    let found = store.get(&GetRequest::new("app||k")).await?.unwrap();
    let document = double.document("app||k").unwrap();
    let expected =
        doc! { "_id": "app||k", "value": { "a": 1.0 }, "_etag": found.etag.unwrap(), "_ttl": Bson::Null };
    assert_eq!(document, expected);
    let update = &double.commands("update")[0];
    assert_eq!(
        update.get_document("writeConcern")?,
        &doc! { "w": 1, "j": true, "wtimeout": 5000 }
    );

    let mut timed = SetRequest::new("app||k", json!("$$NOW"));
    timed.metadata.insert(TTL_IN_SECONDS.to_owned(), "100".to_owned());
    store.set(&timed).await?;
    let document = double.document("app||k").unwrap();
    assert_eq!(document.get_str("value")?, "\"$$NOW\"");
    let left = document
        .get_datetime("_ttl")?
        .saturating_duration_since(mongodb::bson::DateTime::now());
    assert!(
        left <= Duration::from_secs(100) && left > Duration::from_secs(90),
        "{left:?}"
    );
    Ok(())
}

#[tokio::test]
async fn transactions_need_a_replica_set() -> Result<(), BoxError> {
    let double = Double::start().await?;
    let uri = double
        .uri()
        .replace("?replicaSet=double", "?directConnection=true");
    let alone = open(init([("connectionString", uri.as_str())])).await?;
    let error = alone.transact(&Transaction::default()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "using transactions with MongoDB requires connecting to a replica set"
    );
    let store = store(&double).await?;
    let mut wrong = SetRequest::new("a", json!(2));
    store.set(&SetRequest::new("a", json!(1))).await?;
    wrong.etag = Some("another".to_owned());
    let transaction = Transaction {
        operations: vec![
            Operation::Set(SetRequest::new("b", json!(1))),
            Operation::Set(wrong),
        ],
        ..Transaction::default()
    };
    let error = store.transact(&transaction).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "error during transaction, aborting the transaction: possible etag mismatch. error from state store"
    );
    assert_eq!(store.get(&GetRequest::new("b")).await?, None);
    let begin = double.commands("update");
    let begin = begin
        .iter()
        .find(|command| command.contains_key("startTransaction"))
        .unwrap();
    assert_eq!(begin.get_document("readConcern")?.get_str("level")?, "snapshot");
    Ok(())
}
