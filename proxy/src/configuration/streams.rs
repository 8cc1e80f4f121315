//! Subscriptions of clients that listen on a stream.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use outrigger_component::configuration::{ConfigurationStore, ConfigurationUpdate};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Configurations;

/// The streams that are open, by the ids of their subscriptions.
///
/// Whoever takes a stream out of here ends its subscription at the store.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: Mutex<HashMap<String, Stream>>,
    closing: CancellationToken,
}

/// What is to be known to end a stream from outside.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) store: String,
    pub(super) component: Arc<dyn ConfigurationStore>,
    pub(super) token: CancellationToken,
}

/// The news of one subscription. To drop it is to end the subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    all: Configurations,
    id: String,
    updates: mpsc::Receiver<ConfigurationUpdate>,
    token: CancellationToken,
}

// === impl Streams ===

impl Streams {
    pub(super) fn remove(&self, id: &str) -> Option<Stream> {
        self.open().remove(id)
    }

    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Stream>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Subscription ===

impl Subscription {
    pub(super) fn new(
        all: Configurations,
        store: &str,
        component: Arc<dyn ConfigurationStore>,
        id: String,
        updates: mpsc::Receiver<ConfigurationUpdate>,
    ) -> Self {
        let token = all.streams.closing.child_token();
        let stream = Stream {
            store: store.to_owned(),
            component,
            token: token.clone(),
        };
        all.streams.open().insert(id.clone(), stream);
        Self {
            all,
            id,
            updates,
            token,
        }
    }

    /// The id, by which the subscription can be ended.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The next news; none once the subscription has ended.
    pub(crate) async fn next(&mut self) -> Option<ConfigurationUpdate> {
        tokio::select! {
            biased;
            () = self.token.cancelled() => None,
            update = self.updates.recv() => {
                if update.is_none() {
                    // The store has ended it by itself.
                    self.all.streams.remove(&self.id);
                }
                update
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some(stream) = self.all.streams.remove(&self.id) else {
            return;
        };
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let (all, id) = (self.all.clone(), std::mem::take(&mut self.id));
        runtime.spawn(async move {
            if let Err(error) = all.end(&*stream.component, &stream.store, &id).await {
                tracing::debug!(target: "dapr.runtime.grpc.api", "{error}");
            }
        });
    }
}
