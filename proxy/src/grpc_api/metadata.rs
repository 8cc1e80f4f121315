//! The metadata of the sidecar as the gRPC message has it.

use outrigger_api::runtime as api;
use outrigger_kit::duration::format_go;

use crate::metadata::{
    ActiveActors, ActorRuntime, ActorRuntimeStatus, AppConnection, Component, Named, SidecarMetadata,
    Subscription, SubscriptionKind, SubscriptionRule,
};

/// The answer to `GetMetadata`.
pub(crate) fn response(metadata: SidecarMetadata) -> api::GetMetadataResponse {
    let names = |resources: Vec<Named>| resources.into_iter().map(|resource| resource.name);
    let connected = |scheduler: crate::metadata::Scheduler| api::MetadataScheduler {
        connected_addresses: scheduler.connected_addresses,
    };
    api::GetMetadataResponse {
        id: metadata.id,
        active_actors_count: all(metadata.actors, active_actors),
        registered_components: all(metadata.components, component),
        extended_metadata: metadata.extended.into_iter().collect(),
        subscriptions: all(metadata.subscriptions, subscription),
        http_endpoints: names(metadata.http_endpoints)
            .map(|name| api::MetadataHttpEndpoint { name })
            .collect(),
        app_connection_properties: metadata.app_connection_properties.map(app_connection),
        runtime_version: metadata.runtime_version,
        enabled_features: metadata.enabled_features,
        actor_runtime: metadata.actor_runtime.map(actor_runtime),
        scheduler: metadata.scheduler.map(connected),
        workflows: metadata.workflows.map(|workflows| api::MetadataWorkflows {
            connected_workers: workflows.connected_workers,
        }),
        mcp_servers: names(metadata.mcp_servers)
            .map(|name| api::MetadataMcpServer { name })
            .collect(),
        workflow_access_policies: names(metadata.workflow_access_policies)
            .map(|name| api::MetadataWorkflowAccessPolicy { name })
            .collect(),
        resiliencies: names(metadata.resiliencies)
            .map(|name| api::MetadataResiliency { name })
            .collect(),
    }
}

fn all<A, B>(items: Vec<A>, convert: fn(A) -> B) -> Vec<B> {
    items.into_iter().map(convert).collect()
}

fn active_actors(actors: ActiveActors) -> api::ActiveActorsCount {
    api::ActiveActorsCount {
        r#type: actors.kind,
        count: actors.count,
    }
}

fn component(component: Component) -> api::RegisteredComponents {
    let Component {
        name,
        kind,
        version,
        capabilities,
    } = component;
    api::RegisteredComponents {
        name,
        r#type: kind,
        version,
        capabilities,
    }
}

fn subscription(subscription: Subscription) -> api::PubsubSubscription {
    let rule = |rule: SubscriptionRule| api::PubsubSubscriptionRule {
        r#match: rule.condition,
        path: rule.path,
    };
    let kind = match subscription.kind {
        SubscriptionKind::Unknown => api::PubsubSubscriptionType::Unknown,
        SubscriptionKind::Declarative => api::PubsubSubscriptionType::Declarative,
        SubscriptionKind::Programmatic => api::PubsubSubscriptionType::Programmatic,
        SubscriptionKind::Streaming => api::PubsubSubscriptionType::Streaming,
    };
    api::PubsubSubscription {
        pubsub_name: subscription.pubsub_name,
        topic: subscription.topic,
        metadata: subscription.metadata.into_iter().collect(),
        rules: Some(api::PubsubSubscriptionRules {
            rules: subscription.rules.into_iter().map(rule).collect(),
        }),
        dead_letter_topic: subscription.dead_letter_topic,
        r#type: kind.into(),
    }
}

fn app_connection(connection: AppConnection) -> api::AppConnectionProperties {
    let health = connection
        .health
        .map(|health| api::AppConnectionHealthProperties {
            health_check_path: health.health_check_path,
            health_probe_interval: format_go(health.health_probe_interval),
            health_probe_timeout: format_go(health.health_probe_timeout),
            health_threshold: health.health_threshold,
        });
    api::AppConnectionProperties {
        port: connection.port,
        protocol: connection.protocol,
        channel_address: connection.channel_address,
        max_concurrency: connection.max_concurrency,
        health,
    }
}

fn actor_runtime(runtime: ActorRuntime) -> api::ActorRuntime {
    use api::actor_runtime::ActorRuntimeStatus as Status;
    let status = match runtime.runtime_status {
        ActorRuntimeStatus::Initializing => Status::Initializing,
        ActorRuntimeStatus::Disabled => Status::Disabled,
        ActorRuntimeStatus::Running => Status::Running,
    };
    api::ActorRuntime {
        runtime_status: status.into(),
        active_actors: all(runtime.active_actors, active_actors),
        host_ready: runtime.host_ready,
        placement: runtime.placement,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metadata::{AppHealthSettings, MetadataStore};

    #[test]
    fn both_surfaces_tell_the_same() {
        let store = MetadataStore::new(SidecarMetadata {
            id: "app".to_owned(),
            runtime_version: "edge".to_owned(),
            actors: vec![ActiveActors {
                kind: "T".to_owned(),
                count: 2,
            }],
            http_endpoints: vec![Named { name: "h".to_owned() }],
            subscriptions: vec![Subscription {
                kind: SubscriptionKind::Streaming,
                ..Subscription::default()
            }],
            app_connection_properties: Some(AppConnection {
                health: Some(AppHealthSettings {
                    health_probe_interval: Duration::from_secs(5),
                    health_probe_timeout: Duration::from_millis(500),
                    ..AppHealthSettings::default()
                }),
                ..AppConnection::default()
            }),
            actor_runtime: Some(ActorRuntime::disabled()),
            ..SidecarMetadata::default()
        });
        store.set_extended("k", "v");
        let found = response(store.snapshot());
        assert_eq!(
            (found.id.as_str(), found.runtime_version.as_str()),
            ("app", "edge")
        );
        assert_eq!(found.extended_metadata["daprRuntimeVersion"], "edge");
        assert_eq!(found.extended_metadata["k"], "v");
        assert_eq!(found.active_actors_count[0].count, 2);
        assert_eq!(found.http_endpoints[0].name, "h");
        assert_eq!(
            found.subscriptions[0].r#type(),
            api::PubsubSubscriptionType::Streaming
        );
        let health = found.app_connection_properties.unwrap().health.unwrap();
        assert_eq!(
            (
                health.health_probe_interval.as_str(),
                health.health_probe_timeout.as_str()
            ),
            ("5s", "500ms")
        );
        let actors = found.actor_runtime.unwrap();
        assert_eq!(
            actors.runtime_status(),
            api::actor_runtime::ActorRuntimeStatus::Disabled
        );
        assert_eq!(actors.placement, "placement: disconnected");
        assert!(found.scheduler.is_none());
    }
}
