//! The app's own health, as the sidecar sees it, and every order in which the two can start.

mod orders;
mod probes;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use outrigger_test_kit::http::Flavor;
use outrigger_test_kit::{Daprd, DaprdBuilder, HttpApp, HttpRequest, HttpResponse, Result, until};

use super::process::messages;

/// The status that an app answers probes with, for the test to change.
#[derive(Clone, Debug)]
struct Condition(Arc<AtomicU16>);

impl Condition {
    fn new(status: u16) -> Self {
        Self(Arc::new(AtomicU16::new(status)))
    }

    fn set(&self, status: u16) {
        self.0.store(status, Ordering::SeqCst);
    }

    /// An app on a port that answers probes of `/healthz` so, and all else with `hello`.
    async fn app(&self, port: u16) -> Result<HttpApp> {
        let status = Arc::clone(&self.0);
        HttpApp::start_as(Flavor::Http, port, move |request: HttpRequest| {
            let status = status.load(Ordering::SeqCst);
            async move {
                match request.path() {
                    "/healthz" => HttpResponse::new(status, "").header("Location", "/elsewhere"),
                    "/dapr/config" => HttpResponse::ok("{}"),
                    _ => HttpResponse::ok("hello"),
                }
            }
        })
        .await
    }
}

/// A sidecar that probes the app on a port each second and takes one failure for a bad sign.
fn probing(port: u16) -> Result<DaprdBuilder> {
    Ok(Daprd::builder("a")?
        .app("http", port)
        .flag("enable-app-health-check", true)
        .flag("app-health-probe-interval", 1)
        .flag("app-health-threshold", 1))
}

/// Waits until a call of the app has this status.
async fn answers(daprd: &Daprd, status: u16) -> Result<()> {
    until(format_args!("an answer with {status}"), async || {
        let reply = daprd.invoke("a", "x").await.ok()?;
        (reply.status == status).then_some(())
    })
    .await
    .map_err(|error| error.context(daprd.process.tail()))
}

/// How many lines of the log say exactly this.
fn count(daprd: &Daprd, text: &str) -> usize {
    messages(&daprd.process)
        .iter()
        .filter(|line| *line == text)
        .count()
}
