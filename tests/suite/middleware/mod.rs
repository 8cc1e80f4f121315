//! HTTP middleware around the API and around calls to the app.

mod alias;
mod app_pipeline;
mod bearer;
mod limits;
mod loading;
mod oauth2;
mod pipeline;

use outrigger_test_kit::{Daprd, DaprdBuilder, HttpApp, Result};

/// A Component of the type `middleware.http.<kind>` with these settings.
fn middleware(name: &str, kind: &str, settings: &[(&str, &str)]) -> String {
    let settings: Vec<_> = settings
        .iter()
        .map(|(name, value)| format!("{{name: {name}, value: {}}}", serde_json::Value::from(*value)))
        .collect();
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\nspec:\n  type: \
         middleware.http.{kind}\n  version: v1\n  metadata: [{}]\n",
        settings.join(", ")
    )
}

/// A Configuration whose pipelines name these components, as `(name, kind)`.
fn pipelines(server: &[(&str, &str)], app: &[(&str, &str)]) -> String {
    let handlers = |handlers: &[(&str, &str)]| {
        let handlers: Vec<_> = handlers
            .iter()
            .map(|(name, kind)| format!("{{name: {name}, type: middleware.http.{kind}}}"))
            .collect();
        handlers.join(", ")
    };
    format!(
        "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {{name: c}}\nspec:\n  httpPipeline: {{handlers: \
         [{}]}}\n  appHttpPipeline: {{handlers: [{}]}}\n",
        handlers(server),
        handlers(app)
    )
}

/// A sidecar `a` with an app, not yet started.
fn sidecar(app: &HttpApp) -> Result<DaprdBuilder> {
    Ok(Daprd::builder("a")?.app("http", app.port()))
}

/// The URL path of a method of the own app.
fn own(method: &str) -> String {
    format!("/v1.0/invoke/a/method/{method}")
}
