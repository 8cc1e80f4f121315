//! The programs as processes: options, logs, signals, files, ports.

mod block;
mod configuration;
mod dispatch;
mod listeners;
mod log;
mod options;
mod resources;
mod restart;
mod shutdown;
mod slow_app;
mod startup;
mod validation;

use outrigger_test_kit::{Process, Program, Result, outrigger_binary};

/// Runs a sidecar that is expected to end by itself, with these options; returns its exit code.
async fn daprd<A: AsRef<std::ffi::OsStr>>(
    arguments: impl IntoIterator<Item = A>,
) -> Result<(Option<i32>, Process)> {
    let (status, process) = Program::outrigger("daprd")?.args(arguments).run().await?;
    Ok((status.code(), process))
}

/// The binary, started by a line of shell that finds it in `$0` and its arguments in `$@`.
fn in_shell(script: &str) -> Result<Program> {
    let binary = outrigger_binary()?;
    Ok(Program::new("/bin/sh").arg("-c").arg(script).arg(binary))
}

/// The message of a line of the text log, without its quotes.
pub(super) fn message(line: &str) -> String {
    let Some((_, rest)) = line.split_once(" msg=") else {
        return String::new();
    };
    let Some(quoted) = rest.strip_prefix('"') else {
        return rest.split(' ').next().unwrap_or_default().to_owned();
    };
    let mut text = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => text.extend(characters.next()),
            other => text.push(other),
        }
    }
    text
}

/// The messages of the log so far.
pub(super) fn messages(process: &Process) -> Vec<String> {
    process.stdout().iter().map(|line| message(line)).collect()
}
