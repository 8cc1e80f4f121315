//! Secrets in Secret Manager.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderValue, StatusCode};
use outrigger_component::secrets::{Secret, SecretStore};
use outrigger_component::state::Metadata;
use outrigger_component::{HttpClient, Init};
use outrigger_svc::{Body, BoxError, BoxFuture};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::credential::Login;
use crate::settings::Settings;

/// Reads the secrets of a project.
#[derive(Debug)]
pub struct SecretManager {
    http: HttpClient,
    login: Login,
    project: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Accessed {
    payload: Payload,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Payload {
    /// Base64.
    data: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct List {
    secrets: Vec<Entry>,
    next_page_token: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    /// `projects/<project>/secrets/<name>`
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    error: Reason,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reason {
    status: String,
    message: String,
}

const SERVICE: &str = "https://secretmanager.googleapis.com/v1";
const VERSION: &str = "version_id";
const PATIENCE: Duration = Duration::from_secs(30);
const MAX_ANSWER: usize = 16 << 20;
/// What stands in a path as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_');
/// The most pages of a list, whatever the service says of a next one.
const MAX_PAGES: usize = 10_000;

/// Reads the settings; the service is asked with the first secret.
pub(crate) async fn make(init: Init) -> Result<Arc<dyn SecretStore>, BoxError> {
    let store = SecretManager::new(&init, |name| std::env::var(name).ok())?;
    Ok(Arc::new(store))
}

// === impl SecretManager ===

impl SecretManager {
    fn new(init: &Init, environment: impl Fn(&str) -> Option<String>) -> Result<Self, BoxError> {
        let settings = Settings::read(&init.properties.fields()?, environment)?;
        Ok(Self {
            http: init.http.clone(),
            login: Login::new(settings.source, init.http.clone()),
            project: settings.project,
        })
    }

    /// The value of a version of a secret by its full name.
    async fn access(&self, name: &str, version: &str) -> Result<String, BoxError> {
        let version = encoded(version);
        let accessed: Result<Accessed, _> = self.fetch(&format!("{name}/versions/{version}:access")).await;
        let accessed = accessed.map_err(|error| format!("failed to access secret version: {error}"))?;
        let bytes = STANDARD.decode(&accessed.payload.data);
        let bytes = bytes.map_err(|_| "failed to access secret version: the value is not base64")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn secrets(&self, version: &str) -> Result<BTreeMap<String, Secret>, BoxError> {
        let mut secrets = BTreeMap::new();
        let mut token = String::new();
        for _ in 0..MAX_PAGES {
            let page = match token.as_str() {
                "" => String::new(),
                token => format!("?pageToken={}", encoded(token)),
            };
            let path = format!("projects/{}/secrets{page}", encoded(&self.project));
            let list: Result<List, _> = self.fetch(&path).await;
            let list = list.map_err(|error| format!("failed to list secrets: {error}"))?;
            for Entry { name } in list.secrets {
                let value = self.access(&name, version).await?;
                secrets.insert(name.clone(), Secret::single(name, value));
            }
            token = list.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        Ok(secrets)
    }

    async fn fetch<T: DeserializeOwned>(&self, path: &str) -> Result<T, BoxError> {
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", self.login.token().await?))?;
        bearer.set_sensitive(true);
        let request = http::Request::get(format!("{SERVICE}/{path}"))
            .header(AUTHORIZATION, bearer)
            .body(Body::empty())?;
        let answer = self
            .http
            .fetch(request, MAX_ANSWER, Instant::now() + PATIENCE)
            .await?;
        if answer.status() == StatusCode::OK {
            return serde_json::from_slice(answer.body()).map_err(|_| "the answer cannot be read".into());
        }
        let Reason { status, message } = serde_json::from_slice::<Told>(answer.body())
            .unwrap_or_default()
            .error;
        let code = match status.as_str() {
            "" => answer.status().to_string(),
            status => name_of(status),
        };
        Err(format!("rpc error: code = {code} desc = {message}").into())
    }
}

impl SecretStore for SecretManager {
    fn get<'a>(
        &'a self,
        name: &'a str,
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<Option<Secret>, BoxError>> {
        Box::pin(async move {
            let full = format!("projects/{}/secrets/{}", encoded(&self.project), encoded(name));
            let value = self.access(&full, version(metadata)).await?;
            Ok(Some(Secret::single(name, value)))
        })
    }

    fn bulk<'a>(
        &'a self,
        metadata: &'a Metadata,
    ) -> BoxFuture<'a, Result<BTreeMap<String, Secret>, BoxError>> {
        Box::pin(self.secrets(version(metadata)))
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Payload").finish_non_exhaustive()
    }
}

fn version(metadata: &Metadata) -> &str {
    let version = metadata.get(VERSION).map(String::as_str);
    version.filter(|text| !text.is_empty()).unwrap_or("latest")
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// `NOT_FOUND` as gRPC names it: `NotFound`.
fn name_of(status: &str) -> String {
    let words = status.split('_').map(|word| {
        let mut letters = word.chars();
        let first = letters.next().map(|first| first.to_ascii_uppercase());
        first
            .into_iter()
            .chain(letters.map(|letter| letter.to_ascii_lowercase()))
            .collect::<String>()
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use outrigger_component::testing::{Server, Told as Answered};
    use outrigger_component::{Properties, testing};
    use serde_json::json;

    use super::*;

    const ONE: &str = "projects/p/secrets/one";
    const TWO: &str = "projects/p/secrets/two";

    /// A fake of the service and of the machine that it is asked from.
    fn service() -> Arc<Server> {
        Server::new(|asked, _| -> Answered {
            let value = |text: &str| json!({ "payload": { "data": STANDARD.encode(text) } });
            let path = asked
                .url
                .strip_prefix("https://secretmanager.googleapis.com/v1/projects/p/secrets");
            let body = match path {
                None => json!({ "access_token": "tok", "expires_in": 3600 }),
                Some("") => json!({ "secrets": [{ "name": ONE }], "nextPageToken": "n+1" }),
                Some("?pageToken=n%2B1") => json!({ "secrets": [{ "name": TWO }] }),
                Some("/one/versions/latest:access") => value("1"),
                Some("/one/versions/7:access") => value("old"),
                Some("/two/versions/latest:access") => value("2"),
                Some(_) => {
                    let body =
                        json!({ "error": { "code": 404, "message": "not here", "status": "NOT_FOUND" } });
                    return (404, vec![], body.to_string());
                }
            };
            (200, vec![], body.to_string())
        })
    }

    fn store(server: &Arc<Server>) -> SecretManager {
        let init = testing::init_with(server.client(), Properties::from([("projectID", "p")]));
        SecretManager::new(&init, |_| None).unwrap()
    }

    #[tokio::test]
    async fn secrets_are_read_by_name_and_version() {
        let server = service();
        let store = store(&server);
        let secret = store.get("one", &Metadata::new()).await.unwrap().unwrap();
        assert_eq!(secret, Secret::single("one", "1"));
        let old = Metadata::from([(VERSION.to_owned(), "7".to_owned())]);
        assert_eq!(
            store.get("one", &old).await.unwrap().unwrap().get("one"),
            Some("old")
        );
        let error = store.get("none", &Metadata::new()).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "failed to access secret version: rpc error: code = NotFound desc = not here"
        );
        let asked = server.asked();
        assert_eq!(asked[1].headers[AUTHORIZATION], "Bearer tok");
        assert!(asked[1].headers[AUTHORIZATION].is_sensitive());
    }

    #[tokio::test]
    async fn all_secrets_have_their_full_names() {
        let store = store(&service());
        let all = store.bulk(&Metadata::new()).await.unwrap();
        let expected =
            [(ONE, "1"), (TWO, "2")].map(|(name, value)| (name.to_owned(), Secret::single(name, value)));
        assert_eq!(all, BTreeMap::from(expected));
    }
}
