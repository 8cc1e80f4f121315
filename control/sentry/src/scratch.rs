//! Directories for tests.

use std::path::{Path, PathBuf};

/// A new directory that goes away with the value.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("outrigger-sentry-{}", outrigger_kit::id::uuid()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A directory that stays behind does no harm.
        std::fs::remove_dir_all(&self.0).ok();
    }
}
