//! A session with the servers, begun anew when they have given it up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use outrigger_component::Condition;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;
use zookeeper_client::{Client, Error, SessionState};

use crate::settings::Settings;

/// The session that calls are made in.
pub(crate) struct Session {
    settings: Settings,
    condition: Condition,
    client: Mutex<Client>,
    /// Held while a session is begun, so that one is.
    beginning: AsyncMutex<()>,
}

/// How long the servers may take to take a client in.
const CONNECT: Duration = Duration::from_secs(10);

// === impl Session ===

impl Session {
    /// Begins a session.
    pub(crate) async fn begin(settings: Settings, condition: Condition) -> Result<Arc<Self>, Error> {
        let client = connect(&settings, &condition).await?;
        Ok(Arc::new(Self {
            settings,
            condition,
            client: Mutex::new(client),
            beginning: AsyncMutex::default(),
        }))
    }

    /// The client of the session; of a new one if the old one is over.
    pub(crate) async fn client(&self) -> Result<Client, Error> {
        if let Some(client) = self.living() {
            return Ok(client);
        }
        let _beginning = self.beginning.lock().await;
        if let Some(client) = self.living() {
            return Ok(client);
        }
        let client = connect(&self.settings, &self.condition).await?;
        *self.lock() = client.clone();
        Ok(client)
    }

    fn living(&self) -> Option<Client> {
        let client = self.lock().clone();
        (!client.state().is_terminated()).then_some(client)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Client> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(settings: &Settings, condition: &Condition) -> Result<Client, Error> {
    let connector = Client::connector().with_session_timeout(settings.session_timeout);
    let client = timeout(CONNECT, connector.connect(&settings.servers));
    let client = client.await.map_err(|_| Error::Timeout)??;
    condition.well();
    let (mut states, condition) = (client.state_watcher(), condition.clone());
    tokio::spawn(async move {
        // It ends with the session.
        loop {
            let state = states.changed().await;
            match state {
                SessionState::SyncConnected => condition.well(),
                state if state.is_terminated() => {
                    condition.degraded("the session is over");
                    return;
                }
                _ => condition.degraded("the servers are not reached"),
            }
        }
    });
    Ok(client)
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
