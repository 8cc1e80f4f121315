//! Outrigger: a portable sidecar runtime for microservices, its certificate authority and its tools in one binary.
//!
//! The program is chosen by the name of the file (`daprd`, `sentry`, …, also `daprd-linux-amd64`), else by the
//! first argument: `outrigger daprd --app-id x`. Nothing lives here but the choice, the allocator, the crypto
//! provider, the limits of the process, the runtime and the signals.

mod check;
mod daprd;
mod dispatch;
mod sentry;
mod signals;

use std::process::ExitCode;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::dispatch::{Choice, Program};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code of a command line that names no program (sysexits `EX_USAGE`).
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os()
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        eprintln!("a crypto provider is installed already");
        return ExitCode::FAILURE;
    }
    lift_descriptor_limit();
    match dispatch::choose(&arguments) {
        Choice::Run(Program::Daprd, arguments) => daprd::main(&arguments),
        Choice::Run(Program::Sentry, arguments) => sentry::main(&arguments),
        Choice::Run(Program::Check, arguments) => check::main(&arguments),
        Choice::Help => {
            println!("{}", dispatch::usage());
            ExitCode::SUCCESS
        }
        Choice::Nothing => {
            eprintln!("{}", dispatch::usage());
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// Allows as many connections as the system does: the soft limit is meant for programs that use `select`.
fn lift_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // A refusal leaves the limit as it is.
    setrlimit(Resource::Nofile, limit).ok();
}
