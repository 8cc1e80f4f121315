//! Files of the working tree that a chore owns.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// What to do with a chore's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Bring the tree up to date.
    Write,
    /// Fail if the tree is not up to date.
    Check,
}

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().expect("xtask sits in the workspace").to_path_buf()
}

/// Makes `folder` hold exactly `files`, or checks that it does.
///
/// # Errors
/// In [`Mode::Check`] when a file is missing, differs or is left over; `chore` names the cure.
pub(crate) fn settle(
    folder: &Path,
    files: &BTreeMap<String, Vec<u8>>,
    mode: Mode,
    chore: &str,
) -> Result<()> {
    let mut stale = Vec::new();
    for (name, content) in files {
        let path = folder.join(name);
        if fs::read(&path).is_ok_and(|present| present == *content) {
            continue;
        }
        if mode == Mode::Write {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
            fs::write(&path, content).with_context(|| path.display().to_string())?;
        }
        stale.push(path);
    }
    for path in left_over(folder, files)? {
        if mode == Mode::Write {
            fs::remove_file(&path).with_context(|| path.display().to_string())?;
        }
        stale.push(path);
    }
    if mode == Mode::Check && !stale.is_empty() {
        let names: Vec<_> = stale.iter().map(|path| path.display().to_string()).collect();
        bail!(
            "out of date, run `cargo xtask {chore}`:\n  {}",
            names.join("\n  ")
        );
    }
    Ok(())
}

fn left_over(folder: &Path, files: &BTreeMap<String, Vec<u8>>) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let known = entry
            .file_name()
            .to_str()
            .is_some_and(|name| files.contains_key(name));
        if !known && entry.file_type()?.is_file() {
            paths.push(entry.path());
        }
    }
    Ok(paths)
}
