//! The app behind the sidecar: waited for, asked once, watched.

use outrigger_config::daprd::{AppProtocol, Settings};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::RUNTIME;
use super::servers::Servers;
use crate::app::{AppStatus, Origin, ProbeSettings, load_app_config, wait_for_app, watch_health};
use crate::metadata::{AppConnection, AppHealthSettings};

/// Waits for the app's port, then for nothing more than its first word if health checks are off.
pub(super) async fn wait(settings: &Settings, servers: &Servers, over: &CancellationToken) {
    let app = &settings.app;
    let Some(channel) = &servers.runtime.app else {
        // Nobody is there to be unhealthy.
        servers.app_status.send_replace(AppStatus::Healthy);
        return;
    };
    let tls = matches!(app.protocol, AppProtocol::Https | AppProtocol::Grpcs);
    let origin = Origin {
        host: app.channel_address.clone().into(),
        port: app.port,
        tls,
    };
    wait_for_app(&servers.dialer, &origin, app.protocol.as_str()).await;
    servers.keep_app_warm(over);
    match &app.health {
        None => {
            servers.app_status.send_replace(AppStatus::Healthy);
            greet(settings, servers).await;
        }
        Some(health) => {
            let probe = channel.probe(&health.path, servers.runtime.metrics.clone());
            let wanted = ProbeSettings {
                interval: health.interval,
                timeout: health.timeout,
                threshold: health.threshold,
            };
            let (gate, status) = (channel.gate().clone(), servers.app_status.clone());
            let over = over.clone();
            tokio::spawn(async move { watch_health(&*probe, wanted, &gate, &status, &over).await });
            tokio::spawn(greet_when_healthy(settings.clone(), servers.clone_for_app()));
        }
    }
}

/// The part of a run that an app's first word needs.
#[derive(Clone, Debug)]
pub(super) struct AppParts {
    pub(super) channel: Option<crate::app::AppChannel>,
    pub(super) status: watch::Receiver<AppStatus>,
}

async fn greet_when_healthy(settings: Settings, mut app: AppParts) {
    if app
        .status
        .wait_for(|status| *status == AppStatus::Healthy)
        .await
        .is_ok()
        && let Some(channel) = &app.channel
    {
        ask(&settings, channel).await;
    }
}

async fn greet(settings: &Settings, servers: &Servers) {
    if let Some(channel) = &servers.runtime.app {
        ask(settings, channel).await;
    }
}

/// What the app says about itself when it is first healthy. Nothing so far acts on the answer.
async fn ask(settings: &Settings, channel: &crate::app::AppChannel) {
    if settings.disabled_init.config {
        tracing::warn!(
            target: RUNTIME,
            "Skipping programmatic dapr configuration loading (see 'disable-init-endpoints' flag/annotation)"
        );
        return;
    }
    match load_app_config(channel, settings.app_id.as_ref()).await {
        Ok(_) if channel.is_http() => tracing::info!(target: RUNTIME, "Application configuration loaded"),
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(target: RUNTIME, "failed to read from http://{}/dapr/config: {error}", settings.app.channel_address)
        }
    }
}

/// How the metadata shows the app; without an app port, how there would be one.
pub(super) fn connection(settings: &Settings) -> AppConnection {
    let app = &settings.app;
    let is_http = !matches!(app.protocol, AppProtocol::Grpc | AppProtocol::Grpcs);
    AppConnection {
        port: app.port.into(),
        protocol: app.protocol.as_str().to_owned(),
        channel_address: app.channel_address.clone(),
        max_concurrency: app
            .max_concurrency
            .map_or(0, |most| i32::try_from(most.get()).unwrap_or(i32::MAX)),
        health: app.health.as_ref().map(|health| AppHealthSettings {
            health_check_path: if is_http {
                health.path.clone()
            } else {
                String::new()
            },
            health_probe_interval: health.interval,
            health_probe_timeout: health.timeout,
            health_threshold: i32::try_from(health.threshold).unwrap_or(i32::MAX),
        }),
    }
}
