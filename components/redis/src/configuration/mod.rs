//! Configuration: `configuration.redis`, texts of the form `value||version`.
//!
//! Source: specification, configuration B2.

mod subscription;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use outrigger_component::configuration::{
    ConfigurationItem, ConfigurationItems, ConfigurationStore, ConfigurationUpdate,
};
use outrigger_component::state::Metadata;
use outrigger_component::{Condition, Init};
use outrigger_kit::id::uuid;
use outrigger_svc::{BoxError, BoxFuture};
use redis::{Cmd, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::subscription::Subscription;
use crate::SCOPE;
use crate::error::Error;
use crate::info;
use crate::link::{Again, Client};
use crate::settings::{Family, Settings};
use crate::value;

/// Configuration in Redis.
#[derive(Debug)]
pub(crate) struct RedisConfiguration {
    reader: Arc<Reader>,
    database: i64,
    subscriptions: Subscriptions,
}

/// Subscriptions that go on, and what ends them.
#[derive(Clone, Debug, Default)]
struct Subscriptions(Arc<Mutex<HashMap<String, CancellationToken>>>);

/// Reads keys.
#[derive(Debug)]
struct Reader {
    client: Client,
}

/// Makes a store, and connects it.
pub(crate) async fn make(init: Init) -> Result<Arc<dyn ConfigurationStore>, BoxError> {
    let settings = Settings::read(&init.properties, Family::Configuration)?;
    Ok(Arc::new(
        RedisConfiguration::start(&settings, init.condition).await?,
    ))
}

// === impl RedisConfiguration ===

impl RedisConfiguration {
    async fn start(settings: &Settings, condition: Condition) -> Result<Self, BoxError> {
        let client = Client::new(settings, condition)?;
        if let Err(error) = info::ping(&client).await {
            let host = &settings.host;
            return Err(format!("error connecting to redis at {host}: {error}").into());
        }
        Ok(Self {
            reader: Arc::new(Reader { client }),
            database: settings.database,
            subscriptions: Subscriptions::default(),
        })
    }

    async fn follow(
        &self,
        keys: &[String],
        updates: mpsc::Sender<ConfigurationUpdate>,
    ) -> Result<String, Error> {
        let client = &self.reader.client;
        let mut notify = Cmd::new();
        notify
            .arg("CONFIG")
            .arg("SET")
            .arg("notify-keyspace-events")
            .arg("Kg$xe");
        // Servers of clouds refuse that and have settings of their own.
        if let Err(error) = client.everywhere(&notify).await {
            tracing::debug!(target: SCOPE, "redis: keyspace events are not switched on: {error}");
        }
        let subscription = Subscription::start(&self.reader, self.database, keys).await?;
        let id = uuid();
        let ended = client.closed().child_token();
        self.subscriptions.add(&id, ended.clone());
        let run = subscription.run(id.clone(), updates);
        let (subscriptions, own) = (self.subscriptions.clone(), id.clone());
        tokio::spawn(async move {
            ended.run_until_cancelled(run).await;
            subscriptions.remove(&own);
        });
        Ok(id)
    }
}

impl ConfigurationStore for RedisConfiguration {
    fn get<'a>(
        &'a self,
        keys: &'a [String],
        _: &'a Metadata,
    ) -> BoxFuture<'a, Result<ConfigurationItems, BoxError>> {
        Box::pin(async move { Ok(self.reader.read(keys).await?) })
    }

    fn subscribe<'a>(
        &'a self,
        keys: &'a [String],
        _: &'a Metadata,
        updates: mpsc::Sender<ConfigurationUpdate>,
    ) -> BoxFuture<'a, Result<String, BoxError>> {
        Box::pin(async move { Ok(self.follow(keys, updates).await?) })
    }

    fn unsubscribe<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), BoxError>> {
        let known = self.subscriptions.remove(id);
        Box::pin(std::future::ready(match known {
            Some(ended) => {
                ended.cancel();
                Ok(())
            }
            None => Err(format!("subscription with id {id} does not exist").into()),
        }))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async move {
            self.reader.client.close().await;
            Ok(())
        })
    }
}

// === impl Subscriptions ===

impl Subscriptions {
    fn add(&self, id: &str, ended: CancellationToken) {
        self.lock().insert(id.to_owned(), ended);
    }

    fn remove(&self, id: &str) -> Option<CancellationToken> {
        self.lock().remove(id)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Reader ===

impl Reader {
    /// The values of keys, of all keys if none is named, in one round trip.
    async fn read(&self, keys: &[String]) -> Result<ConfigurationItems, Error> {
        let all;
        let keys = match keys {
            [] => {
                let mut command = Cmd::new();
                command.arg("KEYS").arg("*");
                let found = self
                    .client
                    .everywhere(&command)
                    .await?
                    .into_iter()
                    .map(value::texts);
                all = found.collect::<Result<Vec<_>, _>>()?.concat();
                &all
            }
            keys => keys,
        };
        let commands: Vec<(&str, Cmd)> = keys.iter().map(|key| (key.as_str(), get(key))).collect();
        let answers = self.client.each(&commands, Again::Yes).await;
        let mut items = ConfigurationItems::new();
        for (key, answer) in keys.iter().zip(answers) {
            match answer {
                Ok(Value::Nil) => {
                    tracing::warn!(target: SCOPE, "redis configuration store does not have key {key}");
                }
                Ok(text) => {
                    let item = item(&value::text(&text)?);
                    if !item.value.is_empty() {
                        items.insert(key.clone(), item);
                    }
                }
                // It holds something that is no configuration.
                Err(error) if error.code() == Some("WRONGTYPE") => {}
                Err(error) => return Err(error),
            }
        }
        Ok(items)
    }

    /// The value of a key now; an empty one if there is none.
    async fn read_one(&self, key: &str) -> Result<ConfigurationItem, Error> {
        match self.client.one(key, &get(key), Again::Yes).await {
            Ok(Value::Nil) => Ok(ConfigurationItem::default()),
            Ok(text) => match item(&value::text(&text)?) {
                item if item.value.is_empty() => Ok(ConfigurationItem::default()),
                item => Ok(item),
            },
            Err(error) if error.code() == Some("WRONGTYPE") => Ok(ConfigurationItem::default()),
            Err(error) => Err(error),
        }
    }
}

fn get(key: &str) -> Cmd {
    let mut command = Cmd::new();
    command.arg("GET").arg(key);
    command
}

/// What stands before the first `||`, and between that and the next.
fn item(text: &str) -> ConfigurationItem {
    let mut parts = text.split("||");
    ConfigurationItem {
        value: parts.next().unwrap_or_default().to_owned(),
        version: parts.next().unwrap_or_default().to_owned(),
        metadata: Metadata::new(),
    }
}
