//! Configuration in App Configuration.
//!
//! A subscription asks for its sentinel again and again; a sentinel that has changed says that the keys have.
//!
//! Source: specification, configuration B4.

mod client;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outrigger_component::Init;
use outrigger_component::configuration::{
    ConfigurationItem, ConfigurationItems, ConfigurationStore, ConfigurationUpdate,
};
use outrigger_component::state::Metadata;
use outrigger_svc::{BoxError, BoxFuture};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::client::{Client, Setting};
use crate::SCOPE;

/// Reads a store of App Configuration, and tells when its sentinels change.
#[derive(Debug)]
pub struct AppConfiguration {
    client: Arc<Client>,
    /// Pause between two looks at a sentinel.
    interval: Duration,
    /// What ends each subscription, by its id.
    subscriptions: Mutex<HashMap<String, CancellationToken>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A look at a sentinel.
struct Watch {
    client: Arc<Client>,
    id: String,
    sentinel: String,
    keys: Vec<String>,
    label: Option<String>,
    updates: mpsc::Sender<ConfigurationUpdate>,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads the settings; the service is asked with the first key.
pub(crate) async fn make(init: Init) -> Result<Arc<dyn ConfigurationStore>, BoxError> {
    Ok(Arc::new(AppConfiguration::new(&init)?))
}

// === impl AppConfiguration ===

impl AppConfiguration {
    fn new(init: &Init) -> Result<Self, BoxError> {
        let fields = init.properties.fields()?;
        let interval = fields.duration("subscribePollInterval")?;
        Ok(Self {
            client: Arc::new(Client::read(&fields, init)?),
            interval: interval.and_then(|span| span.positive()).unwrap_or(DAY),
            subscriptions: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        })
    }

    fn subscriptions(&self) -> std::sync::MutexGuard<'_, HashMap<String, CancellationToken>> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConfigurationStore for AppConfiguration {
    fn get<'a>(
        &'a self,
        keys: &'a [String],
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<ConfigurationItems, BoxError>> {
        let label = metadata.get("label").map(String::as_str);
        Box::pin(read(&self.client, keys, label))
    }

    fn subscribe<'a>(
        &'a self,
        keys: &'a [String],
        metadata: &'a Metadata,
        updates: mpsc::Sender<ConfigurationUpdate>,
    ) -> BoxFuture<'a, Result<String, BoxError>> {
        Box::pin(async move {
            let sentinel = metadata.get("sentinelKey").filter(|key| !key.is_empty());
            let sentinel =
                sentinel.ok_or("azure appconfig error: sentinel key is not provided in metadata")?;
            let id = outrigger_kit::id::uuid();
            let watch = Watch {
                client: Arc::clone(&self.client),
                id: id.clone(),
                sentinel: sentinel.clone(),
                keys: keys.to_vec(),
                label: metadata.get("label").cloned(),
                updates,
            };
            let end = self.stop.child_token();
            self.subscriptions().insert(id.clone(), end.clone());
            let interval = self.interval;
            self.tasks
                .spawn(end.run_until_cancelled_owned(async move { watch.look(interval).await }));
            Ok(id)
        })
    }

    fn unsubscribe<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<(), BoxError>> {
        let end = self.subscriptions().remove(id);
        Box::pin(async move {
            let end = end.ok_or_else(|| format!("subscription with id {id} does not exist"))?;
            end.cancel();
            Ok(())
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async {
            self.stop.cancel();
            self.tasks.close();
            self.tasks.wait().await;
            Ok(())
        })
    }
}

impl Drop for AppConfiguration {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

// === impl Watch ===

impl Watch {
    /// Looks until nobody listens; the first look always finds a change.
    async fn look(self, interval: Duration) {
        let mut known = None;
        loop {
            let label = self.label.as_deref();
            match self.client.changed(&self.sentinel, label, known.as_ref()).await {
                Ok(None) => {}
                Ok(Some(tag)) => match read(&self.client, &self.keys, label).await {
                    Ok(items) => {
                        known = Some(tag);
                        let id = self.id.clone();
                        if self
                            .updates
                            .send(ConfigurationUpdate { id, items })
                            .await
                            .is_err()
                        {
                            return;
                        }
                    }
                    Err(error) => {
                        tracing::error!(target: SCOPE, "azure appconfig error: fail to get changed keys: {error}");
                    }
                },
                Err(error) => {
                    tracing::error!(target: SCOPE, "azure appconfig error: fail to get sentinel key: {error}");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = self.updates.closed() => return,
            }
        }
    }
}

/// The settings of keys; of all keys if none is named.
async fn read(client: &Client, keys: &[String], label: Option<&str>) -> Result<ConfigurationItems, BoxError> {
    if keys.is_empty() {
        let settings = client.settings(label.unwrap_or("*")).await?;
        return Ok(settings.into_iter().map(item).collect());
    }
    let mut items = BTreeMap::new();
    for key in keys {
        let (_, item) = item(client.setting(key, label).await?);
        items.insert(key.clone(), item);
    }
    Ok(items)
}

fn item(setting: Setting) -> (String, ConfigurationItem) {
    let metadata = [("label", setting.label), ("contentType", setting.content_type)];
    let metadata = metadata
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let item = ConfigurationItem {
        value: setting.value.unwrap_or_default(),
        version: String::new(),
        metadata: metadata.collect(),
    };
    (setting.key, item)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use outrigger_component::testing::{Server, Told};
    use outrigger_component::{Properties, testing};
    use serde_json::json;

    use super::*;

    const CONNECTION: &str = "Endpoint=https://c.azconfig.io;Id=i;Secret=a2V5";

    /// A fake of the service with the settings `a`, `b` and a sentinel whose tag is a number.
    fn service(tag: &'static AtomicU8) -> Arc<Server> {
        Server::new(move |asked, _| -> Told {
            let setting = |key: &str| json!({ "key": key, "value": key, "label": "l", "content_type": null });
            let path = asked.url.strip_prefix("https://c.azconfig.io").unwrap();
            let body = match path {
                "/kv?key=*&label=*&api-version=1.0" => {
                    json!({ "items": [setting("a")], "@nextLink": "/kv?after=a" })
                }
                "/kv?after=a" => json!({ "items": [setting("b")] }),
                "/kv/a?api-version=1.0" | "/kv/a?label=l&api-version=1.0" => setting("a"),
                "/kv/sentinel?api-version=1.0" => {
                    let tag = if tag.load(Ordering::Relaxed) == 0 {
                        "\"0\""
                    } else {
                        "\"1\""
                    };
                    if asked
                        .headers
                        .get("if-none-match")
                        .is_some_and(|known| known == tag)
                    {
                        return (304, vec![], String::new());
                    }
                    return (200, vec![("etag", tag)], setting("sentinel").to_string());
                }
                _ => return (404, vec![], String::new()),
            };
            (200, vec![], body.to_string())
        })
    }

    fn store(server: &Arc<Server>, own: &[(&str, &str)]) -> Result<AppConfiguration, String> {
        let settings = own
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let init = testing::init_with(server.client(), Properties::new(settings));
        AppConfiguration::new(&init).map_err(|error| error.to_string())
    }

    fn metadata(name: &str, value: &str) -> Metadata {
        Metadata::from([(name.to_owned(), value.to_owned())])
    }

    #[tokio::test]
    async fn settings_are_read_by_key_and_label_or_all() {
        static TAG: AtomicU8 = AtomicU8::new(0);
        let server = service(&TAG);
        let store = store(&server, &[("connectionString", CONNECTION)]).unwrap();
        let keys = ["a".to_owned()];
        let items = store.get(&keys, &metadata("label", "l")).await.unwrap();
        assert_eq!(items["a"].value, "a");
        assert_eq!(items["a"].metadata, metadata("label", "l"));
        let all = store.get(&[], &Metadata::new()).await.unwrap();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["a", "b"]);
        let missing = store
            .get(&["none".to_owned()], &Metadata::new())
            .await
            .unwrap_err();
        assert_eq!(
            missing.to_string(),
            "404 Not Found: the setting none cannot be read"
        );
        let authorization = server.asked()[0].headers["authorization"].clone();
        let text = authorization.to_str().unwrap();
        let start = "HMAC-SHA256 Credential=i&SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=";
        assert!(text.starts_with(start) && authorization.is_sensitive(), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_sentinel_that_changes_tells_the_keys() {
        static TAG: AtomicU8 = AtomicU8::new(0);
        let server = service(&TAG);
        let settings = [("connectionString", CONNECTION), ("subscribePollInterval", "10s")];
        let store = store(&server, &settings).unwrap();
        let (updates, mut told) = mpsc::channel(4);
        let error = store
            .subscribe(&[], &Metadata::new(), updates.clone())
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "azure appconfig error: sentinel key is not provided in metadata"
        );
        let keys = ["a".to_owned()];
        let id = store
            .subscribe(&keys, &metadata("sentinelKey", "sentinel"), updates)
            .await
            .unwrap();
        let first = told.recv().await.unwrap();
        assert_eq!((&first.id, first.items["a"].value.as_str()), (&id, "a"));
        tokio::time::sleep(Duration::from_secs(25)).await;
        assert!(told.try_recv().is_err(), "it has not changed");
        TAG.store(1, Ordering::Relaxed);
        assert_eq!(told.recv().await.unwrap().id, id);
        store.unsubscribe(&id).await.unwrap();
        assert_eq!(told.recv().await, None);
        let error = store.unsubscribe(&id).await.unwrap_err().to_string();
        assert_eq!(error, format!("subscription with id {id} does not exist"));
        store.close().await.unwrap();
    }

    #[test]
    fn there_is_one_way_to_a_store() {
        let server = Server::broken();
        let error = |own: &[(&str, &str)]| store(&server, own).unwrap_err();
        assert_eq!(
            error(&[]),
            "azure appconfig error: specify host or connectionString field in metadata"
        );
        let both = [("host", "https://c"), ("connectionString", CONNECTION)];
        assert_eq!(
            error(&both),
            "azure appconfig error: can't set both host and connectionString fields in metadata"
        );
        assert!(error(&[("connectionString", "Endpoint=https://c")]).starts_with("azure appconfig error: "));
    }
}
