//! What is in the tables, byte for byte, and who makes them.

use bytes::Bytes;
use futures_util::future::join_all;
use outrigger_component::sql::Sweep as _;
use outrigger_component::state::TTL_IN_SECONDS;

use super::*;

/// The columns of a table with their types, in order.
async fn columns(client: &tokio_postgres::Client, table: &str) -> Vec<String> {
    let sql = "SELECT column_name || ' ' || data_type || CASE is_nullable WHEN 'NO' THEN ' not null' ELSE '' END \
               FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position";
    texts(client, sql, table).await
}

/// A column of texts.
async fn texts(client: &tokio_postgres::Client, sql: &str, value: &str) -> Vec<String> {
    let rows = client.query(sql, &[&value]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn the_first_version_keeps_json() -> Outcome {
    let Some(server) = Postgres::start().await? else {
        return Ok(());
    };
    let connection = server.connection_string();
    let store = make("state.postgresql", "v1", &connection, &[]).await?;
    let client = client(&connection).await;
    let expected = [
        "key text not null",
        "value jsonb not null",
        "isbinary boolean not null",
        "insertdate timestamp with time zone not null",
        "updatedate timestamp with time zone",
        "expiredate timestamp with time zone",
        "row_id bigint not null",
    ];
    assert_eq!(columns(&client, "state").await, expected);
    let indexes = texts(
        &client,
        "SELECT indexname::text FROM pg_indexes WHERE tablename = $1 ORDER BY 1",
        "state",
    );
    assert_eq!(indexes.await, ["state_pkey", "state_row_id_uidx"]);
    let meta = "SELECT key || '=' || value FROM dapr_metadata WHERE key <> $1 ORDER BY key";
    assert_eq!(texts(&client, meta, "").await, ["lock=lock", "migrations=3"]);

    store
        .set(&SetRequest::new("app||json", json!({ "bb": 1, "a": "<x>" })))
        .await?;
    store
        .set(&SetRequest::new("app||bytes", Bytes::from_static(b"\0\xff")))
        .await?;
    let rows = "SELECT key || ' ' || value::text || ' ' || isbinary || ' ' || row_id FROM state WHERE key <> $1 ORDER BY row_id";
    assert_eq!(
        texts(&client, rows, "").await,
        [
            r#"app||json {"a": "<x>", "bb": 1} false 1"#,
            r#"app||bytes "AP8=" true 2"#
        ]
    );
    let found = store.get(&GetRequest::new("app||json")).await?.unwrap();
    let tag = texts(
        &client,
        "SELECT xmin::text FROM state WHERE key = $1",
        "app||json",
    )
    .await;
    assert_eq!(found.etag, tag.first().cloned());

    let mut timed = SetRequest::new("app||json", json!(1));
    timed.metadata.insert(TTL_IN_SECONDS.to_owned(), "100".to_owned());
    store.set(&timed).await?;
    let times = "SELECT (expiredate - updatedate)::text FROM state WHERE key = $1";
    assert_eq!(texts(&client, times, "app||json").await, ["00:01:40"]);
    let found = store.get(&GetRequest::new("app||json")).await?.unwrap();
    let expiry = "SELECT to_char(expiredate AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM state WHERE key = $1";
    let expiry = texts(&client, expiry, "app||json").await;
    assert_eq!(found.metadata.get(TTL_EXPIRE_TIME), expiry.first());
    Ok(())
}

#[tokio::test]
async fn the_second_version_keeps_bytes() -> Outcome {
    let Some(server) = Postgres::start().await? else {
        return Ok(());
    };
    let connection = server.connection_string();
    let client = client(&connection).await;
    client.batch_execute("CREATE SCHEMA shop").await?;
    let settings = [("tablePrefix", "shop.a_"), ("metadataTableName", "shop.meta")];
    let store = make("state.postgresql", "v2", &connection, &settings).await?;
    let expected = [
        "key text not null",
        "value bytea not null",
        "etag uuid not null",
        "created_at timestamp with time zone not null",
        "updated_at timestamp with time zone",
        "expires_at timestamp with time zone",
        "row_id bigint not null",
    ];
    assert_eq!(columns(&client, "a_state").await, expected);
    let indexes =
        "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'shop' AND tablename = $1 ORDER BY 1";
    assert_eq!(
        texts(&client, indexes, "a_state").await,
        ["a_state_expires_at_idx", "a_state_pkey", "a_state_row_id_uidx"]
    );
    let meta = "SELECT key || '=' || value FROM shop.meta WHERE key <> $1 ORDER BY key";
    assert_eq!(
        texts(&client, meta, "").await,
        ["lock=lock", "migrations-state-v2-shop.a_=2"]
    );

    store
        .set(&SetRequest::new("app||json", json!({ "bb": 1, "a": "<x>" })))
        .await?;
    store
        .set(&SetRequest::new("app||bytes", Bytes::from_static(b"\0\xff")))
        .await?;
    let rows =
        "SELECT key || ' ' || encode(value, 'escape') FROM shop.a_state WHERE key <> $1 ORDER BY row_id";
    assert_eq!(
        texts(&client, rows, "").await,
        [
            r#"app||json {"a":"\\u003cx\\u003e","bb":1}"#,
            r"app||bytes \000\377"
        ]
    );
    let tag = texts(
        &client,
        "SELECT etag::text FROM shop.a_state WHERE key = $1",
        "app||json",
    )
    .await;
    let found = store.get(&GetRequest::new("app||json")).await?.unwrap();
    assert_eq!(found.etag, tag.first().cloned());
    Ok(())
}

#[tokio::test]
async fn many_who_start_at_once_make_the_tables_once() -> Outcome {
    let Some(server) = Postgres::start().await? else {
        return Ok(());
    };
    let connection = server.connection_string();
    let starts = (0..8).map(|number| {
        let version = if number % 2 == 0 { "v1" } else { "v2" };
        let settings: &[_] = if number % 2 == 0 {
            &[]
        } else {
            &[("tablePrefix", "v2")]
        };
        make("state.postgresql", version, &connection, settings)
    });
    for outcome in join_all(starts).await {
        outcome?.ping().await?;
    }
    let client = client(&connection).await;
    let meta = "SELECT key || '=' || value FROM dapr_metadata WHERE key <> $1 ORDER BY key";
    assert_eq!(
        texts(&client, meta, "").await,
        ["lock=lock", "migrations=3", "migrations-state-v2-v2=2"]
    );
    Ok(())
}

#[tokio::test]
async fn older_tables_are_brought_up_and_newer_ones_left_alone() -> Outcome {
    let Some(server) = Postgres::start().await? else {
        return Ok(());
    };
    let connection = server.connection_string();
    let client = client(&connection).await;
    // As an older release has left them, at level 1.
    let old = "CREATE TABLE dapr_metadata (key text NOT NULL PRIMARY KEY, value text NOT NULL); \
               INSERT INTO dapr_metadata VALUES ('migrations', '1'); \
               CREATE TABLE state (key text NOT NULL PRIMARY KEY, value jsonb NOT NULL, isbinary boolean NOT NULL, \
               insertdate TIMESTAMP WITH TIME ZONE NOT NULL DEFAULT NOW(), updatedate TIMESTAMP WITH TIME ZONE NULL); \
               INSERT INTO state (key, value, isbinary, insertdate) VALUES \
               ('late', '1', false, '2026-01-03'), ('b', '2', false, '2026-01-02'), ('a', '3', false, '2026-01-02')";
    client.batch_execute(old).await?;
    let store = make("state.postgresql", "v1", &connection, &[]).await?;
    store.set(&SetRequest::new("new", json!(4))).await?;
    let rows = "SELECT row_id || ' ' || key FROM state WHERE key <> $1 ORDER BY row_id";
    assert_eq!(texts(&client, rows, "").await, ["1 a", "2 b", "3 late", "4 new"]);
    client
        .batch_execute("UPDATE dapr_metadata SET value = '17' WHERE key = 'migrations'")
        .await?;
    make("state.postgresql", "v1", &connection, &[]).await?;
    let level = "SELECT value FROM dapr_metadata WHERE key = $1";
    assert_eq!(texts(&client, level, "migrations").await, ["17"]);
    client
        .batch_execute("UPDATE dapr_metadata SET value = 'x' WHERE key = 'migrations'")
        .await?;
    let error = make("state.postgresql", "v1", &connection, &[])
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid migration level found in metadata table: x"
    );
    Ok(())
}

#[tokio::test]
async fn what_has_expired_is_deleted_by_one_of_all() -> Outcome {
    let Some(server) = Postgres::start().await? else {
        return Ok(());
    };
    let connection = server.connection_string();
    for (version, expiry) in [("v1", "expiredate"), ("v2", "expires_at")] {
        let prefix = format!("{version}_");
        let settings = [("tableName", "v1_state"), ("tablePrefix", prefix.as_str())];
        let store = make("state.postgresql", version, &connection, &settings).await?;
        for key in ["forever", "expired", "alive"] {
            store.set(&SetRequest::new(key, json!(1))).await?;
        }
        let client = client(&connection).await;
        let expire = format!(
            "UPDATE {version}_state SET {expiry} = now() - interval '1 second' WHERE key = 'expired'; \
             UPDATE {version}_state SET {expiry} = now() + interval '1 hour' WHERE key = 'alive'"
        );
        client.batch_execute(&expire).await?;
        assert_eq!(store.get(&GetRequest::new("expired")).await?, None);
        let kind = if version == "v1" {
            Layout::Version1
        } else {
            Layout::Version2
        };
        let mut properties = outrigger_component::Properties::from(settings);
        properties.set("connectionString", connection.clone());
        let settings = StateSettings::read(&properties.fields()?, Kind::Postgres(kind))?;
        let cleanup = Cleanup {
            connector: settings.connection.connector,
            tables: settings.tables,
        };
        let age = std::time::Duration::from_secs(3600);
        let outcomes = join_all((0..4).map(|_| cleanup.sweep(age))).await;
        let mut outcomes: Vec<_> = outcomes.into_iter().collect::<Result<_, _>>()?;
        outcomes.sort_unstable();
        assert_eq!(outcomes, [None, None, None, Some(1)]);
        let left = format!("SELECT key FROM {version}_state WHERE key <> $1 ORDER BY key");
        assert_eq!(texts(&client, &left, "").await, ["alive", "forever"]);
    }
    Ok(())
}
