//! Folders that live as long as a test.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::Result;

/// A new folder, removed with all it holds when the value is dropped.
#[derive(Debug)]
pub struct Directory(PathBuf);

// === impl Directory ===

impl Directory {
    /// Makes a folder in the system's place for such things.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new() -> Result<Self> {
        let name = format!("outrigger-test-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, and the folders on the way to it.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.0.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // What is left behind is the system's to clear.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_its_value() {
        let directory = Directory::new().unwrap();
        let file = directory.write("a/b.txt", "content").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "content");
        let path = directory.path().to_owned();
        drop(directory);
        assert!(!path.exists());
    }
}
