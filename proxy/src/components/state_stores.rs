//! State stores: beyond being made they have keys to encrypt by, a prefix of keys, and one of them is that of actors.
//!
//! Source: specification, components 5.3 and 6.4, state API 3.1, 8 and 11.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outrigger_component::secrets::SecretStore;
use outrigger_component::state::{Metadata, StateStore};
use outrigger_component::{Feature, Init, Registry};
use outrigger_config::daprd::Settings;
use outrigger_config::resources::{Category, Component, PropertyValue, Resource as _};
use outrigger_config::{AppId, Mode, Namespace};
use outrigger_kit::boolean::is_truthy;
use outrigger_svc::{BoxError, BoxFuture};

use super::family::{Failure, Family, Opened, unknown_type};
use super::resolve::store_of;
use super::table::Table;
use crate::state::{KeyPrefix, Keys, Store};

/// The state stores.
#[derive(Debug)]
pub(super) struct StateFamily {
    registry: Registry<dyn StateStore>,
    stores: Table<Store>,
    secrets: Table<dyn SecretStore>,
    app_id: AppId,
    namespace: Namespace,
    mode: Mode,
    has_actors: bool,
    /// Name of the store that actors keep their state in.
    of_actors: Mutex<Option<String>>,
    /// By the name of the store. A store that is made again keeps the keys that it had first.
    keys: Mutex<BTreeMap<String, Arc<Keys>>>,
}

const SCOPE: &str = "dapr.runtime.processor.state";
const REGISTRY: &str = "dapr.contrib";

const ACTOR_STATE_STORE: &str = "actorStateStore";
const KEY_PREFIX: &str = "keyPrefix";
const PRIMARY_KEY: &str = "primaryEncryptionKey";
const SECONDARY_KEY: &str = "secondaryEncryptionKey";

// === impl StateFamily ===

impl StateFamily {
    /// No store is loaded yet; `stores` is where calls will find them, `secrets` is where keys are.
    pub(super) fn new(
        settings: &Settings,
        registry: Registry<dyn StateStore>,
        stores: Table<Store>,
        secrets: Table<dyn SecretStore>,
    ) -> Self {
        Self {
            registry,
            stores,
            secrets,
            app_id: settings.app_id.clone(),
            namespace: settings.namespace.clone(),
            mode: settings.mode,
            has_actors: !settings.placement_addresses.is_empty(),
            of_actors: Mutex::default(),
            keys: Mutex::default(),
        }
    }

    /// The keys that a component asks for, if its secret store is loaded.
    async fn keys_of(&self, component: &Component) -> Result<Option<Arc<Keys>>, Failure> {
        let name = &component.metadata.name;
        let secrets = self.secrets.find(store_of(&component.secret_store, self.mode));
        let (Some(primary), Some(secrets)) = (exact(component, PRIMARY_KEY), secrets) else {
            return Ok(None);
        };
        let known = lock(&self.keys).get(name).cloned();
        let keys = match known {
            Some(keys) => keys,
            None => {
                let primary = key_of(component, primary, &*secrets).await?;
                let secondary = match exact(component, SECONDARY_KEY) {
                    Some(secondary) => Some(key_of(component, secondary, &*secrets).await?),
                    None => None,
                };
                let secondary = secondary
                    .as_ref()
                    .map(|(name, text)| (name.as_str(), text.as_str()));
                let keys = Keys::new((&primary.0, &primary.1), secondary);
                Arc::new(keys.map_err(|error| Failure::Create(error.to_string()))?)
            }
        };
        lock(&self.keys).insert(name.clone(), Arc::clone(&keys));
        tracing::info!(target: SCOPE, "Automatic encryption enabled for state store {name}");
        Ok(Some(keys))
    }

    /// Makes the store that of actors, if it asks to be and may.
    fn claim(&self, component: &Component) -> Result<(), Failure> {
        let wanted = component.property(ACTOR_STATE_STORE);
        if !self.has_actors || !wanted.is_some_and(|property| is_truthy(property.value.text())) {
            return Ok(());
        }
        let name = &component.metadata.name;
        let mut of_actors = lock(&self.of_actors);
        match of_actors.as_ref().filter(|holder| *holder != name) {
            Some(first) => Err(Failure::Init(format!(
                "detected duplicate actor state store: {first} and {name}"
            ))),
            None => {
                *of_actors = Some(name.clone());
                tracing::info!(target: SCOPE, "Using '{name}' as actor state store");
                Ok(())
            }
        }
    }

    /// What is to be done with a store that is made.
    fn install(
        &self,
        component: &Component,
        store: &Arc<dyn StateStore>,
        keys: Option<Arc<Keys>>,
    ) -> Result<Opened, Failure> {
        let name = &component.metadata.name;
        self.claim(component)?;
        let prefix = KeyPrefix::new(
            component
                .property(KEY_PREFIX)
                .map(|property| property.value.text()),
            name,
            self.app_id.as_ref(),
            self.namespace.variable(),
        );
        let prefix =
            prefix.map_err(|error| Failure::Init(format!("failed to save lock keyprefix: {error}")))?;
        // What the outbox needs of a component is read here, once there are brokers.
        let opened = Store {
            name: name.clone(),
            component: Arc::clone(store),
            prefix,
            keys,
        };
        self.stores.insert(name, &Arc::new(opened));
        Ok(Opened {
            capabilities: capabilities(&**store),
        })
    }

    fn release(&self, name: &str) {
        lock(&self.of_actors).take_if(|holder| *holder == name);
    }
}

impl Family for StateFamily {
    fn open<'a>(&'a self, component: &'a Component, init: Init) -> BoxFuture<'a, Result<Opened, Failure>> {
        Box::pin(async move {
            let found = self.registry.find(&component.kind, &component.version);
            let found = found.ok_or_else(|| unknown_type(Category::State, component))?;
            if let Some(preferred) = found.preferred {
                let (kind, version) = (&component.kind, &found.version);
                tracing::warn!(
                    target: REGISTRY,
                    "WARNING: state store {kind}/{version} is deprecated and will be removed in a future version, \
                     please use {kind}/{preferred}"
                );
            }
            let keys = self.keys_of(component).await?;
            let store = found.maker.make(init).await;
            let store = store.map_err(|error| Failure::Init(error.to_string()))?;
            let outcome = self.install(component, &store, keys);
            if outcome.is_err() {
                self.release(&component.metadata.name);
                if let Err(error) = store.close().await {
                    let name = component.log_name();
                    tracing::warn!(target: SCOPE, "error closing component {name}: {error}");
                }
            }
            outcome
        })
    }

    fn close<'a>(&'a self, component: &'a Component) -> BoxFuture<'a, Result<(), BoxError>> {
        Box::pin(async move {
            let name = &component.metadata.name;
            let store = self.stores.remove(name);
            self.release(name);
            match store {
                Some(store) => store.component.close().await,
                None => Ok(()),
            }
        })
    }

    fn holder(&self, component: &Component) -> Option<String> {
        component.property(ACTOR_STATE_STORE)?;
        let holder = lock(&self.of_actors).clone();
        holder.filter(|holder| *holder != component.metadata.name)
    }
}

/// What a store can do, as metadata show it.
fn capabilities(store: &dyn StateStore) -> Vec<String> {
    let features = store.features();
    let mut capabilities: Vec<_> = features.iter().map(ToString::to_string).collect();
    if features.contains(&Feature::ETAG) && features.contains(&Feature::TRANSACTIONAL) {
        capabilities.push("ACTOR".to_owned());
    }
    capabilities
}

/// The value of a property whose name is spelled exactly so.
fn exact<'a>(component: &'a Component, name: &str) -> Option<&'a PropertyValue> {
    let mut properties = component.properties.iter();
    let found = properties.find(|property| property.name == name);
    found.map(|property| &property.value)
}

/// The name of a key, which is that of its secret, and its text. A secret that was not there before may be now.
async fn key_of(
    component: &Component,
    value: &PropertyValue,
    secrets: &dyn SecretStore,
) -> Result<(String, String), Failure> {
    let PropertyValue::SecretRef(secret) = value else {
        return Ok((String::new(), value.text().to_owned()));
    };
    if !secret.literal.is_empty() {
        return Ok((secret.name.clone(), secret.literal.clone()));
    }
    let failed =
        |cause: &dyn std::fmt::Display| Failure::Create(format!("failed to extract encryption key: {cause}"));
    let metadata = Metadata::from([("namespace".to_owned(), component.metadata.namespace.clone())]);
    let found = secrets.get(&secret.name, &metadata).await;
    let found = found.map_err(|error| failed(&error))?.unwrap_or_default();
    let text = found.get(&secret.key).unwrap_or_default().to_owned();
    Ok((secret.name.clone(), text))
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use outrigger_component::secrets::Secret;
    use outrigger_component::state::{GetRequest, SetRequest};
    use outrigger_component::{Condition, Properties, Versions};
    use outrigger_config::daprd::Flags;
    use outrigger_config::env::EmptyEnv;
    use outrigger_kit::yaml;
    use outrigger_telemetry::metrics::Metrics;
    use tokio::time::Instant;

    use super::*;
    use crate::app::testing;
    use crate::components::outside;
    use crate::state::State;
    use crate::state::testing::Shelf;

    /// A secret store with keys.
    #[derive(Debug)]
    struct Vault;

    impl SecretStore for Vault {
        fn get<'a>(
            &'a self,
            name: &'a str,
            _: &'a Metadata,
        ) -> BoxFuture<'a, Result<Option<Secret>, BoxError>> {
            Box::pin(async move {
                match name {
                    "old" => Ok(Some(Secret::single("hex", "0a".repeat(16)))),
                    "new" => Ok(Some(Secret::single("hex", "0b".repeat(32)))),
                    "short" => Ok(Some(Secret::single("hex", "0a"))),
                    _ => Err(format!("no secret {name}").into()),
                }
            })
        }

        fn bulk<'a>(&'a self, _: &'a Metadata) -> BoxFuture<'a, Result<BTreeMap<String, Secret>, BoxError>> {
            Box::pin(async { Ok(BTreeMap::new()) })
        }
    }

    struct World {
        family: StateFamily,
        shelf: Arc<Shelf>,
        stores: Table<Store>,
    }

    impl World {
        fn new() -> Self {
            let shelf = Arc::new(Shelf::new());
            let mut registry = Registry::<dyn StateStore>::default();
            let one = Arc::clone(&shelf);
            registry.register("state.shelf", move |_| {
                let one = Arc::clone(&one);
                async { Ok(one as Arc<dyn StateStore>) }
            });
            registry.register("state.bad", |_| async { Err("bad settings".into()) });
            registry.register_version("state.old", "v1", |_| async {
                Ok(Arc::new(Shelf::that_can(&[Feature::TTL])) as Arc<dyn StateStore>)
            });
            let versions = Versions {
                default: "v1",
                preferred: "v2",
                deprecated: &["v1"],
            };
            registry.set_versions("state.old", versions);
            let flags = ["--app-id", "app", "--placement-host-address", "127.0.0.1:1"];
            let flags = Flags::parse(flags.map(str::to_owned)).unwrap().flags;
            let settings = Settings::new(flags, &EmptyEnv).unwrap();
            let (stores, secrets) = (Table::default(), Table::default());
            secrets.insert("vault", &(Arc::new(Vault) as Arc<dyn SecretStore>));
            Self {
                family: StateFamily::new(&settings, registry, stores.clone(), secrets),
                shelf,
                stores,
            }
        }

        async fn open(&self, yaml: &str) -> Result<Vec<String>, Failure> {
            let component = component(yaml);
            let init = Init {
                name: component.metadata.name.as_str().into(),
                log_name: component.log_name().into(),
                app_id: "app".into(),
                namespace: "default".into(),
                properties: Properties::default(),
                deadline: Instant::now() + Duration::from_secs(5),
                http: outside(&testing::network(Metrics::disabled())),
                condition: Condition::default(),
            };
            let opened = self.family.open(&component, init).await?;
            Ok(opened.capabilities)
        }

        fn state(&self) -> State {
            State::over(self.stores.clone(), "app")
        }

        /// What a store named `s` reads.
        async fn read(&self, key: &str) -> Result<String, String> {
            let state = self.state();
            let item = state.find("s").unwrap().get(GetRequest::new(key)).await;
            let data = item.map_err(|error| error.to_string())?.unwrap().data.unwrap();
            Ok(String::from_utf8_lossy(&data).into_owned())
        }

        async fn save(&self, key: &str) {
            let request = SetRequest::new(key, serde_json::json!("text"));
            let state = self.state();
            state.find("s").unwrap().save(vec![request]).await.unwrap();
        }
    }

    fn component(yaml: &str) -> Component {
        Component::from_document("dapr.io/v1alpha1", &yaml::to_json(yaml).unwrap()).unwrap()
    }

    fn named(name: &str, metadata: &str) -> String {
        format!(
            "metadata: {{name: {name}}}\nspec: {{type: state.shelf, version: v1, metadata: [{metadata}]}}\n\
             auth: {{secretStore: vault}}"
        )
    }

    fn secret(property: &str, name: &str) -> String {
        format!("{{name: {property}, secretKeyRef: {{name: {name}, key: hex}}}}")
    }

    #[tokio::test]
    async fn a_store_is_found_while_it_is_loaded() {
        let world = World::new();
        let capabilities = world.open(&named("s", "")).await.unwrap();
        assert_eq!(capabilities, ["ETAG", "TRANSACTIONAL", "ACTOR"]);
        assert!(world.state().find("s").is_ok());
        world.family.close(&component(&named("s", ""))).await.unwrap();
        assert!(world.state().find("s").is_err());
        assert!(world.shelf.is_closed());
        let old = world.open("metadata: {name: o}\nspec: {type: state.old}").await;
        assert_eq!(old, Ok(vec!["TTL".to_owned()]));
        let unknown = world
            .open("metadata: {name: o}\nspec: {type: state.old, version: v3}")
            .await;
        let text = "couldn't find state store state.old/v3";
        assert_eq!(unknown, Err(Failure::Unknown(text.to_owned())));
        let bad = world.open("metadata: {name: o}\nspec: {type: state.bad}").await;
        assert_eq!(bad, Err(Failure::Init("bad settings".to_owned())));
    }

    #[tokio::test]
    async fn keys_have_the_prefix_that_the_component_wants() {
        let world = World::new();
        world
            .open(&named("s", "{name: KEYPREFIX, value: Name}"))
            .await
            .unwrap();
        world.save("k").await;
        assert_eq!(world.shelf.shown(), [("s||k".to_owned(), "\"text\"".to_owned())]);
        let outcome = world.open(&named("t", "{name: keyPrefix, value: A||b}")).await;
        let text = "failed to save lock keyprefix: input key/keyPrefix 'a||b' can't contain '||'";
        assert_eq!(outcome, Err(Failure::Init(text.to_owned())));
        assert!(world.shelf.is_closed());
        assert!(world.state().find("t").is_err());
    }

    #[tokio::test]
    async fn one_store_is_that_of_actors() {
        let world = World::new();
        let wanted = |name| named(name, "{name: ACTORSTATESTORE, value: on}");
        world.open(&wanted("a")).await.unwrap();
        let outcome = world.open(&wanted("b")).await;
        let text = "detected duplicate actor state store: a and b";
        assert_eq!(outcome, Err(Failure::Init(text.to_owned())));
        let holder = |yaml: &str| world.family.holder(&component(yaml));
        assert_eq!(holder(&wanted("b")).as_deref(), Some("a"));
        assert_eq!(holder(&wanted("a")), None);
        assert_eq!(holder(&named("b", "")), None);
        // Whatever its value, the property is what counts.
        let refused = named("b", "{name: actorStateStore, value: 'no'}");
        assert_eq!(holder(&refused).as_deref(), Some("a"));
        world.open(&refused).await.unwrap();
        world.family.close(&component(&wanted("a"))).await.unwrap();
        world.open(&wanted("c")).await.unwrap();
    }

    #[tokio::test]
    async fn values_are_encrypted_by_keys_of_the_secret_store() {
        let world = World::new();
        world
            .open(&named("s", &secret("primaryEncryptionKey", "old")))
            .await
            .unwrap();
        world.save("k").await;
        assert!(world.shelf.shown()[0].1.ends_with("||old"));
        assert_eq!(world.read("k").await.as_deref(), Ok("text"));
        // A store of this name keeps the keys that it had first.
        let both = [
            secret("primaryEncryptionKey", "new"),
            secret("secondaryEncryptionKey", "old"),
        ]
        .join(", ");
        world.family.close(&component(&named("s", ""))).await.unwrap();
        world.open(&named("s", &both)).await.unwrap();
        world.save("k").await;
        assert!(world.shelf.shown()[0].1.ends_with("||old"));
        // The next run has the new one, and reads what the old one wrote.
        let next = World::new();
        for (key, value) in world.shelf.shown() {
            next.shelf.put(&key, value.as_bytes());
        }
        next.open(&named("s", &both)).await.unwrap();
        assert_eq!(next.read("k").await.as_deref(), Ok("text"));
        next.save("k").await;
        assert!(next.shelf.shown()[0].1.ends_with("||new"));
        assert_eq!(next.read("k").await.as_deref(), Ok("text"));
    }

    #[tokio::test]
    async fn keys_that_cannot_be_had_are_told() {
        let world = World::new();
        let table = [
            ("short", "crypto/aes: invalid key size 1"),
            ("none", "failed to extract encryption key: no secret none"),
        ];
        for (name, text) in table {
            let outcome = world
                .open(&named("s", &secret("primaryEncryptionKey", name)))
                .await;
            assert_eq!(outcome, Err(Failure::Create(text.to_owned())));
        }
        // Without a secret store nothing is encrypted, even if there is a key.
        let key = "0a".repeat(16);
        let yaml = named("s", &format!("{{name: primaryEncryptionKey, value: '{key}'}}"));
        world.open(&yaml.replace("vault", "other")).await.unwrap();
        world.save("k").await;
        assert_eq!(world.shelf.shown()[0].1, "\"text\"");
        // Nor if the name is spelled in another way.
        let yaml = named("s", &secret("primaryencryptionkey", "old"));
        world.open(&yaml).await.unwrap();
        world.save("k").await;
        assert_eq!(world.shelf.shown()[0].1, "\"text\"");
    }
}
