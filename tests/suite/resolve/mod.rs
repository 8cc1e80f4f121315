//! Finding other sidecars, and choosing among them.

mod balance;
mod consul;
mod nameformat;
mod registry;
mod sqlite;

use std::process::Command;

use anyhow::ensure;
use outrigger_test_kit::{Daprd, DaprdBuilder, Directory, HttpApp, HttpResponse, Result};

/// A folder for the registry of a test; sidecars make it.
fn meeting(directory: &Directory) -> String {
    directory.path().join("registry").display().to_string()
}

/// A sidecar that meets the others of a test in their folder.
fn sidecar(app_id: &str, directory: &Directory) -> Result<DaprdBuilder> {
    Ok(Daprd::builder(app_id)?.flag("local-registry", meeting(directory)))
}

/// An app that answers with its name.
async fn named(name: &'static str) -> Result<HttpApp> {
    HttpApp::start(move |_| async move { HttpResponse::ok(name) }).await
}

/// Takes the network of the test's namespace away; only the machine itself is left.
fn cut_the_wire() -> Result<()> {
    let status = Command::new("ip").args(["link", "delete", "wire"]).status()?;
    ensure!(status.success(), "the wire cannot be taken away");
    Ok(())
}

/// The names of the files in the registry, sorted.
fn files(directory: &Directory) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(meeting(directory))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}
