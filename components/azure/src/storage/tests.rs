use std::sync::Arc;

use bytes::Bytes;
use outrigger_component::conformance::state::{Refusal, Traits};
use outrigger_component::state::{GetRequest, SetRequest, StateError, StateStore};
use outrigger_component::{Properties, conformance, testing};
use outrigger_svc::BoxError;
use outrigger_test_kit::servers::Azurite;
use serde_json::json;

use super::{make_blob_v1, make_blob_v2, make_table};
use outrigger_component::testing::Server;

const NO_ACCOUNT: &str = "missing or empty accountName field from metadata";

/// The settings of a component that uses the double's account.
fn settings(server: &Azurite, own: &[(&str, &str)]) -> Properties {
    let mut settings = Properties::from([
        ("accountName", Azurite::ACCOUNT),
        ("accountKey", Azurite::KEY),
        ("endpoint", &server.blobs()),
        ("serviceURL", &server.tables()),
    ]);
    for (name, value) in own {
        settings.set(*name, *value);
    }
    settings
}

async fn blobs(server: &Azurite, container: &str) -> (Arc<dyn StateStore>, Arc<dyn StateStore>) {
    let settings = settings(server, &[("containerName", container)]);
    let first = make_blob_v1(testing::init(settings.clone())).await.unwrap();
    (first, make_blob_v2(testing::init(settings)).await.unwrap())
}

async fn table(server: &Azurite, name: &str) -> Arc<dyn StateStore> {
    make_table(testing::init(settings(server, &[("tableName", name)])))
        .await
        .unwrap()
}

async fn text(store: &Arc<dyn StateStore>, key: &str) -> Option<Bytes> {
    store.get(&GetRequest::new(key)).await.unwrap()?.data
}

#[tokio::test]
async fn both_versions_of_blobs_keep_the_contract_of_state_stores() {
    let Some(server) = Azurite::start().await.unwrap() else {
        return;
    };
    let (first, second) = blobs(&server, "states").await;
    for (store, name) in [
        (first, "state.azure.blobstorage/v1"),
        (second, "state.azure.blobstorage/v2"),
    ] {
        let traits = Traits {
            features: &["ETAG"],
            first_write: Refusal::Other,
            checks_options: false,
            ..Traits::new(name)
        };
        conformance::state::run(store, traits).await;
    }
}

#[tokio::test]
async fn tables_keep_the_contract_of_state_stores() {
    let Some(server) = Azurite::start().await.unwrap() else {
        return;
    };
    let traits = Traits {
        features: &["ETAG"],
        accepts_key: |key| {
            key.len() <= 512 && !key.contains(['/', '\\', '?', '#', '%']) && !key.contains(char::is_control)
        },
        // A property has at most 64 KiB in UTF-16.
        largest_value: 30 << 10,
        is_binary_safe: false,
        inserts_with_etag: true,
        checks_options: false,
        ..Traits::new("state.azure.tablestorage")
    };
    conformance::state::run(table(&server, "states").await, traits).await;
}

#[tokio::test]
async fn version_1_of_blobs_loses_the_prefix_and_version_2_keeps_it() {
    let Some(server) = Azurite::start().await.unwrap() else {
        return;
    };
    let (first, second) = blobs(&server, "names").await;
    first.set(&SetRequest::new("app||k", json!("one"))).await.unwrap();
    assert_eq!(text(&first, "other||k").await.unwrap(), "\"one\"");
    assert_eq!(text(&second, "k").await.unwrap(), "\"one\"");
    assert_eq!(text(&second, "app||k").await, None);
    first.set(&SetRequest::new("a||b||c", json!(3))).await.unwrap();
    assert_eq!(
        text(&second, "a").await.unwrap(),
        "3",
        "keys of more parts are the first one"
    );
}

#[tokio::test]
async fn request_metadata_stand_on_the_blob() {
    let Some(server) = Azurite::start().await.unwrap() else {
        return;
    };
    let (_, store) = blobs(&server, "meta").await;
    let mut write = SetRequest::new("k", Bytes::from_static(b"<a/>"));
    for (name, value) in [
        ("contentType", "application/xml"),
        ("my-Name", "v\u{e9}alue"),
        ("1st", "x"),
    ] {
        write.metadata.insert(name.to_owned(), value.to_owned());
    }
    store.set(&write).await.unwrap();
    let item = store.get(&GetRequest::new("k")).await.unwrap().unwrap();
    assert_eq!(item.content_type.as_deref(), Some("application/xml"));
    assert_eq!(item.data.unwrap(), "<a/>");
    assert!(item.etag.is_some());
}

#[tokio::test]
async fn settings_are_judged_before_anybody_is_asked() {
    type Made = Result<Arc<dyn StateStore>, BoxError>;
    let text = |made: Made| made.unwrap_err().to_string();
    let init = |settings: &[(&str, &str)]| {
        let settings = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        testing::init_with(Server::broken().client(), Properties::new(settings))
    };
    let no_container = "missing or empty containerName field from metadata";
    assert_eq!(text(make_blob_v2(init(&[])).await), no_container);
    assert_eq!(text(make_blob_v2(init(&[("container", "c")])).await), NO_ACCOUNT);
    let no_table = "missing or empty tableName field from metadata";
    assert_eq!(text(make_table(init(&[])).await), no_table);
    assert_eq!(text(make_table(init(&[("table", "t")])).await), NO_ACCOUNT);
    let odd = [
        ("container", "c"),
        ("accountName", "a"),
        ("accountKey", "a2V5"),
        ("publicAccessLevel", "all"),
    ];
    let error = text(make_blob_v2(init(&odd)).await);
    assert!(error.starts_with("invalid public access level: all"), "{error}");
}

#[tokio::test]
async fn rows_without_a_name_have_one_in_cosmos() {
    let server = Server::new(|asked, _| match asked.method.as_str() {
        "GET" => (404, vec![], String::new()),
        _ => (201, vec![], "{}".to_owned()),
    });
    let settings = Properties::from([
        ("accountName", "a"),
        ("accountKey", "a2V5"),
        ("table", "t"),
        ("cosmosDbMode", "true"),
    ]);
    let store = make_table(testing::init_with(server.client(), settings))
        .await
        .unwrap();
    store.set(&SetRequest::new("one", json!(1))).await.unwrap();
    assert_eq!(text(&store, "a'b||c d").await, None);
    let asked = server.asked();
    let urls: Vec<_> = asked.iter().map(|asked| asked.url.as_str()).collect();
    let service = "https://a.table.cosmosdb.azure.com";
    let entity = "t(PartitionKey='a%27%27b',RowKey='c%20d')";
    assert_eq!(
        urls,
        [
            format!("{service}/Tables"),
            format!("{service}/t"),
            format!("{service}/{entity}")
        ]
    );
    let body = r#"{"PartitionKey":"one","RowKey":"_dapr_empty_row_key_value_","Value":"1"}"#;
    assert_eq!(asked[1].body, body);
}

#[tokio::test]
async fn keys_that_are_wrong_are_told_by_the_services_code() {
    let Some(server) = Azurite::start().await.unwrap() else {
        return;
    };
    let wrong = settings(&server, &[("containerName", "ccc"), ("accountKey", "d3Jvbmc=")]);
    let error = make_blob_v2(testing::init(wrong)).await.unwrap_err().to_string();
    assert!(
        error.starts_with("error creating the container: 403 Forbidden: "),
        "{error}"
    );
    let store = table(&server, "gone").await;
    let error = store
        .set(&SetRequest::new("k", Bytes::from(vec![b'x'; 2 << 20])))
        .await
        .unwrap_err();
    assert!(matches!(error, StateError::Other(_)), "{error}");
}
