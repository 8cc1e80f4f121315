//! Chores of the repository, run as `cargo xtask <chore>`.
//!
//! ```text
//! gen [--check]      .proto files ─▶ Rust code and descriptor set in `api/src/gen`; code in `src/gen` of vendors
//! deps               the crates' dependencies obey the levels of the architecture
//! golden [--check]   tables that clients see ─▶ text files under `golden/` of the owning crate
//! ```
//!
//! With `--check` nothing is written; the chore fails when the tree is not what it would write.

mod deps;
mod generate;
mod golden;
mod tree;

use std::process::ExitCode;

use anyhow::{Result, bail};

use tree::Mode;

const USAGE: &str = "usage: cargo xtask gen [--check] | deps | golden [--check]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["gen"] => generate::run(Mode::Write),
        ["gen", "--check"] => generate::run(Mode::Check),
        ["deps"] => deps::run(),
        ["golden"] => golden::run(Mode::Write),
        ["golden", "--check"] => golden::run(Mode::Check),
        _ => bail!(USAGE),
    }
}
