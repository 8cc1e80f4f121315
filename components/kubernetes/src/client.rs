//! The way to the API server.
//!
//! Source: specification, secrets 3.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Error};
use outrigger_svc::BoxError;

/// The environment variable with the namespace of the sidecar.
const NAMESPACE: &str = "NAMESPACE";

/// A client of the cluster that the sidecar runs in, else of the one that a kubeconfig file names: the one at `path`,
/// else `KUBECONFIG`, else `~/.kube/config`.
///
/// `silence` is the longest time without a byte from the server.
///
/// # Errors
/// If there is no such file, or it cannot be used. No server is asked yet.
pub(crate) async fn connect(path: Option<&str>, silence: Duration) -> Result<Client, BoxError> {
    let mut config = match Config::incluster() {
        Ok(config) => config,
        Err(_) => {
            let file = match path.filter(|path| !path.is_empty()) {
                Some(path) => Kubeconfig::read_from(path),
                None => Kubeconfig::read(),
            };
            let file = file.map_err(|error| format!("failed to read kubeconfig: {}", chain(&error)))?;
            Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
                .await
                .map_err(|error| format!("failed to use kubeconfig: {}", chain(&error)))?
        }
    };
    config.read_timeout = Some(silence);
    let client = Client::try_from(config);
    client.map_err(|error| format!("failed to make a Kubernetes client: {}", chain(&error)).into())
}

/// The namespace of the sidecar, if its environment names one.
pub(crate) fn own_namespace() -> Option<String> {
    std::env::var(NAMESPACE).ok().filter(|name| !name.is_empty())
}

/// A Secret.
///
/// # Errors
/// What the server says, or why it said nothing.
pub(crate) async fn secret(client: &Client, namespace: &str, name: &str) -> Result<Secret, BoxError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    secrets.get(name).await.map_err(|error| text(&error).into())
}

/// What the server says, else why it said nothing.
pub(crate) fn text(error: &Error) -> String {
    match error {
        Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        Error::SerdeError(_) => {
            "the answer of the Kubernetes API server is not what was asked for".to_owned()
        }
        error => chain(error),
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
