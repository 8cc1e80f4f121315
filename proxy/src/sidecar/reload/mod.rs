//! Hot reload: what changes in the resource folders takes effect while the sidecar runs.
//!
//! ```text
//! folder ─event─▶ 5 ms of quiet ─▶ all files read ─▶ difference by name ─▶ applied in place
//! every 60 s, as a backup ───────────────▶ │                      └─▶ restart of the run
//! ```
//!
//! Components are closed and made again in place. A changed Configuration, HTTPEndpoint or Resiliency restarts the
//! run, as SIGHUP does: calls in flight finish, and the ports are back within a moment.
//!
//! Source: specification, components 6 and the daprd process 10.

mod in_place;
mod installed;
mod restarts;

use std::time::Duration;

use outrigger_config::configuration::{Configuration, Feature};
use outrigger_config::daprd::Settings;
use outrigger_config::resources::{Disk, Filter, Manifests};
use outrigger_config::watch::DirectoryWatcher;
use outrigger_kit::duration::format_go;
use tokio::time::{Instant, MissedTickBehavior};

use super::RunError;
use crate::components::Components;
use crate::health::{Health, Target};
use crate::stop::Stop;

pub(super) use self::installed::Installed;

/// Follows the resource folders of a run from before they are first read.
#[derive(Debug)]
pub(super) struct HotReload {
    watcher: Option<DirectoryWatcher>,
    targets: Vec<Target>,
}

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    /// Something has changed in a folder.
    Change,
    /// The time of the backup has come.
    Backup,
}

const SCOPE: &str = "dapr.runtime.hotreload";
const RECONCILER: &str = "dapr.runtime.hotreload.reconciler";
const LOADER: &str = "dapr.runtime.hotreload.loader.disk";

/// Files are written in several steps: so long must nothing happen, and so long at most is that waited for.
const QUIET: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(500));
/// A folder behind a link that is being replaced is missing for a moment.
const MISSING: (Duration, u32) = (Duration::from_millis(50), 20);

/// Kinds and their health targets, in the order in which the log names them.
const IN_PLACE: [(&str, &str); 4] = [
    ("WorkflowAccessPolicy", "workflowaccesspolicy-reconciler"),
    ("Component", "component-reconciler"),
    ("Subscription", "subscription-reconciler"),
    ("MCPServer", "mcpserver-reconciler"),
];
const BY_RESTART: [(&str, &str); 3] = [
    ("Configuration", "configuration-sighup-reconciler"),
    ("HTTPEndpoint", "httpendpoint-sighup-reconciler"),
    ("Resiliency", "resiliency-sighup-reconciler"),
];

// === impl HotReload ===

impl HotReload {
    /// Begins to watch, so that no change is missed; none if the feature is off.
    ///
    /// A machine may have no watches left: then the folders are read again from time to time.
    pub(super) fn begin(settings: &Settings, configuration: &Configuration, health: &Health) -> Option<Self> {
        if !configuration.features.is_on(Feature::HotReload) {
            tracing::debug!(target: SCOPE, "Hot reloading disabled");
            return None;
        }
        let targets = IN_PLACE
            .iter()
            .chain(&BY_RESTART)
            .map(|(_, target)| health.target(target))
            .collect();
        let paths = &settings.resource_paths;
        if paths.is_empty() {
            return Some(Self {
                watcher: None,
                targets,
            });
        }
        let shown: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
        tracing::info!(target: LOADER, "Watching directories: [{}]", shown.join(", "));
        let watcher = DirectoryWatcher::new(paths.iter().map(|path| path.as_path()));
        if let Err(error) = &watcher {
            tracing::warn!(
                target: LOADER,
                "Resource directories cannot be watched, they are read again every {}: {error}",
                format_go(settings.reconcile_interval)
            );
        }
        Some(Self {
            watcher: watcher.ok(),
            targets,
        })
    }

    /// Applies changes until one of them ends the run; a restart is asked of `stop`.
    pub(super) async fn run(
        self,
        settings: &Settings,
        mut installed: Installed,
        components: &Components,
        stop: &Stop,
    ) -> RunError {
        self.introduce();
        let mut backup = tokio::time::interval_at(
            Instant::now() + settings.reconcile_interval,
            settings.reconcile_interval,
        );
        backup.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let filter = Filter::new(settings.app_id.as_ref(), &settings.namespace);
        let when_due = match self.watcher {
            Some(_) => Occasion::Backup,
            None => Occasion::Change,
        };
        loop {
            let occasion = tokio::select! {
                () = self.changed() => Occasion::Change,
                _ = backup.tick() => when_due,
            };
            let outcome = async {
                match (occasion, read(settings).await) {
                    (Occasion::Backup, manifests) => {
                        in_place::reconcile(manifests, &filter, &mut installed, components).await
                    }
                    (Occasion::Change, manifests) => {
                        let now = Installed::read(&manifests?, &filter)?;
                        in_place::apply(&mut installed, &now, components).await?;
                        restarts::apply(&installed, &now, stop);
                        Ok(())
                    }
                }
            };
            if let Err(error) = outcome.await {
                return error;
            }
        }
    }

    fn introduce(&self) {
        let kinds = "'Component', 'Subscription', 'MCPServer', 'Configuration', 'HTTPEndpoint', 'Resiliency' and \
            'WorkflowAccessPolicy'";
        tracing::info!(
            target: SCOPE,
            "Hot reloading enabled. Daprd will reload {kinds} resources when they are added, updated or deleted."
        );
        for (kind, _) in IN_PLACE {
            tracing::info!(target: RECONCILER, "Starting to watch {kind} updates");
        }
        for (kind, _) in BY_RESTART {
            tracing::info!(target: RECONCILER, "Starting to watch {kind} updates for SIGHUP reload");
        }
        for target in &self.targets {
            target.ready();
        }
    }

    /// Resolves when something has changed and all is quiet again.
    async fn changed(&self) {
        let Some(watcher) = &self.watcher else {
            return std::future::pending().await;
        };
        watcher.changed().await;
        let (quiet, patience) = QUIET;
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline && tokio::time::timeout(quiet, watcher.changed()).await.is_ok() {}
    }
}

/// Reads all files; a folder that is missing is waited for, a moment.
async fn read(settings: &Settings) -> Result<Manifests, RunError> {
    let (pause, mut tries) = MISSING;
    loop {
        match Manifests::read_again(&Disk, &settings.resource_paths) {
            Ok(manifests) => return Ok(manifests),
            Err(error) if tries == 0 => return Err(RunError::Resources(error.to_string())),
            Err(_) => tries -= 1,
        }
        tokio::time::sleep(pause).await;
    }
}
