//! Servers that die, and servers that do not answer.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use outrigger_component::Condition;
use outrigger_test_kit::{Direction, Fault, FaultProxy, until};
use tokio::time::Instant;

use super::*;

/// A store and what its condition was told last.
async fn watched(
    connection: &str,
    settings: &[(&str, &str)],
) -> Result<(Arc<PostgresState>, Arc<Mutex<Vec<Option<String>>>>), BoxError> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let mut init = init(settings.iter().copied().chain([("connectionString", connection)]));
    init.condition = Condition::new(move |reason| telling.lock().unwrap().push(reason.map(str::to_owned)));
    let store = open(init, Kind::Postgres(Layout::Version2)).await?;
    Ok((store, told))
}

#[tokio::test]
async fn a_server_that_is_gone_is_told_at_once_and_found_again() -> Outcome {
    let Some(mut server) = Postgres::start().await? else {
        return Ok(());
    };
    let (store, told) = watched(&server.connection_string(), &[]).await?;
    store.set(&SetRequest::new("key", json!(1))).await?;
    server.server.kill().await?;
    let begin = Instant::now();
    let mut errors = Vec::new();
    let error = until("an error that says why", async || {
        let error = store.get(&GetRequest::new("key")).await.err()?.to_string();
        errors.push(error.clone());
        error
            .starts_with("failed to connect to the server: ")
            .then_some(error)
    });
    let error = error.await?;
    assert!(error.contains("Connection refused"), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{errors:?}");
    assert!(
        told.lock()
            .unwrap()
            .last()
            .unwrap()
            .as_ref()
            .is_some_and(|reason| *reason == error)
    );
    server.restart().await?;
    let found = until("the value", async || {
        store.get(&GetRequest::new("key")).await.ok()?
    })
    .await?;
    assert_eq!(found.data.unwrap(), "1");
    assert_eq!(told.lock().unwrap().last(), Some(&None));
    Ok(())
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_and_left() -> Outcome {
    let Some(server) = Postgres::start().await? else {
        return Ok(());
    };
    let proxy = FaultProxy::start(server.server.port()).await?;
    let connection = format!("host=127.0.0.1 port={} user=postgres", proxy.port());
    let (store, _) = watched(&connection, &[("timeout", "1s")]).await?;
    store.set(&SetRequest::new("key", json!(1))).await?;
    let before = proxy.accepted();
    proxy.set(Direction::ToClient, Fault::Swallow);
    let error = store.get(&GetRequest::new("key")).await.unwrap_err();
    assert_eq!(error.to_string(), "timeout: context deadline exceeded");
    proxy.set(Direction::ToClient, Fault::None);
    let found = store.get(&GetRequest::new("key")).await?.unwrap();
    assert_eq!(found.data.unwrap(), "1");
    assert!(proxy.accepted() > before, "another connection is used");
    Ok(())
}

/// Writers go on while the server dies again and again. What was acknowledged is there afterwards, transactions are
/// whole, and of two writes with one tag one wins.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_when_the_server_dies() -> Outcome {
    let Some(mut server) = Postgres::start().await? else {
        return Ok(());
    };
    let (store, _) = watched(&server.connection_string(), &[]).await?;
    store.set(&SetRequest::new("counter", json!(0))).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let counted = Arc::new(AtomicUsize::new(0));
    let writers = (0..6).map(|writer| {
        let (store, stop, counted) = (Arc::clone(&store), Arc::clone(&stop), Arc::clone(&counted));
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            let mut number = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                let key = |name: &str| format!("{writer}-{number}-{name}");
                if store
                    .set(&SetRequest::new(key("single"), json!(number)))
                    .await
                    .is_ok()
                {
                    acknowledged.push(key("single"));
                }
                let pair =
                    ["left", "right"].map(|name| Operation::Set(SetRequest::new(key(name), json!(number))));
                let transaction = Transaction {
                    operations: pair.into(),
                    ..Transaction::default()
                };
                if store.transact(&transaction).await.is_ok() {
                    acknowledged.extend([key("left"), key("right")]);
                }
                let Ok(Some(counter)) = store.get(&GetRequest::new("counter")).await else {
                    continue;
                };
                let value: u64 = serde_json::from_slice(&counter.data.unwrap()).unwrap();
                let mut next = SetRequest::new("counter", json!(value + 1));
                next.etag = counter.etag;
                if store.set(&next).await.is_ok() {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
            (number, acknowledged)
        })
    });
    let writers: Vec<_> = writers.collect();
    for round in 1..=3 {
        let goal = counted.load(Ordering::Relaxed) + 20;
        until(format!("writes of round {round}"), async || {
            (counted.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await?;
        server.server.kill().await?;
        server.restart().await?;
    }
    stop.store(true, Ordering::Relaxed);
    for (writer, task) in writers.into_iter().enumerate() {
        let (number, acknowledged) = task.await?;
        assert!(!acknowledged.is_empty());
        let pairs =
            (1..=number).flat_map(|number| ["left", "right"].map(|name| format!("{writer}-{number}-{name}")));
        let requests: Vec<_> = acknowledged
            .iter()
            .cloned()
            .chain(pairs)
            .map(GetRequest::new)
            .collect();
        let found = store.bulk_get(&requests, 0).await?.into_iter();
        let found: HashSet<_> = found
            .filter(|item| matches!(item.outcome, Ok(Some(_))))
            .map(|item| item.key)
            .collect();
        for key in acknowledged {
            assert!(found.contains(&key), "{key} is lost");
        }
        for number in 1..=number {
            let [left, right] =
                ["left", "right"].map(|name| found.contains(&format!("{writer}-{number}-{name}")));
            assert_eq!(left, right, "transaction {writer}-{number} is half done");
        }
    }
    let counter = store.get(&GetRequest::new("counter")).await?.unwrap();
    let counter: usize = serde_json::from_slice(&counter.data.unwrap())?;
    // A write whose answer was lost with the server may be done.
    let counted = counted.load(Ordering::Relaxed);
    assert!(
        (counted..=counted + 18).contains(&counter),
        "{counter} of {counted}"
    );
    Ok(())
}
