//! Where lines go: a file descriptor without a buffer, or memory for tests.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::LogError;

/// The lines of a log that is kept in memory, for tests.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog(Arc<Mutex<Vec<u8>>>);

/// One place that takes whole lines.
#[derive(Debug)]
pub(super) enum Sink {
    File(File),
    Memory(MemoryLog),
}

// === impl MemoryLog ===

impl MemoryLog {
    /// The lines written so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().expect("no writer panics");
        String::from_utf8_lossy(&bytes)
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

// === impl Sink ===

impl Sink {
    /// The process's standard output, and whether a person looks at it.
    ///
    /// The descriptor is written directly: a line is one system call, and no lock is shared with `print!`.
    pub(super) fn stdout() -> Result<(Self, bool), LogError> {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let own = duplicate(&stdout).map_err(LogError::Stdout)?;
        Ok((Self::File(own), terminal))
    }

    /// A file that grows at its end, created if it is missing.
    pub(super) fn append(path: &Path) -> Result<Self, LogError> {
        let opened = OpenOptions::new().create(true).append(true).open(path);
        let file = opened.map_err(|source| LogError::Open {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self::File(file))
    }

    /// Writes one line. A log that cannot be written has nowhere to complain, so errors are dropped.
    pub(super) fn write(&self, line: &[u8]) {
        match self {
            Self::File(file) => drop((&*file).write_all(line)),
            Self::Memory(MemoryLog(bytes)) => {
                bytes.lock().expect("no writer panics").extend_from_slice(line);
            }
        }
    }
}

#[cfg(unix)]
fn duplicate(stdout: &io::Stdout) -> io::Result<File> {
    use std::os::fd::AsFd;
    stdout.as_fd().try_clone_to_owned().map(File::from)
}

#[cfg(windows)]
fn duplicate(stdout: &io::Stdout) -> io::Result<File> {
    use std::os::windows::io::AsHandle;
    stdout.as_handle().try_clone_to_owned().map(File::from)
}
