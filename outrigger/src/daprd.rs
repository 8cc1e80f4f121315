//! The sidecar as a program: options, log, signals, restarts, exit codes.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use outrigger_config::daprd::{Flags, Settings};
use outrigger_config::env::ProcessEnv;
use outrigger_config::{FlagError, version};
use outrigger_proxy::{Host, RunError, Stop, StopCause, Workers};
use outrigger_telemetry::log::{self, Format, Level, LogSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::signals::{Request, Signals};

const RUNTIME: &str = "dapr.runtime";
const SIGNALS: &str = "dapr.signals";
/// `--wait` asks this often, this long an answer, this long in all.
const WAIT: (Duration, Duration, Duration) = (
    Duration::from_millis(100),
    Duration::from_millis(500),
    Duration::from_secs(60),
);

/// Runs the sidecar to its end.
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
    if flags.build_info {
        print!("{}", version::build_info());
        return ExitCode::SUCCESS;
    }
    let control = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(control) => control,
        Err(error) => return fatal(&format!("failed to start: {error}")),
    };
    if flags.wait {
        control.block_on(wait(&flags.dapr_http_port));
        return ExitCode::SUCCESS;
    }
    // From the first line of the log on, a signal is heard.
    let signals = {
        let _inside = control.enter();
        match Signals::install() {
            Ok(signals) => signals,
            Err(error) => return fatal(&format!("failed to install signal handlers: {error}")),
        }
    };
    let host = Host::current();
    if let Err(error) = start_log(&flags, &host) {
        return fatal(&error);
    }
    tracing::info!(target: RUNTIME, "Starting Dapr Runtime -- version {} -- commit {}", version::RUNTIME, version::COMMIT);
    tracing::info!(target: RUNTIME, "Log level set to: {}", flags.log.level.to_lowercase());
    let settings = match Settings::new(flags, &ProcessEnv) {
        Ok(settings) => settings,
        Err(error) => return fatal(&format!("Fatal error from runtime: {error}")),
    };
    let workers = match Workers::start(Workers::default_count()) {
        Ok(workers) => Arc::new(workers),
        Err(error) => {
            return fatal(&format!(
                "Fatal error from runtime: failed to start the workers: {error}"
            ));
        }
    };
    control.block_on(live(&settings, &host, &workers, signals))
}

/// Runs, and runs again after each SIGHUP and each change of a resource that wants one, until something ends it.
async fn live(settings: &Settings, host: &Host, workers: &Arc<Workers>, mut signals: Signals) -> ExitCode {
    let catalogue = outrigger_components::catalogue();
    loop {
        let stop = Stop::new();
        let mut run = std::pin::pin!(outrigger_proxy::run(settings, host, workers, &stop, &catalogue));
        let (mut told, mut heard) = (false, false);
        let outcome = loop {
            let request = tokio::select! {
                outcome = run.as_mut() => break outcome,
                request = signals.next() => request,
                // A run that asks to be restarted is told of as one that a signal restarts.
                cause = stop.requested(), if !heard => match cause {
                    StopCause::Restart => Request::Restart,
                    _ => {
                        heard = true;
                        continue;
                    }
                },
            };
            heard = true;
            match request {
                Request::Stop(name) if told => {
                    tracing::info!(target: SIGNALS, "Received signal '{name}' during shutdown; exiting immediately");
                    return ExitCode::FAILURE;
                }
                Request::Stop(name) => {
                    told = true;
                    tracing::info!(target: SIGNALS, "Received signal '{name}'; beginning shutdown");
                    stop.request(StopCause::Signal);
                }
                Request::Restart if told => {}
                Request::Restart => {
                    tracing::info!(target: SIGNALS, "Received signal 'hangup'; restarting");
                    stop.request(StopCause::Restart);
                }
            }
        };
        match outcome {
            Ok(StopCause::Restart) if !told => {}
            Ok(_) => {
                tracing::info!(target: RUNTIME, "Daprd shutdown gracefully");
                return ExitCode::SUCCESS;
            }
            Err(RunError::Forced) => return ExitCode::FAILURE,
            Err(error) => return fatal(&format!("Fatal error from runtime: {error}")),
        }
    }
}

fn start_log(flags: &Flags, host: &Host) -> Result<(), String> {
    let level: Level = flags.log.level.parse().map_err(|error| format!("{error}"))?;
    let settings = LogSettings {
        level,
        format: if flags.log.as_json {
            Format::Json
        } else {
            Format::Text
        },
        file: Some(flags.log.file.as_str())
            .filter(|file| !file.is_empty())
            .map(Into::into),
        app_id: Some(flags.app_id.as_str().into()),
        instance: host.name.clone(),
        version: version::LOG.to_owned(),
    };
    log::init(&settings).map_err(|error| error.to_string())
}

/// Tells what is wrong with the options.
pub(crate) fn refuse(error: &FlagError) -> ExitCode {
    match error {
        FlagError::Value(_) => return fatal(&error.to_string()),
        FlagError::Help { .. } | FlagError::Usage { .. } => eprintln!("{error}"),
    }
    ExitCode::from(error.exit_code())
}

fn fatal(message: &str) -> ExitCode {
    fatal_in(RUNTIME, message)
}

/// Logs the last line; a log that could not be started is replaced by a plain one on stdout.
pub(crate) fn fatal_in(scope: &'static str, message: &str) -> ExitCode {
    let plain = LogSettings {
        instance: Host::current().name,
        version: version::LOG.to_owned(),
        ..LogSettings::default()
    };
    // An error here says that the log is there already, as it should be.
    log::init(&plain).ok();
    log::fatal(scope, message);
    ExitCode::FAILURE
}

/// Waits until the sidecar on this port is ready for outgoing calls; gives up silently after a minute.
async fn wait(port: &str) {
    eprintln!("Waiting for Dapr to be outbound ready at http://localhost:{port}/v1.0/healthz/outbound");
    let (pause, patience, all) = WAIT;
    let waited = tokio::time::timeout(all, async {
        loop {
            match tokio::time::timeout(patience, is_outbound_ready(port)).await {
                Ok(Ok(true)) => return,
                Ok(Ok(false)) => eprintln!("Dapr is not outbound ready yet"),
                Ok(Err(error)) => eprintln!("Dapr is not outbound ready: {error}"),
                Err(_) => eprintln!("Dapr is not outbound ready: no answer"),
            }
            tokio::time::sleep(pause).await;
        }
    });
    match waited.await {
        Ok(()) => eprintln!("Dapr is outbound ready"),
        Err(_) => eprintln!("Dapr did not become outbound ready in time"),
    }
}

async fn is_outbound_ready(port: &str) -> std::io::Result<bool> {
    let mut connection = TcpStream::connect(format!("localhost:{port}")).await?;
    connection
        .write_all(b"GET /v1.0/healthz/outbound HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await?;
    let mut head = [0; 12];
    connection.read_exact(&mut head).await?;
    Ok(head.starts_with(b"HTTP/1.1 2"))
}
