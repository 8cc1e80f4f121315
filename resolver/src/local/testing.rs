//! Folders for tests.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Meeting, Neighbour};

/// A folder that is removed with this value.
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("outrigger-test-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// A sidecar on a port that meets the others in a folder below `place`.
pub(crate) fn neighbour(place: &Temporary, namespace: &str, port: u16) -> Neighbour {
    Neighbour {
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        namespace: namespace.to_owned(),
        folder: Meeting::Folder(place.path().join("registry")),
    }
}
