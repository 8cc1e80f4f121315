//! The check as a program: what it is given, where it prints, exit codes.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::SystemTime;

use outrigger_check::{Options, OptionsError, World, check};
use outrigger_config::env::ProcessEnv;
use outrigger_config::resources::Disk;

/// Exit code of a check that found mistakes.
const MISTAKES: u8 = 1;
/// Exit code of a check that was not asked properly.
const USAGE: u8 = 2;

/// Checks what the options name and prints the report.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(OptionsError::Help(usage)) => {
            eprintln!("{usage}");
            return ExitCode::SUCCESS;
        }
        Err(OptionsError::Usage(error)) => {
            eprintln!("{error}");
            return ExitCode::from(USAGE);
        }
    };
    let catalogue = outrigger_components::catalogue();
    let built_in: Vec<_> = catalogue.kinds().map(str::to_owned).collect();
    let world = World {
        environment: &ProcessEnv,
        files: &Disk,
        now: SystemTime::now(),
        built_in: &built_in,
    };
    let report = check(&options, world);
    // Whoever reads may have gone; the exit code says it all the same.
    std::io::stdout().write_all(report.text.as_bytes()).ok();
    match report.is_clean {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(MISTAKES),
    }
}
