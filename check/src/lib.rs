//! `outrigger check`: every mistake in what a sidecar would be started with, at once and with its place.
//!
//! ```text
//! command line ─▶ options ─┐
//! --config ─▶ files ───────┼─▶ documents with lines ─▶ shapes ─▶ references ─▶ findings ─▶ text │ JSON
//! --resources-path ────────┘                           (fields)  (names, secrets, certificates)
//! ```
//!
//! It reads the same options and folders as the sidecar and starts nothing. Nothing is dialled unless
//! `--connect` asks for it. What a sidecar forgives in silence (a field it does not know, a policy that does not
//! exist) is a mistake here.
//!
//! It is not the sidecar's own reader: that one decides what counts, this one says what was meant.

mod apps;
mod catalogue;
mod certificates;
mod components;
mod configuration;
mod connect;
mod document;
mod finding;
mod options;
mod resiliency;
mod resources;
mod secrets;
mod shape;
mod shapes;
mod suggest;
#[cfg(test)]
mod testing;

use std::fmt;
use std::time::SystemTime;

use outrigger_config::env::Env;
use outrigger_config::resources::Files;

use self::document::{Document, read_configurations, read_resources};
use self::finding::Findings;
pub use self::options::{Options, OptionsError, Output};

/// What a check works on: the world that a sidecar would see.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// Environment variables.
    pub environment: &'a dyn Env,
    /// Files and folders.
    pub files: &'a dyn Files,
    /// The time that certificates are held against.
    pub now: SystemTime,
    /// Component types that this binary can make, such as `middleware.http.uppercase`.
    pub built_in: &'a [String],
}

/// The outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What is to be printed, a line feed at its end.
    pub text: String,
    /// Whether there is no mistake at all.
    pub is_clean: bool,
}

/// Everything that the parts of a check share.
struct Check<'a> {
    world: World<'a>,
    options: &'a Options,
    /// Of the Configuration files.
    configurations: Vec<Document>,
    /// Of the resource folders.
    resources: Vec<Document>,
    findings: Findings,
}

/// Checks what these options name.
#[must_use]
pub fn check(options: &Options, world: World<'_>) -> Report {
    let mut findings = Findings::default();
    let configurations = read_configurations(&options.flags.config, world, &mut findings);
    let resources = read_resources(&options.resource_paths(), world, &mut findings);
    let mut check = Check {
        world,
        options,
        configurations,
        resources,
        findings,
    };
    check.command_line();
    check.shapes();
    check.names();
    check.scopes();
    check.components();
    check.subscriptions();
    check.endpoints();
    check.resiliency();
    check.configurations();
    check.certificates();
    if options.connect {
        check.connect();
    }
    let files = check.configurations.iter().chain(&check.resources);
    let count = finding::count_files(files.map(|document| &*document.file));
    let is_clean = check.findings.is_empty();
    let text = match options.output {
        Output::Text => check.findings.into_text(count),
        Output::Json => check.findings.into_json(count),
    };
    Report { text, is_clean }
}

// === impl World ===

impl fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("now", &self.now)
            .field("built_in", &self.built_in)
            .finish_non_exhaustive()
    }
}

// === impl Check ===

impl Check<'_> {
    fn app_id(&self) -> &str {
        &self.options.flags.app_id
    }
}
