mod late;
mod pipelines;
mod references;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outrigger_component::lock::{LockStore, Unlocked};
use outrigger_component::secrets::{Secret, SecretStore};
use outrigger_component::state::Metadata;
use outrigger_component::{Feature, HttpMiddleware, Init, Next};
use outrigger_config::configuration::Handler;
use outrigger_config::daprd::{Flags, OwnEnv};
use outrigger_config::env::EmptyEnv;
use outrigger_kit::yaml;
use outrigger_svc::{Body, BoxError, BoxFuture, Request, Response};
use outrigger_telemetry::log::{LogSettings, Logger};
use outrigger_telemetry::metrics::MetricsSettings;
use tokio::time::Instant;

use super::*;
use crate::app::testing;
use crate::metadata::SidecarMetadata;

/// A handler that answers with its setting `text`.
#[derive(Debug)]
struct Say(String);

impl HttpMiddleware for Say {
    fn call<'a>(&'a self, _: Request, _: Next<'a>) -> BoxFuture<'a, Result<Response, BoxError>> {
        Box::pin(async { Ok(Response::new(Body::from(self.0.clone()))) })
    }
}

/// Secret stores that know few secrets, and count how often they are asked.
#[derive(Debug, Default)]
struct FewSecrets {
    asked: Arc<Mutex<Vec<String>>>,
}

impl SecretStore for FewSecrets {
    fn features(&self) -> &[Feature] {
        static FEATURES: [Feature; 1] = [Feature::MULTIPLE_KEY_VALUES_PER_SECRET];
        &FEATURES
    }

    fn get<'a>(
        &'a self,
        name: &'a str,
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<Option<Secret>, BoxError>> {
        let asked = format!("{name} in {}", metadata["namespace"]);
        self.asked.lock().unwrap().push(asked);
        let found = match name {
            "known" => Ok(Some(Secret::from_iter([
                ("key", "secret of the store"),
                ("known", "by name"),
                ("quoted", r#""q""#),
                ("empty", ""),
            ]))),
            "nothing" => Ok(None),
            name => Err(format!("no secret {name}").into()),
        };
        Box::pin(std::future::ready(found))
    }

    fn bulk<'a>(&'a self, _: &'a Metadata) -> BoxFuture<'a, Result<BTreeMap<String, Secret>, BoxError>> {
        Box::pin(async { Ok(BTreeMap::new()) })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BoxError>> {
        Box::pin(async { Err("it will not close".into()) })
    }
}

/// A store that has no lock for anybody.
#[derive(Debug)]
struct NoLocks;

impl LockStore for NoLocks {
    fn try_lock<'a>(&'a self, _: &'a str, _: &'a str, _: Duration) -> BoxFuture<'a, Result<bool, BoxError>> {
        Box::pin(async { Ok(false) })
    }

    fn unlock<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Unlocked, BoxError>> {
        Box::pin(async { Ok(Unlocked::DoesNotExist) })
    }
}

struct World {
    components: Components,
    pipelines: Pipelines,
    metadata: MetadataStore,
    metrics: Metrics,
    /// What secret stores were asked for.
    asked: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new(configuration: &Configuration) -> Self {
        super::testing::make_all_lines();
        let mut catalogue = Catalogue::new();
        let registry = &mut catalogue.http_middleware;
        registry.register("middleware.http.say", |init: Init| async move {
            let text = init.properties.get("text").unwrap_or_default().to_owned();
            Ok(Arc::new(Say(text)) as Arc<dyn HttpMiddleware>)
        });
        registry.register("middleware.http.bad", |_| async { Err("bad settings".into()) });
        registry.register("middleware.http.slow", |init: Init| async move {
            tokio::time::sleep(init.deadline - Instant::now() + Duration::from_millis(1)).await;
            Ok(Arc::new(Say(String::new())) as Arc<dyn HttpMiddleware>)
        });
        let calls = Arc::new(AtomicU32::new(0));
        registry.register("middleware.http.late", move |init: Init| {
            let call = calls.fetch_add(1, Ordering::Relaxed) + 1;
            async move {
                let wanted = init.properties.get("calls").and_then(|text| text.parse().ok());
                match wanted {
                    Some(wanted) if call < wanted => Err(format!("not at call {call}").into()),
                    _ => Ok(Arc::new(Say(String::new())) as Arc<dyn HttpMiddleware>),
                }
            }
        });
        registry.register("middleware.http.weak", |init: Init| async move {
            init.condition.degraded("before it is ready");
            let condition = init.condition.clone();
            tokio::spawn(async move {
                condition.degraded("keys are old");
                tokio::task::yield_now().await;
                condition.well();
            });
            Ok(Arc::new(Say(String::new())) as Arc<dyn HttpMiddleware>)
        });
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&asked);
        catalogue.secret_stores.register("secretstores.few", move |_| {
            let asked = Arc::clone(&seen);
            async { Ok(Arc::new(FewSecrets { asked }) as Arc<dyn SecretStore>) }
        });
        let (seen, calls) = (Arc::clone(&asked), AtomicU32::new(0));
        catalogue.secret_stores.register("secretstores.late", move |_| {
            let (asked, call) = (Arc::clone(&seen), calls.fetch_add(1, Ordering::Relaxed));
            async move {
                match call {
                    0 => Err("sealed".into()),
                    _ => Ok(Arc::new(FewSecrets { asked }) as Arc<dyn SecretStore>),
                }
            }
        });
        catalogue.lock.register("lock.x", |_| async {
            Ok(Arc::new(NoLocks) as Arc<dyn LockStore>)
        });
        let flags = Flags::parse(["--app-id", "app1"].map(str::to_owned))
            .unwrap()
            .flags;
        let settings = Settings::new(flags, &EmptyEnv).unwrap();
        let metrics = Metrics::new(&MetricsSettings {
            app_id: "app1".into(),
            ..MetricsSettings::default()
        })
        .unwrap();
        let metadata = MetadataStore::new(SidecarMetadata::default());
        let pipelines = Pipelines::default();
        let stores = Stores::default();
        let references = References::new(settings.mode, OwnEnv::default(), stores.secrets.clone());
        let components = Components::new(
            &settings,
            configuration,
            &catalogue,
            (pipelines.clone(), stores),
            &testing::network(metrics.clone()),
            metadata.clone(),
            references,
        );
        Self {
            components,
            pipelines,
            metadata,
            metrics,
            asked,
        }
    }

    fn listed(&self) -> Vec<String> {
        let metadata = self.metadata.snapshot();
        let names = metadata.components.into_iter().map(|component| component.name);
        names.collect()
    }

    fn state(&self, name: &str) -> Option<String> {
        let extended = self.metadata.snapshot().extended;
        extended.get(&format!("componentState/{name}")).cloned()
    }

    fn series(&self, name: &str) -> Vec<String> {
        let text = String::from_utf8(self.metrics.encode().to_vec()).unwrap();
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.map(str::to_owned).collect()
    }

    async fn error(&self, yaml: &str) -> String {
        self.components
            .add(component(yaml))
            .await
            .unwrap_err()
            .to_string()
    }

    /// What the server's pipeline answers.
    async fn answer(&self) -> Option<String> {
        let chain = self.pipelines.server.chain()?;
        let inside = async |_| Ok(Response::default());
        let response = chain.run(Request::default(), inside).await.unwrap();
        Some(testing::text(response.into_body()).await)
    }
}

fn component(yaml: &str) -> Component {
    Component::from_document("dapr.io/v1alpha1", &yaml::to_json(yaml).unwrap()).unwrap()
}

fn named(name: &str, spec: &str) -> Component {
    component(&format!("metadata: {{name: {name}}}\nspec: {{{spec}}}"))
}

fn say(name: &str, text: &str) -> Component {
    let spec =
        format!("type: middleware.http.say, version: v1, metadata: [{{name: text, value: \"{text}\"}}]");
    named(name, &spec)
}

fn handler(name: &str, kind: &str, version: &str) -> Handler {
    Handler {
        name: name.to_owned(),
        kind: kind.to_owned(),
        version: version.to_owned(),
    }
}

fn piped(handlers: &[Handler]) -> Configuration {
    Configuration {
        http_pipeline: handlers.to_vec(),
        ..Configuration::default()
    }
}

#[tokio::test]
async fn failures_have_the_texts_of_their_category() {
    let world = World::new(&Configuration::default());
    let create = |kind: &str, text: &str| {
        let failed =
            |stage| format!("[{stage}_COMPONENT_FAILURE]: initialization error occurred for c ({kind}/v1): ");
        format!(
            "process component c error: {}{}{text}",
            failed("INIT"),
            failed("CREATE")
        )
    };
    let table = [
        ("state.x", "couldn't find state store state.x/v1"),
        ("secretstores.x", "couldn't find secret store secretstores.x/v1"),
        ("pubsub.x", "couldn't find message bus pubsub.x/v1"),
        (
            "configuration.x",
            "couldn't find configuration store configuration.x/v1",
        ),
        ("lock.y", "couldn't find lock store lock.y/v1"),
        ("crypto.x", "couldn't find crypto provider crypto.x/v1"),
        ("conversation.x", "couldn't find conversation conversation.x/v1"),
        (
            "middleware.http.x",
            "process component c error: HTTP middleware middleware.http.x/v1 has not been registered",
        ),
        (
            "middleware.http.bad",
            "process component c error: error creating HTTP middleware middleware.http.bad/v1: bad settings",
        ),
    ];
    for (kind, text) in table {
        let yaml = format!("metadata: {{name: c}}\nspec: {{type: {kind}, version: v1}}");
        assert_eq!(world.error(&yaml).await, create(kind, text));
    }
    let init = "[INIT_COMPONENT_FAILURE]: initialization error occurred for c (bindings.x)";
    assert_eq!(
        world.error("metadata: {name: c}\nspec: {type: bindings.x}").await,
        format!("process component c error: {init}: couldn't find binding c (bindings.x)")
    );
    assert_eq!(
        world
            .error("metadata: {name: c}\nspec: {type: workflow.dapr}")
            .await,
        "process component c error: incorrect type workflow.dapr"
    );
    let pod =
        "metadata: {name: c}\nspec: {type: middleware.http.say, metadata: [{name: a, value: '{podName}'}]}";
    let init = "[INIT_COMPONENT_FAILURE]: initialization error occurred for c (middleware.http.say)";
    assert_eq!(
        world.error(pod).await,
        format!(
            "process component c error: {init}: {init}: failed to parse metadata: property a refers to {{podName}} but \
             podName is not set"
        )
    );
    assert_eq!(world.listed(), [""; 0]);
    assert_eq!(world.state("c").as_deref(), Some("failed"));
    let failures = world.series("dapr_runtime_component_init_fail_total");
    assert!(
        failures.contains(
            &r#"dapr_runtime_component_init_fail_total{app_id="app1",component="state.x",componentName="c",reason="creation"} 1"#
                .to_owned()
        ),
        "{failures:?}"
    );
}

#[tokio::test]
async fn an_error_that_is_ignored_is_logged() {
    let (logger, lines) = Logger::in_memory(&LogSettings::default());
    let _guard = tracing::subscriber::set_default(logger);
    let world = World::new(&Configuration::default());
    let bad = named("a", "type: middleware.http.bad, version: v1, ignoreErrors: true");
    world.components.load(vec![bad, say("b", "")]).await.unwrap();
    assert_eq!(world.listed(), ["b"]);
    assert_eq!(
        (world.state("a").as_deref(), world.state("b")),
        (Some("failed"), None)
    );
    let log = lines.lines().join("\n");
    for part in [
        "level=error msg=\"Failed to init component a (middleware.http.bad/v1): [CREATE_COMPONENT_FAILURE]: ",
        "level=error msg=\"Ignoring error processing component: process component a error: [INIT_COMPONENT_FAILURE]: ",
        "level=info msg=\"Component loaded: b (middleware.http.say/v1)\"",
        "level=info msg=\"Adding middleware.http.say/v1 b middleware\"",
    ] {
        assert!(log.contains(part), "{part} is not in {log}");
    }
    let states: Vec<_> = world.series("dapr_runtime_component_state");
    let shown = |kind: &str, name: &str, state: &str, value: u8| {
        format!(
            "dapr_runtime_component_state{{app_id=\"app1\",component=\"middleware.http.{kind}\",componentName=\"{name}\",\
             state=\"{state}\"}} {value}"
        )
    };
    let expected = [
        shown("bad", "a", "failed", 1),
        shown("bad", "a", "starting", 0),
        shown("say", "b", "ready", 1),
        shown("say", "b", "starting", 0),
    ];
    assert_eq!(states, expected);
}

#[tokio::test]
async fn what_the_configuration_denies_is_left_out() {
    let configuration = Configuration {
        denied_components: DenyList::new(&["middleware.http.say/v1".to_owned()]),
        ..Configuration::default()
    };
    let world = World::new(&configuration);
    let all = vec![
        say("a", ""),
        named("b", "type: middleware.http.say, version: v0"),
        named("c", "type: middleware.http.say"),
        component("metadata: {name: d}\nspec: {type: middleware.http.say, version: v0}\nscopes: [other]"),
    ];
    world.components.load(all).await.unwrap();
    assert_eq!(world.listed(), ["b"]);
}

#[tokio::test]
async fn a_name_is_taken_once_and_the_same_again_is_nothing_new() {
    let world = World::new(&Configuration::default());
    world.components.add(say("a", "one")).await.unwrap();
    world.components.add(say("a", "one")).await.unwrap();
    let error = world.components.add(say("a", "two")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "process component a error: [INIT_COMPONENT_FAILURE]: initialization error occurred for a \
         (middleware.http.say/v1): component a already exists"
    );
}

#[tokio::test]
async fn the_end_closes_everything_whatever_it_says() {
    let world = World::new(&Configuration::default());
    world
        .components
        .load(vec![say("a", ""), named("s", "type: secretstores.few")])
        .await
        .unwrap();
    world.components.close_all().await;
    assert_eq!(world.listed(), [""; 0]);
    assert_eq!(world.components.all_installed(), []);
}

#[tokio::test]
async fn lock_stores_have_a_prefix_of_resources() {
    let world = World::new(&Configuration::default());
    world
        .components
        .add(named(
            "l",
            "type: lock.x, metadata: [{name: KEYPREFIX, value: Shared}]",
        ))
        .await
        .unwrap();
    assert_eq!(world.listed(), ["l"]);
    let error = world
        .error("metadata: {name: m}\nspec: {type: lock.x, metadata: [{name: keyPrefix, value: 'A||b'}]}")
        .await;
    let init = "[INIT_COMPONENT_FAILURE]: initialization error occurred for m (lock.x)";
    assert_eq!(
        error,
        format!(
            "process component m error: {init}: {init}: failed to save lock keyprefix: input key/keyPrefix 'a||b' can't \
             contain '||'"
        )
    );
}
