//! The end of a run: block, stop the servers, close what is behind them, all in the specified order.

use std::time::Duration;

use outrigger_config::daprd::Settings;
use outrigger_kit::duration::format_go;

use super::observe::Observers;
use super::servers::Servers;
use super::{RUNTIME, RunError};
use crate::app::AppStatus;
use crate::stop::StopCause;

/// Longest wait for running HTTP requests.
const HTTP_GRACE: Duration = Duration::from_secs(10);
/// Time for the answer to a forced shutdown to leave.
const FORCED_PAUSE: Duration = Duration::from_millis(100);

/// Ends what runs.
///
/// # Errors
/// [`RunError::Forced`] if no graceful end was wanted or it took too long; the log says which.
pub(super) async fn finish(
    settings: &Settings,
    cause: StopCause,
    servers: Servers,
    observers: Observers,
) -> Result<(), RunError> {
    match cause {
        StopCause::Forced => {
            tracing::warn!(
                target: RUNTIME,
                "Force shutdown requested, exiting immediately without graceful shutdown"
            );
            tokio::time::sleep(FORCED_PAUSE).await;
            return Err(RunError::Forced);
        }
        StopCause::Api => tracing::info!(target: RUNTIME, "Shutdown requested via API"),
        StopCause::Failure => {}
        StopCause::Signal | StopCause::Restart => block(settings, &servers).await,
    }
    stop_grpc(&servers).await;
    let closing = close(servers, observers);
    match settings.graceful_shutdown {
        None => {
            tracing::warn!(
                target: RUNTIME,
                "Graceful shutdown timeout is infinite, will wait indefinitely to shutdown"
            );
            closing.await;
        }
        Some(grace) => {
            if tokio::time::timeout(grace, closing).await.is_err() {
                tracing::error!(target: RUNTIME, "Graceful shutdown timeout exceeded, forcing shutdown");
                return Err(RunError::Forced);
            }
        }
    }
    Ok(())
}

/// Keeps everything running for the block duration, or until the app is unhealthy.
async fn block(settings: &Settings, servers: &Servers) {
    let Some(duration) = settings.block_shutdown else {
        return;
    };
    tracing::info!(
        target: RUNTIME,
        "Blocking graceful shutdown for {} or until app reports unhealthy...",
        format_go(duration)
    );
    let mut status = servers.app_status.subscribe();
    let unhealthy = async {
        // The sender lives as long as the servers.
        status.wait_for(|status| *status != AppStatus::Healthy).await.ok();
    };
    tokio::select! {
        () = tokio::time::sleep(duration) => {
            tracing::info!(target: RUNTIME, "Block shutdown period expired, entering shutdown...");
        }
        () = unhealthy => {
            tracing::info!(target: RUNTIME, "App reported unhealthy, entering shutdown...");
        }
    }
}

/// No new calls by gRPC; running ones finish, however long that takes.
async fn stop_grpc(servers: &Servers) {
    servers.targets.grpc.unready();
    servers.targets.internal.unready();
    // Streams of news have no end of their own.
    servers.runtime.building_blocks.configurations.close_streams();
    tokio::join!(servers.grpc.run(None), servers.internal.run(None));
}

async fn close(servers: Servers, observers: Observers) {
    for address in &servers.http_addresses {
        tracing::info!(target: "dapr.runtime.http", "Closing HTTP server {address}…");
    }
    let http = async {
        servers.http.run(Some(HTTP_GRACE)).await;
    };
    let resolver = async {
        if let Some(resolver) = &servers.resolver {
            resolver.close().await;
        }
    };
    let runtime = async {
        tracing::info!(target: RUNTIME, "Dapr is shutting down");
        servers.components.close_all().await;
        tracing::info!(target: RUNTIME, "Dapr runtime stopped");
    };
    tokio::join!(http, resolver, runtime);
    observers.shut_down().await;
}
