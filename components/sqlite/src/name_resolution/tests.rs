use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::Connection;
use serde_json::json;

use super::*;

/// A file that is removed at the end.
struct File(PathBuf);

impl File {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("outrigger-sqlite-{}-{number}.db", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn settings(&self) -> Settings {
        let properties = [("connectionString", self.0.to_str().unwrap())];
        Settings::parse(&Properties::from(properties)).unwrap()
    }

    fn connection(&self) -> Connection {
        Connection::open(&self.0).unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm"] {
            let mut name = self.0.clone().into_os_string();
            name.push(end);
            std::fs::remove_file(name).ok();
        }
    }
}

fn instance(app_id: &str, port: u16) -> Instance {
    Instance {
        app_id: app_id.to_owned(),
        namespace: "default".to_owned(),
        host_address: "10.0.0.1".to_owned(),
        http_port: 3500,
        internal_port: port,
        app_port: None,
    }
}

async fn start(file: &File, app_id: &str, port: u16) -> SqliteResolver {
    SqliteResolver::start(file.settings(), &instance(app_id, port), Fatal::new(|_| {}))
        .await
        .unwrap()
}

async fn found(resolver: &SqliteResolver, app_id: &str) -> Result<Vec<String>, String> {
    let lookup = Lookup {
        app_id,
        namespace: "default",
        port: 1,
    };
    let mut list = resolver.resolve(lookup).await?.list;
    list.sort();
    Ok(list)
}

fn refusal(properties: &[(&str, &str)]) -> String {
    let pairs = properties
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()));
    Settings::parse(&Properties::new(pairs)).unwrap_err().to_string()
}

#[test]
fn settings_have_the_specified_defaults_and_other_names() {
    let settings = Settings::parse(&Properties::from([("url", "a.db")])).unwrap();
    assert_eq!(
        (settings.table.as_str(), settings.metadata_table.as_str()),
        ("hosts", "metadata")
    );
    assert_eq!(settings.update_interval, Duration::from_secs(5));
    assert_eq!(settings.cleanup_interval, Some(Duration::from_secs(3600)));
    assert_eq!(settings.timeout, Duration::from_secs(1));
    let others = Properties::from([
        ("ConnectionString", "a.db"),
        ("timeoutInSeconds", "3"),
        ("updateInterval", "10s"),
        ("cleanupIntervalInSeconds", "-1"),
        ("tableName", "my_hosts"),
    ]);
    let settings = Settings::parse(&others).unwrap();
    assert_eq!(settings.timeout, Duration::from_secs(3));
    assert_eq!(settings.cleanup_interval, None);
    assert_eq!(settings.table, "my_hosts");
}

#[test]
fn wrong_settings_are_refused_with_the_specified_texts() {
    let file = ("connectionString", "a.db");
    let table: [(&[(&str, &str)], &str); 6] = [
        (&[], "missing connection string"),
        (
            &[file, ("tableName", "a b")],
            "invalid identifier for table name: a b",
        ),
        (
            &[file, ("metadataTableName", "")],
            "invalid identifier for table name: ",
        ),
        (
            &[file, ("updateInterval", "5500ms")],
            "update interval must not contain fractions of seconds",
        ),
        (
            &[file, ("updateInterval", "3s"), ("timeout", "3s")],
            "update interval must be at least 1s greater than timeout",
        ),
        (
            &[file, ("updateInterval", "1s"), ("timeout", "100ms")],
            "update interval must be at least 1s greater than timeout",
        ),
    ];
    for (properties, text) in table {
        assert_eq!(refusal(properties), text);
    }
}

#[test]
fn numbers_and_words_of_the_configuration_are_settings() {
    let init = json!({ "connectionString": "a.db", "timeout": 2, "disableWAL": true });
    let settings = Settings::parse(&outrigger_component::name_resolution::properties(&init)).unwrap();
    assert_eq!(settings.timeout, Duration::from_secs(2));
}

#[tokio::test]
async fn sidecars_that_share_a_file_find_each_other() {
    let file = File::new();
    let (first, second) = (start(&file, "a", 1).await, start(&file, "b", 2).await);
    let _third = start(&file, "b", 3).await;
    assert_eq!(found(&first, "b").await.unwrap(), ["10.0.0.1:2", "10.0.0.1:3"]);
    assert_eq!(found(&second, "a").await.unwrap(), ["10.0.0.1:1"]);
    assert_eq!(
        found(&second, "c").await.unwrap_err(),
        "no host found with the given ID"
    );
    second.close().await;
    assert_eq!(found(&first, "b").await.unwrap(), ["10.0.0.1:3"]);
}

#[tokio::test]
async fn the_tables_are_those_of_the_reference() {
    let file = File::new();
    let _resolver = start(&file, "a", 1).await;
    let connection = file.connection();
    let columns: String = connection
        .query_row(
            "SELECT group_concat(name || ' ' || type || ' ' || \"notnull\" || ' ' || pk, ', ') \
             FROM pragma_table_info('hosts')",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(
        columns,
        "registration_id TEXT 1 1, address TEXT 1 0, app_id TEXT 1 0, namespace TEXT 1 0, last_update INTEGER 1 0"
    );
    let row: (String, String, String) = connection
        .query_row("SELECT address, app_id, namespace FROM hosts", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    assert_eq!(row, ("10.0.0.1:1".to_owned(), "a".to_owned(), String::new()));
    let level: String = connection
        .query_row(
            "SELECT value FROM metadata WHERE key = 'nr-migrations'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(level, "1");
    let indexes: i64 = connection
        .query_row(
            "SELECT count(*) FROM sqlite_master WHERE name IN ('hosts_address_idx', 'hosts_last_update_idx')",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(indexes, 2);
}

#[tokio::test]
async fn a_row_that_nobody_renews_is_not_found_and_goes_with_the_next_cleaning() {
    let file = File::new();
    let resolver = start(&file, "a", 1).await;
    let connection = file.connection();
    connection
        .execute(
            "INSERT INTO hosts VALUES ('x', '10.0.0.2:2', 'old', '', strftime('%s', 'now') - 5)",
            [],
        )
        .unwrap();
    connection
        .execute(
            "INSERT INTO hosts VALUES ('y', '10.0.0.2:3', 'old', '', strftime('%s', 'now') - 3)",
            [],
        )
        .unwrap();
    assert_eq!(found(&resolver, "old").await.unwrap(), ["10.0.0.2:3"]);
    let count = || {
        connection
            .query_row("SELECT count(*) FROM hosts", [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    let hour = Duration::from_secs(3600);
    resolver.table.clean(hour).await.unwrap();
    assert_eq!(count(), 2);
    connection
        .execute("UPDATE hosts SET last_update = 0 WHERE app_id = 'old'", [])
        .unwrap();
    resolver.table.clean(hour).await.unwrap();
    assert_eq!(count(), 2, "it is not the turn of anybody for an hour");
    connection
        .execute(
            "UPDATE metadata SET value = '2001-01-01 00:00:00' WHERE key = 'nr-last-cleanup'",
            [],
        )
        .unwrap();
    resolver.table.clean(hour).await.unwrap();
    assert_eq!(count(), 1, "the own row lives");
}

#[tokio::test]
async fn an_address_has_one_row_and_its_loser_ends() {
    let file = File::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let fatal = {
        let told = Arc::clone(&told);
        Fatal::new(move |text: &str| told.lock().unwrap().push(text.to_owned()))
    };
    let first = SqliteResolver::start(file.settings(), &instance("a", 1), fatal.clone())
        .await
        .unwrap();
    let second = start(&file, "b", 1).await;
    assert!(found(&second, "a").await.is_err());
    assert_eq!(found(&second, "b").await.unwrap(), ["10.0.0.1:1"]);
    assert_eq!(first.table.renew().await.unwrap(), 0);
    assert_eq!(second.table.renew().await.unwrap(), 1);
    assert_eq!(first.table.leave().await.unwrap_err(), "no row deleted");
    let soon = Arc::new(Table {
        database: first.table.database.clone(),
        settings: Settings {
            update_interval: Duration::from_millis(1010),
            ..file.settings()
        },
        registration: first.table.registration.clone(),
        address: first.table.address.clone(),
    });
    soon.keep_renewed(&fatal).await;
    assert_eq!(*told.lock().unwrap(), ["Host registration lost"]);
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_an_error_of_the_start() {
    let properties = Properties::from([("connectionString", "/nowhere/at/all.db")]);
    let settings = Settings::parse(&properties).unwrap();
    let failed = SqliteResolver::start(settings, &instance("a", 1), Fatal::new(|_| {})).await;
    assert!(
        failed
            .unwrap_err()
            .to_string()
            .contains("unable to open database file")
    );
}

#[test]
fn hosts_of_version_six_stand_in_brackets() {
    assert_eq!(address("10.0.0.1", 7), "10.0.0.1:7");
    assert_eq!(address("fd00::1", 7), "[fd00::1]:7");
    assert_eq!(address("vm.example", 7), "vm.example:7");
}
