//! What a sidecar tells about itself, on both surfaces.
//!
//! Member order and omissions are those of the HTTP answer; the gRPC answer is made from the same values.
//!
//! Source: specification, HTTP API 5.12.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use outrigger_kit::duration::format_go;
use serde::{Serialize, Serializer};

/// The metadata of one sidecar; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct MetadataStore(Arc<Mutex<SidecarMetadata>>);

/// Everything that the metadata API shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SidecarMetadata {
    /// App id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) id: String,
    /// `edge` or a release.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) runtime_version: String,
    /// Names of the features that are on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) enabled_features: Vec<String>,
    /// The same as in [`ActorRuntime`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) actors: Vec<ActiveActors>,
    /// Loaded components.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) components: Vec<Component>,
    /// Texts that clients have set, and `daprRuntimeVersion`.
    pub(crate) extended: BTreeMap<String, String>,
    /// Subscriptions of the app.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) subscriptions: Vec<Subscription>,
    /// Loaded HTTP endpoints.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) http_endpoints: Vec<Named>,
    /// How the app is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) app_connection_properties: Option<AppConnection>,
    /// State of the actor runtime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) actor_runtime: Option<ActorRuntime>,
    /// Connections to the scheduler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scheduler: Option<Scheduler>,
    /// Workflow workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) workflows: Option<Workflows>,
    /// Loaded MCP servers.
    #[serde(rename = "mcpServers", skip_serializing_if = "Vec::is_empty")]
    pub(crate) mcp_servers: Vec<Named>,
    /// Loaded workflow access policies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) workflow_access_policies: Vec<Named>,
    /// Loaded resiliency resources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) resiliencies: Vec<Named>,
}

/// Active actors of one type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ActiveActors {
    /// Actor type.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub(crate) kind: String,
    /// Number of active actors.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) count: i32,
}

/// A loaded component.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Component {
    /// Name of the resource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) name: String,
    /// Component type, such as `state.redis`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub(crate) kind: String,
    /// Version of the type.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) version: String,
    /// What it can do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) capabilities: Vec<String>,
}

/// A subscription of the app.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Subscription {
    /// Name of the pub/sub component.
    #[serde(rename = "pubsubname")]
    pub(crate) pubsub_name: String,
    /// Topic.
    pub(crate) topic: String,
    /// Metadata of the subscription.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) metadata: BTreeMap<String, String>,
    /// Routing rules in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) rules: Vec<SubscriptionRule>,
    /// Topic for events that could not be delivered; may be empty.
    #[serde(rename = "deadLetterTopic")]
    pub(crate) dead_letter_topic: String,
    /// Where the subscription came from.
    #[serde(rename = "type")]
    pub(crate) kind: SubscriptionKind,
}

/// A routing rule of a subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct SubscriptionRule {
    /// Condition; empty always holds.
    #[serde(rename = "match", skip_serializing_if = "String::is_empty")]
    pub(crate) condition: String,
    /// Path at the app.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) path: String,
}

/// Where a subscription came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(dead_code, reason = "subscriptions are shown once there is pub/sub")]
pub(crate) enum SubscriptionKind {
    /// Not known.
    #[default]
    Unknown,
    /// A resource.
    Declarative,
    /// The app's answer at start.
    Programmatic,
    /// A stream of the app.
    Streaming,
}

/// A loaded resource of which only the name is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Named {
    /// Name of the resource.
    pub(crate) name: String,
}

/// How the app is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AppConnection {
    /// Port of the app; 0 is none.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) port: i32,
    /// `http`, `https`, `h2c`, `grpc` or `grpcs`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) protocol: String,
    /// Host of the app.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) channel_address: String,
    /// Most calls in flight; 0 is no limit.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) max_concurrency: i32,
    /// Settings of the health checks, when they are on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) health: Option<AppHealthSettings>,
}

/// Settings of the app's health checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AppHealthSettings {
    /// Path that is probed; empty for gRPC apps.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) health_check_path: String,
    /// Time between two probes.
    #[serde(serialize_with = "go_duration", skip_serializing_if = "Duration::is_zero")]
    pub(crate) health_probe_interval: Duration,
    /// Time that a probe may take.
    #[serde(serialize_with = "go_duration", skip_serializing_if = "Duration::is_zero")]
    pub(crate) health_probe_timeout: Duration,
    /// Failures until the app counts as unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) health_threshold: i32,
}

/// State of the actor runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ActorRuntime {
    /// How far it is.
    pub(crate) runtime_status: ActorRuntimeStatus,
    /// Active actors by type.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) active_actors: Vec<ActiveActors>,
    /// Whether actors can run here now.
    pub(crate) host_ready: bool,
    /// `placement: connected` or `placement: disconnected`; empty while it starts.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) placement: String,
}

/// How far the actor runtime is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(dead_code, reason = "actors run once there is a placement service")]
pub(crate) enum ActorRuntimeStatus {
    /// Hosted actors were not registered yet.
    #[default]
    Initializing,
    /// There is no placement service.
    Disabled,
    /// Hosted actors are registered.
    Running,
}

/// Connections to the scheduler; the member name is not in camel case, unlike all others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Scheduler {
    /// Addresses of connected hosts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) connected_addresses: Vec<String>,
}

/// Workflow workers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Workflows {
    /// Number of connected workers.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) connected_workers: i32,
}

const RUNTIME_VERSION: &str = "daprRuntimeVersion";

// === impl MetadataStore ===

impl MetadataStore {
    /// Begins with what is known at start; the runtime version is added to the extended texts.
    #[must_use]
    pub(crate) fn new(mut metadata: SidecarMetadata) -> Self {
        metadata
            .extended
            .insert(RUNTIME_VERSION.to_owned(), metadata.runtime_version.clone());
        Self(Arc::new(Mutex::new(metadata)))
    }

    /// What the API shows now.
    #[must_use]
    pub(crate) fn snapshot(&self) -> SidecarMetadata {
        self.lock().clone()
    }

    /// Changes a part that has changed in the sidecar.
    pub(crate) fn update(&self, change: impl FnOnce(&mut SidecarMetadata)) {
        change(&mut self.lock());
    }

    /// Sets a text for a client; it lasts as long as the process.
    pub(crate) fn set_extended(&self, key: impl Into<String>, value: impl Into<String>) {
        self.lock().extended.insert(key.into(), value.into());
    }

    fn lock(&self) -> MutexGuard<'_, SidecarMetadata> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl ActorRuntime ===

impl ActorRuntime {
    /// The state without a placement service.
    #[must_use]
    pub(crate) fn disabled() -> Self {
        Self {
            runtime_status: ActorRuntimeStatus::Disabled,
            placement: "placement: disconnected".to_owned(),
            ..Self::default()
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

fn go_duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_go(*duration))
}

#[cfg(test)]
mod tests {
    use outrigger_kit::json::to_go_string;

    use super::*;

    fn component(name: &str, kind: &str, capabilities: &[&str]) -> Component {
        Component {
            name: name.to_owned(),
            kind: kind.to_owned(),
            version: "v1".to_owned(),
            capabilities: capabilities.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn the_answer_is_that_of_the_reference() {
        let store = MetadataStore::new(SidecarMetadata {
            id: "callee".to_owned(),
            runtime_version: "edge".to_owned(),
            enabled_features: vec![
                "WorkflowsRemoteActivityReminder".to_owned(),
                "HotReload".to_owned(),
            ],
            components: vec![
                component("mem", "state.in-memory", &["ETAG", "TRANSACTIONAL", "ACTOR"]),
                component("envs", "secretstores.local.env", &[]),
            ],
            subscriptions: vec![Subscription {
                pubsub_name: "ps".to_owned(),
                topic: "orders".to_owned(),
                rules: vec![SubscriptionRule {
                    path: "/orders".to_owned(),
                    ..SubscriptionRule::default()
                }],
                kind: SubscriptionKind::Programmatic,
                ..Subscription::default()
            }],
            app_connection_properties: Some(AppConnection {
                port: 26080,
                protocol: "http".to_owned(),
                channel_address: "127.0.0.1".to_owned(),
                ..AppConnection::default()
            }),
            actor_runtime: Some(ActorRuntime::disabled()),
            ..SidecarMetadata::default()
        });
        assert_eq!(
            to_go_string(&store.snapshot()),
            concat!(
                r#"{"id":"callee","runtimeVersion":"edge","#,
                r#""enabledFeatures":["WorkflowsRemoteActivityReminder","HotReload"],"#,
                r#""components":[{"name":"mem","type":"state.in-memory","version":"v1","#,
                r#""capabilities":["ETAG","TRANSACTIONAL","ACTOR"]},"#,
                r#"{"name":"envs","type":"secretstores.local.env","version":"v1"}],"#,
                r#""extended":{"daprRuntimeVersion":"edge"},"#,
                r#""subscriptions":[{"pubsubname":"ps","topic":"orders","rules":[{"path":"/orders"}],"#,
                r#""deadLetterTopic":"","type":"PROGRAMMATIC"}],"#,
                r#""appConnectionProperties":{"port":26080,"protocol":"http","channelAddress":"127.0.0.1"},"#,
                r#""actorRuntime":{"runtimeStatus":"DISABLED","hostReady":false,"#,
                r#""placement":"placement: disconnected"}}"#,
            )
        );
    }

    #[test]
    fn every_member_has_its_name() {
        let named = |name: &str| {
            vec![Named {
                name: name.to_owned(),
            }]
        };
        let actors = vec![
            ActiveActors {
                kind: "T".to_owned(),
                count: 2,
            },
            ActiveActors::default(),
        ];
        let metadata = SidecarMetadata {
            actors: actors.clone(),
            http_endpoints: named("h"),
            app_connection_properties: Some(AppConnection {
                max_concurrency: 3,
                health: Some(AppHealthSettings {
                    health_check_path: "/healthz".to_owned(),
                    health_probe_interval: Duration::from_secs(60),
                    health_probe_timeout: Duration::from_millis(500),
                    health_threshold: 3,
                }),
                ..AppConnection::default()
            }),
            actor_runtime: Some(ActorRuntime {
                active_actors: actors,
                ..ActorRuntime::default()
            }),
            scheduler: Some(Scheduler {
                connected_addresses: vec!["s:50006".to_owned()],
            }),
            workflows: Some(Workflows { connected_workers: 1 }),
            mcp_servers: named("m"),
            workflow_access_policies: named("w"),
            resiliencies: named("r"),
            ..SidecarMetadata::default()
        };
        assert_eq!(
            to_go_string(&metadata),
            concat!(
                r#"{"actors":[{"type":"T","count":2},{}],"extended":{},"httpEndpoints":[{"name":"h"}],"#,
                r#""appConnectionProperties":{"maxConcurrency":3,"health":{"healthCheckPath":"/healthz","#,
                r#""healthProbeInterval":"1m0s","healthProbeTimeout":"500ms","healthThreshold":3}},"#,
                r#""actorRuntime":{"runtimeStatus":"INITIALIZING","#,
                r#""activeActors":[{"type":"T","count":2},{}],"hostReady":false},"#,
                r#""scheduler":{"connected_addresses":["s:50006"]},"workflows":{"connectedWorkers":1},"#,
                r#""mcpServers":[{"name":"m"}],"workflowAccessPolicies":[{"name":"w"}],"#,
                r#""resiliencies":[{"name":"r"}]}"#,
            )
        );
    }

    #[test]
    fn clients_set_extended_texts() {
        let store = MetadataStore::new(SidecarMetadata {
            runtime_version: "edge".to_owned(),
            ..Default::default()
        });
        store.set_extended("k<", "v&");
        assert!(
            to_go_string(&store.snapshot())
                .contains(r#""extended":{"daprRuntimeVersion":"edge","k\u003c":"v\u0026"}"#)
        );
    }
}
