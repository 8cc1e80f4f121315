use bytes::Bytes;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, OptsBuilder};
use outrigger_component::conformance;
use outrigger_component::conformance::state::{BulkOrder, Traits, run};
use outrigger_component::state::TTL_IN_SECONDS;
use outrigger_test_kit::servers::Mariadb;
use outrigger_test_kit::{Authority, Directory, Leaf, until};
use serde_json::json;

use super::*;

async fn store(mariadb: &Mariadb, settings: &[(&str, &str)]) -> Arc<dyn StateStore> {
    let source = mariadb.data_source_name();
    let settings = settings
        .iter()
        .copied()
        .chain([("connectionString", source.as_str())]);
    make(conformance::init(settings)).await.unwrap()
}

async fn connection(mariadb: &Mariadb) -> Conn {
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(mariadb.server.port())
        .user(Some("root"))
        .db_name(Some("dapr_state_store"))
        .setup(vec!["SET time_zone = '+00:00'"])
        .prefer_socket(false);
    Conn::new(options).await.unwrap()
}

/// Keys of the table are at most 255 characters, and neither letter case nor spaces at their end count.
fn is_key(key: &str) -> bool {
    key.chars().count() <= 255 && !key.contains("Case") && !key.contains("Like") && !key.ends_with(' ')
}

fn traits() -> Traits {
    Traits {
        accepts_key: is_key,
        bulk_order: BulkOrder::FoundFirst,
        expired_blocks_first_write: true,
        ..Traits::new("state.mysql")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_a_state_store() {
    let Some(mariadb) = Mariadb::start().await.unwrap() else {
        return;
    };
    run(store(&mariadb, &[]).await, traits()).await;
}

#[tokio::test]
async fn rows_are_those_of_the_reference() {
    let Some(mariadb) = Mariadb::start().await.unwrap() else {
        return;
    };
    let store = store(&mariadb, &[]).await;
    let mut connection = connection(&mariadb).await;
    let select = "SELECT value, isbinary, eTag, CAST(expiredate AS CHAR) FROM state WHERE id = ?";
    type Row = (String, i64, String, Option<String>);

    store
        .set(&SetRequest::new("app||bytes", Bytes::from_static(b"a\0\xff>")))
        .await
        .unwrap();
    let row: Option<Row> = connection.exec_first(select, ("app||bytes",)).await.unwrap();
    let (value, is_binary, etag, expiry) = row.unwrap();
    assert_eq!((value.as_str(), is_binary, expiry), ("\"YQD/Pg==\"", 1, None));
    assert_eq!(etag.len(), 36);

    let mut timed = SetRequest::new("app||json", json!({ "b": [1.5], "a": "<ü" }));
    timed.metadata.insert(TTL_IN_SECONDS.to_owned(), "100".to_owned());
    store.set(&timed).await.unwrap();
    let row: Option<Row> = connection.exec_first(select, ("app||json",)).await.unwrap();
    let (value, is_binary, _, expiry) = row.unwrap();
    assert_eq!((value.as_str(), is_binary), (r#"{"a":"\u003cü","b":[1.5]}"#, 0));
    let item = store.get(&GetRequest::new("app||json")).await.unwrap().unwrap();
    let shown = item.metadata["ttlExpireTime"].replace('T', " ");
    assert_eq!(expiry.map(|expiry| format!("{expiry}Z")), Some(shown));

    let columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'state' \
                   AND table_schema = 'dapr_state_store' ORDER BY ordinal_position";
    let columns: Vec<String> = connection.query(columns).await.unwrap();
    let expected = [
        "id",
        "value",
        "isbinary",
        "insertDate",
        "updateDate",
        "eTag",
        "expiredate",
        "row_id",
    ];
    assert_eq!(columns, expected);
    store.close().await.unwrap();
}

#[tokio::test]
async fn an_old_table_gets_the_columns_that_it_lacks() {
    let Some(mariadb) = Mariadb::start().await.unwrap() else {
        return;
    };
    drop(store(&mariadb, &[]).await);
    let mut connection = connection(&mariadb).await;
    let create = "CREATE TABLE old (id VARCHAR(255) NOT NULL PRIMARY KEY, value JSON NOT NULL, \
                  isbinary BOOLEAN NOT NULL, insertDate TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, \
                  updateDate TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, eTag VARCHAR(36) NOT NULL)";
    connection.query_drop(create).await.unwrap();
    let insert = "INSERT INTO old (id, value, isbinary, eTag) VALUES ('k', '{\"a\": 1}', 0, 'e')";
    connection.query_drop(insert).await.unwrap();
    for _ in 0..2 {
        let store = store(&mariadb, &[("tableName", "old")]).await;
        let item = store.get(&GetRequest::new("k")).await.unwrap().unwrap();
        assert_eq!(
            (item.data.unwrap().as_ref(), item.etag.as_deref()),
            (&b"{\"a\": 1}"[..], Some("e"))
        );
        let every = KeysLike {
            pattern: "%".to_owned(),
            ..KeysLike::default()
        };
        assert_eq!(
            store.listing().unwrap().keys_like(&every).await.unwrap().keys,
            ["k"]
        );
    }
}

#[tokio::test]
async fn what_has_expired_is_swept() {
    let Some(mariadb) = Mariadb::start().await.unwrap() else {
        return;
    };
    let store = store(&mariadb, &[("cleanupInterval", "1s")]).await;
    let mut connection = connection(&mariadb).await;
    let insert = "INSERT INTO state (id, value, isbinary, eTag, expiredate) \
                  VALUES ('gone', '1', 0, 'e', '2001-01-02 03:04:05')";
    connection.query_drop(insert).await.unwrap();
    let mut kept = SetRequest::new("kept", json!(1));
    kept.metadata.insert(TTL_IN_SECONDS.to_owned(), "1000".to_owned());
    store.set(&kept).await.unwrap();
    until("the expired row to be gone", async || {
        let count = "SELECT COUNT(*) FROM state WHERE id = 'gone'";
        let count: Option<i64> = connection.query_first(count).await.unwrap();
        (count == Some(0)).then_some(())
    })
    .await
    .unwrap();
    assert!(store.get(&GetRequest::new("kept")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_server_that_comes_back_is_used_again() {
    let Some(mut mariadb) = Mariadb::start().await.unwrap() else {
        return;
    };
    let store = store(&mariadb, &[("timeoutInSeconds", "5")]).await;
    store.set(&SetRequest::new("k", json!(1))).await.unwrap();
    mariadb.server.kill().await.unwrap();
    assert!(store.get(&GetRequest::new("k")).await.is_err());
    mariadb.server.restart().await.unwrap();
    let read = until("the server to be used again", async || {
        store.get(&GetRequest::new("k")).await.ok()
    });
    assert_eq!(read.await.unwrap().unwrap().data.unwrap(), "1");
}

#[tokio::test]
async fn a_store_talks_in_tls_with_a_server_that_its_roots_vouch_for() {
    let authority = Authority::new().unwrap();
    let directory = Directory::new().unwrap();
    let server = authority
        .issue(&Leaf {
            dns_names: vec!["localhost".to_owned()],
            key: outrigger_test_kit::certificates::Key::P256,
            ..Leaf::default()
        })
        .unwrap();
    let certificate = directory.write("server.pem", &server.chain).unwrap();
    let key = directory.write("server.key", &server.key).unwrap();
    let roots = directory.write("ca.pem", authority.anchors()).unwrap();
    let flags = [
        ("ssl-cert", certificate.to_str().unwrap()),
        ("ssl-key", key.to_str().unwrap()),
        ("require-secure-transport", "ON"),
    ];
    let Some(mariadb) = Mariadb::start_with(&flags).await.unwrap() else {
        return;
    };
    let port = mariadb.server.port();
    let connect = async |options: &str, roots: &str| {
        let source = format!("root@tcp(localhost:{port})/?{options}");
        make(conformance::init([
            ("connectionString", source.as_str()),
            ("pemPath", roots),
        ]))
        .await
    };
    let roots = roots.to_str().unwrap();
    for options in ["tls=custom", "tls=skip-verify", "tls=preferred"] {
        let store = connect(options, roots).await.unwrap();
        store.set(&SetRequest::new("k", json!(1))).await.unwrap();
    }
    for options in ["tls=true", "tls=false"] {
        assert!(connect(options, roots).await.is_err(), "{options}");
    }
}
