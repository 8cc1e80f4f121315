//! The ways to a token.

use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use outrigger_component::HttpClient;
use outrigger_kit::percent::encode_form;
use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use super::Granted;
use crate::service::{Answer, Ask, Patience};

/// One way to a token. Its debug form has no secret.
pub(super) enum Source {
    /// An application that has a secret.
    Secret {
        tenant: String,
        client: String,
        secret: String,
    },
    /// An application that shows a token of the cluster that it runs in.
    Workload {
        tenant: String,
        client: String,
        file: PathBuf,
    },
    /// The identity of the machine.
    Managed {
        client: Option<String>,
        /// Where App Service gives tokens, and the word that it asks for.
        endpoint: Option<(String, String)>,
    },
    /// Who is logged in on the command line.
    CommandLine { tenant: Option<String> },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Token {
    #[serde(alias = "accessToken")]
    access_token: String,
    /// Seconds, as a number or a text.
    expires_in: Value,
    /// Seconds since 1970, as a number or a text.
    expires_on: Value,
    error: Value,
    error_description: String,
}

/// The metadata server of a virtual machine.
const MACHINE: &str = "http://169.254.169.254/metadata/identity/oauth2/token";
/// How long that server may take: on another machine it is not there.
const PROBE: Duration = Duration::from_secs(1);
const COMMAND_LINE: Duration = Duration::from_secs(30);
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// How long a token is taken to be good if nothing is said.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(600);

// === impl Source ===

impl Source {
    /// What errors call it.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Secret { .. } => "client credentials",
            Self::Workload { .. } => "workload identity",
            Self::Managed { .. } => "managed identity",
            Self::CommandLine { .. } => "command line interface",
        }
    }

    pub(super) async fn grant(
        &self,
        http: &HttpClient,
        authority: &str,
        scope: &str,
    ) -> Result<Granted, String> {
        match self {
            Self::Secret {
                tenant,
                client,
                secret,
            } => {
                let proof = [("client_secret", secret.as_str())];
                application(http, authority, tenant, client, scope, &proof).await
            }
            Self::Workload { tenant, client, file } => {
                // The cluster renews the file.
                let token = tokio::fs::read_to_string(file)
                    .await
                    .map_err(|error| format!("{}: {error}", file.display()))?;
                let proof = [
                    ("client_assertion_type", ASSERTION),
                    ("client_assertion", token.trim()),
                ];
                application(http, authority, tenant, client, scope, &proof).await
            }
            Self::Managed { client, endpoint } => {
                managed(http, client.as_deref(), endpoint.as_ref(), resource(scope)).await
            }
            Self::CommandLine { tenant } => command_line(tenant.as_deref(), resource(scope)).await,
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Asks as an application.
async fn application(
    http: &HttpClient,
    authority: &str,
    tenant: &str,
    client: &str,
    scope: &str,
    proof: &[(&str, &str)],
) -> Result<Granted, String> {
    let parameters = [
        ("grant_type", "client_credentials"),
        ("client_id", client),
        ("scope", scope),
    ];
    let form: Vec<_> = parameters
        .iter()
        .chain(proof)
        .map(|(name, value)| format!("{name}={}", encode_form(value)))
        .collect();
    let tenant = encode_form(tenant);
    let mut ask = Ask::new(Method::POST, format!("{authority}/{tenant}/oauth2/v2.0/token"));
    ask.headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    ask.body = Bytes::from(form.join("&"));
    fetch(http, ask, Patience::default()).await
}

/// Asks as the machine.
async fn managed(
    http: &HttpClient,
    client: Option<&str>,
    endpoint: Option<&(String, String)>,
    resource: &str,
) -> Result<Granted, String> {
    let mut query = format!("resource={}", encode_form(resource));
    if let Some(client) = client {
        query.push_str("&client_id=");
        query.push_str(&encode_form(client));
    }
    let (ask, patience) = match endpoint {
        Some((url, word)) => {
            let mut ask = Ask::new(Method::GET, format!("{url}?api-version=2019-08-01&{query}"));
            let word = super::secret_header(word).map_err(|error| error.to_string())?;
            ask.headers.insert("x-identity-header", word);
            (ask, Patience::default())
        }
        None => {
            let mut ask = Ask::new(Method::GET, format!("{MACHINE}?api-version=2018-02-01&{query}"));
            ask.headers.insert("metadata", HeaderValue::from_static("true"));
            let patience = Patience {
                retries: 0,
                limit: PROBE,
                ..Patience::default()
            };
            (ask, patience)
        }
    };
    fetch(http, ask, patience).await
}

/// Asks the program that people use.
async fn command_line(tenant: Option<&str>, resource: &str) -> Result<Granted, String> {
    let mut command = Command::new("az");
    command
        .args([
            "account",
            "get-access-token",
            "--output",
            "json",
            "--resource",
            resource,
        ])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    if let Some(tenant) = tenant {
        command.args(["--tenant", tenant]);
    }
    let output = timeout(COMMAND_LINE, command.output())
        .await
        .map_err(|_| "the program az does not answer".to_owned())?
        .map_err(|error| format!("the program az: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    granted(&output.stdout)
}

async fn fetch(http: &HttpClient, ask: Ask, patience: Patience) -> Result<Granted, String> {
    let answer: Answer = ask
        .send(http, patience, |_| Ok(()))
        .await
        .map_err(|error| error.to_string())?;
    granted(answer.body()).map_err(|reason| format!("{}: {reason}", answer.status()))
}

/// Reads the token of an answer.
pub(super) fn granted(answer: &[u8]) -> Result<Granted, String> {
    let token: Token = serde_json::from_slice(answer).map_err(|_| "the answer is no token".to_owned())?;
    if token.access_token.is_empty() {
        let error = token.error.as_str().unwrap_or("the answer has no token");
        return Err(format!("{error} {}", token.error_description)
            .trim_end()
            .to_owned());
    }
    let number = |value: &Value| match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    let until_end = |end: u64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Duration::from_secs(end).saturating_sub(now.unwrap_or_default())
    };
    let lifetime = number(&token.expires_in)
        .map(Duration::from_secs)
        .or_else(|| number(&token.expires_on).map(until_end));
    Ok(Granted {
        token: token.access_token,
        lifetime: lifetime.unwrap_or(DEFAULT_LIFETIME),
    })
}

/// What a scope is for, in the words of older interfaces.
fn resource(scope: &str) -> &str {
    scope.strip_suffix("/.default").unwrap_or(scope)
}
