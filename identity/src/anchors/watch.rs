//! Following a file of trust anchors.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{AnchorError, AnchorSource, TrustAnchors};
use crate::LOG;

/// How long to wait between two looks for a file that is not there.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long events are gathered before the file is read again.
const COALESCE: Duration = Duration::from_millis(5);

/// The task that keeps an [`AnchorSource`] equal to its file.
#[derive(Debug)]
pub struct AnchorWatch {
    path: PathBuf,
    current: Arc<ArcSwap<TrustAnchors>>,
    changes: watch::Sender<()>,
    events: Arc<Notify>,
    _watcher: RecommendedWatcher,
}

// === impl AnchorSource ===

impl AnchorSource {
    /// Reads the anchors of a file and prepares to follow its changes.
    ///
    /// While the file is missing, looks for it every second. Nothing is followed until
    /// [`AnchorWatch::run`] runs, but no change from here on is missed.
    ///
    /// # Errors
    /// When the file cannot be read for another reason than being missing, holds no anchors, or `cancel` comes first.
    pub async fn watch(path: &Path, cancel: &CancellationToken) -> Result<(Self, AnchorWatch), AnchorError> {
        while !tokio::fs::try_exists(path).await.unwrap_or(false) {
            tracing::warn!(target: LOG, "Trust anchors file '{}' not found, waiting...", path.display());
            tokio::select! {
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                () = cancel.cancelled() => return Err(AnchorError::Cancelled),
            }
        }
        // Watching starts before reading: a change in between is then seen twice rather than never.
        let events = Arc::new(Notify::new());
        let watcher = watch_folder(path, events.clone()).map_err(|error| AnchorError::Watch {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
        let current = Arc::new(ArcSwap::from_pointee(read(path).await?));
        let (changes, changed) = watch::channel(());
        let source = Self {
            current: current.clone(),
            changes: changed,
        };
        let watch = AnchorWatch {
            path: path.to_owned(),
            current,
            changes,
            events,
            _watcher: watcher,
        };
        Ok((source, watch))
    }
}

// === impl AnchorWatch ===

impl AnchorWatch {
    /// Follows the file until dropped: each change is in force for the next handshake.
    ///
    /// # Errors
    /// When the file cannot be read any more or holds no anchors. The anchors last read stay in force.
    pub async fn run(self) -> Result<(), AnchorError> {
        loop {
            self.events.notified().await;
            tokio::time::sleep(COALESCE).await;
            let anchors = read(&self.path).await?;
            if anchors.as_pem() == self.current.load().as_pem() {
                continue;
            }
            tracing::info!(target: LOG, "Trust anchors file changed, reloading trust anchors");
            self.current.store(Arc::new(anchors));
            self.changes.send_replace(());
        }
    }
}

/// Watches the folder of a file, since a file that is replaced, by name or behind a link, is another file.
fn watch_folder(path: &Path, events: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let is_change = !matches!(&event, Ok(event) if matches!(event.kind, EventKind::Access(_)));
        if is_change {
            events.notify_one();
        }
    })?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

async fn read(path: &Path) -> Result<TrustAnchors, AnchorError> {
    let failed = |reason: String| AnchorError::File {
        path: path.to_owned(),
        reason,
    };
    let text = tokio::fs::read(path)
        .await
        .map_err(|error| failed(error.to_string()))?;
    TrustAnchors::from_pem(Bytes::from(text)).map_err(|error| failed(error.to_string()))
}
