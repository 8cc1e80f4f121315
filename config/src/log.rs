//! The options about logging.

use crate::flags::FlagSet;

/// The options about logging that every program has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFlags {
    /// Name of the least urgent level that is printed; not checked yet.
    pub level: String,
    /// Whether lines are JSON.
    pub as_json: bool,
    /// File that lines are appended to; empty for stdout.
    pub file: String,
}

// === impl LogFlags ===

impl Default for LogFlags {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            as_json: false,
            file: String::new(),
        }
    }
}

impl LogFlags {
    /// Declares `--log-level`, `--log-as-json` and `--log-file`.
    pub fn declare<'a>(&'a mut self, set: &mut FlagSet<'a>) {
        set.text(
            "log-level",
            &mut self.level,
            "least urgent level to print: debug, info, warn, error or fatal",
        );
        set.bool("log-as-json", &mut self.as_json, "print log lines as JSON");
        set.text(
            "log-file",
            &mut self.file,
            "file to append log lines to; empty for stdout",
        );
    }
}
