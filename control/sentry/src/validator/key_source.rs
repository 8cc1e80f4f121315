//! Where the keys come from that tokens are checked with: an address, a file, or the configuration itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, HeaderMap};
use http::{Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use outrigger_config::watch::{DirectoryWatcher, WatchError};
use outrigger_identity::pem;
use outrigger_kit::duration;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};
use tokio_util::sync::CancellationToken;

use crate::health::Target;
use outrigger_identity::jose::{JwkSet, JwkSetError};

/// Log scope of the validator.
const SCOPE: &str = "dapr.sentry.validator.jwks";

/// The longest answer of a key server, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// The longest time between two fetches, whatever the key server says.
const MAX_REFRESH_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

const DEFAULT_REFRESH_INTERVAL: Duration = Duration::from_secs(10 * 60);
const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The options of the validator, found by name whatever the letter case.
#[derive(Clone, Copy, Debug)]
struct Options<'a>(&'a BTreeMap<String, String>);

/// A set of keys that is kept up to date.
#[derive(Debug)]
pub(crate) struct KeySource {
    origin: Origin,
    current: ArcSwapOption<JwkSet>,
}

/// Why the keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeySourceError {
    /// The option is missing.
    #[error("property 'location' must not be empty")]
    NoSource,
    /// The option is nothing that keys could be read from.
    #[error(
        "failed to parse property 'location': not a URL, path to local file, or JSON value (optionally base64-encoded)"
    )]
    Undecodable,
    /// The address is not a URL.
    #[error("failed to parse property 'location': {0}")]
    Url(#[from] http::uri::InvalidUri),
    /// The authority for the address cannot be used.
    #[error("failed to load CA certificate: {0}")]
    CaCertificate(String),
    /// An option is not a duration.
    #[error("failed to parse property '{name}': {reason}")]
    Duration {
        /// The option.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The key server did not answer as it should.
    #[error("failed to fetch JWKS from {uri}: {reason}")]
    Fetch {
        /// The address.
        uri: Uri,
        /// What happened.
        reason: String,
    },
    /// The file could not be read.
    #[error("failed to read JWKS file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file cannot be watched.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// What was found is not a set of keys.
    #[error(transparent)]
    Keys(#[from] JwkSetError),
}

enum Origin {
    Server(Box<Server>),
    File(PathBuf),
    Text(Vec<u8>),
}

struct Server {
    uri: Uri,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    min_refresh_interval: Duration,
    request_timeout: Duration,
}

// === impl KeySource ===

impl KeySource {
    /// Finds out where the keys are; they are loaded by [`Self::run`].
    pub(crate) fn new(
        options: &BTreeMap<String, String>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, KeySourceError> {
        let options = Options(options);
        let source = options.get("source");
        let origin = if source.is_empty() {
            return Err(KeySourceError::NoSource);
        } else if source.starts_with("https://") || source.starts_with("http://") {
            Origin::Server(Box::new(Server::new(options, provider)?))
        } else if std::fs::metadata(source).is_ok_and(|metadata| metadata.is_file()) {
            Origin::File(source.into())
        } else {
            Origin::Text(decode(source).ok_or(KeySourceError::Undecodable)?)
        };
        Ok(Self {
            origin,
            current: ArcSwapOption::empty(),
        })
    }

    /// The keys, once they are loaded.
    pub(crate) fn current(&self) -> Option<Arc<JwkSet>> {
        self.current.load_full()
    }

    /// Loads the keys, says so to `health`, and keeps them up to date until `stop`.
    ///
    /// # Errors
    /// If the first load fails; later ones leave the last good set in place.
    pub(crate) async fn run(&self, health: Target, stop: CancellationToken) -> Result<(), KeySourceError> {
        tokio::select! {
            ended = self.keep_fresh(health) => ended,
            () = stop.cancelled() => Ok(()),
        }
    }

    async fn keep_fresh(&self, health: Target) -> Result<(), KeySourceError> {
        // The watch starts first, so that no change falls between loading and watching.
        let watcher = match &self.origin {
            Origin::File(path) => Some(DirectoryWatcher::of_files([path.as_path()])?),
            _ => None,
        };
        let mut pause = self.load().await?;
        health.ready();
        loop {
            match (&watcher, pause) {
                (Some(watcher), _) => watcher.changed().await,
                (None, Some(pause)) => tokio::time::sleep(pause).await,
                (None, None) => std::future::pending().await,
            }
            match self.load().await {
                Ok(next) => pause = next,
                Err(error) => {
                    tracing::error!(target: SCOPE, "Failed to refresh JWKS, keeping the last: {error}")
                }
            }
        }
    }

    /// Loads the keys once; the result is the pause until the next load, if there is to be one.
    async fn load(&self) -> Result<Option<Duration>, KeySourceError> {
        let (text, pause) = match &self.origin {
            Origin::Server(server) => {
                let (text, pause) = server.fetch().await?;
                (text.to_vec(), Some(pause))
            }
            Origin::File(path) => {
                let read = std::fs::read(path);
                (
                    read.map_err(|source| KeySourceError::File {
                        path: path.clone(),
                        source,
                    })?,
                    None,
                )
            }
            Origin::Text(text) => (text.clone(), None),
        };
        self.current.store(Some(Arc::new(JwkSet::parse(&text)?)));
        Ok(pause)
    }
}

// === impl Options ===

impl<'a> Options<'a> {
    fn get(self, name: &str) -> &'a str {
        self.0
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map_or("", |(_, value)| value)
    }

    /// A Go duration, or a whole number of seconds.
    fn duration(self, name: &'static str) -> Result<Option<Duration>, KeySourceError> {
        let text = self.get(name);
        if text.is_empty() {
            return Ok(None);
        }
        if let Ok(seconds) = text.parse() {
            return Ok(Some(Duration::from_secs(seconds)));
        }
        let span = duration::parse_go(text).map_err(|error| KeySourceError::Duration {
            name,
            reason: error.to_string(),
        })?;
        Ok(span.positive())
    }
}

// === impl Origin ===

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Server(server) => f.debug_tuple("Server").field(&server.uri).finish(),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text(_) => f.write_str("Text"),
        }
    }
}

// === impl Server ===

impl Server {
    fn new(options: Options<'_>, provider: &Arc<CryptoProvider>) -> Result<Self, KeySourceError> {
        let uri: Uri = options.get("source").parse()?;
        if uri.scheme_str() == Some("http") {
            tracing::warn!(target: SCOPE, "Loading JWKS from an HTTP endpoint without TLS: this is not recommended");
        }
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls_config(options.get("caCertificate"), provider)?)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .build();
        let min_refresh_interval = options
            .duration("minRefreshInterval")?
            .filter(|interval| *interval > Duration::from_secs(1))
            .unwrap_or(DEFAULT_REFRESH_INTERVAL);
        let request_timeout = options
            .duration("requestTimeout")?
            .filter(|timeout| *timeout > Duration::from_millis(1))
            .unwrap_or(DEFAULT_REQUEST_TIMEOUT);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self {
            uri,
            client,
            min_refresh_interval,
            request_timeout,
        })
    }

    /// Fetches the keys; the result is the text and the pause until the next fetch.
    async fn fetch(&self) -> Result<(Bytes, Duration), KeySourceError> {
        let failed = |reason: String| KeySourceError::Fetch {
            uri: self.uri.clone(),
            reason,
        };
        let ask = async {
            let request = Request::get(self.uri.clone())
                .body(Empty::new())
                .expect("the URI is valid");
            let response = self
                .client
                .request(request)
                .await
                .map_err(|error| failed(causes(&error)))?;
            if response.status() != StatusCode::OK {
                return Err(failed(format!("status {}", response.status())));
            }
            let pause = self.pause(response.headers());
            let text = outrigger_svc::collect_limited(response.into_body(), MAX_ANSWER)
                .await
                .map_err(|error| failed(error.to_string()))?;
            Ok((text, pause))
        };
        tokio::time::timeout(self.request_timeout, ask)
            .await
            .map_err(|_| failed("timeout".to_owned()))?
    }

    /// As long as the server lets answers be cached, within limits.
    fn pause(&self, headers: &HeaderMap) -> Duration {
        let directives = headers
            .get(CACHE_CONTROL)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let max_age = directives.split(',').find_map(|directive| {
            let seconds = directive.trim().strip_prefix("max-age=")?.parse().ok()?;
            Some(Duration::from_secs(seconds))
        });
        let longest = MAX_REFRESH_INTERVAL.max(self.min_refresh_interval);
        max_age
            .unwrap_or(self.min_refresh_interval)
            .clamp(self.min_refresh_interval, longest)
    }
}

/// Trusts the given authorities (PEM, or a path of a PEM file), or those of the system.
fn tls_config(ca_certificate: &str, provider: &Arc<CryptoProvider>) -> Result<ClientConfig, KeySourceError> {
    let failed = |error: &dyn std::fmt::Display| KeySourceError::CaCertificate(error.to_string());
    let mut roots = RootCertStore::empty();
    if ca_certificate.is_empty() {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    } else {
        let text = match Path::new(ca_certificate).is_file() {
            true => std::fs::read(ca_certificate).map_err(|error| failed(&error))?,
            false => ca_certificate.as_bytes().to_vec(),
        };
        let certificates = pem::certificates(&text);
        if certificates.is_empty() {
            return Err(failed(&"no certificate found"));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| failed(&error))?;
        }
    }
    Ok(ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// JSON as it is, or in base64 with or without padding.
fn decode(source: &str) -> Option<Vec<u8>> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let is_json = |text: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
    ENGINE
        .decode(source)
        .ok()
        .filter(|text| is_json(text))
        .or_else(|| Some(source.as_bytes().to_vec()).filter(|text| is_json(text)))
}

/// An error with everything that caused it.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
