//! Log lines in the form that other tools parse: one line an event, text or JSON.
//!
//! Events are made with the `tracing` macros; the target is the scope that is printed, and only scopes that
//! start with `dapr` are. Every field of an event becomes a field of the line, such as `component` in the lines
//! of a component. Two names steer instead:
//!
//! | Field | Effect |
//! |---|---|
//! | `fatal` | the line has level `fatal`; meant for error events |
//! | `scope` | replaces the target as the printed scope |
//!
//! The scopes of API logging are printed whatever the level is. What is printed may be exported as well, see
//! [`LogExport`].

mod export;
mod fields;
mod line;
mod sink;
mod subscriber;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

pub use export::{LogExport, LogExportSettings};
pub use sink::MemoryLog;
pub use subscriber::Logger;

/// How urgent a line is; lines below the chosen level are not printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For those who look for a mistake.
    Debug,
    /// What happens in normal running.
    #[default]
    Info,
    /// Something is wrong but work goes on; printed as `warning`, chosen as `warn`.
    Warning,
    /// Something failed.
    Error,
    /// The process ends.
    Fatal,
}

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `key=value` pairs; on a terminal a short coloured form.
    #[default]
    Text,
    /// One JSON object with sorted members.
    Json,
}

/// What is printed, how and where.
#[derive(Clone, Debug, Default)]
pub struct LogSettings {
    /// Least urgent level that is printed.
    pub level: Level,
    /// Form of a line.
    pub format: Format,
    /// File that lines are appended to, created with mode 0644; none means stdout.
    pub file: Option<PathBuf>,
    /// Value of the field `app_id`; none leaves the field out, as control-plane programs do.
    pub app_id: Option<Arc<str>>,
    /// Value of the field `instance`: the host name.
    pub instance: String,
    /// Value of the field `ver`; `unknown` when the build has no version stamp.
    pub version: String,
}

/// A text that names no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid value for --log-level: {0}")]
pub struct InvalidLevel(pub String);

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log file cannot be opened for appending.
    #[error("failed to open log file {path}: {source}")]
    Open {
        /// The file of the settings.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Standard output is not open.
    #[error("failed to open stdout for logging: {0}")]
    Stdout(std::io::Error),
    /// Another subscriber is already installed in this process.
    #[error("logging is already set up")]
    AlreadySet,
}

/// Sends all events of the process to the log that the settings describe, from now on.
///
/// # Errors
/// If the file cannot be opened, or if a subscriber is already installed.
pub fn init(settings: &LogSettings) -> Result<(), LogError> {
    tracing::subscriber::set_global_default(Logger::open(settings)?).map_err(|_| LogError::AlreadySet)
}

/// Prints one line of level `fatal`. Ending the process is the caller's part.
pub fn fatal(scope: &'static str, message: impl fmt::Display) {
    tracing::error!(target: "dapr", fatal = true, scope, "{message}");
}

// === impl Level ===

impl Level {
    /// The word in the field `level`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Level {
    type Err = InvalidLevel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words = [
            ("debug", Self::Debug),
            ("info", Self::Info),
            ("warn", Self::Warning),
            ("error", Self::Error),
            ("fatal", Self::Fatal),
        ];
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        found
            .map(|(_, level)| *level)
            .ok_or_else(|| InvalidLevel(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_chosen_in_any_case() {
        for (text, level) in [
            ("DEBUG", Level::Debug),
            ("Warn", Level::Warning),
            ("fatal", Level::Fatal),
        ] {
            assert_eq!(text.parse(), Ok(level));
        }
    }

    #[test]
    fn an_unknown_level_is_named_in_the_error() {
        for text in ["warning", "", "trace"] {
            let error = text.parse::<Level>().unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("invalid value for --log-level: {text}")
            );
        }
    }
}
