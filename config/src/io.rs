//! Reading files and folders, behind a trait.

use std::io;
use std::path::{Path, PathBuf};

/// A source of files; tests may feed one from memory.
pub trait Files {
    /// Names of the entries of a directory that are not directories themselves, in byte order.
    ///
    /// A link to a directory is not a directory here.
    ///
    /// # Errors
    /// What the system says.
    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>>;

    /// Content of a file; links are followed.
    ///
    /// # Errors
    /// What the system says.
    fn read(&self, file: &Path) -> io::Result<Vec<u8>>;
}

/// The files of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

// === impl Disk ===

impl Files for Disk {
    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                names.push(PathBuf::from(entry.file_name()));
            }
        }
        names.sort_unstable_by(|left, right| {
            left.as_os_str()
                .as_encoded_bytes()
                .cmp(right.as_os_str().as_encoded_bytes())
        });
        Ok(names)
    }

    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(file)
    }
}

#[cfg(test)]
mod tests {
    use outrigger_kit::system::text as system_text;

    use super::*;

    #[test]
    fn errors_of_the_system_are_printed_as_go_does() {
        let missing = Disk.read(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(system_text(&missing), "no such file or directory");
        let directory = Disk.read(Path::new("/")).unwrap_err();
        assert_eq!(system_text(&directory), "is a directory");
        assert_eq!(system_text(&io::Error::other("odd")), "odd");
    }
}
