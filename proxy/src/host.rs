//! The machine and the process that a sidecar runs in.

use std::path::PathBuf;

/// Facts of the machine and the process, read once.
#[derive(Clone, Debug)]
pub struct Host {
    /// Host name, as logs and `Forwarded` headers give it.
    pub name: String,
    /// Numeric user id of the process.
    pub user_id: u32,
    /// Working directory.
    pub working_directory: PathBuf,
}

// === impl Host ===

impl Host {
    /// Reads the facts; what the system refuses to tell stays empty.
    #[must_use]
    pub fn current() -> Self {
        Self {
            name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            user_id: rustix::process::getuid().as_raw(),
            working_directory: std::env::current_dir().unwrap_or_default(),
        }
    }
}
