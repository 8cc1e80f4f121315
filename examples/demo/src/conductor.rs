//! Starts everything, lets the apps talk, shows what happened, and leaves nothing behind.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use outrigger_test_kit::{
    Collector, Daprd, Directory, Process, Program, Signal, SpanRecord, free_port, http, outrigger_binary,
    until,
};
use tokio::time::Instant;

use crate::caller::{CALLEE, Outcome};
use crate::paint::{bold, cyan, dim, green, heading, progress};
use crate::report;

const CALLS_EACH_WAY: usize = 100;
/// Sentry insists on a Configuration, even if it says nothing.
const SENTRY: &str = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: sentry}\nspec: {mtls: {enabled: true}}\n";

pub(crate) async fn run() -> Result<()> {
    tokio::select! {
        outcome = play() => outcome,
        _ = tokio::signal::ctrl_c() => {
            println!("\n{}", dim("  interrupted; everything is stopped"));
            Ok(())
        }
    }
}

async fn play() -> Result<()> {
    let begun = Instant::now();
    heading("Starting: a certificate authority, two sidecars, two apps");
    let collector = Collector::start().await?;
    let sentry = Authority::start().await?;
    let nodeapp = App::start("nodeapp").await?;
    let callee = callee(&sentry, &nodeapp, &collector, None).await?;
    let caller = caller(&sentry, &collector, &callee).await?;
    progress(&format!(
        "ready {} after the first start",
        report::short(begun.elapsed())
    ));

    heading(&format!(
        "Calling: {CALLS_EACH_WAY} orders each way from `caller` to `{CALLEE}`"
    ));
    let mut app = caller_app(&caller, &["each", &CALLS_EACH_WAY.to_string()])?;
    let status = app.exit().await?;
    ensure!(status.success(), "the calling app failed:\n{}", app.tail());
    let outcomes: Vec<Outcome> = app
        .stdout()
        .iter()
        .map(|line| serde_json::from_str(line))
        .collect::<Result<_, _>>()
        .context("outcomes")?;
    ensure!(
        outcomes.len() == 4 && outcomes.iter().all(|way| way.failed == 0),
        "calls failed:\n{}",
        app.tail()
    );
    report::latencies(&outcomes);

    heading("Who talked to whom: the link between the sidecars");
    for (name, daprd, text) in [
        ("caller", &caller, "Connected to "),
        (CALLEE, &callee, "Accepted a connection from "),
    ] {
        let line = daprd.process.wait_for_line(text).await?;
        println!("  {:<8} {}", bold(name), green(report::message(&line)));
    }

    heading("One trace over both hops, as the OTLP receiver got it");
    // Sidecars export each for itself: many spans of the first hop may come before one of the second.
    let second = collector
        .wait_for_spans(1, |span| {
            span.name == format!("CallLocal/{CALLEE}/neworder") && !span.parent_span_id.is_empty()
        })
        .await?;
    let chosen = second.first().context("no span of the second hop")?;
    let trace: Vec<SpanRecord> = collector
        .wait_for_spans(2, |span| span.trace_id == chosen.trace_id)
        .await?
        .into_iter()
        .collect();
    report::trace(&trace);

    heading("What Prometheus would scrape");
    for (name, daprd) in [("caller", &caller), (CALLEE, &callee)] {
        println!(
            "  {} {}",
            bold(name),
            dim(&format!("http://127.0.0.1:{}/metrics", daprd.metrics_port))
        );
        report::counters(&daprd.metrics().await?);
    }

    heading("Killing the callee's sidecar under calls, and starting it again");
    let survived = kill_and_restart(&sentry, &nodeapp, &collector, caller, callee).await?;
    report::survived(&survived);
    ensure!(
        survived.failed == 0,
        "{} calls failed while the callee was away",
        survived.failed
    );

    heading("Try next");
    let binary = outrigger_binary()?;
    println!(
        "  {}",
        cyan(&format!(
            "{} daprd --app-id myapp --app-port 3000",
            shown(&binary)
        ))
    );
    println!(
        "  {}",
        cyan("curl http://localhost:3500/v1.0/invoke/myapp/method/hello")
    );
    println!(
        "  {}",
        dim("README.md has the tour: invoke, secure, observe, migrate from Dapr")
    );
    Ok(())
}

/// Calls all the time while the callee's sidecar dies and comes back on the same port.
async fn kill_and_restart(
    sentry: &Authority,
    nodeapp: &App,
    collector: &Collector,
    caller: Daprd,
    mut callee: Daprd,
) -> Result<Outcome> {
    let mut app = caller_app(&caller, &["steadily"])?;
    app.wait_for_line("calling").await?;
    let received = "dapr_runtime_service_invocation_req_recv_total";
    let before = callee.metric(received, &[]).await?.unwrap_or_default();
    until("calls to arrive", async || {
        callee
            .metric(received, &[])
            .await
            .ok()
            .flatten()
            .filter(|now| *now > before + 20.0)
    })
    .await?;
    progress("kill -9");
    let internal_port = callee.internal_port;
    callee.process.signal(Signal::Kill).await?;
    callee.process.exit().await?;
    progress("starting it again on the same port");
    let again = self::callee(sentry, nodeapp, collector, Some(internal_port)).await?;
    until("calls to arrive again", async || {
        again
            .metric(received, &[])
            .await
            .ok()
            .flatten()
            .filter(|count| *count > 20.0)
    })
    .await?;
    app.signal(Signal::Interrupt).await?;
    app.exit().await?;
    let line = app
        .stdout()
        .into_iter()
        .find(|line| line.starts_with('{'))
        .context("no outcome")?;
    let outcome = serde_json::from_str(&line)?;
    Ok(outcome)
}

async fn callee(sentry: &Authority, app: &App, collector: &Collector, port: Option<u16>) -> Result<Daprd> {
    let mut builder = Daprd::builder(CALLEE)?
        .app("grpc", app.port)
        .configuration(&configuration(collector, "{appid}.localhost:0"))?
        .flag("log-level", "debug");
    if let Some(port) = port {
        builder = builder.flag("dapr-internal-grpc-port", port);
    }
    let mut daprd = sentry.secure(builder).start().await?;
    daprd.internal_port = port.unwrap_or(daprd.internal_port);
    Ok(daprd)
}

async fn caller(sentry: &Authority, collector: &Collector, callee: &Daprd) -> Result<Daprd> {
    // Names are resolved by a format, so that nothing leaves this machine; mDNS is the default.
    let format = format!("{{appid}}.localhost:{}", callee.internal_port);
    let builder = Daprd::builder("caller")?.configuration(&configuration(collector, &format))?;
    sentry.secure(builder.flag("log-level", "debug")).start().await
}

fn configuration(collector: &Collector, format: &str) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {{name: demo}}\nspec:\n  \
         tracing:\n    samplingRate: \"1\"\n    otel: {{endpointAddress: \"127.0.0.1:{}\", isSecure: false, protocol: grpc}}\n  \
         nameResolution: {{component: nameformat, configuration: {{format: \"{format}\"}}}}\n",
        collector.port()
    )
}

/// The calling app beside its sidecar, with the variables that every app is given.
fn caller_app(daprd: &Daprd, arguments: &[&str]) -> Result<Process> {
    Program::new(std::env::current_exe()?)
        .label("caller app")
        .arg("caller")
        .args(arguments)
        .env("DAPR_HTTP_PORT", daprd.http_port.to_string())
        .env("DAPR_GRPC_PORT", daprd.grpc_port.to_string())
        .start()
}

/// The app that takes orders.
#[derive(Debug)]
struct App {
    port: u16,
    _process: Process,
}

// === impl App ===

impl App {
    async fn start(name: &str) -> Result<Self> {
        let process = Program::new(std::env::current_exe()?)
            .label(name)
            .arg(name)
            .start()?;
        let line = process.wait_for_line("taking orders on port ").await?;
        let port = line
            .rsplit(' ')
            .next()
            .unwrap_or_default()
            .parse()
            .context("the app's port")?;
        Ok(Self {
            port,
            _process: process,
        })
    }
}

/// A sentry that made its own root, and the root.
#[derive(Debug)]
struct Authority {
    port: u16,
    anchors: String,
    _process: Process,
    _directory: Directory,
}

// === impl Authority ===

impl Authority {
    async fn start() -> Result<Self> {
        let directory = Directory::new()?;
        let credentials = directory.path().join("credentials");
        std::fs::create_dir(&credentials)?;
        let configuration = directory.write("sentry.yaml", SENTRY)?;
        let (port, health) = (free_port()?, free_port()?);
        let process = Program::outrigger("sentry")?
            .flag("port", port)
            .flag("listen-address", "127.0.0.1")
            .flag("healthz-port", health)
            .flag("healthz-listen-address", "127.0.0.1")
            .flag("metrics-port", free_port()?)
            .flag("metrics-listen-address", "127.0.0.1")
            .flag("issuer-credentials", credentials.display())
            .flag("config", configuration.display())
            .start()?;
        until("the certificate authority", async || {
            http::get(format!("http://127.0.0.1:{health}/healthz"))
                .await
                .ok()
                .filter(|reply| reply.status == 200)
        })
        .await
        .with_context(|| process.tail())?;
        let anchors = std::fs::read_to_string(credentials.join("ca.crt"))?;
        Ok(Self {
            port,
            anchors,
            _process: process,
            _directory: directory,
        })
    }

    fn secure(&self, builder: outrigger_test_kit::DaprdBuilder) -> outrigger_test_kit::DaprdBuilder {
        builder
            .flag("enable-mtls", true)
            .flag("sentry-address", format_args!("127.0.0.1:{}", self.port))
            .env("DAPR_TRUST_ANCHORS", &self.anchors)
    }
}

fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here).map_or_else(
        |_| path.display().to_string(),
        |path| format!("./{}", path.display()),
    )
}
