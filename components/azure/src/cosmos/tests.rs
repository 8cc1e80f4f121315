use bytes::Bytes;
use outrigger_component::conformance::state::{NoTime, QueryTraits, Traits};
use outrigger_component::state::Concurrency;
use outrigger_component::{HttpClient, Properties, conformance, testing};
use outrigger_test_kit::servers::Cosmos;

use super::*;
use outrigger_component::testing::Server;

/// A store on a double of its own, which lives as long; none if there is no double here.
async fn store() -> Option<(Cosmos, CosmosDb)> {
    let server = Cosmos::start().await.unwrap()?;
    let settings = server.metadata().map(|(name, value)| (name.to_owned(), value));
    let store = CosmosDb::connect(&testing::init(Properties::new(settings)))
        .await
        .unwrap();
    Some((server, store))
}

/// A store on a server that answers as a function says.
async fn scripted(server: &Arc<Server>) -> CosmosDb {
    let settings = Properties::from([
        ("url", "https://a.documents.azure.com:443/"),
        ("database", "d"),
        ("collection", "c"),
        ("masterKey", "a2V5"),
    ]);
    CosmosDb::connect(&testing::init_with(server.client(), settings))
        .await
        .unwrap()
}

fn client(server: &Arc<Server>) -> HttpClient {
    server.client()
}

#[tokio::test]
async fn the_store_keeps_the_contract_of_state_stores() {
    let Some((_server, store)) = store().await else {
        return;
    };
    let partition = &[("partitionKey", "p")];
    let traits = Traits {
        features: &["ETAG", "TRANSACTIONAL", "QUERY_API", "TTL", "PARTITION_KEY"],
        accepts_key: |key| !key.contains(['/', '\\', '?', '#']),
        inserts_with_etag: true,
        no_time: NoTime::Untested,
        max_operations: Some(100),
        transaction_metadata: partition,
        queries: QueryTraits {
            compares_numbers: false,
            ..Traits::new("").queries
        },
        ..Traits::new("state.azure.cosmosdb")
    };
    conformance::state::run(Arc::new(store), traits).await;
}

#[tokio::test]
async fn settings_are_judged_before_anybody_is_asked() {
    for (given, expected) in [
        (vec![], "url is required"),
        (vec![("url", "https://a")], "database is required"),
        (
            vec![("url", "https://a"), ("database", "d")],
            "collection is required",
        ),
        (
            vec![
                ("url", "https://a"),
                ("database", "d"),
                ("collection", "c"),
                ("masterKey", "%"),
            ],
            "masterKey is not base64",
        ),
        (
            vec![
                ("url", "https://a"),
                ("database", "d"),
                ("collection", "c"),
                ("azureAuthMethods", "none"),
            ],
            "all Azure auth methods have been disabled with auth method 'None'",
        ),
    ] {
        let server = Server::broken();
        let settings = given
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let init = testing::init_with(client(&server), Properties::new(settings));
        assert_eq!(make(init).await.unwrap_err().to_string(), expected);
        assert!(server.asked().is_empty());
    }
}

#[tokio::test]
async fn requests_are_those_of_the_service() {
    let server = Server::new(|_, _| (200, vec![], r#"{"id":"k","value":1,"_etag":"\"e\""}"#.to_owned()));
    let store = scripted(&server).await;
    let mut write = SetRequest::new("app||k", Bytes::from_static(b"{}"));
    write.etag = Some("\"e\"".to_owned());
    write.metadata.insert("partitionKey".to_owned(), "p".to_owned());
    write.options.consistency = Consistency::Strong;
    store.set(&write).await.unwrap();
    let mut first = SetRequest::new("k", Bytes::from_static(b"{}"));
    first.options.concurrency = Concurrency::FirstWrite;
    store.set(&first).await.unwrap();
    let mut read = GetRequest::new("app||k");
    read.consistency = Consistency::Eventual;
    let item = store.get(&read).await.unwrap().unwrap();
    assert_eq!(item.etag.as_deref(), Some("\"e\""));

    let asked = server.asked();
    let urls: Vec<_> = asked
        .iter()
        .map(|asked| format!("{} {}", asked.method, asked.url))
        .collect();
    let container = "https://a.documents.azure.com:443/dbs/d/colls/c";
    let expected = [
        format!("GET {container}"),
        format!("POST {container}/docs"),
        format!("POST {container}/docs"),
        format!("GET {container}/docs/app%7C%7Ck"),
    ];
    assert_eq!(urls, expected);
    for asked in &asked {
        let authorization = asked.headers["authorization"].to_str().unwrap();
        assert!(
            authorization.starts_with("type%3Dmaster%26ver%3D1.0%26sig%3D"),
            "{authorization}"
        );
        assert!(asked.headers["x-ms-date"].to_str().unwrap().ends_with(" GMT"));
    }
    let header = |number: usize, name: &str| asked[number].headers[name].to_str().unwrap();
    assert_eq!(header(1, "x-ms-documentdb-partitionkey"), r#"["p"]"#);
    assert_eq!(header(1, "x-ms-documentdb-is-upsert"), "True");
    assert_eq!(header(1, "x-ms-consistency-level"), "Session");
    assert_eq!(header(1, "if-match"), "\"e\"");
    let body = r#"{"id":"app||k","value":{},"isBinary":false,"partitionKey":"p"}"#;
    assert_eq!(asked[1].body, body);
    assert_eq!(header(2, "if-match").len(), 36, "a tag that nothing has");
    assert_eq!(header(3, "x-ms-documentdb-partitionkey"), r#"["app||k"]"#);
    assert_eq!(header(3, "x-ms-consistency-level"), "Eventual");
}

#[tokio::test]
async fn a_transaction_without_a_partition_has_the_empty_one_and_what_is_gone_is_left_out() {
    let server = Server::new(|asked, count| match (asked.method.as_str(), count) {
        ("GET", _) => (200, vec![], "{}".to_owned()),
        (_, 2) => (
            207,
            vec![],
            r#"[{"statusCode":424},{"statusCode":404}]"#.to_owned(),
        ),
        (_, 3) => (200, vec![], r#"[{"statusCode":201}]"#.to_owned()),
        _ => (
            207,
            vec![],
            r#"[{"statusCode":412},{"statusCode":424}]"#.to_owned(),
        ),
    });
    let store = scripted(&server).await;
    let operations = vec![
        Operation::Set(SetRequest::new("a", json!(1))),
        Operation::Delete(DeleteRequest::new("b")),
    ];
    let transaction = Transaction {
        operations,
        ..Transaction::default()
    };
    store.transact(&transaction).await.unwrap();
    let asked = server.asked();
    assert_eq!(asked[1].headers["x-ms-documentdb-partitionkey"], r#"[""]"#);
    assert_eq!(asked[1].headers["x-ms-cosmos-batch-atomic"], "True");
    let upsert = r#"{"operationType":"Upsert","resourceBody":{"id":"a","value":1,"isBinary":false,"partitionKey":""}}"#;
    assert_eq!(
        asked[1].body,
        format!(r#"[{upsert},{{"operationType":"Delete","id":"b"}}]"#)
    );
    assert_eq!(asked[2].body, format!("[{upsert}]"));

    let error = store.transact(&transaction).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "transaction failed due to operation 0 which failed with status code 412"
    );
}

#[tokio::test]
async fn a_key_of_several_partitions_is_that_of_the_own_one() {
    let Some((_server, store)) = store().await else {
        return;
    };
    for partition in ["p", "q"] {
        let mut write = SetRequest::new("k", json!(partition));
        write
            .metadata
            .insert("partitionKey".to_owned(), partition.to_owned());
        store.set(&write).await.unwrap();
    }
    for partition in ["p", "q"] {
        let mut read = GetRequest::new("k");
        read.metadata
            .insert("partitionKey".to_owned(), partition.to_owned());
        let items = store
            .bulk_get(&[read, GetRequest::new("other")], 0)
            .await
            .unwrap();
        let data = items[0].outcome.as_ref().unwrap().as_ref().unwrap().data.clone();
        assert_eq!(data.unwrap(), format!("\"{partition}\""));
        assert!(items[1].outcome.as_ref().unwrap().is_none());
    }
}
