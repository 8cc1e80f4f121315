//! Which program this process is.

use std::path::Path;

/// A program inside the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// The sidecar.
    Daprd,
    /// The certificate authority.
    Sentry,
    /// The check of options and resources.
    Check,
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Run a program with these arguments.
    Run(Program, Vec<String>),
    /// Tell what there is.
    Help,
    /// Neither the file's name nor the first argument names a program.
    Nothing,
}

const PROGRAMS: [(&str, Program, &str); 3] = [
    (
        "daprd",
        Program::Daprd,
        "the sidecar: service invocation over mTLS, traces, metrics",
    ),
    (
        "sentry",
        Program::Sentry,
        "the certificate authority that gives workloads their SPIFFE identity",
    ),
    (
        "check",
        Program::Check,
        "every mistake in the options and resources of a sidecar, at once",
    ),
];

/// Chooses by the stem of `arguments[0]`, else by the first argument.
pub(crate) fn choose(arguments: &[String]) -> Choice {
    let (name, rest) = match arguments {
        [] => return Choice::Nothing,
        [name, rest @ ..] => (name, rest),
    };
    let file = Path::new(name)
        .file_name()
        .map(|file| file.to_string_lossy())
        .unwrap_or_default();
    if let Some(program) = by_file_name(&file) {
        return Choice::Run(program, rest.to_vec());
    }
    match rest {
        [word, ..] if matches!(word.as_str(), "-h" | "--help" | "-help" | "help") => Choice::Help,
        [word, rest @ ..] => match PROGRAMS.iter().find(|(name, ..)| name == word) {
            Some((_, program, _)) => Choice::Run(*program, rest.to_vec()),
            None => Choice::Nothing,
        },
        [] => Choice::Nothing,
    }
}

/// The list of programs, for a person.
pub(crate) fn usage() -> String {
    let mut text = String::from("usage: outrigger <program> [options]\n\nprograms:\n");
    for (name, _, what) in PROGRAMS {
        text.push_str(&format!("  {name:<10} {what}\n"));
    }
    text.push_str("\n`outrigger <program> --help` lists the options. A link to the binary with a program's name runs it.");
    text
}

/// A program's name, alone or followed by `-`, `_` or `.`: `daprd`, `daprd-linux-amd64`, `sentry.exe`.
fn by_file_name(file: &str) -> Option<Program> {
    PROGRAMS.iter().find_map(|(name, program, _)| {
        let rest = file.strip_prefix(name)?;
        (rest.is_empty() || rest.starts_with(['-', '_', '.'])).then_some(*program)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_file_name_chooses_before_the_first_argument() {
        let run = |line| choose(&words(line));
        assert_eq!(
            run("/usr/bin/daprd --app-id x"),
            Choice::Run(Program::Daprd, words("--app-id x"))
        );
        assert_eq!(
            run("daprd-linux-amd64 sentry"),
            Choice::Run(Program::Daprd, words("sentry"))
        );
        assert_eq!(
            run("sentry.exe -port=1"),
            Choice::Run(Program::Sentry, words("-port=1"))
        );
        assert_eq!(
            run("outrigger sentry -port=1"),
            Choice::Run(Program::Sentry, words("-port=1"))
        );
    }

    #[test]
    fn a_name_that_only_begins_alike_chooses_nothing() {
        assert_eq!(choose(&words("daprdx --app-id x")), Choice::Nothing);
        assert_eq!(choose(&words("outrigger")), Choice::Nothing);
        assert_eq!(choose(&words("outrigger --help")), Choice::Help);
        assert_eq!(choose(&[]), Choice::Nothing);
    }
}
