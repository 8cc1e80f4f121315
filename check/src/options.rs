//! The command line: the sidecar's options and three of its own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use outrigger_config::daprd::{Flags, Settings};
use outrigger_config::env::{DAPR_TRUST_ANCHORS, Env};
use outrigger_config::flags::FlagError;

use crate::Check;
use crate::finding::Place;

/// What is to be checked and how it is to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The options that the sidecar would get.
    pub flags: Flags,
    /// Form of the report.
    pub output: Output,
    /// Whether addresses are dialled.
    pub connect: bool,
}

/// Form of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// `file:line: message`, one a line.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// Why a check does not begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionsError {
    /// The usage was asked for.
    Help(String),
    /// An option is unknown or has no sense.
    Usage(String),
}

const OWN: &str = "Usage of check: the options of daprd, and\n      \
    --connect          dial the addresses that are named, which is not done otherwise\n      \
    --output string    text or json (default \"text\")\n";

/// Place of what is wrong with the options.
const COMMAND_LINE: &str = "command line";

// === impl Options ===

impl Options {
    /// Reads the arguments behind `check`.
    ///
    /// # Errors
    /// When the usage is asked for, or an option cannot be read.
    pub fn parse(arguments: &[String]) -> Result<Self, OptionsError> {
        let mut output = Output::Text;
        let mut connect = false;
        let mut rest = Vec::new();
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            let name = argument.trim_start_matches('-');
            if name.len() == argument.len() {
                rest.push(argument.clone());
                continue;
            }
            match name
                .split_once('=')
                .map_or((name, None), |(name, value)| (name, Some(value)))
            {
                ("connect", value) => connect = switch(value)?,
                ("output", value) => {
                    let value = value.or_else(|| arguments.next().map(String::as_str));
                    output = Output::of(value.unwrap_or_default())?;
                }
                _ => rest.push(argument.clone()),
            }
        }
        let flags = Flags::parse(rest).map_err(|error| match error {
            FlagError::Help { usage } => OptionsError::Help(format!("{OWN}{usage}")),
            error => OptionsError::Usage(error.to_string()),
        })?;
        Ok(Self {
            flags: flags.flags,
            output,
            connect,
        })
    }

    /// The folders that resources are read from.
    pub(crate) fn resource_paths(&self) -> Vec<PathBuf> {
        let paths = self.flags.resources_path.iter();
        let old = Some(&self.flags.components_path).filter(|path| !path.is_empty());
        match self.flags.resources_path.is_empty() {
            true => old.into_iter().map(PathBuf::from).collect(),
            false => paths.map(PathBuf::from).collect(),
        }
    }
}

// === impl Output ===

impl Output {
    fn of(word: &str) -> Result<Self, OptionsError> {
        match word {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(OptionsError::Usage(format!(
                "invalid argument {other:?} for \"--output\" flag: text or json"
            ))),
        }
    }
}

fn switch(value: Option<&str>) -> Result<bool, OptionsError> {
    match value {
        None | Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(other) => Err(OptionsError::Usage(format!(
            "invalid argument {other:?} for \"--connect\" flag: true or false"
        ))),
    }
}

/// An environment behind a reference.
struct Borrowed<'a>(&'a dyn Env);

impl Env for Borrowed<'_> {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name)
    }
}

// === impl Check ===

impl Check<'_> {
    /// What the sidecar would not start with, and options that contradict each other.
    pub(crate) fn command_line(&mut self) {
        let flags = &self.options.flags;
        let mut complain = |message: String| self.findings.add(Place::outside(COMMAND_LINE), message);
        if let Err(error) = Settings::new(flags.clone(), &Borrowed(self.world.environment)) {
            complain(error.to_string());
        }
        let ports = [
            ("app-port", &flags.app_port),
            ("dapr-http-port", &flags.dapr_http_port),
            ("dapr-grpc-port", &flags.dapr_grpc_port),
            ("dapr-internal-grpc-port", &flags.dapr_internal_grpc_port),
            ("dapr-public-port", &flags.dapr_public_port),
            ("metrics-port", &flags.metrics_port),
            ("profile-port", &flags.profile_port),
        ];
        let mut taken: BTreeMap<u16, &str> = BTreeMap::new();
        for (name, port) in ports {
            let is_off = name == "metrics-port" && !flags.enable_metrics
                || name == "profile-port" && !flags.enable_profiling;
            let Some(port) = port.parse().ok().filter(|port| *port != 0 && !is_off) else {
                continue;
            };
            if let Some(other) = taken.insert(port, name) {
                if other == "app-port" && matches!(name, "dapr-http-port" | "dapr-grpc-port") {
                    // The sidecar itself refuses these, with the text above.
                    continue;
                }
                complain(format!("--{other} and --{name} are both {port}"));
            }
        }
        let has_app = flags.app_port.parse().is_ok_and(|port: u16| port != 0);
        if flags.enable_app_health_check && !has_app {
            complain("--enable-app-health-check does nothing without --app-port".to_owned());
        }
        if flags.enable_mtls {
            if flags.sentry_address.is_empty() {
                complain("--enable-mtls needs --sentry-address".to_owned());
            }
            if self.world.environment.get_filled(DAPR_TRUST_ANCHORS).is_none() {
                complain(format!(
                    "--enable-mtls needs {DAPR_TRUST_ANCHORS} in the environment"
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, OptionsError> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words)
    }

    #[test]
    fn own_options_stand_among_those_of_the_sidecar() {
        let options = parse("--app-id x --output=json -connect --config a.yaml --resources-path r").unwrap();
        assert_eq!((options.output, options.connect), (Output::Json, true));
        assert_eq!(options.flags.app_id, "x");
        assert_eq!(options.flags.config, ["a.yaml"]);
        assert_eq!(options.resource_paths(), [PathBuf::from("r")]);
        let options = parse("--app-id connect --output text --connect=false").unwrap();
        assert_eq!((options.output, options.connect), (Output::Text, false));
        assert_eq!(options.flags.app_id, "connect");
    }

    #[test]
    fn what_cannot_be_read_is_a_usage_error() {
        for line in ["--output xml", "--connect=maybe", "--no-such-option", "--output"] {
            assert!(matches!(parse(line), Err(OptionsError::Usage(_))), "{line}");
        }
        assert!(matches!(parse("--help"), Err(OptionsError::Help(usage)) if usage.contains("--connect")));
    }
}
