//! Resource files that change while the sidecar runs.

mod components;
mod endpoints;
mod links;
mod switch;

use outrigger_test_kit::{Daprd, HttpApp, HttpResponse, Process, Result, until};

use super::process::messages;

/// An HTTPEndpoint of this name at a port of the loopback address.
fn endpoint(name: &str, port: u16) -> String {
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: HTTPEndpoint\nmetadata: {{name: {name}}}\nspec: {{baseUrl: \
         \"http://127.0.0.1:{port}\"}}\n"
    )
}

/// A server outside that says its name.
async fn server(name: &'static str) -> Result<HttpApp> {
    HttpApp::start(move |_| async move { HttpResponse::ok(name) }).await
}

/// Waits until calls of the endpoint `web` are answered by a server of this name, or by none if it is empty.
async fn answered_by(daprd: &Daprd, name: &str) -> Result<()> {
    until(format_args!("an answer of {name:?}"), async || {
        let reply = daprd.invoke("web", "x").await.ok()?;
        let answer = if reply.status == 200 {
            reply.text()
        } else {
            String::new()
        };
        (answer == name).then_some(())
    })
    .await
    .map_err(|error| error.context(daprd.process.tail()))
}

/// How many times the log has said exactly this.
fn count(process: &Process, text: &str) -> usize {
    messages(process).iter().filter(|line| *line == text).count()
}

/// How often the run was started again.
fn restarts(process: &Process) -> usize {
    count(process, "Received signal 'hangup'; restarting")
}
