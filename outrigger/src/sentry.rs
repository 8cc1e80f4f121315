//! The certificate authority as a program: options, log, signals, exit codes.

use std::process::ExitCode;

use outrigger_config::env::ProcessEnv;
use outrigger_config::sentry::{Flags, Settings};
use outrigger_config::{LogFlags, version};
use outrigger_proxy::Host;
use outrigger_telemetry::log::{self, Format, Level, LogSettings};
use outrigger_telemetry::metrics::{Metrics, MetricsSettings};
use tokio_util::sync::CancellationToken;

use crate::daprd::{fatal_in, refuse};
use crate::signals::{Request, Signals};

/// Log scope of the program.
const SCOPE: &str = "dapr.sentry";
/// Log scope of what signals do.
const SIGNALS: &str = "dapr.signals";

/// Runs the certificate authority to its end.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let parsed = match Flags::parse(arguments.iter().cloned()) {
        Ok(parsed) => parsed,
        Err(error) => return refuse(&error),
    };
    for notice in &parsed.notices {
        eprintln!("{notice}");
    }
    let flags = parsed.flags;
    if flags.version {
        println!("{}", version::RUNTIME);
        return ExitCode::SUCCESS;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fatal(&format!("failed to start: {error}")),
    };
    // From the first line of the log on, a signal is heard.
    let signals = {
        let _inside = runtime.enter();
        match Signals::install() {
            Ok(signals) => signals,
            Err(error) => return fatal(&format!("failed to install signal handlers: {error}")),
        }
    };
    if let Err(error) = start_log(&flags.log) {
        return fatal(&error);
    }
    let level = flags.log.level.to_lowercase();
    let settings = match Settings::new(flags, &ProcessEnv) {
        Ok(settings) => settings,
        Err(error) => return fatal(&error.to_string()),
    };
    let (version, commit) = (version::RUNTIME, version::COMMIT);
    tracing::info!(
        target: SCOPE,
        "Starting Dapr Sentry certificate authority -- version {version} -- commit {commit}"
    );
    tracing::info!(target: SCOPE, "Log level set to: {level}");
    runtime.block_on(live(&settings, signals))
}

/// Runs until a signal or an error ends it; a second signal does not wait for calls in flight.
async fn live(settings: &Settings, mut signals: Signals) -> ExitCode {
    let measured = MetricsSettings {
        max_series: settings.metrics_max_series,
        ..MetricsSettings::default()
    };
    let metrics = Metrics::new(&measured).expect("there is no rule to compile");
    let stop = CancellationToken::new();
    let mut run = std::pin::pin!(outrigger_sentry::run(settings, &metrics, stop.clone()));
    loop {
        let request = tokio::select! {
            outcome = run.as_mut() => return match outcome {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fatal(&error.to_string()),
            },
            request = signals.next() => request,
        };
        match request {
            // Files are watched, so there is nothing to read again.
            Request::Restart => {}
            Request::Stop(name) if stop.is_cancelled() => {
                tracing::info!(target: SIGNALS, "Received signal '{name}' during shutdown; exiting immediately");
                return ExitCode::FAILURE;
            }
            Request::Stop(name) => {
                tracing::info!(target: SIGNALS, "Received signal '{name}'; beginning shutdown");
                stop.cancel();
            }
        }
    }
}

fn start_log(flags: &LogFlags) -> Result<(), String> {
    let level: Level = flags.level.parse().map_err(|error| format!("{error}"))?;
    let settings = LogSettings {
        level,
        format: if flags.as_json { Format::Json } else { Format::Text },
        file: Some(flags.file.as_str())
            .filter(|file| !file.is_empty())
            .map(Into::into),
        app_id: None,
        instance: Host::current().name,
        version: version::LOG.to_owned(),
    };
    log::init(&settings).map_err(|error| error.to_string())
}

fn fatal(message: &str) -> ExitCode {
    fatal_in(SCOPE, message)
}
