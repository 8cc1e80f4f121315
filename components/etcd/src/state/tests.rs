use std::time::Duration;

use outrigger_component::conformance;
use outrigger_component::conformance::state::{NoTime, Traits, run};
use outrigger_component::state::Operation;
use outrigger_test_kit::servers::Etcd;
use outrigger_test_kit::{Authority, Leaf, free_port};
use serde_json::json;
use tokio::time::Instant;

use super::*;

fn store(settings: &[(&str, &str)], layout: Layout) -> Arc<EtcdStore> {
    let init = conformance::init(settings.iter().copied());
    Arc::new(EtcdStore::new(&init, layout).unwrap())
}

fn traits(store: &'static str) -> Traits {
    Traits {
        first_write_guards_delete: true,
        shows_expiry: false,
        no_time: NoTime::Refused,
        // Leases are looked at twice a second, and live two seconds at least.
        expiry_delay: Duration::from_secs(4),
        max_operations: Some(128),
        ..Traits::new(store)
    }
}

/// The text of JSON in version 2.
fn plain(text: &str) -> String {
    match text {
        "1e+21" => "1000000000000000000000".to_owned(),
        "1.5e-7" => "0.00000015".to_owned(),
        text => text
            .replace("\\u003c", "<")
            .replace("\\u003e", ">")
            .replace("\\u0026", "&"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_a_state_store_in_both_versions() {
    let Some(etcd) = Etcd::start().await.unwrap() else {
        return;
    };
    let address = etcd.server.address();
    let first = store(&[("endpoints", &address)], Layout::V1);
    run(first, traits("state.etcd/v1")).await;
    let second = store(&[("endpoints", &address), ("keyPrefixPath", "dapr")], Layout::V2);
    let traits = Traits {
        json: plain,
        shows_expiry: true,
        ..traits("state.etcd/v2")
    };
    run(second, traits).await;
}

#[tokio::test]
async fn keys_and_values_are_those_of_the_reference() {
    let Some(etcd) = Etcd::start().await.unwrap() else {
        return;
    };
    let address = etcd.server.address();
    let stores = [
        (store(&[("endpoints", &address)], Layout::V1), "/app||k"),
        (
            store(&[("endpoints", &address), ("keyPrefixPath", "a/b")], Layout::V1),
            "a/b/app||k",
        ),
    ];
    for (store, key) in &stores {
        store
            .set(&SetRequest::new("app||k", json!({ "b": 1, "a": "<" })))
            .await
            .unwrap();
        let found = store
            .client
            .range(key_request(Bytes::copy_from_slice(key.as_bytes())))
            .await;
        let found = found.unwrap().kvs.remove(0);
        assert_eq!(found.value, r#"{"a":"\u003c","b":1}"#);
        let item = store.read("app||k").await.unwrap().unwrap();
        assert_eq!(item.etag, Some(found.mod_revision.to_string()));
    }
    let every = KeysLike {
        pattern: "%".to_owned(),
        ..KeysLike::default()
    };
    let page = stores[1].0.keys_like(&every).await.unwrap();
    assert_eq!(page.keys, ["app||k"]);
}

#[tokio::test]
async fn conflicts_say_what_they_are() {
    let Some(etcd) = Etcd::start().await.unwrap() else {
        return;
    };
    let store = store(&[("endpoints", &etcd.server.address())], Layout::V2);
    store.set(&SetRequest::new("k", json!(1))).await.unwrap();
    let etag = store.read("k").await.unwrap().unwrap().etag.unwrap();
    let tagged = |key: &str, etag: &str| SetRequest {
        etag: Some(etag.to_owned()),
        ..SetRequest::new(key, json!(2))
    };
    let mut first = SetRequest::new("k", json!(2));
    first.options.concurrency = "first-write".into();
    let prefix = "possible etag mismatch. error from state store: ";
    for (request, text) in [
        (first, "item already exists and no etag was passed".to_owned()),
        (
            tagged("gone", "1"),
            "state not exist or expired for key=gone".to_owned(),
        ),
        (
            tagged("k", "1"),
            format!("state etag not match for key=k: current={etag}, expect=1"),
        ),
        (
            tagged("k", "x"),
            format!("state etag not match for key=k: current={etag}, expect=x"),
        ),
    ] {
        let error = store.set(&request).await.unwrap_err();
        assert_eq!(error.to_string(), format!("{prefix}{text}"));
        let transaction = Transaction {
            operations: vec![
                Operation::Set(SetRequest::new("other", json!(1))),
                Operation::Set(request),
            ],
            ..Transaction::default()
        };
        let error = store.transact(&transaction).await.unwrap_err();
        assert_eq!(error.to_string(), format!("{prefix}{text}"));
    }
}

#[tokio::test]
async fn a_store_is_made_without_a_server_and_recovers_when_there_is_one() {
    let closed = format!("127.0.0.1:{}", free_port().unwrap());
    let alone = store(&[("endpoints", &closed)], Layout::V1);
    let begin = Instant::now();
    let error = alone.read("k").await.unwrap_err().to_string();
    assert!(error.contains("Connection refused"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(5));

    let Some(mut etcd) = Etcd::start().await.unwrap() else {
        return;
    };
    let endpoints = format!("{closed},{}", etcd.server.address());
    let store = store(&[("endpoints", &endpoints)], Layout::V1);
    store.set(&SetRequest::new("k", json!(1))).await.unwrap();
    etcd.server.kill().await.unwrap();
    assert!(store.read("k").await.is_err());
    etcd.server.restart().await.unwrap();
    let read = outrigger_test_kit::until("etcd to answer again", async || store.read("k").await.ok());
    assert_eq!(read.await.unwrap().unwrap().data.unwrap(), "1");
}

#[tokio::test]
async fn a_store_talks_in_tls_and_shows_its_certificate() {
    let authority = Authority::new().unwrap();
    let directory = outrigger_test_kit::Directory::new().unwrap();
    let server = authority
        .issue(&Leaf {
            dns_names: vec!["localhost".to_owned()],
            ..Leaf::default()
        })
        .unwrap();
    let certificate = directory.write("server.pem", &server.chain).unwrap();
    let key = directory.write("server.key", &server.key).unwrap();
    let roots = directory.write("ca.pem", authority.anchors()).unwrap();
    let flags = [
        ("cert-file", certificate.to_str().unwrap()),
        ("key-file", key.to_str().unwrap()),
        ("trusted-ca-file", roots.to_str().unwrap()),
        ("client-cert-auth", "true"),
    ];
    let Some(etcd) = Etcd::start_with(&flags).await.unwrap() else {
        return;
    };
    let address = format!("localhost:{}", etcd.server.port());
    let settings = [
        ("endpoints", address.as_str()),
        ("tlsEnable", "true"),
        ("ca", authority.anchors()),
        ("cert", &server.chain),
        ("key", &server.key),
    ];
    let store = store(&settings, Layout::V1);
    store.set(&SetRequest::new("k", json!(1))).await.unwrap();
    assert_eq!(store.read("k").await.unwrap().unwrap().data.unwrap(), "1");
}
