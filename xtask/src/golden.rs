//! Tables that clients see, as text files beside the code they come from.
//!
//! A crate's own test compares its file with the table, so a change shows up in the diff of a review.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

use crate::tree::{self, Mode};

/// A text file and what belongs in it.
struct Table {
    /// Path from the workspace's folder; its folder holds golden files only.
    path: &'static str,
    /// Makes the text.
    render: fn() -> String,
}

/// Every golden file.
const TABLES: &[Table] = &[
    Table {
        path: "base/error/golden/errors.txt",
        render: outrigger_error::golden::table,
    },
    Table {
        path: "base/telemetry/golden/metrics.txt",
        render: outrigger_telemetry::metrics::golden::table,
    },
    Table {
        path: "config/golden/daprd-flags.txt",
        render: outrigger_config::daprd::Flags::table,
    },
    Table {
        path: "config/golden/sentry-flags.txt",
        render: outrigger_config::sentry::Flags::table,
    },
];

/// Writes or checks all golden files.
pub(crate) fn run(mode: Mode) -> Result<()> {
    let mut folders: BTreeMap<&str, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    for table in TABLES {
        let (folder, name) = table.path.rsplit_once('/').context(table.path)?;
        let files = folders.entry(folder).or_default();
        files.insert(name.to_owned(), (table.render)().into_bytes());
    }
    for (folder, files) in folders {
        tree::settle(&tree::root().join(folder), &files, mode, "golden")?;
    }
    Ok(())
}
