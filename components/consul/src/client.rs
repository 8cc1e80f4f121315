//! Requests to the agent, and its answers.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use outrigger_component::HttpClient;
use outrigger_svc::Body;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use crate::config::{ClientConfig, QueryOptions, span};

/// A client of one agent.
#[derive(Debug)]
pub(crate) struct Client {
    http: HttpClient,
    /// `http://host:port`.
    base: String,
    datacenter: String,
    authorization: Option<HeaderValue>,
    token: Option<HeaderValue>,
}

/// Why the agent has not answered as it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// It was not reached.
    #[error("{method} \"{url}\": {reason}")]
    Send {
        method: &'static str,
        url: String,
        reason: String,
    },
    /// It answered with an error.
    #[error("Unexpected response code: {status} ({body})")]
    Status { status: u16, body: String },
    /// Its answer is none.
    #[error("{0}")]
    Decode(#[from] serde_json::Error),
    /// A request cannot be made of the settings.
    #[error("{0}")]
    Request(#[from] http::Error),
}

/// One instance of a service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct ServiceEntry {
    pub(crate) node: Node,
    pub(crate) service: Service,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Node {
    pub(crate) address: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Service {
    pub(crate) address: String,
    #[serde(deserialize_with = "map_or_null")]
    pub(crate) meta: HashMap<String, String>,
}

/// The state of one check of one instance.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct HealthCheck {
    pub(crate) node: String,
    pub(crate) status: String,
    #[serde(rename = "ServiceID")]
    pub(crate) service_id: String,
    pub(crate) service_name: String,
}

/// An answer, and the state of the world that it is of.
#[derive(Debug)]
pub(crate) struct Indexed<T> {
    pub(crate) value: T,
    pub(crate) index: u64,
}

/// Parameters of a query: names and texts.
type Parameters = Vec<(&'static str, String)>;

/// Most bytes of an answer.
const MAX_ANSWER: usize = 16 << 20;

/// Time for an answer that need not be waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time that a blocking query waits unless it is configured.
const WAIT: Duration = Duration::from_secs(300);

const INDEX: &str = "x-consul-index";
const TOKEN: &str = "x-consul-token";

// === impl Client ===

impl Client {
    /// A client as the settings say, then as `environment` does, then as is usual.
    ///
    /// # Errors
    /// The text of the init error.
    pub(crate) fn new(
        config: &ClientConfig,
        http: HttpClient,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let filled = |text: &str, name: &str| {
            let own = (!text.is_empty()).then(|| text.to_owned());
            own.or_else(|| environment(name).filter(|text| !text.is_empty()))
        };
        let address =
            filled(&config.address, "CONSUL_HTTP_ADDR").unwrap_or_else(|| "127.0.0.1:8500".to_owned());
        let is_secure =
            environment("CONSUL_HTTP_SSL").is_some_and(|word| outrigger_kit::boolean::is_truthy(&word));
        let (scheme, host) = match address.split_once("://") {
            Some((scheme @ ("http" | "https"), host)) => (scheme.to_owned(), host),
            Some((scheme, _)) => return Err(format!("unsupported scheme of the agent's address: {scheme}")),
            None if !config.scheme.is_empty() => (config.scheme.clone(), address.as_str()),
            None => (
                if is_secure { "https" } else { "http" }.to_owned(),
                address.as_str(),
            ),
        };
        let login = match &config.http_auth {
            Some(login) => Some(format!("{}:{}", login.username, login.password)),
            None => environment("CONSUL_HTTP_AUTH").filter(|login| !login.is_empty()),
        };
        let mut token = filled(&config.token, "CONSUL_HTTP_TOKEN");
        if let Some(file) = filled(&config.token_file, "CONSUL_HTTP_TOKEN_FILE") {
            let text = std::fs::read_to_string(&file)
                .map_err(|error| format!("error loading token file {file}: {error}"))?;
            token = Some(text.trim().to_owned())
                .filter(|text| !text.is_empty())
                .or(token);
        }
        Ok(Self {
            http,
            base: format!("{scheme}://{}", host.trim_end_matches('/')),
            datacenter: config.datacenter.clone(),
            authorization: login
                .map(|login| secret(&format!("Basic {}", STANDARD.encode(login))))
                .transpose()?,
            token: token.as_deref().map(secret).transpose()?,
        })
    }

    /// Asks whether the agent is there.
    pub(crate) async fn agent_self(&self) -> Result<(), ClientError> {
        self.get::<Value>(
            "/v1/agent/self",
            &self.common(),
            &QueryOptions::default(),
            PATIENCE,
        )
        .await
        .map(drop)
    }

    /// Registers a service.
    pub(crate) async fn register(&self, service: &Value) -> Result<(), ClientError> {
        self.put("/v1/agent/service/register", serde_json::to_string(service)?)
            .await
    }

    /// Takes a service away.
    pub(crate) async fn deregister(&self, id: &str) -> Result<(), ClientError> {
        let id = utf8_percent_encode(id, NON_ALPHANUMERIC);
        self.put(&format!("/v1/agent/service/deregister/{id}"), String::new())
            .await
    }

    /// The instances of a service all of whose checks pass.
    pub(crate) async fn healthy(
        &self,
        name: &str,
        options: &QueryOptions,
    ) -> Result<Vec<ServiceEntry>, ClientError> {
        let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
        let mut parameters = self.common();
        parameters.push(("passing", "1".to_owned()));
        parameters.extend(query(options));
        let patience = PATIENCE + span(options.wait_time).unwrap_or_default();
        let answer = self
            .get(
                &format!("/v1/health/service/{name}"),
                &parameters,
                options,
                patience,
            )
            .await?;
        Ok(answer.value)
    }

    /// The checks that `filter` selects; waits until there is something newer than `index`.
    pub(crate) async fn checks(
        &self,
        filter: &str,
        index: u64,
        options: &QueryOptions,
    ) -> Result<Indexed<Vec<HealthCheck>>, ClientError> {
        let wait = span(options.wait_time).unwrap_or(WAIT);
        let options = QueryOptions {
            filter: filter.to_owned(),
            wait_index: index,
            wait_hash: String::new(),
            wait_time: i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX),
            ..options.clone()
        };
        let mut parameters = self.common();
        parameters.extend(query(&options));
        // The agent adds up to a sixteenth, so that not all ask again at once.
        let patience = wait + wait / 16 + PATIENCE;
        self.get("/v1/health/state/any", &parameters, &options, patience)
            .await
    }

    fn common(&self) -> Parameters {
        let datacenter = &self.datacenter;
        (!datacenter.is_empty())
            .then(|| ("dc", datacenter.clone()))
            .into_iter()
            .collect()
    }

    async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        parameters: &Parameters,
        options: &QueryOptions,
        patience: Duration,
    ) -> Result<Indexed<T>, ClientError> {
        let url = with_parameters(&format!("{}{path}", self.base), parameters);
        let mut request = Request::builder().method(Method::GET).uri(&url);
        if options.use_cache && !options.require_consistent {
            let controls = [
                ("max-age", options.max_age),
                ("stale-if-error", options.stale_if_error),
            ];
            let controls: Vec<_> = controls
                .into_iter()
                .filter_map(|(name, span_of)| Some(format!("{name}={}", span(span_of)?.as_secs())))
                .collect();
            if !controls.is_empty() {
                request = request.header(CACHE_CONTROL, controls.join(", "));
            }
        }
        if !options.token.is_empty() {
            request = request.header(TOKEN, &options.token);
        }
        let (index, body) = self
            .exchange(request.body(Body::empty())?, &url, patience)
            .await?;
        Ok(Indexed {
            value: serde_json::from_slice(&body)?,
            index,
        })
    }

    async fn put(&self, path: &str, body: String) -> Result<(), ClientError> {
        let url = with_parameters(&format!("{}{path}", self.base), &self.common());
        let request = Request::builder()
            .method(Method::PUT)
            .uri(&url)
            .header(CONTENT_TYPE, "application/json")
            .body(Body::from(body))?;
        self.exchange(request, &url, PATIENCE).await.map(drop)
    }

    async fn exchange(
        &self,
        mut request: Request<Body>,
        url: &str,
        patience: Duration,
    ) -> Result<(u64, Vec<u8>), ClientError> {
        let method = if request.method() == Method::PUT {
            "Put"
        } else {
            "Get"
        };
        let headers = request.headers_mut();
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        if let Some(token) = &self.token
            && !headers.contains_key(TOKEN)
        {
            headers.insert(TOKEN, token.clone());
        }
        let answer = self
            .http
            .fetch(request, MAX_ANSWER, Instant::now() + patience)
            .await;
        let answer = answer.map_err(|error| ClientError::Send {
            method,
            url: url.to_owned(),
            reason: error.to_string(),
        })?;
        if answer.status() != StatusCode::OK {
            return Err(ClientError::Status {
                status: answer.status().as_u16(),
                body: String::from_utf8_lossy(answer.body()).trim().to_owned(),
            });
        }
        let index = answer.headers().get(INDEX).and_then(|index| index.to_str().ok());
        let index = index.and_then(|index| index.parse().ok()).unwrap_or_default();
        Ok((index, answer.into_body().to_vec()))
    }
}

/// Reads an answer of the agent as both queries do; how many entries it has. For fuzzing.
#[doc(hidden)]
#[must_use]
pub fn read_answer(bytes: &[u8]) -> usize {
    let entries = serde_json::from_slice::<Vec<ServiceEntry>>(bytes).map_or(0, |entries| {
        let addresses = entries.iter().map(|entry| crate::address::of(entry, "DAPR_PORT"));
        addresses.filter(Result::is_ok).count()
    });
    let checks = serde_json::from_slice::<Vec<HealthCheck>>(bytes);
    entries + checks.map_or(0, |checks| crate::watch::health_of(&checks).len())
}

fn query(options: &QueryOptions) -> Parameters {
    let mut parameters = Parameters::new();
    let mut text = |name, text: &str| {
        if !text.is_empty() {
            parameters.push((name, text.to_owned()));
        }
    };
    text("dc", &options.datacenter);
    text("hash", &options.wait_hash);
    text("near", &options.near);
    text("filter", &options.filter);
    for (key, value) in options.node_meta.iter().flatten() {
        text("node-meta", &format!("{key}:{value}"));
    }
    let mut flag = |name, is_set: bool| {
        if is_set {
            parameters.push((name, String::new()));
        }
    };
    flag("stale", options.allow_stale);
    flag("consistent", options.require_consistent);
    flag("cached", options.use_cache && !options.require_consistent);
    if options.wait_index != 0 {
        parameters.push(("index", options.wait_index.to_string()));
    }
    if let Some(wait) = span(options.wait_time) {
        parameters.push(("wait", format!("{}ms", wait.as_millis())));
    }
    if options.relay_factor != 0 {
        parameters.push(("relay-factor", options.relay_factor.to_string()));
    }
    if options.local_only {
        parameters.push(("local-only", "true".to_owned()));
    }
    if options.connect {
        parameters.push(("connect", "true".to_owned()));
    }
    parameters
}

fn with_parameters(url: &str, parameters: &Parameters) -> String {
    let mut url = url.to_owned();
    for (number, (name, value)) in parameters.iter().enumerate() {
        url.push(if number == 0 { '?' } else { '&' });
        url.push_str(name);
        if !value.is_empty() {
            url.push('=');
            url.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
        }
    }
    url
}

fn secret(text: &str) -> Result<HeaderValue, String> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| "a token or login cannot stand in a header".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

fn map_or_null<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<HashMap<String, String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
