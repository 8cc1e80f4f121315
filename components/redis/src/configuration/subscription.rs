//! News of keys, by the events that servers send of their keyspace.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use outrigger_component::configuration::{ConfigurationItems, ConfigurationUpdate};
use redis::aio::{PubSub, PubSubSink};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, timeout};

use super::Reader;
use crate::SCOPE;
use crate::error::Error;

/// Keys that are listened to.
#[derive(Debug)]
pub(super) struct Subscription {
    reader: Arc<Reader>,
    keys: Vec<String>,
    /// What the names of channels begin with.
    prefix: String,
    ear: Ear,
}

/// The connections on which events come.
struct Ear {
    sinks: Vec<PubSubSink>,
    /// Keys of events; none when a connection has ended.
    events: BoxStream<'static, Option<String>>,
}

/// Why listening ended.
enum End {
    /// Nobody wants to know any more.
    Unwanted,
    /// A connection is gone.
    Deaf,
}

/// Between attempts to listen again.
const PAUSE: Duration = Duration::from_secs(1);

/// How often quiet connections are asked whether they are still there, and how long they have to answer.
const PING: Duration = Duration::from_secs(30);

// === impl Subscription ===

impl Subscription {
    /// Listens to keys, to all keys if none is named.
    pub(super) async fn start(reader: &Arc<Reader>, database: i64, keys: &[String]) -> Result<Self, Error> {
        let prefix = format!("__keyspace@{database}__:");
        Ok(Self {
            reader: Arc::clone(reader),
            keys: keys.to_vec(),
            ear: Ear::open(reader, &prefix, keys).await?,
            prefix,
        })
    }

    /// Tells what changes until nobody wants to know.
    pub(super) async fn run(mut self, id: String, updates: mpsc::Sender<ConfigurationUpdate>) {
        loop {
            if let End::Unwanted = self.tell(&id, &updates).await {
                return;
            }
            tracing::warn!(target: SCOPE, "redis: the subscription {id} has lost its connection and starts again");
            while let Err(error) = self.listen_again().await {
                tracing::debug!(target: SCOPE, "redis: the subscription {id} cannot start again yet: {error}");
                if timeout(PAUSE, updates.closed()).await.is_ok() {
                    return;
                }
            }
            // What changed while nobody listened is in no event.
            match self.reader.read(&self.keys).await {
                Ok(items) if items.is_empty() => {}
                Ok(items) => {
                    let id = id.clone();
                    updates.send(ConfigurationUpdate { id, items }).await.ok();
                }
                Err(error) => tracing::warn!(target: SCOPE, "redis: cannot read what has changed: {error}"),
            }
        }
    }

    async fn listen_again(&mut self) -> Result<(), Error> {
        self.ear = Ear::open(&self.reader, &self.prefix, &self.keys).await?;
        Ok(())
    }

    async fn tell(&mut self, id: &str, updates: &mpsc::Sender<ConfigurationUpdate>) -> End {
        // A key that changes again before it is told is told once: its value is read when there is room for it.
        let mut changed: VecDeque<String> = VecDeque::new();
        let mut pings = interval_at(Instant::now() + PING, PING);
        loop {
            tokio::select! {
                event = self.ear.events.next() => match event.flatten() {
                    None => return End::Deaf,
                    Some(key) if !changed.contains(&key) => changed.push_back(key),
                    Some(_) => {}
                },
                _ = pings.tick() => match timeout(PING, self.ear.ping()).await {
                    Ok(true) => {}
                    Ok(false) | Err(_) => return End::Deaf,
                },
                room = updates.reserve(), if !changed.is_empty() => {
                    let (Ok(room), Some(key)) = (room, changed.pop_front()) else {
                        return End::Unwanted;
                    };
                    match self.reader.read_one(&key).await {
                        Ok(item) => room.send(ConfigurationUpdate {
                            id: id.to_owned(),
                            items: ConfigurationItems::from([(key, item)]),
                        }),
                        Err(error) => tracing::warn!(target: SCOPE, "redis: cannot read the new value of {key}: {error}"),
                    }
                },
                () = updates.closed() => return End::Unwanted,
            }
        }
    }
}

// === impl Ear ===

impl Ear {
    async fn open(reader: &Reader, prefix: &str, keys: &[String]) -> Result<Self, Error> {
        let mut connections = reader.client.listen().await?;
        let subscribed = connections
            .iter_mut()
            .map(|connection| subscribe(connection, prefix, keys));
        try_join_all(subscribed).await?;
        let (sinks, messages): (Vec<_>, Vec<_>) = connections.into_iter().map(PubSub::split).unzip();
        let events = messages.into_iter().map(|messages| {
            let prefix = prefix.to_owned();
            let keys = messages.filter_map(move |message| {
                let key = message
                    .get_channel_name()
                    .strip_prefix(&prefix)
                    .map(str::to_owned);
                std::future::ready(key.map(Some))
            });
            keys.chain(stream::once(std::future::ready(None))).boxed()
        });
        Ok(Self {
            sinks,
            events: stream::select_all(events).boxed(),
        })
    }

    async fn ping(&mut self) -> bool {
        let pings = self.sinks.iter_mut().map(PubSubSink::ping::<redis::Value>);
        try_join_all(pings).await.is_ok()
    }
}

impl std::fmt::Debug for Ear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ear").finish_non_exhaustive()
    }
}

async fn subscribe(connection: &mut PubSub, prefix: &str, keys: &[String]) -> Result<(), Error> {
    let subscribed = match keys {
        [] => connection.psubscribe(format!("{prefix}*")).await,
        keys => {
            let channels: Vec<_> = keys.iter().map(|key| format!("{prefix}{key}")).collect();
            connection.subscribe(channels).await
        }
    };
    subscribed.map_err(|error| Error::of_connection(&error, &Arc::from("subscription")))
}
