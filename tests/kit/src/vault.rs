//! A fake of HashiCorp Vault: the parts of its KV engine, version 2, that secret stores use.
//!
//! It is **not** Vault: one token that may do all, nothing sealed, no leases. What it does it does as the
//! documentation of the API says: paths, the method `LIST`, versions from 1, statuses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::{HttpApp, HttpRequest, HttpResponse, Result};

/// A fake server on a free port.
#[derive(Debug)]
pub struct Vault {
    app: HttpApp,
    secrets: Secrets,
}

/// The versions of each secret, by `<engine>/<path>`.
type Secrets = Arc<Mutex<BTreeMap<String, Vec<Value>>>>;

// === impl Vault ===

impl Vault {
    /// Starts a server without secrets that lets a token in.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start(token: &str) -> Result<Self> {
        let secrets = Secrets::default();
        let (serving, token) = (Arc::clone(&secrets), token.to_owned());
        let app = HttpApp::start(move |request| {
            let answer = answer(&serving, &token, &request);
            async move { answer }
        })
        .await?;
        Ok(Self { app, secrets })
    }

    /// `http://127.0.0.1:<port>`
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.app.port())
    }

    /// Adds a version of a secret.
    pub fn put(&self, engine: &str, path: &str, data: &Value) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let versions = secrets.entry(format!("{engine}/{path}")).or_default();
        versions.push(data.clone());
    }

    /// The requests so far.
    #[must_use]
    pub fn asked(&self) -> Vec<HttpRequest> {
        self.app.requests()
    }
}

fn answer(secrets: &Secrets, token: &str, request: &HttpRequest) -> HttpResponse {
    if request.headers.get("x-vault-token") != Some(token) {
        return errors(403, &["permission denied"]);
    }
    let secrets = secrets.lock().unwrap_or_else(PoisonError::into_inner);
    let path = request.path().trim_start_matches("/v1/");
    match (
        request.method.as_str(),
        path.split_once("/data/"),
        path.split_once("/metadata/"),
    ) {
        ("GET", Some((engine, name)), _) => {
            let version = request.query().and_then(|query| query.strip_prefix("version="));
            let version = version
                .and_then(|version| version.parse::<usize>().ok())
                .unwrap_or_default();
            let versions = secrets.get(&format!("{engine}/{name}"));
            let found = versions.and_then(|versions| match version {
                0 => versions.last(),
                number => versions.get(number - 1),
            });
            match found {
                Some(data) => HttpResponse::json(
                    &json!({ "data": { "data": data, "metadata": { "version": version } } }),
                ),
                None => errors(404, &[]),
            }
        }
        ("LIST", _, Some((engine, folder))) => {
            let folder = match folder.trim_end_matches('/') {
                "" => format!("{engine}/"),
                folder => format!("{engine}/{folder}/"),
            };
            let mut names: Vec<_> = secrets
                .keys()
                .filter_map(|path| path.strip_prefix(&folder))
                .map(|rest| rest.split_inclusive('/').next().unwrap_or_default())
                .collect();
            names.dedup();
            match names.is_empty() {
                false => HttpResponse::json(&json!({ "data": { "keys": names } })),
                true => errors(404, &[]),
            }
        }
        _ => errors(405, &["unsupported operation"]),
    }
}

fn errors(status: u16, errors: &[&str]) -> HttpResponse {
    HttpResponse::new(status, json!({ "errors": errors }).to_string())
}
