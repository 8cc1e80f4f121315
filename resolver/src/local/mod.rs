//! A registry of the sidecars of this machine: a folder with one small file for each.
//!
//! ```text
//! own sidecar ──writes──▶ <runtime folder>/outrigger/<app>.….sidecar ──▶ gone on exit
//!                                     │ watched
//! other sidecars ◀── who is there ────┘   files of dead processes are swept away
//! ```
//!
//! A sidecar holds a lock on its file for as long as it lives, and the system takes the lock away with the process,
//! however that ends: a file that nobody has locked is a dead one's. Process numbers and their starts would not do,
//! as containers and namespaces have their own, and numbers come back.
//!
//! It needs no network: sidecars find each other without multicast, behind a VPN, on an aeroplane. Nothing is read
//! on the way of a request. The folder is the user's own and closed to others, yet an entry is only an address, as
//! with every other resolver: who answers there must prove its identity on the connection.

mod folder;
mod record;
#[cfg(test)]
pub(crate) mod testing;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::{EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::{Notify, watch};

use crate::SCOPE;

use self::record::{EXTENSION, MAX_LENGTH, scope};

pub(crate) use self::folder::FolderError;
pub(crate) use self::record::Record;
#[doc(hidden)]
pub use self::record::read_record;

/// The own sidecar, as the others of the machine are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Where the internal port is reached on this machine.
    pub address: SocketAddr,
    /// Namespace of the app.
    pub namespace: String,
    /// The folder to meet in.
    pub folder: Meeting,
}

/// Where the sidecars of a machine meet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Meeting {
    /// Nowhere: the registry is off.
    #[default]
    Nowhere,
    /// In a folder of the user's session: below this one (`XDG_RUNTIME_DIR`), else where such a one is as a rule.
    Session(Option<PathBuf>),
    /// In this folder, which must belong to the own user and be closed to others.
    Folder(PathBuf),
}

/// The registry as one sidecar sees it.
#[derive(Debug)]
pub(crate) struct LocalRegistry {
    folder: PathBuf,
    own: Record,
    /// The own file, locked.
    file: Mutex<Option<File>>,
    known: Mutex<Vec<Record>>,
    changed: watch::Sender<()>,
    wake: Arc<Notify>,
    /// Events stop when this is dropped; none if the system has no watches left.
    watcher: Option<RecommendedWatcher>,
}

/// Time between two looks at processes that may have died without a word.
const SWEEP: Duration = Duration::from_secs(15);

/// The same where changes of the folder are not told.
const SWEEP_UNWATCHED: Duration = Duration::from_secs(2);

/// Changes within this time are looked at together.
const SETTLE: Duration = Duration::from_millis(20);

/// Most files that are read.
const MAX_FILES: usize = 4096;

// === impl LocalRegistry ===

impl LocalRegistry {
    /// Opens the folder and writes the own file; none if there is to be no registry.
    ///
    /// `announced` is the address that other machines are told.
    pub(crate) fn start(
        app_id: &str,
        neighbour: &Neighbour,
        announced: Option<SocketAddr>,
    ) -> Result<Option<Self>, FolderError> {
        let path = match &neighbour.folder {
            Meeting::Nowhere => return Ok(None),
            Meeting::Folder(folder) => folder.clone(),
            Meeting::Session(runtime) => folder::default_path(runtime.as_deref()),
        };
        folder::open(&path)?;
        let own = Record {
            app_id: app_id.to_owned(),
            namespace: neighbour.namespace.clone(),
            address: neighbour.address,
            announced,
            pid: std::process::id(),
            scope: scope(),
        };
        Self::open(path, own).map(Some)
    }

    fn open(folder: PathBuf, own: Record) -> Result<Self, FolderError> {
        let wake = Arc::new(Notify::new());
        let watcher = watch_folder(&folder, &wake);
        let registry = Self {
            folder,
            own,
            file: Mutex::default(),
            known: Mutex::default(),
            changed: watch::Sender::new(()),
            wake,
            watcher,
        };
        registry.write().map_err(|source| FolderError::Io {
            path: registry.folder.clone(),
            source,
        })?;
        registry.scan();
        Ok(registry)
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The sidecars that were there at the last look.
    pub(crate) fn known(&self) -> Vec<Record> {
        self.lock().clone()
    }

    /// Told of each change.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Has the folder looked at soon, because something of it did not hold.
    pub(crate) fn doubt(&self) {
        self.wake.notify_one();
    }

    /// Looks at the folder: a few short files in memory, so this waits for nothing.
    pub(crate) fn scan(&self) {
        let mut found = Vec::new();
        let listed = match fs::read_dir(&self.folder) {
            Ok(listed) => listed,
            Err(error) => {
                tracing::debug!(target: SCOPE, "cannot read the local registry {}: {error}", self.folder.display());
                return;
            }
        };
        for path in listed
            .take(MAX_FILES)
            .filter_map(|entry| Some(entry.ok()?.path()))
        {
            let is_record = path.extension().is_some_and(|extension| extension == EXTENSION);
            let Some((record, life)) = is_record.then(|| read(&path)).flatten() else {
                continue;
            };
            match life {
                // What a container has written there means something in the container only.
                Life::Alive if record.scope != self.own.scope => {}
                Life::Alive => found.push(record),
                Life::Dead => {
                    tracing::debug!(target: SCOPE, "removing {} of a process that has ended", path.display());
                    // Another sidecar may have been faster.
                    fs::remove_file(&path).ok();
                }
            }
        }
        found.sort();
        let mut known = self.lock();
        if *known != found {
            *known = found;
            drop(known);
            self.changed.send_replace(());
        }
    }

    /// Keeps up with the folder until it is dropped.
    pub(crate) async fn keep_up(&self) {
        let every = if self.watcher.is_some() {
            SWEEP
        } else {
            SWEEP_UNWATCHED
        };
        loop {
            match tokio::time::timeout(every, self.wake.notified()).await {
                Ok(()) => tokio::time::sleep(SETTLE).await,
                // Temporary files are tidied up by some systems, those in use too.
                Err(_) if !self.own_path().exists() => {
                    if let Err(error) = folder::open(&self.folder)
                        .map_err(io::Error::other)
                        .and_then(|()| self.write())
                    {
                        tracing::warn!(target: SCOPE, "cannot write to the local registry: {error}");
                    }
                }
                Err(_) => {}
            }
            self.scan();
        }
    }

    /// Takes the own file away.
    pub(crate) fn leave(&self) {
        fs::remove_file(self.own_path()).ok();
    }

    /// Writes the own file aside, locked, and moves it into place: nobody reads half of it or takes it for a dead one's.
    fn write(&self) -> io::Result<()> {
        let place = self.own_path();
        let aside = self.folder.join(format!(".{}", self.own.file_name()));
        fs::remove_file(&aside).ok();
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&aside)?;
        file.lock()?;
        file.write_all(self.own.to_text().as_bytes())?;
        fs::rename(&aside, &place)?;
        // A file that was locked before is let go of: its name is gone.
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
        Ok(())
    }

    fn own_path(&self) -> PathBuf {
        self.folder.join(self.own.file_name())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Record>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LocalRegistry {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Whether the process that wrote a file still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Alive,
    Dead,
}

/// Reads a file of the registry; links and long files are none of ours.
fn read(path: &Path) -> Option<(Record, Life)> {
    let found = fs::symlink_metadata(path).ok()?;
    if !found.is_file() || found.len() > MAX_LENGTH {
        return None;
    }
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    (&file).take(MAX_LENGTH).read_to_end(&mut bytes).ok()?;
    let record = Record::parse(&bytes)?;
    // Shared, so that sidecars that look at the same time do not take each other for its owner.
    let life = match file.try_lock_shared() {
        Ok(()) => Life::Dead,
        Err(TryLockError::WouldBlock) => Life::Alive,
        Err(TryLockError::Error(error)) => {
            tracing::debug!(target: SCOPE, "cannot tell whether {} is in use: {error}", path.display());
            return None;
        }
    };
    Some((record, life))
}

/// Has `wake` told of files that come, go or change.
fn watch_folder(folder: &Path, wake: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let told = Arc::clone(wake);
    let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let matters = |kind| {
            matches!(
                kind,
                EventKind::Create(_)
                    | EventKind::Remove(_)
                    | EventKind::Modify(ModifyKind::Name(_))
                    | EventKind::Other
            )
        };
        if event.map_or(true, |event| matters(event.kind)) {
            told.notify_one();
        }
    });
    let watched = watcher.and_then(|mut watcher| {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    watched
        .inspect_err(|error| {
            tracing::warn!(target: SCOPE, "the local registry is not watched but looked at every {SWEEP_UNWATCHED:?}: {error}");
        })
        .ok()
}

#[cfg(test)]
mod tests;
