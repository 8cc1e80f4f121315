//! Watching directories, because files are often replaced by renaming a directory or a link above them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Tells that something has changed in one of a few directories.
#[derive(Debug)]
pub(crate) struct DirectoryWatcher {
    changed: Arc<Notify>,
    /// Events stop when this is dropped.
    _watcher: RecommendedWatcher,
}

/// Why a directory cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The system has no watches left.
    #[error("failed to create watcher: {0}")]
    Create(notify::Error),
    /// A directory is missing or may not be read.
    #[error("failed to add target {}: {reason}", directory.display())]
    Add {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        reason: String,
    },
}

// === impl DirectoryWatcher ===

impl DirectoryWatcher {
    /// Watches the parent directories of `files`.
    pub(crate) fn new<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<Self, WatchError> {
        let changed = Arc::new(Notify::new());
        let notify = changed.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| is_change(event.kind)) {
                notify.notify_one();
            }
        })
        .map_err(WatchError::Create)?;
        let directories: BTreeSet<_> = files.into_iter().map(directory_of).collect();
        for directory in directories {
            let failed = |reason| WatchError::Add {
                directory: directory.to_owned(),
                reason,
            };
            match std::fs::metadata(directory) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    return Err(failed("no such file or directory".to_owned()));
                }
                Err(error) => return Err(failed(error.to_string())),
            }
            watcher
                .watch(directory, RecursiveMode::NonRecursive)
                .map_err(|error| failed(error.to_string()))?;
        }
        Ok(Self {
            changed,
            _watcher: watcher,
        })
    }

    /// Resolves at the next change, or at once if there was one since the last call.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }
}

fn directory_of(file: &Path) -> &Path {
    match file.parent() {
        Some(directory) if directory != Path::new("") => directory,
        _ => Path::new("."),
    }
}

/// Reading a file is an event too, and looking at the changed files would cause the next one.
fn is_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_directory_is_refused() {
        let directory = std::env::temp_dir().join("outrigger-sentry-no-such-directory");
        let error = DirectoryWatcher::new([directory.join("ca.crt").as_path()]).unwrap_err();
        let expected = format!(
            "failed to add target {}: no such file or directory",
            directory.display()
        );
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_bare_file_name_is_in_the_working_directory() {
        assert_eq!(directory_of(Path::new("ca.crt")), Path::new("."));
        assert_eq!(directory_of(Path::new("/a/ca.crt")), Path::new("/a"));
    }

    #[test]
    fn reading_is_no_change() {
        assert!(!is_change(EventKind::Access(AccessKind::Open(AccessMode::Any))));
        assert!(!is_change(EventKind::Access(AccessKind::Close(AccessMode::Read))));
        assert!(is_change(EventKind::Access(AccessKind::Close(AccessMode::Write))));
        assert!(is_change(EventKind::Create(notify::event::CreateKind::File)));
    }
}
