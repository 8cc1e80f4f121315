//! `configuration.kubernetes`: the entries of a ConfigMap.
//!
//! A task follows the ConfigMap; reads are answered from memory. Each subscription has a task that compares what it has
//! told with what is there, so that a slow subscriber delays nobody and gets the newest values.
//!
//! Source: specification, configuration 5.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outrigger_component::Init;
use outrigger_component::configuration::{
    ConfigurationItem, ConfigurationItems, ConfigurationStore, ConfigurationUpdate,
};
use outrigger_component::state::Metadata;
use outrigger_kit::duration::GoDuration;
use outrigger_kit::id;
use outrigger_svc::{BoxError, BoxFuture};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::client;
use crate::watch::Followed;

/// The entries of one ConfigMap, kept up to date.
#[derive(Debug)]
pub(crate) struct ConfigMaps {
    current: watch::Sender<Arc<ConfigurationItems>>,
    subscriptions: Arc<Mutex<HashMap<String, DropGuard>>>,
    closed: CancellationToken,
}

/// Longest time of one watch, if no resync period says otherwise.
const WATCH: Duration = Duration::from_secs(300);
/// How much longer than a watch the server may be silent.
const SLACK: Duration = Duration::from_secs(30);
/// Longest name of an object.
const MAX_NAME: usize = 253;

// === impl ConfigMaps ===

impl ConfigMaps {
    /// Makes the store, once the ConfigMap has been asked for. It may not be there yet.
    pub(crate) async fn make(init: Init) -> Result<Arc<dyn ConfigurationStore>, BoxError> {
        let fields = init.properties.fields()?;
        let name = fields.text("configMapName").unwrap_or_default();
        if name.is_empty() {
            return Err("configMapName is required".into());
        }
        if !is_subdomain(name) {
            return Err(format!("configMapName '{name}' is not a valid DNS subdomain").into());
        }
        let resync = fields.duration("resyncPeriod")?.map(GoDuration::to_std);
        let namespace = client::own_namespace().unwrap_or_else(|| "default".to_owned());
        let followed = Followed {
            collection: format!("/api/v1/namespaces/{namespace}/configmaps"),
            name: name.to_owned(),
            at_most: resync.filter(|period| !period.is_zero()).unwrap_or(WATCH),
        };
        let client = client::connect(fields.text("kubeconfigPath"), followed.at_most + SLACK).await?;
        let listed = tokio::time::timeout_at(init.deadline, followed.list(&client)).await;
        let (object, version) = listed.map_err(|_| "context deadline exceeded")??;
        let current = watch::Sender::new(Arc::new(items(object.as_ref())));
        let closed = CancellationToken::new();
        let (told, condition) = (current.clone(), init.condition.clone());
        let follow = async move {
            let changed = |object: Option<Value>| {
                let new = items(object.as_ref());
                told.send_if_modified(|known| {
                    let is_new = !changes(known, &new).is_empty();
                    *known = Arc::new(new);
                    is_new
                })
            };
            let is_well = |reason: Option<&str>| match reason {
                Some(reason) => condition.degraded(&format!("cannot follow the ConfigMap: {reason}")),
                None => condition.well(),
            };
            followed.follow(&client, version, changed, is_well).await;
        };
        tokio::spawn(closed.clone().run_until_cancelled_owned(follow));
        Ok(Arc::new(Self {
            current,
            subscriptions: Arc::default(),
            closed,
        }))
    }
}

impl ConfigurationStore for ConfigMaps {
    fn get<'a>(
        &'a self,
        keys: &'a [String],
        _: &'a Metadata,
    ) -> BoxFuture<'a, Result<ConfigurationItems, BoxError>> {
        let mut items = ConfigurationItems::clone(&self.current.borrow());
        retain(&mut items, keys);
        Box::pin(std::future::ready(Ok(items)))
    }

    fn subscribe<'a>(
        &'a self,
        keys: &'a [String],
        _: &'a Metadata,
        updates: mpsc::Sender<ConfigurationUpdate>,
    ) -> BoxFuture<'a, Result<String, BoxError>> {
        let id = id::uuid();
        let ended = self.closed.child_token();
        let mut current = self.current.subscribe();
        current.mark_changed();
        let told = tell(id.clone(), keys.to_vec(), current, updates);
        let subscriptions = Arc::clone(&self.subscriptions);
        lock(&subscriptions).insert(id.clone(), ended.clone().drop_guard());
        let own_id = id.clone();
        tokio::spawn(async move {
            ended.run_until_cancelled_owned(told).await;
            lock(&subscriptions).remove(&own_id);
        });
        Box::pin(std::future::ready(Ok(id)))
    }

    fn unsubscribe<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), BoxError>> {
        let known = lock(&self.subscriptions).remove(id);
        let outcome = match known {
            Some(_) => Ok(()),
            None => Err(format!("subscription with id {id} does not exist").into()),
        };
        Box::pin(std::future::ready(outcome))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        self.closed.cancel();
        lock(&self.subscriptions).clear();
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Drop for ConfigMaps {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

/// Tells a subscriber of changes until it is gone.
async fn tell(
    id: String,
    keys: Vec<String>,
    mut current: watch::Receiver<Arc<ConfigurationItems>>,
    updates: mpsc::Sender<ConfigurationUpdate>,
) {
    let mut known = Arc::new(ConfigurationItems::new());
    loop {
        tokio::select! {
            changed = current.changed() => if changed.is_err() { return },
            () = updates.closed() => return,
        }
        let new = Arc::clone(&current.borrow_and_update());
        let mut items = changes(&known, &new);
        known = new;
        retain(&mut items, &keys);
        if items.is_empty() {
            continue;
        }
        let update = ConfigurationUpdate {
            id: id.clone(),
            items,
        };
        if updates.send(update).await.is_err() {
            return;
        }
    }
}

/// The entries that are new or other than before, and those that are gone, which are empty and say so.
fn changes(old: &ConfigurationItems, new: &ConfigurationItems) -> ConfigurationItems {
    let same = |old: &ConfigurationItem, new: &ConfigurationItem| {
        old.value == new.value && old.metadata == new.metadata
    };
    let changed = new
        .iter()
        .filter(|(key, item)| old.get(*key).is_none_or(|old| !same(old, item)))
        .map(|(key, item)| (key.clone(), item.clone()));
    let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| {
        let metadata = Metadata::from_iter([("deleted".to_owned(), "true".to_owned())]);
        let item = ConfigurationItem {
            metadata,
            ..ConfigurationItem::default()
        };
        (key.clone(), item)
    });
    changed.chain(gone).collect()
}

/// Keeps the entries of keys; all of them if none is named.
fn retain(items: &mut ConfigurationItems, keys: &[String]) {
    if !keys.is_empty() {
        items.retain(|key, _| keys.contains(key));
    }
}

/// The entries of a ConfigMap; none if it is not there.
fn items(object: Option<&Value>) -> ConfigurationItems {
    let Some(object) = object else {
        return BTreeMap::new();
    };
    let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    let item = |value: &str, metadata| ConfigurationItem {
        value: value.to_owned(),
        version: version.to_owned(),
        metadata,
    };
    let texts = entries(object, "data").map(|(key, value)| (key.to_owned(), item(value, Metadata::new())));
    let bytes = entries(object, "binaryData").map(|(key, value)| {
        let encoding = Metadata::from_iter([("encoding".to_owned(), "base64".to_owned())]);
        (key.to_owned(), item(value, encoding))
    });
    texts.chain(bytes).collect()
}

fn entries<'a>(object: &'a Value, member: &str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let members = object.get(member).and_then(Value::as_object);
    let members = members.into_iter().flat_map(Map::iter);
    members.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

fn is_subdomain(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        let ends = bytes.first().into_iter().chain(bytes.last());
        !label.is_empty()
            && ends.copied().all(is_inner)
            && bytes.iter().all(|byte| is_inner(*byte) || *byte == b'-')
    };
    name.len() <= MAX_NAME && name.split('.').all(is_label)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use outrigger_test_kit::Manner;
    use serde_json::json;

    use super::*;
    use crate::testing::World;

    fn map(data: &Value) -> Value {
        json!({"metadata": {"name": "settings", "namespace": "default"}, "data": data})
    }

    fn keys(keys: &[&str]) -> Vec<String> {
        keys.iter().map(|key| (*key).to_owned()).collect()
    }

    fn values(update: &ConfigurationUpdate) -> Vec<(&str, &str)> {
        let items = update.items.iter();
        items
            .map(|(key, item)| (key.as_str(), item.value.as_str()))
            .collect()
    }

    #[tokio::test]
    async fn entries_are_read_from_memory() {
        let world = World::start(Manner::Faithful).await;
        let mut object = map(&json!({"a": "1", "b": "2"}));
        object["binaryData"] = json!({"bytes": "/w=="});
        world.api.put("configmaps", object);
        world.api.put(
            "configmaps",
            json!({"metadata": {"name": "other", "namespace": "default"}, "data": {"x": "y"}}),
        );
        let store = ConfigMaps::make(world.init(&[("configMapName", "settings")]))
            .await
            .unwrap();
        let none = Metadata::new();
        let all = store.get(&[], &none).await.unwrap();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["a", "b", "bytes"]);
        assert_eq!(all["a"].value, "1");
        assert_eq!(all["a"].version, "1");
        assert_eq!(all["bytes"].value, "/w==");
        assert_eq!(all["bytes"].metadata["encoding"], "base64");
        let some = store.get(&keys(&["b", "absent"]), &none).await.unwrap();
        assert_eq!(some.keys().collect::<Vec<_>>(), ["b"]);
        store.close().await.unwrap();
    }

    #[tokio::test]
    async fn a_subscriber_gets_what_is_there_and_then_what_changes() {
        for manner in [Manner::Faithful, Manner::Minimal] {
            let world = World::start(manner).await;
            world
                .api
                .put("configmaps", map(&json!({"a": "1", "b": "2", "c": "3"})));
            let store = ConfigMaps::make(world.init(&[("configMapName", "settings")]))
                .await
                .unwrap();
            let (sender, mut updates) = mpsc::channel(4);
            let (other_sender, mut others) = mpsc::channel(4);
            let none = Metadata::new();
            let id = store.subscribe(&[], &none, sender).await.unwrap();
            store.subscribe(&keys(&["c"]), &none, other_sender).await.unwrap();
            let first = updates.recv().await.unwrap();
            assert_eq!(first.id, id);
            assert_eq!(values(&first), [("a", "1"), ("b", "2"), ("c", "3")]);
            assert_eq!(values(&others.recv().await.unwrap()), [("c", "3")]);

            world.api.put("configmaps", map(&json!({"a": "9", "c": "3"})));
            let second = updates.recv().await.unwrap();
            assert_eq!(values(&second), [("a", "9"), ("b", "")]);
            assert_eq!(second.items["b"].metadata["deleted"], "true");

            world.api.delete("configmaps", "default", "settings");
            assert_eq!(values(&updates.recv().await.unwrap()), [("a", ""), ("c", "")]);
            assert_eq!(values(&others.recv().await.unwrap()), [("c", "")]);

            store.unsubscribe(&id).await.unwrap();
            assert_eq!(updates.recv().await, None);
            let error = store.unsubscribe(&id).await.unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("subscription with id {id} does not exist")
            );
            store.close().await.unwrap();
            assert_eq!(others.recv().await, None);
        }
    }

    #[tokio::test]
    async fn settings_are_checked() {
        let world = World::start(Manner::Faithful).await;
        for (name, expected) in [
            ("", "configMapName is required"),
            ("A", "configMapName 'A' is not a valid DNS subdomain"),
            ("a..b", "configMapName 'a..b' is not a valid DNS subdomain"),
            ("-a", "configMapName '-a' is not a valid DNS subdomain"),
            ("a/b", "configMapName 'a/b' is not a valid DNS subdomain"),
        ] {
            let made = ConfigMaps::make(world.init(&[("configMapName", name)])).await;
            assert_eq!(made.unwrap_err().to_string(), expected);
        }
        assert!(is_subdomain("a-1.b") && is_subdomain("1"));
    }
}
