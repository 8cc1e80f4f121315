//! Requests to the service, and its answers.

use std::time::{Duration, SystemTime};

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, ETAG, IF_NONE_MATCH};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use outrigger_component::{Fields, HttpClient, Init};
use outrigger_svc::BoxError;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::credential::{Login, LoginSettings, secret_header};
use crate::moment::http_date;
use crate::service::{Answer, Ask, Patience};

/// A client of one store.
#[derive(Debug)]
pub(super) struct Client {
    http: HttpClient,
    /// `https://<name>.azconfig.io`
    endpoint: String,
    access: Access,
    patience: Patience,
}

/// Who asks. Its debug form has no secret.
enum Access {
    /// Who has an access key.
    Key { id: String, key: Box<hmac::Key> },
    /// Whom Microsoft Entra knows.
    Login { login: Login, scope: String },
}

/// A setting.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Setting {
    pub(super) key: String,
    pub(super) label: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) value: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct List {
    items: Vec<Setting>,
    #[serde(rename = "@nextLink")]
    next: Option<String>,
}

const VERSION: &str = "api-version=1.0";
const SIGNED: &str = "x-ms-date;host;x-ms-content-sha256";
const X_DATE: HeaderName = HeaderName::from_static("x-ms-date");
const X_DIGEST: HeaderName = HeaderName::from_static("x-ms-content-sha256");

/// The most pages of a list, whatever the service says of a next one.
const MAX_PAGES: usize = 10_000;

// === impl Client ===

impl Client {
    /// Reads the settings.
    ///
    /// # Errors
    /// If the store or a way to use it is missing.
    pub(super) fn read(fields: &Fields<'_>, init: &Init) -> Result<Self, BoxError> {
        let filled = |name: &str| fields.text(name).filter(|text| !text.is_empty());
        let (endpoint, access) = match (filled("host"), filled("connectionString")) {
            (Some(_), Some(_)) => {
                let text =
                    "azure appconfig error: can't set both host and connectionString fields in metadata";
                return Err(text.into());
            }
            (None, None) => {
                let text = "azure appconfig error: specify host or connectionString field in metadata";
                return Err(text.into());
            }
            (None, Some(text)) => connection(text)?,
            (Some(host), None) => {
                let settings = LoginSettings::read(fields, |name| std::env::var(name).ok())?;
                let endpoint = host.trim_end_matches('/').to_owned();
                let scope = format!("{endpoint}/.default");
                let login = Login::new(settings, init.http.clone());
                (endpoint, Access::Login { login, scope })
            }
        };
        let retries = fields.integer("maxRetries")?.unwrap_or(3);
        let span = |name: &str, default: u64| -> Result<Duration, BoxError> {
            let given = fields.duration(name)?.and_then(|span| span.positive());
            Ok(given.unwrap_or(Duration::from_secs(default)))
        };
        let patience = Patience {
            retries: u32::try_from(retries).unwrap_or_default(),
            pause: span("retryDelay", 4)?,
            max_pause: span("maxRetryDelay", 120)?,
            limit: span("requestTimeout", 15)?,
        };
        Ok(Self {
            http: init.http.clone(),
            endpoint,
            access,
            patience,
        })
    }

    /// A setting.
    ///
    /// # Errors
    /// If it is not there.
    pub(super) async fn setting(&self, key: &str, label: Option<&str>) -> Result<Setting, BoxError> {
        let answer = self.send(&path(key, label), None).await?;
        match answer.status() {
            StatusCode::OK => Ok(serde_json::from_slice(answer.body())?),
            status => Err(format!("{status}: the setting {key} cannot be read").into()),
        }
    }

    /// The tag of a setting, if it is another than the one known.
    pub(super) async fn changed(
        &self,
        key: &str,
        label: Option<&str>,
        known: Option<&HeaderValue>,
    ) -> Result<Option<HeaderValue>, BoxError> {
        let answer = self.send(&path(key, label), known).await?;
        match answer.status() {
            StatusCode::NOT_MODIFIED => Ok(None),
            StatusCode::OK => {
                let tag = answer.headers().get(ETAG).cloned();
                Ok(tag.filter(|tag| Some(tag) != known))
            }
            status => Err(format!("{status}: the sentinel {key} cannot be read").into()),
        }
    }

    /// All settings with a label; `*` is any.
    pub(super) async fn settings(&self, label: &str) -> Result<Vec<Setting>, BoxError> {
        let mut settings = Vec::new();
        let mut next = Some(format!("/kv?key=*&label={}&{VERSION}", filter(label)));
        for _ in 0..MAX_PAGES {
            let Some(path) = next.take() else { break };
            let answer = self.send(&path, None).await?;
            if answer.status() != StatusCode::OK {
                return Err(format!("{}: the settings cannot be listed", answer.status()).into());
            }
            let list: List = serde_json::from_slice(answer.body())?;
            settings.extend(list.items);
            next = list.next.filter(|path| path.starts_with('/'));
        }
        Ok(settings)
    }

    async fn send(&self, path: &str, known: Option<&HeaderValue>) -> Result<Answer, BoxError> {
        let mut ask = Ask::new(Method::GET, format!("{}{path}", self.endpoint));
        if let Some(known) = known {
            ask.headers.insert(IF_NONE_MATCH, known.clone());
        }
        if let Access::Login { login, scope } = &self.access {
            ask.headers.insert(AUTHORIZATION, login.bearer(scope).await?);
        }
        ask.send(&self.http, self.patience, |ask| self.sign(ask)).await
    }

    /// Source: "HMAC authentication" of the service.
    fn sign(&self, ask: &mut Ask) -> Result<(), BoxError> {
        let Access::Key { id, key } = &self.access else {
            return Ok(());
        };
        let uri: http::Uri = ask.url.parse()?;
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let date = http_date(SystemTime::now());
        let digest = STANDARD.encode(digest::digest(&digest::SHA256, &ask.body));
        let text = format!("{}\n{target}\n{date};{host};{digest}", ask.method);
        let signature = STANDARD.encode(hmac::sign(key, text.as_bytes()));
        let authorization =
            format!("HMAC-SHA256 Credential={id}&SignedHeaders={SIGNED}&Signature={signature}");
        ask.headers.insert(AUTHORIZATION, secret_header(&authorization)?);
        ask.headers.insert(X_DATE, HeaderValue::try_from(date)?);
        ask.headers.insert(X_DIGEST, HeaderValue::try_from(digest)?);
        Ok(())
    }
}

// === impl Access ===

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Key { .. } => "Key",
            Self::Login { .. } => "Login",
        })
    }
}

/// Reads `Endpoint=https://…;Id=…;Secret=…`.
fn connection(text: &str) -> Result<(String, Access), BoxError> {
    let part = |wanted: &str| {
        let mut parts = text.split(';').filter_map(|part| part.trim().split_once('='));
        parts.find_map(|(name, value)| name.eq_ignore_ascii_case(wanted).then_some(value))
    };
    let (Some(endpoint), Some(id), Some(secret)) = (part("endpoint"), part("id"), part("secret")) else {
        return Err("azure appconfig error: connectionString needs Endpoint, Id and Secret".into());
    };
    let key = STANDARD
        .decode(secret)
        .map_err(|_| "azure appconfig error: the secret is not base64")?;
    let key = Box::new(hmac::Key::new(hmac::HMAC_SHA256, &key));
    let access = Access::Key {
        id: id.to_owned(),
        key,
    };
    Ok((endpoint.trim_end_matches('/').to_owned(), access))
}

fn path(key: &str, label: Option<&str>) -> String {
    let key = encoded(key);
    match label {
        Some(label) => format!("/kv/{key}?label={}&{VERSION}", encoded(label)),
        None => format!("/kv/{key}?{VERSION}"),
    }
}

/// A filter, in which stars and commas have a meaning.
fn filter(text: &str) -> String {
    text.split_inclusive(['*', ','])
        .map(|part| match part.strip_suffix(['*', ',']) {
            Some(plain) => format!("{}{}", encoded(plain), part.trim_start_matches(plain)),
            None => encoded(part),
        })
        .collect()
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
