//! Timeouts, retries and circuit breakers, as apps and their callers see them.

mod breakers;
mod external;
mod grpc;
mod http;
mod proxying;
mod resources;
mod unreachable;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use outrigger_test_kit::{Daprd, HttpApp, HttpReply, HttpRequest, HttpResponse, Result};

/// A resource of this `spec`, in flow style.
fn resiliency(spec: &str) -> String {
    format!("apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {{name: mine}}\nspec: {spec}\n")
}

/// How often each path of an app was asked for.
#[derive(Clone, Debug, Default)]
struct Attempts(Arc<Mutex<HashMap<String, usize>>>);

// === impl Attempts ===

impl Attempts {
    /// Counts one more attempt at a path and returns its number.
    fn count(&self, path: &str) -> usize {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = attempts.entry(path.to_owned()).or_default();
        *count += 1;
        *count
    }

    /// Attempts at a path so far.
    fn of(&self, path: &str) -> usize {
        let attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.get(path).copied().unwrap_or_default()
    }
}

/// An app whose paths say how it fails: `/fail/<times>/<status>/…` fails so often, `/hang/<times>/…` does not answer
/// so often; then it answers with the body of the request.
async fn flaky() -> Result<(HttpApp, Attempts)> {
    let attempts = Attempts::default();
    let counter = attempts.clone();
    let app = HttpApp::start(move |request: HttpRequest| {
        let counter = counter.clone();
        async move {
            let path = request.path().to_owned();
            let attempt = counter.count(&path);
            let mut words = path.split('/').skip(1);
            let kind = words.next().unwrap_or_default();
            let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0_u16);
            match kind {
                "fail" if attempt <= usize::from(number()) => {
                    HttpResponse::new(number(), format!("attempt {attempt}"))
                        .header("X-Attempt", attempt.to_string())
                }
                "hang" if attempt <= usize::from(number()) => std::future::pending().await,
                "dapr" => HttpResponse::new(404, ""),
                _ => HttpResponse::ok(request.body),
            }
        }
    })
    .await?;
    Ok((app, attempts))
}

/// A sidecar `caller` with an app and policies of this `spec`, and a sidecar `callee` with the same app.
async fn sidecars(protocol: &str, port: u16, spec: &str) -> Result<(Daprd, Daprd)> {
    let callee = Daprd::builder("callee")?.app(protocol, port).spawn()?;
    let caller = Daprd::builder("caller")?
        .app(protocol, port)
        .resource("resiliency.yaml", &resiliency(spec))?
        .spawn()?;
    callee.ready().await?;
    caller.ready().await?;
    Ok((caller, callee))
}

/// Posts to a method of an app.
async fn post(
    caller: &Daprd,
    app_id: &str,
    method: &str,
    body: impl Into<bytes::Bytes>,
) -> Result<HttpReply> {
    caller
        .post(&format!("/v1.0/invoke/{app_id}/method/{method}"), body)
        .await
}
