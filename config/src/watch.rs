//! Watching directories: files are often replaced by renaming a directory or a link above them.
//!
//! A directory that is reached through a symbolic link is watched anew when the link comes to point elsewhere, as a
//! release folder does at `current -> releases/7`. Inside a directory that is not needed: Kubernetes swaps the
//! link `..data` of a mounted ConfigMap, which is an event of the directory itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

/// Tells that something has changed in one of a few directories.
#[derive(Debug)]
pub struct DirectoryWatcher {
    changed: Arc<Notify>,
    linked: Mutex<Vec<Linked>>,
    /// Events stop when this is dropped.
    watcher: Mutex<RecommendedWatcher>,
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

/// A directory that a link leads to, and where it led when it was last watched.
#[derive(Debug)]
struct Linked {
    directory: PathBuf,
    leads_to: Option<PathBuf>,
}

// === impl DirectoryWatcher ===

impl DirectoryWatcher {
    /// Watches directories, not those inside them.
    ///
    /// # Errors
    /// If the system refuses, or a directory is not there.
    pub fn new<'a>(directories: impl IntoIterator<Item = &'a Path>) -> Result<Self, WatchError> {
        let changed = Arc::new(Notify::new());
        let notify = Arc::clone(&changed);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| is_change(event.kind)) {
                notify.notify_one();
            }
        })
        .map_err(WatchError::Create)?;
        let directories: BTreeSet<_> = directories.into_iter().collect();
        let mut linked = Vec::new();
        let mut parents = BTreeSet::new();
        for directory in &directories {
            add(&mut watcher, directory)?;
            let links = links_of(directory);
            if !links.is_empty() {
                linked.push(Linked {
                    directory: directory.to_path_buf(),
                    leads_to: directory.canonicalize().ok(),
                });
            }
            parents.extend(links.iter().map(|link| directory_of(link).to_owned()));
        }
        for parent in parents {
            if !directories.contains(parent.as_path()) {
                add(&mut watcher, &parent)?;
            }
        }
        Ok(Self {
            changed,
            linked: Mutex::new(linked),
            watcher: Mutex::new(watcher),
        })
    }

    /// Watches the directories that files are in.
    ///
    /// # Errors
    /// If the system refuses, or a directory is not there.
    pub fn of_files<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<Self, WatchError> {
        Self::new(files.into_iter().map(directory_of))
    }

    /// Resolves at the next change, or at once if there was one since the last call.
    pub async fn changed(&self) {
        self.changed.notified().await;
        self.follow_links();
    }

    /// Watches the new end of a link that was swapped.
    fn follow_links(&self) {
        let mut linked = self.linked.lock().unwrap_or_else(PoisonError::into_inner);
        for link in linked.iter_mut() {
            let leads_to = link.directory.canonicalize().ok();
            if leads_to.is_none() || leads_to == link.leads_to {
                continue;
            }
            let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
            // The old end may be gone, and its watch with it.
            watcher.unwatch(&link.directory).ok();
            if let Err(error) = add(&mut watcher, &link.directory) {
                // The link has moved again meanwhile, which is another event.
                tracing::debug!(target: "dapr.runtime.hotreload", "{error}");
                continue;
            }
            link.leads_to = leads_to;
        }
    }
}

fn add(watcher: &mut RecommendedWatcher, directory: &Path) -> Result<(), WatchError> {
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
        .map_err(|error| failed(error.to_string()))
}

/// The beginnings of a path, itself included, that are symbolic links.
fn links_of(path: &Path) -> Vec<&Path> {
    path.ancestors().filter(|part| part.is_symlink()).collect()
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
    use std::os::unix::fs::symlink;
    use std::time::Duration;

    use super::*;

    /// A folder that goes with its value.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("outrigger-watch-{name}-{}", std::process::id()));
            std::fs::remove_dir_all(&path).ok();
            std::fs::create_dir(&path).unwrap();
            Self(path.canonicalize().unwrap())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).ok();
        }
    }

    async fn seen(watcher: &DirectoryWatcher) {
        tokio::time::timeout(Duration::from_secs(10), watcher.changed())
            .await
            .expect("the change is told");
    }

    #[test]
    fn a_missing_directory_is_refused() {
        let directory = std::env::temp_dir().join("outrigger-no-such-directory");
        let error = DirectoryWatcher::of_files([directory.join("ca.crt").as_path()]).unwrap_err();
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

    #[tokio::test]
    async fn a_swapped_link_inside_the_directory_is_a_change() {
        let folder = Folder::new("inside");
        let root = &folder.0;
        for version in ["..1", "..2"] {
            std::fs::create_dir(root.join(version)).unwrap();
        }
        symlink("..1", root.join("..data")).unwrap();
        let watcher = DirectoryWatcher::new([root.as_path()]).unwrap();
        symlink("..2", root.join("..new")).unwrap();
        seen(&watcher).await;
        std::fs::rename(root.join("..new"), root.join("..data")).unwrap();
        seen(&watcher).await;
    }

    #[tokio::test]
    async fn a_directory_is_followed_when_the_link_to_it_is_swapped() {
        let folder = Folder::new("above");
        let root = &folder.0;
        for release in ["1", "2"] {
            std::fs::create_dir_all(root.join(release).join("resources")).unwrap();
        }
        symlink("1", root.join("current")).unwrap();
        let resources = root.join("current/resources");
        let watcher = DirectoryWatcher::new([resources.as_path()]).unwrap();
        symlink("2", root.join("next")).unwrap();
        std::fs::rename(root.join("next"), root.join("current")).unwrap();
        let there = root.join("2").canonicalize().unwrap().join("resources");
        while watcher.linked.lock().unwrap()[0].leads_to.as_ref() != Some(&there) {
            seen(&watcher).await;
        }
        // Events from before the new watch may still be on their way; the write is told whatever they are.
        std::fs::write(root.join("2/resources/a.yaml"), "a").unwrap();
        seen(&watcher).await;
    }
}
