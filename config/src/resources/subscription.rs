//! The kind `Subscription`, in both its versions.

use std::collections::BTreeMap;

use outrigger_kit::json::{DecodeError, from_value_ignoring_case};
use serde::Deserialize;
use serde_json::Value;

use super::{Metadata, Resource};

/// A topic that is delivered to the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Name and namespace.
    pub metadata: Metadata,
    /// Name of the pub/sub component.
    pub pubsub_name: String,
    /// The topic.
    pub topic: String,
    /// Where events go.
    pub routes: Routes,
    /// Free settings, such as `rawPayload`.
    pub properties: BTreeMap<String, String>,
    /// Topic for events that cannot be delivered; empty for none.
    pub dead_letter_topic: String,
    /// Delivery in batches.
    pub bulk_subscribe: BulkSubscribe,
    /// App ids that subscribe; empty is all.
    pub scopes: Vec<String>,
}

/// Where the events of a topic go: to the first rule that matches, else to the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routes {
    /// Rules in order.
    pub rules: Vec<RouteRule>,
    /// Path for events that no rule matches; empty for none.
    pub default: String,
}

/// A rule of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RouteRule {
    /// CEL expression over `event`; blank always matches.
    #[serde(rename = "match")]
    pub condition: String,
    /// Path on the app.
    pub path: String,
}

/// Delivery in batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BulkSubscribe {
    /// Whether events come in batches.
    pub enabled: bool,
    /// Events in a batch at most; 0 or less for the component's default.
    pub max_messages_count: i32,
    /// Longest wait for a batch in ms; 0 or less for the component's default.
    pub max_await_duration_ms: i32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SubscriptionSpec {
    metadata: Metadata,
    spec: Spec,
    scopes: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    #[serde(rename = "pubsubname")]
    pubsub_name: String,
    topic: String,
    route: String,
    routes: RoutesSpec,
    metadata: BTreeMap<String, String>,
    dead_letter_topic: String,
    bulk_subscribe: BulkSubscribe,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RoutesSpec {
    rules: Vec<RouteRule>,
    default: String,
}

// === impl Subscription ===

impl Subscription {
    /// Keeps what this app subscribes to.
    ///
    /// Other than for components, namespaces do not matter, and of equal names the last one stays, at the end.
    #[must_use]
    pub fn in_scope(subscriptions: Vec<Self>, app_id: &str) -> Vec<Self> {
        let mut kept: Vec<Self> = Vec::with_capacity(subscriptions.len());
        for subscription in subscriptions {
            if !subscription.scopes.is_empty() && !subscription.scopes.iter().any(|scope| scope == app_id) {
                continue;
            }
            kept.retain(|earlier| earlier.metadata.name != subscription.metadata.name);
            kept.push(subscription);
        }
        kept
    }
}

impl Resource for Subscription {
    const KIND: &'static str = "Subscription";
    const API_VERSIONS: &'static [&'static str] = &["dapr.io/v1alpha1", "dapr.io/v2alpha1"];

    fn from_document(api_version: &str, document: &Value) -> Result<Self, DecodeError> {
        let wire: SubscriptionSpec = from_value_ignoring_case(document)?;
        let routes = match api_version {
            "dapr.io/v1alpha1" => Routes {
                rules: Vec::new(),
                default: wire.spec.route,
            },
            _ => Routes {
                rules: wire.spec.routes.rules,
                default: wire.spec.routes.default,
            },
        };
        Ok(Self {
            metadata: wire.metadata,
            pubsub_name: wire.spec.pubsub_name,
            topic: wire.spec.topic,
            routes,
            properties: wire.spec.metadata,
            dead_letter_topic: wire.spec.dead_letter_topic,
            bulk_subscribe: wire.spec.bulk_subscribe,
            scopes: wire.scopes,
        })
    }

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn scopes(&self) -> &[String] {
        &self.scopes
    }

    fn same_as(&self, other: &Self) -> bool {
        let Self {
            metadata,
            pubsub_name,
            topic,
            routes,
            properties,
            dead_letter_topic,
            bulk_subscribe,
            scopes,
        } = self;
        metadata.name == other.metadata.name
            && *pubsub_name == other.pubsub_name
            && *topic == other.topic
            && *routes == other.routes
            && *properties == other.properties
            && *dead_letter_topic == other.dead_letter_topic
            && *bulk_subscribe == other.bulk_subscribe
            && *scopes == other.scopes
    }
}

#[cfg(test)]
mod tests {
    use outrigger_kit::yaml;

    use super::*;

    fn subscription(version: &str, yaml: &str) -> Subscription {
        Subscription::from_document(&format!("dapr.io/{version}"), &yaml::to_json(yaml).unwrap()).unwrap()
    }

    #[test]
    fn both_versions_are_read() {
        let old = subscription(
            "v1alpha1",
            "metadata: {name: s}\nspec: {pubsubname: bus, topic: t, route: /orders, routes: {default: /other}}",
        );
        assert_eq!(
            old.routes,
            Routes {
                rules: vec![],
                default: "/orders".to_owned()
            }
        );
        let new = subscription(
            "v2alpha1",
            "metadata: {name: orders}
spec:
  PubSubName: bus
  topic: orders
  route: /ignored
  routes:
    rules: [{ match: 'event.type == \"v2\"', path: /orders.v2 }]
    default: /orders
  deadLetterTopic: orders-dead
  metadata: {rawPayload: true}
  bulkSubscribe: {enabled: true, maxMessagesCount: 10, maxAwaitDurationMs: 50}
scopes: [checkout]",
        );
        let rule = RouteRule {
            condition: "event.type == \"v2\"".to_owned(),
            path: "/orders.v2".to_owned(),
        };
        assert_eq!(
            new.routes,
            Routes {
                rules: vec![rule],
                default: "/orders".to_owned()
            }
        );
        assert_eq!(new.pubsub_name, "bus");
        assert_eq!(new.dead_letter_topic, "orders-dead");
        assert_eq!(new.properties["rawPayload"], "true");
        let bulk = BulkSubscribe {
            enabled: true,
            max_messages_count: 10,
            max_await_duration_ms: 50,
        };
        assert_eq!(new.bulk_subscribe, bulk);
    }

    #[test]
    fn the_last_of_equal_names_stays_at_the_end() {
        let named = |name: &str, topic: &str, scopes: &str| {
            subscription(
                "v2alpha1",
                &format!("metadata: {{name: {name}}}\nspec: {{topic: {topic}}}\nscopes: {scopes}"),
            )
        };
        let list = vec![
            named("a", "1", "[]"),
            named("b", "2", "[app1]"),
            named("c", "3", "[other]"),
            named("a", "4", "[]"),
            named("b", "5", "[other]"),
        ];
        let kept = Subscription::in_scope(list, "app1");
        let topics: Vec<_> = kept
            .iter()
            .map(|subscription| subscription.topic.as_str())
            .collect();
        assert_eq!(topics, ["2", "4"]);
    }
}
