//! Small stores, for the tests of what works on them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use outrigger_component::configuration::{
    ConfigurationItem, ConfigurationItems, ConfigurationStore, ConfigurationUpdate,
};
use outrigger_component::lock::{LockStore, Unlocked};
use outrigger_component::secrets::{Secret, SecretStore};
use outrigger_component::state::Metadata;
use outrigger_svc::{BoxError, BoxFuture};
use outrigger_telemetry::log::{LogSettings, Logger};
use tokio::sync::{mpsc, watch};

/// A secret store that echoes what it is asked for. Some names stand for what can happen.
#[derive(Debug, Default)]
pub(crate) struct Echo;

/// A store of one lock, which notes what it is asked for.
#[derive(Debug, Default)]
pub(crate) struct OneLock {
    owner: Mutex<Option<String>>,
    pub(crate) asked: Mutex<Vec<String>>,
}

/// A configuration store whose values a test changes. The key `broken` is not to be had.
#[derive(Debug, Default)]
pub(crate) struct Values {
    items: Mutex<ConfigurationItems>,
    subscriptions: watch::Sender<BTreeMap<String, Subscriber>>,
}

type Subscriber = (Vec<String>, mpsc::Sender<ConfigurationUpdate>);

/// Lets every line of the log be made from now on, whoever listens.
///
/// A line that is first met by a test without a logger, while another one makes its own, may else stay unmade for
/// both.
pub(crate) fn make_all_lines() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let (logger, _) = Logger::in_memory(&LogSettings::default());
        tracing::subscriber::set_global_default(logger).unwrap();
    });
}

// === impl Echo ===

impl SecretStore for Echo {
    fn get<'a>(
        &'a self,
        name: &'a str,
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<Option<Secret>, BoxError>> {
        Box::pin(async move {
            match name {
                "nothing" => Ok(None),
                "empty" => Ok(Some(Secret::default())),
                "broken" => Err("the store is <down>".into()),
                name => {
                    let version = metadata.get("version_id").map_or("-", String::as_str);
                    Ok(Some(Secret::from_iter([(name, "<v>"), ("version", version)])))
                }
            }
        })
    }

    fn bulk<'a>(
        &'a self,
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Secret>, BoxError>> {
        Box::pin(async move {
            if metadata.contains_key("fail") {
                return Err("no list".into());
            }
            let names = ["a", "b", "c"].map(|name| (name.to_owned(), Secret::single(name, "v")));
            Ok(BTreeMap::from(names))
        })
    }
}

// === impl OneLock ===

impl LockStore for OneLock {
    fn try_lock<'a>(
        &'a self,
        resource: &'a str,
        owner: &'a str,
        expiry: Duration,
    ) -> BoxFuture<'a, Result<bool, BoxError>> {
        Box::pin(async move {
            let asked = format!("{resource} {owner} {}", expiry.as_secs());
            self.asked.lock().unwrap().push(asked);
            if resource.ends_with("broken") {
                return Err("connection reset".into());
            }
            let mut held = self.owner.lock().unwrap();
            let is_free = held.is_none();
            held.get_or_insert_with(|| owner.to_owned());
            Ok(is_free)
        })
    }

    fn unlock<'a>(&'a self, resource: &'a str, owner: &'a str) -> BoxFuture<'a, Result<Unlocked, BoxError>> {
        Box::pin(async move {
            if resource.ends_with("broken") {
                return Err("connection reset".into());
            }
            let mut held = self.owner.lock().unwrap();
            Ok(match held.as_deref() {
                None => Unlocked::DoesNotExist,
                Some(holder) if holder != owner => Unlocked::BelongsToOthers,
                Some(_) => {
                    *held = None;
                    Unlocked::Success
                }
            })
        })
    }
}

// === impl Values ===

impl Values {
    /// A store with these values, all of version 1.
    pub(crate) fn new(items: &[(&str, &str)]) -> Arc<Self> {
        let items = items.iter().map(|(key, value)| ((*key).to_owned(), item(value)));
        Arc::new(Self {
            items: Mutex::new(items.collect()),
            ..Self::default()
        })
    }

    /// Changes a value and tells those who want to know.
    pub(crate) async fn change(&self, key: &str, value: &str) {
        self.items.lock().unwrap().insert(key.to_owned(), item(value));
        let subscribers = self.subscriptions.borrow().clone();
        for (id, (keys, updates)) in subscribers {
            if keys.is_empty() || keys.iter().any(|wanted| wanted == key) {
                let items = ConfigurationItems::from([(key.to_owned(), item(value))]);
                updates.send(ConfigurationUpdate { id, items }).await.unwrap();
            }
        }
    }

    /// The keys of each subscription.
    pub(crate) fn subscribed(&self) -> Vec<Vec<String>> {
        let subscriptions = self.subscriptions.borrow();
        subscriptions.values().map(|(keys, _)| keys.clone()).collect()
    }

    /// Waits until there is no subscription.
    pub(crate) async fn nobody_is_subscribed(&self) {
        let mut subscriptions = self.subscriptions.subscribe();
        subscriptions.wait_for(BTreeMap::is_empty).await.unwrap();
    }
}

impl ConfigurationStore for Values {
    fn get<'a>(
        &'a self,
        keys: &'a [String],
        _: &'a Metadata,
    ) -> BoxFuture<'a, Result<ConfigurationItems, BoxError>> {
        Box::pin(async move {
            if keys.iter().any(|key| key == "broken") {
                return Err("connection reset".into());
            }
            let mut items = self.items.lock().unwrap().clone();
            items.retain(|key, _| keys.is_empty() || keys.contains(key));
            Ok(items)
        })
    }

    fn subscribe<'a>(
        &'a self,
        keys: &'a [String],
        _: &'a Metadata,
        updates: mpsc::Sender<ConfigurationUpdate>,
    ) -> BoxFuture<'a, Result<String, BoxError>> {
        Box::pin(async move {
            if keys.iter().any(|key| key == "broken") {
                return Err("connection reset".into());
            }
            let mut id = String::new();
            self.subscriptions.send_modify(|subscriptions| {
                id = format!("s{}", subscriptions.len() + 1);
                subscriptions.insert(id.clone(), (keys.to_vec(), updates));
            });
            Ok(id)
        })
    }

    fn unsubscribe<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), BoxError>> {
        let mut is_known = false;
        self.subscriptions
            .send_modify(|subscriptions| is_known = subscriptions.remove(id).is_some());
        let outcome = if is_known {
            Ok(())
        } else {
            Err(format!("subscription with id {id} does not exist").into())
        };
        Box::pin(std::future::ready(outcome))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        self.subscriptions.send_modify(BTreeMap::clear);
        Box::pin(std::future::ready(Ok(())))
    }
}

fn item(value: &str) -> ConfigurationItem {
    ConfigurationItem {
        value: value.to_owned(),
        version: "1".to_owned(),
        metadata: Metadata::new(),
    }
}
