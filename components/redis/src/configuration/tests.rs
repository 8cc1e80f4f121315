//! The store on a real server.

use outrigger_component::conformance::{self, configuration::Traits, configuration::Writer, init};
use outrigger_test_kit::servers::Redis;
use outrigger_test_kit::until;

use super::*;

/// Writes with `redis-cli`.
struct Cli(Arc<Redis>);

impl Writer for Cli {
    fn put<'a>(
        &'a self,
        key: &'a str,
        value: &'a str,
        version: &'a str,
    ) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move {
            self.0.cli(&["SET", key, &format!("{value}||{version}")]).await?;
            Ok(())
        })
    }

    fn remove<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move {
            self.0.cli(&["DEL", key]).await?;
            Ok(())
        })
    }
}

#[tokio::test]
async fn one_server_does_what_configuration_stores_do() -> anyhow::Result<()> {
    let Some(redis) = Redis::start().await? else {
        return Ok(());
    };
    let store = make(init([("redisHost", redis.address().as_str())]))
        .await
        .unwrap();
    let traits = Traits {
        store: "configuration.redis",
        tells_deletions: true,
    };
    conformance::configuration::run(store, Arc::new(Cli(Arc::new(redis))), traits).await;
    Ok(())
}

#[tokio::test]
async fn what_is_no_configuration_is_left_out() -> anyhow::Result<()> {
    let Some(redis) = Redis::start().await? else {
        return Ok(());
    };
    let store = make(init([("redisHost", redis.address().as_str())]))
        .await
        .unwrap();
    for words in [
        &["SET", "plain", "value"][..],
        &["SET", "both", "value||v1||more"],
        &["SET", "empty", "||v1"],
        &["HSET", "hash", "a", "b"],
    ] {
        redis.cli(words).await?;
    }
    let item = |value: &str, version: &str| ConfigurationItem {
        value: value.to_owned(),
        version: version.to_owned(),
        metadata: Metadata::new(),
    };
    let expected = ConfigurationItems::from([
        ("plain".to_owned(), item("value", "")),
        ("both".to_owned(), item("value", "v1")),
    ]);
    assert_eq!(store.get(&[], &Metadata::new()).await.unwrap(), expected);
    Ok(())
}

#[tokio::test]
async fn a_subscription_outlives_its_server() -> anyhow::Result<()> {
    let Some(mut redis) = Redis::start_with(&["notify-keyspace-events Kg$xe"]).await? else {
        return Ok(());
    };
    let store = make(init([("redisHost", redis.address().as_str())]))
        .await
        .unwrap();
    let (updates, mut news) = mpsc::channel(8);
    let id = store
        .subscribe(&["k".to_owned()], &Metadata::new(), updates)
        .await
        .unwrap();
    redis.cli(&["SET", "k", "1||a"]).await?;
    assert_eq!(news.recv().await.unwrap().items["k"].value, "1");
    redis.server.kill().await?;
    redis.server.restart().await?;
    until("news", async || {
        redis.cli(&["SET", "k", "2||b"]).await.ok()?;
        let update = tokio::time::timeout(std::time::Duration::from_millis(100), news.recv()).await;
        update
            .ok()?
            .filter(|update| update.id == id && update.items["k"].version == "b")
    })
    .await?;
    store.unsubscribe(&id).await.unwrap();
    until("the end", async || match news.try_recv() {
        Err(mpsc::error::TryRecvError::Disconnected) => Some(()),
        _ => None,
    })
    .await?;
    assert_eq!(
        store.unsubscribe(&id).await.unwrap_err().to_string(),
        format!("subscription with id {id} does not exist")
    );
    Ok(())
}
