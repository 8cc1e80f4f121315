//! News of configuration on their way to the app.

use bytes::Bytes;
use http::Method;
use outrigger_component::configuration::ConfigurationUpdate;
use outrigger_kit::percent::encode_path;
use outrigger_link::{HttpExtension, Invocation, Text, Verb};
use outrigger_resilience::{ComponentKind, Direction, Policies, run};
use outrigger_svc::{Body, BoxError, collect_limited};
use outrigger_telemetry::trace::TraceContext;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::json::body_of;
use crate::app::AppChannel;

/// Tells the app of changes, one after the other for each subscription. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct AppDelivery {
    app: AppChannel,
    policies: Policies,
    /// Whoever asks for a subscription, its news are delivered here.
    runtime: Handle,
}

const SCOPE: &str = "dapr.runtime.http";
const JSON: Text = Text::from_static("application/json");
/// Most bytes of an answer that are read to keep its connection.
const ANSWER: usize = 64 << 10;

// === impl AppDelivery ===

impl AppDelivery {
    /// A delivery to the app that runs on the current runtime.
    pub(crate) fn new(app: AppChannel, policies: Policies) -> Self {
        Self {
            app,
            policies,
            runtime: Handle::current(),
        }
    }

    /// Delivers the updates of a store until there are no more.
    pub(super) fn deliver(&self, store: String, mut updates: mpsc::Receiver<ConfigurationUpdate>) {
        let own = self.clone();
        self.runtime.spawn(async move {
            while let Some(update) = updates.recv().await {
                own.tell(&store, &update).await;
            }
        });
    }

    /// Tells the app of each key of an update, with all of the update each time.
    async fn tell(&self, store: &str, update: &ConfigurationUpdate) {
        let body = Bytes::from(body_of(update));
        for key in update.items.keys() {
            let policy = self
                .policies
                .component(store, ComponentKind::Configuration, Direction::Inbound);
            let outcome = run(policy, |_| self.post(store, key, body.clone())).await;
            if let Err(error) = outcome {
                tracing::error!(target: SCOPE, "error sending configuration item to the app: {error}");
            }
        }
    }

    async fn post(&self, store: &str, key: &str, body: Bytes) -> Result<(), BoxError> {
        let is_http = self.app.is_http();
        let method = if is_http {
            let (store, key) = (encode_path(store.as_bytes()), encode_path(key.as_bytes()));
            format!("configuration/{store}/{key}")
        } else {
            format!("configuration/{store}/{key}")
        };
        let mut call = Invocation::new(method);
        call.http = Some(HttpExtension {
            verb: Verb::from_method(&Method::POST),
            query: Text::default(),
        });
        call.content_type = JSON;
        call.body = Body::from(body);
        let reply = self.app.invoke(call, &TraceContext::ZERO).await;
        let reply = reply.map_err(|error| error.to_string())?;
        // A body that is too long costs the connection, nothing else.
        drop(collect_limited(reply.body, ANSWER).await);
        match reply.status.code {
            200 if is_http => Ok(()),
            0 if !is_http => Ok(()),
            code => Err(format!("Error sending configuration item to application, status {code}").into()),
        }
    }
}
