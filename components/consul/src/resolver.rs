//! The component.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use outrigger_component::HttpClient;
use outrigger_component::name_resolution::{Addresses, Instance, Lookup, NameResolution, NameResolutionInit};
use outrigger_svc::{BoxError, BoxFuture};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::Client;
use crate::config::Config;
use crate::registration::Registration;
use crate::watch::Watcher;
use crate::{SCOPE, address};

/// Asks the agent for sidecars, and tells it of the own one.
#[derive(Debug)]
pub struct ConsulResolver {
    client: Arc<Client>,
    config: Config,
    /// Id of the own service, if it is to be taken away at the end.
    registered: Option<String>,
    /// Started with the first look-up, if there is to be one.
    watcher: OnceLock<Arc<Watcher>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// How long an answer out of the own memory, which is kept up to date, is used again.
const KEPT: Duration = Duration::from_secs(1);

/// Reads the configuration, and registers with the agent or asks whether it is there.
pub(crate) async fn make(init: NameResolutionInit) -> Result<Arc<dyn NameResolution>, BoxError> {
    let config = Config::parse(&init.configuration)?;
    let environment = |name: &str| std::env::var(name).ok();
    let resolver = ConsulResolver::start(config, &init.instance, init.http, environment).await?;
    Ok(Arc::new(resolver))
}

// === impl ConsulResolver ===

impl ConsulResolver {
    async fn start(
        config: Config,
        instance: &Instance,
        http: HttpClient,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        if instance.internal_port == 0 {
            return Err("metadata property missing: DAPR_PORT".to_owned());
        }
        let registration = Registration::of(&config, instance)?;
        let client = Client::new(&config.client, http, environment)?;
        match &registration {
            Some(own) => {
                let registered = client.register(&own.service).await;
                registered.map_err(|error| format!("failed to register consul service: {error}"))?;
                tracing::info!(target: SCOPE, "service:{} registered on consul agent", own.name);
            }
            None => {
                let there = client.agent_self().await;
                there.map_err(|error| format!("failed check on consul agent: {error}"))?;
            }
        }
        Ok(Self {
            client: Arc::new(client),
            registered: registration.map(|own| own.id).filter(|_| config.self_deregister),
            config,
            watcher: OnceLock::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        })
    }

    async fn find(&self, app_id: &str) -> Result<Addresses, String> {
        if self.config.use_cache
            && let Some(known) = self.watcher().known(app_id)
        {
            return Ok(Addresses::kept_for(KEPT, known));
        }
        let entries = self.client.healthy(app_id, &self.config.query_options).await;
        let entries = entries.map_err(|error| format!("failed to query healthy consul services: {error}"))?;
        if entries.is_empty() {
            return Err(format!("no healthy services found with AppID '{app_id}'"));
        }
        let list = address::list(&entries, app_id, self.config.port_key()).await?;
        Ok(Addresses::once(list))
    }

    fn watcher(&self) -> &Watcher {
        self.watcher.get_or_init(|| {
            let (client, config) = (Arc::clone(&self.client), &self.config);
            let port_key = config.port_key().to_owned();
            let watcher = Arc::new(Watcher::new(client, config.query_options.clone(), port_key));
            let watching = Arc::clone(&watcher);
            let watch = async move { watching.watch().await };
            self.tasks
                .spawn(self.stop.clone().run_until_cancelled_owned(watch));
            watcher
        })
    }
}

impl Drop for ConsulResolver {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl NameResolution for ConsulResolver {
    fn resolve<'a>(&'a self, lookup: Lookup<'a>) -> BoxFuture<'a, Result<Addresses, String>> {
        Box::pin(self.find(lookup.app_id))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.stop.cancel();
            self.tasks.close();
            self.tasks.wait().await;
            if let Some(id) = &self.registered
                && let Err(error) = self.client.deregister(id).await
            {
                tracing::error!(target: SCOPE, "failed to deregister consul service: {error}");
            }
        })
    }
}

#[cfg(test)]
mod tests;
