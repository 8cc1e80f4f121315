//! Locks: `lock.redis`, a text with the owner's name that expires.
//!
//! Source: specification, distributed lock.

use std::sync::Arc;
use std::time::Duration;

use outrigger_component::Init;
use outrigger_component::lock::{LockStore, Unlocked};
use outrigger_svc::{BoxError, BoxFuture};
use redis::{Cmd, Value};

use crate::error::Error;
use crate::info;
use crate::link::{Again, Client};
use crate::script::{By, UNLOCK};
use crate::settings::{Family, Settings, Shape};

/// Locks in Redis.
#[derive(Debug)]
pub(crate) struct RedisLocks {
    client: Client,
}

/// Makes a store, and connects it.
pub(crate) async fn make(init: Init) -> Result<Arc<dyn LockStore>, BoxError> {
    let settings = Settings::read(&init.properties, Family::Lock)?;
    if settings.host.is_empty() {
        return Err("metadata property redisHost is empty".into());
    }
    if settings.shape == Shape::Cluster {
        return Err("this component does not support connecting to Redis Cluster".into());
    }
    let client = Client::new(&settings, init.condition)?;
    if let Err(error) = info::ping(&client).await {
        let host = &settings.host;
        return Err(format!("error connecting to Redis at {host}: {error}").into());
    }
    // What a replica has not heard of yet would be free again after a failover that nobody steers.
    if settings.shape == Shape::Node && info::replicas(&client).await? > 0 {
        return Err("replication is not supported".into());
    }
    Ok(Arc::new(RedisLocks { client }))
}

// === impl RedisLocks ===

impl RedisLocks {
    async fn take(&self, resource: &str, owner: &str, expiry: Duration) -> Result<bool, Error> {
        let mut command = Cmd::new();
        command
            .arg("SET")
            .arg(resource)
            .arg(owner)
            .arg("EX")
            .arg(expiry.as_secs())
            .arg("NX");
        // Done twice, the second time would find the lock of the first.
        match self.client.one(resource, &command, Again::No).await? {
            Value::Nil => Ok(false),
            _ => Ok(true),
        }
    }

    async fn give(&self, resource: &str, owner: &str) -> Result<Unlocked, Error> {
        let mut command = UNLOCK.call(By::Hash, resource);
        command.arg(owner);
        let answer = match self.client.one(resource, &command, Again::No).await {
            Err(error) if error.code() == Some("NOSCRIPT") => {
                let mut command = UNLOCK.call(By::Text, resource);
                command.arg(owner);
                self.client.one(resource, &command, Again::No).await?
            }
            answer => answer?,
        };
        match answer {
            Value::Int(0) => Ok(Unlocked::Success),
            Value::Int(1) => Ok(Unlocked::DoesNotExist),
            Value::Int(2) => Ok(Unlocked::BelongsToOthers),
            other => Err(Error::unexpected(&other)),
        }
    }
}

impl LockStore for RedisLocks {
    fn try_lock<'a>(
        &'a self,
        resource: &'a str,
        owner: &'a str,
        expiry: Duration,
    ) -> BoxFuture<'a, Result<bool, BoxError>> {
        Box::pin(async move { Ok(self.take(resource, owner, expiry).await?) })
    }

    fn unlock<'a>(&'a self, resource: &'a str, owner: &'a str) -> BoxFuture<'a, Result<Unlocked, BoxError>> {
        Box::pin(async move { Ok(self.give(resource, owner).await?) })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move {
            self.client.close().await;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use outrigger_component::conformance::{self, init};
    use outrigger_test_kit::servers::{Redis, RedisSentinel};

    use super::*;

    async fn error(settings: &[(&str, &str)]) -> String {
        make(init(settings.iter().copied()))
            .await
            .err()
            .unwrap()
            .to_string()
    }

    #[tokio::test]
    async fn one_server_does_what_lock_stores_do() -> anyhow::Result<()> {
        let Some(redis) = Redis::start().await? else {
            return Ok(());
        };
        let store = make(init([("redisHost", redis.address().as_str())]))
            .await
            .unwrap();
        conformance::lock::run("lock.redis", Arc::clone(&store)).await;
        store
            .try_lock("lock||app||r", "me", Duration::from_secs(60))
            .await
            .unwrap();
        assert_eq!(redis.cli(&["GET", "lock||app||r"]).await?, ["me"]);
        let ttl: u64 = redis.cli(&["TTL", "lock||app||r"]).await?.concat().parse()?;
        assert!((58..=60).contains(&ttl), "{ttl}");
        Ok(())
    }

    #[tokio::test]
    async fn servers_that_cannot_keep_locks_are_refused() -> anyhow::Result<()> {
        assert_eq!(error(&[]).await, "metadata property redisHost is empty");
        let cluster = [("redisHost", "localhost"), ("redisType", "cluster")];
        assert_eq!(
            error(&cluster).await,
            "this component does not support connecting to Redis Cluster"
        );
        let Some(servers) = RedisSentinel::start().await? else {
            return Ok(());
        };
        let master = servers.master.address();
        assert_eq!(
            error(&[("redisHost", &master)]).await,
            "replication is not supported"
        );
        Ok(())
    }
}
