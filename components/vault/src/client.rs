//! Requests to the server, and its answers.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use outrigger_component::HttpClient;
use outrigger_svc::{Body, BoxError};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::settings::Settings;

/// A client of one engine.
#[derive(Debug)]
pub(crate) struct Client {
    http: HttpClient,
    settings: Settings,
    token: HeaderValue,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// The server was not reached.
    #[error("couldn't get secret: {0}")]
    Send(BoxError),
    /// There is no such secret, or no such version of it.
    #[error("getSecret {0} failed secret key or version not exist")]
    Missing(String),
    /// The server answered with an error.
    #[error("couldn't get successful response, status code {status}, body {body}")]
    Status {
        /// Status of the answer.
        status: u16,
        /// What the server says.
        body: String,
    },
    /// The answer is none.
    #[error("couldn't decode response body: {0}")]
    Decode(#[from] serde_json::Error),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SecretAnswer {
    data: SecretData,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SecretData {
    data: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ListAnswer {
    data: ListData,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ListData {
    keys: Vec<String>,
}

/// Most bytes of an answer; a secret has at most 1 MiB.
const MAX_ANSWER: usize = 16 << 20;
/// Most bytes of an answer that an error shows.
const MAX_SHOWN: usize = 1 << 10;
const PATIENCE: Duration = Duration::from_secs(30);

/// What stands in a path as it is; names of secrets are paths.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');

// === impl Client ===

impl Client {
    /// # Errors
    /// A token that cannot stand in a header, or a trust that has no certificate.
    pub(crate) fn new(http: &HttpClient, settings: Settings) -> Result<Self, BoxError> {
        let token = HeaderValue::from_str(&settings.token);
        let mut token = token.map_err(|_| "the token cannot stand in a header")?;
        token.set_sensitive(true);
        let http = match &settings.trust {
            None => http.clone(),
            Some(trust) => http.trusting(trust)?,
        };
        Ok(Self {
            http,
            settings,
            token,
        })
    }

    /// The data of a version of a secret; `0` is the last one.
    pub(crate) async fn secret(&self, name: &str, version: &str) -> Result<Map<String, Value>, ClientError> {
        let path = format!("{}{name}", self.settings.prefix);
        let (path, version) = (encoded(&path), encoded(version));
        let target = format!("{}/data/{path}?version={version}", self.settings.engine);
        let (status, body) = self.exchange(Method::GET, &target).await?;
        match status {
            StatusCode::OK => Ok(serde_json::from_slice::<SecretAnswer>(&body)?.data.data),
            StatusCode::NOT_FOUND => Err(ClientError::Missing(name.to_owned())),
            _ => Err(unexpected(status, &body)),
        }
    }

    /// The names in a folder (empty, or with a slash at the end); those of folders end in a slash.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<String>, ClientError> {
        let path = encoded(&format!("{}{folder}", self.settings.prefix));
        let target = format!("{}/metadata/{path}", self.settings.engine);
        let method = Method::from_bytes(b"LIST").expect("LIST is a method");
        let (status, body) = self.exchange(method, &target).await?;
        match status {
            StatusCode::OK => Ok(serde_json::from_slice::<ListAnswer>(&body)?.data.keys),
            // An empty folder is not there.
            StatusCode::NOT_FOUND => Ok(Vec::new()),
            _ => Err(unexpected(status, &body)),
        }
    }

    async fn exchange(&self, method: Method, target: &str) -> Result<(StatusCode, Bytes), ClientError> {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}/v1/{target}", self.settings.address))
            .header("x-vault-token", &self.token)
            .header("x-vault-request", "true")
            .body(Body::empty())
            .map_err(|error| ClientError::Send(error.into()))?;
        let deadline = Instant::now() + PATIENCE;
        let answer = self.http.fetch(request, MAX_ANSWER, deadline).await;
        let answer = answer.map_err(|error| ClientError::Send(error.into()))?;
        Ok((answer.status(), answer.into_body()))
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

fn unexpected(status: StatusCode, body: &[u8]) -> ClientError {
    let shown = body.get(..MAX_SHOWN).unwrap_or(body);
    ClientError::Status {
        status: status.as_u16(),
        body: String::from_utf8_lossy(shown).into_owned(),
    }
}
