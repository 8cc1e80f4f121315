use std::time::SystemTime;

use bytes::Bytes;
use outrigger_component::conformance::state::{BulkOrder, Traits, run};
use outrigger_component::state::{Concurrency, Operation, TTL_IN_SECONDS};
use outrigger_component::{Properties, conformance};
use outrigger_kit::time::parse_rfc3339;
use outrigger_test_kit::{Directory, until};
use rusqlite::params;
use serde_json::json;

use super::*;

/// A file in a folder of its own.
struct File(Directory);

impl File {
    fn new() -> Self {
        Self(Directory::new().unwrap())
    }

    fn path(&self) -> String {
        self.0.path().join("state.db").to_str().unwrap().to_owned()
    }

    async fn store(&self, settings: &[(&str, &str)]) -> Arc<dyn StateStore> {
        let path = self.path();
        let settings = settings
            .iter()
            .copied()
            .chain([("connectionString", path.as_str())]);
        make(conformance::init(settings)).await.unwrap()
    }

    fn connection(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }
}

/// Value, whether it is binary, etag and expiry of a row.
type Row = (String, i64, String, Option<String>);

fn row(connection: &Connection, key: &str) -> Row {
    let select = "SELECT value, is_binary, etag, expiration_time FROM state WHERE key = ?";
    connection
        .query_row(select, params![key], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })
        .unwrap()
}

fn timed(key: &str, seconds: &str) -> SetRequest {
    let mut request = SetRequest::new(key, json!(1));
    request
        .metadata
        .insert(TTL_IN_SECONDS.to_owned(), seconds.to_owned());
    request
}

fn traits() -> Traits {
    Traits {
        bulk_order: BulkOrder::FoundFirst,
        ..Traits::new("state.sqlite")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_is_a_state_store() {
    let file = File::new();
    run(file.store(&[("cleanupInterval", "1s")]).await, traits()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn it_is_a_state_store_in_memory_and_without_a_log_beside_the_file() {
    let memory = make(conformance::init([("url", "file:conformance?mode=memory")]))
        .await
        .unwrap();
    run(memory, traits()).await;
    let file = File::new();
    run(file.store(&[("disableWAL", "true")]).await, traits()).await;
}

#[tokio::test]
async fn rows_are_those_of_the_reference() {
    let file = File::new();
    let store = file.store(&[]).await;
    let connection = file.connection();
    let bytes = SetRequest::new("app||bytes", Bytes::from_static(b"a\0\xff>"));
    store.set(&bytes).await.unwrap();
    let (value, is_binary, etag, expiry) = row(&connection, "app||bytes");
    assert_eq!((value.as_str(), is_binary, expiry), ("YQD/Pg==", 1, None));
    assert_eq!(etag.len(), 36);

    for (value, text) in [
        (json!("text"), "\"text\""),
        (json!({ "b": [1.5], "a": "<" }), r#"{"a":"\u003c","b":[1.5]}"#),
        (json!(null), "null"),
        (json!(true), "true"),
        (json!(1e21), "1e+21"),
    ] {
        store.set(&SetRequest::new("app||json", value)).await.unwrap();
        let (value, is_binary, ..) = row(&connection, "app||json");
        assert_eq!((value.as_str(), is_binary), (text, 0));
    }

    store.set(&timed("app||timed", "100")).await.unwrap();
    let expiry = row(&connection, "app||timed").3.unwrap();
    let moment = parse_rfc3339(&format!("{}Z", expiry.replace(' ', "T"))).unwrap();
    let left = moment.duration_since(SystemTime::now()).unwrap();
    assert!((98..=100).contains(&left.as_secs()), "{expiry}");
    store.set(&timed("app||timed", "-1")).await.unwrap();
    assert_eq!(row(&connection, "app||timed").3, None);

    let select = "SELECT name FROM pragma_table_info('state') ORDER BY cid";
    let mut statement = connection.prepare(select).unwrap();
    let names = statement.query_map([], |row| row.get(0)).unwrap();
    let names: Vec<String> = names.map(Result::unwrap).collect();
    assert_eq!(
        names,
        [
            "key",
            "value",
            "is_binary",
            "etag",
            "expiration_time",
            "update_time"
        ]
    );
    let level = "SELECT value FROM metadata WHERE key = 'migrations'";
    let level: String = connection.query_row(level, [], |row| row.get(0)).unwrap();
    assert_eq!(level, "1");
}

#[tokio::test]
async fn rows_of_the_reference_are_read() {
    let file = File::new();
    let store = file.store(&[]).await;
    let insert = "INSERT INTO state VALUES (?, ?, ?, 'e', ?, CURRENT_TIMESTAMP)";
    let connection = file.connection();
    for (key, value, is_binary, expiry) in [
        ("json", "{\"z\": 0.5}", false, None),
        ("bytes", "AAEC", true, Some("2999-01-02 03:04:05")),
        ("gone", "1", false, Some("2001-01-02 03:04:05")),
        ("broken", "?", true, None),
    ] {
        connection
            .execute(insert, params![key, value, is_binary, expiry])
            .unwrap();
    }
    let item = store.get(&GetRequest::new("json")).await.unwrap().unwrap();
    assert_eq!(
        (item.data.unwrap().as_ref(), item.etag.as_deref()),
        (&b"{\"z\": 0.5}"[..], Some("e"))
    );
    assert!(item.metadata.is_empty());
    let item = store.get(&GetRequest::new("bytes")).await.unwrap().unwrap();
    assert_eq!(item.data.unwrap(), &[0, 1, 2][..]);
    assert_eq!(item.metadata["ttlExpireTime"], "2999-01-02T03:04:05Z");
    assert_eq!(store.get(&GetRequest::new("gone")).await.unwrap(), None);
    assert!(store.get(&GetRequest::new("broken")).await.is_err());
}

#[tokio::test]
async fn a_level_is_never_lowered_and_must_be_a_number() {
    let file = File::new();
    drop(file.store(&[]).await);
    let connection = file.connection();
    let update = "UPDATE metadata SET value = ? WHERE key = 'migrations'";
    connection.execute(update, params!["7"]).unwrap();
    drop(file.store(&[]).await);
    let select = "SELECT value FROM metadata WHERE key = 'migrations'";
    let level: String = connection.query_row(select, [], |row| row.get(0)).unwrap();
    assert_eq!(level, "7");
    connection.execute(update, params!["x"]).unwrap();
    let path = file.path();
    let error = make(conformance::init([("url", path.as_str())]))
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid migration level found in metadata table: x"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_sidecars_share_a_file_and_lose_nothing() {
    let file = File::new();
    let stores = [
        file.store(&[]).await,
        file.store(&[]).await,
        file.store(&[]).await,
    ];
    stores[0]
        .set(&SetRequest::new("counter", Bytes::from_static(b"0")))
        .await
        .unwrap();
    let tasks = stores.map(|store| {
        tokio::spawn(async move {
            let mut raised = 0;
            while raised < 15 {
                let item = store.get(&GetRequest::new("counter")).await.unwrap().unwrap();
                let number: u32 = std::str::from_utf8(&item.data.unwrap()).unwrap().parse().unwrap();
                let write = SetRequest {
                    etag: item.etag,
                    ..SetRequest::new("counter", Bytes::from((number + 1).to_string()))
                };
                let beside = SetRequest::new("last", Bytes::from(number.to_string()));
                let transaction = Transaction {
                    operations: vec![Operation::Set(beside), Operation::Set(write)],
                    ..Transaction::default()
                };
                match store.transactions().unwrap().transact(&transaction).await {
                    Ok(()) => raised += 1,
                    Err(error) => assert!(error.is_about_etag(), "{error}"),
                }
            }
        })
    });
    for task in tasks {
        task.await.unwrap();
    }
    let connection = file.connection();
    let counter = base64::Engine::decode(
        &base64::engine::general_purpose::STANDARD,
        row(&connection, "counter").0,
    );
    assert_eq!(counter.unwrap(), b"45");
}

#[tokio::test]
async fn what_has_expired_is_swept_by_one_of_all_sidecars() {
    let file = File::new();
    let store = file.store(&[("cleanupInterval", "1s")]).await;
    let other = file.store(&[("cleanupInterval", "1s")]).await;
    let connection = file.connection();
    let insert = "INSERT INTO state VALUES ('gone', '1', 0, 'e', '2001-01-02 03:04:05', CURRENT_TIMESTAMP)";
    connection.execute(insert, []).unwrap();
    store.set(&timed("kept", "1000")).await.unwrap();
    until("the expired row to be gone", async || {
        let count = "SELECT COUNT(*) FROM state WHERE key = 'gone'";
        let count: i64 = connection.query_row(count, [], |row| row.get(0)).unwrap();
        (count == 0).then_some(())
    })
    .await
    .unwrap();
    assert!(store.get(&GetRequest::new("kept")).await.unwrap().is_some());
    let turns = "SELECT COUNT(*) FROM metadata WHERE key = 'last-cleanup'";
    let turns: i64 = connection.query_row(turns, [], |row| row.get(0)).unwrap();
    assert_eq!(turns, 1);
    for store in [store, other] {
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_first_write_replaces_a_row_that_has_expired() {
    let file = File::new();
    let store = file.store(&[]).await;
    let insert = "INSERT INTO state VALUES ('k', '1', 0, 'e', '2001-01-02 03:04:05', CURRENT_TIMESTAMP)";
    file.connection().execute(insert, []).unwrap();
    let mut first = SetRequest::new("k", json!(2));
    first.options.concurrency = Concurrency::FirstWrite;
    store.set(&first).await.unwrap();
    let error = store.set(&first).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "possible etag mismatch. error from state store"
    );
}

#[test]
fn wrong_settings_are_refused_with_the_specified_texts() {
    let refusal = |settings: &[(&str, &str)]| {
        let pairs = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::parse(&Properties::new(pairs)).unwrap_err().to_string()
    };
    let file = ("connectionString", "a.db");
    let table: [(&[(&str, &str)], &str); 5] = [
        (&[], "missing connection string"),
        (&[file, ("tableName", "a b")], "invalid identifier: a b"),
        (&[file, ("metadataTableName", "x;y")], "invalid identifier: x;y"),
        (
            &[file, ("timeout", "0.5s")],
            "invalid value for 'timeout': must be greater than 1s",
        ),
        (
            &[("url", "a.db?_pragma=busy_timeout(5)")],
            "found forbidden option '_pragma=busy_timeout(5)' in the connection string",
        ),
    ];
    for (settings, text) in table {
        assert_eq!(refusal(settings), text);
    }
}

#[test]
fn settings_have_the_specified_defaults() {
    let settings = Settings::parse(&Properties::from([("connectionString", "a.db")])).unwrap();
    assert_eq!(
        (settings.table.as_str(), settings.metadata_table.as_str()),
        ("state", "metadata")
    );
    assert_eq!(settings.timeout, Duration::from_secs(20));
    assert_eq!(settings.cleanup_interval, None);
}
