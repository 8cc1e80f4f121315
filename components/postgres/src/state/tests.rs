//! The store against a real server.

mod crashes;
mod tables;

use std::fmt::Write as _;
use std::sync::Arc;

use outrigger_component::Catalogue;
use outrigger_component::conformance::init;
use outrigger_component::conformance::state::{BulkOrder, Refusal, Traits, run};
use outrigger_component::state::Operation;
use outrigger_test_kit::certificates::{Key, Tail};
use outrigger_test_kit::servers::Postgres;
use outrigger_test_kit::{Authority, Directory, Leaf};
use serde_json::{Value, json};

use super::*;

type Outcome = Result<(), BoxError>;

/// A store of a type, on a server.
async fn make(
    kind: &str,
    version: &str,
    connection: &str,
    settings: &[(&str, &str)],
) -> Result<Arc<dyn StateStore>, BoxError> {
    let mut catalogue = Catalogue::new();
    crate::register(&mut catalogue);
    let found = catalogue.state.find(kind, version).unwrap();
    let settings = settings.iter().copied().chain([("connectionString", connection)]);
    found.maker.make(init(settings)).await
}

/// A connection that looks at the tables past the store.
async fn client(connection: &str) -> tokio_postgres::Client {
    let (client, carrier) = tokio_postgres::connect(connection, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(carrier);
    client
}

/// The text of a `jsonb` value: shorter names first, a space behind colons and commas.
fn jsonb(text: &str) -> String {
    fn write(out: &mut String, value: &Value) {
        match value {
            Value::Array(items) => {
                out.push('[');
                for (number, item) in items.iter().enumerate() {
                    out.push_str(if number > 0 { ", " } else { "" });
                    write(out, item);
                }
                out.push(']');
            }
            Value::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by_key(|(name, _)| (name.len(), name.as_bytes()));
                out.push('{');
                for (number, (name, value)) in members.into_iter().enumerate() {
                    out.push_str(if number > 0 { ", " } else { "" });
                    write!(out, "{}: ", json!(name)).unwrap();
                    write(out, value);
                }
                out.push('}');
            }
            Value::Number(number) => {
                let text = number.to_string();
                // Numbers have all their digits.
                let digits = text.split_once("e+").map(|(digits, zeros)| {
                    let zeros: usize = zeros.parse().unwrap();
                    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
                    format!("{whole}{fraction}{}", "0".repeat(zeros - fraction.len()))
                });
                let digits = digits.or_else(|| {
                    let (digits, zeros) = text.split_once("e-")?;
                    let zeros: usize = zeros.parse().unwrap();
                    Some(format!("0.{}{}", "0".repeat(zeros - 1), digits.replace('.', "")))
                });
                out.push_str(&digits.unwrap_or(text));
            }
            other => write!(out, "{other}").unwrap(),
        }
    }
    let mut out = String::new();
    write(&mut out, &serde_json::from_str(text).unwrap());
    out
}

fn first_version(store: &'static str) -> Traits {
    Traits {
        features: &["ETAG", "TRANSACTIONAL", "TTL", "KEYS_LIKE", "QUERY_API"],
        json: jsonb,
        unreadable_etag: Refusal::Invalid,
        first_write: Refusal::Other,
        bulk_order: BulkOrder::FoundFirst,
        queries: outrigger_component::conformance::state::QueryTraits {
            compares_numbers: false,
            ..Traits::new(store).queries
        },
        accepts_key: |key| !key.contains('\0'),
        ..Traits::new(store)
    }
}

fn second_version(store: &'static str) -> Traits {
    Traits {
        features: &["ETAG", "TRANSACTIONAL", "TTL", "KEYS_LIKE"],
        json: str::to_owned,
        unreadable_etag: Refusal::Mismatch,
        ..first_version(store)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_version_is_a_state_store() -> Outcome {
    let Some(server) = Postgres::start().await? else {
        return Ok(());
    };
    let connection = server.connection_string();
    // What CockroachDB has beyond others.
    let unique = "CREATE SEQUENCE rows; CREATE FUNCTION unique_rowid() RETURNS int8 LANGUAGE sql AS 'SELECT nextval(''rows'')'";
    client(&connection).await.batch_execute(unique).await?;
    let store = make("state.postgresql", "v1", &connection, &[]).await?;
    run(store, first_version("state.postgresql v1")).await;
    let store = make("state.postgres", "v2", &connection, &[("tablePrefix", "second_")]).await?;
    run(store, second_version("state.postgres v2")).await;
    let unnamed = [("tablePrefix", "unnamed_"), ("queryExecMode", "simple_protocol")];
    let store = make("state.yugabytedb", "", &connection, &unnamed).await?;
    run(
        store,
        second_version("state.yugabytedb without prepared statements"),
    )
    .await;
    let store = make(
        "state.cockroachdb",
        "v1",
        &connection,
        &[("tableName", "cockroach")],
    )
    .await?;
    let traits = Traits {
        // Over another value the tag is always 2.
        renews_etags: false,
        ..first_version("state.cockroachdb v1 on PostgreSQL")
    };
    run(store, traits).await;
    Ok(())
}

#[tokio::test]
async fn several_writes_are_all_or_none() -> Outcome {
    let Some(server) = Postgres::start().await? else {
        return Ok(());
    };
    for version in ["v1", "v2"] {
        let settings = [("tablePrefix", "second_")];
        let store = make(
            "state.postgresql",
            version,
            &server.connection_string(),
            &settings,
        )
        .await?;
        store.set(&SetRequest::new("old", json!("old"))).await?;
        let mut wrong = SetRequest::new("old", json!("new"));
        wrong.etag = Some(match version {
            "v1" => "4000000000".to_owned(),
            _ => outrigger_kit::id::uuid(),
        });
        let transaction = Transaction {
            operations: vec![
                Operation::Set(SetRequest::new("new", json!("new"))),
                Operation::Set(wrong),
                Operation::Delete(DeleteRequest::new("old")),
            ],
            ..Transaction::default()
        };
        let transactions = store.transactions().unwrap();
        let error = transactions.transact(&transaction).await.unwrap_err();
        assert!(error.is_about_etag(), "{error}");
        assert_eq!(store.get(&GetRequest::new("new")).await?, None);
        let old = store.get(&GetRequest::new("old")).await?.unwrap();
        assert_eq!(old.data.unwrap(), "\"old\"");
        // An error of the server ends it too, and the connection is as good as before.
        let transaction = Transaction {
            operations: vec![
                Operation::Set(SetRequest::new("new", json!("new"))),
                Operation::Set(SetRequest::new("a\0b", json!(1))),
            ],
            ..Transaction::default()
        };
        let error = transactions.transact(&transaction).await.unwrap_err();
        assert!(error.to_string().contains("SQLSTATE 22021"), "{error}");
        assert_eq!(store.get(&GetRequest::new("new")).await?, None);
    }
    Ok(())
}

#[tokio::test]
async fn connections_are_as_secure_as_is_asked_for() -> Outcome {
    let authority = Authority::new()?;
    let certificate = authority.issue(&Leaf {
        dns_names: vec!["localhost".to_owned()],
        key: Key::P256,
        tail: Tail::Issuer,
        ..Leaf::default()
    })?;
    let folder = Directory::new()?;
    let roots = folder.write("roots.pem", authority.anchors())?;
    let other = folder.write("other.pem", Authority::new()?.anchors())?;
    let Some(server) = Postgres::start_secure(&certificate).await? else {
        return Ok(());
    };
    let port = server.server.port();
    let open = async |host: &str, tls: String| {
        let connection =
            format!("host={host} hostaddr=127.0.0.1 port={port} user=postgres dbname=postgres {tls}");
        let made = make("state.postgresql", "v2", &connection, &[]).await;
        made.map(drop).map_err(|error| error.to_string())
    };
    let (roots, other) = (roots.display(), other.display());
    for (host, tls) in [
        ("localhost", "sslmode=disable".to_owned()),
        ("elsewhere", "sslmode=require".to_owned()),
        ("elsewhere", format!("sslmode=verify-ca sslrootcert={roots}")),
        ("localhost", format!("sslmode=verify-full sslrootcert={roots}")),
    ] {
        assert_eq!(open(host, tls.clone()).await, Ok(()), "{host} {tls}");
    }
    for (host, tls) in [
        ("elsewhere", format!("sslmode=verify-full sslrootcert={roots}")),
        ("localhost", format!("sslmode=verify-ca sslrootcert={other}")),
        ("localhost", format!("sslmode=require sslrootcert={other}")),
    ] {
        let error = open(host, tls.clone()).await.unwrap_err();
        assert!(
            error.contains("invalid peer certificate"),
            "{host} {tls}: {error}"
        );
    }
    Ok(())
}
