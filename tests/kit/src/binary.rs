//! The binary under test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, anyhow, ensure};

use crate::{Result, skip};

/// The path of the `outrigger` binary: `OUTRIGGER_BIN`, else the one beside the running test, which
/// is brought up to date first.
///
/// # Errors
/// If it cannot be built.
pub fn outrigger_binary() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    if let Some(path) = std::env::var_os("OUTRIGGER_BIN").filter(|path| !path.is_empty()) {
        return Ok(path.into());
    }
    BUILT
        .get_or_init(|| build().map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(|error| anyhow!(error))
}

/// The path of the store in `examples/pluggable-store`, beside the `outrigger` binary; if it is not there, the test is
/// skipped.
///
/// # Errors
/// If the `outrigger` binary cannot be built.
///
/// # Panics
/// If it is not there and nothing may be skipped.
pub fn example_store() -> Result<Option<PathBuf>> {
    let path = outrigger_binary()?.with_file_name("shelf");
    if path.is_file() {
        return Ok(Some(path));
    }
    skip("no shelf beside the binary: run `cargo build -p outrigger-example-store` in its profile");
    Ok(None)
}

/// Builds the binary in the profile of the running test, `<target>/<profile>/deps/<test>`.
///
/// Offline: the test was built from the same lock file, and it may run in a network of its own.
fn build() -> Result<PathBuf> {
    let test = std::env::current_exe().context("a test knows its program")?;
    let profile = profile_directory(&test).context("the test runs outside a target directory")?;
    let target = profile.parent().context("a profile lies in a target directory")?;
    let name = profile.file_name().unwrap_or_default().to_string_lossy();
    let name = if name == "debug" { "dev" } else { &name };
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--quiet",
            "--package",
            "outrigger",
            "--profile",
            name,
            "--target-dir",
        ])
        .arg(target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "cargo did not build the binary: {status}");
    Ok(profile.join("outrigger"))
}

fn profile_directory(test: &Path) -> Option<&Path> {
    let directory = test.parent()?;
    if directory.ends_with("deps") {
        directory.parent()
    } else {
        Some(directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profile_is_read_off_the_test_program() {
        for test in ["/t/debug/deps/main-0123", "/t/debug/main"] {
            assert_eq!(profile_directory(Path::new(test)), Some(Path::new("/t/debug")));
        }
    }
}
