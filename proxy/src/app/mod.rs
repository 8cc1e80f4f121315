//! The way from the sidecar to its app, whatever the app speaks.
//!
//! ```text
//! Invocation ─▶ AppChannel ─▶ Gate (health, calls in flight) ─▶ HTTP/1.1 pool │ h2c │ gRPC ─▶ app
//! ```
//!
//! Each worker has a channel of its own ([`AppChannel::for_worker`]), with its own connections; the gate and
//! the limits are shared. What the sidecar asks the app on its own account (health, configuration) goes the
//! same way.

pub(crate) mod base;
pub(crate) mod client;
mod config;
pub(crate) mod dial;
mod gate;
mod grpc;
mod h2c;
pub(crate) mod handlers;
pub(crate) mod http_app;
pub(crate) mod pool;
mod probe;
mod proxies;
pub(crate) mod request;
pub(crate) mod send_error;
#[cfg(test)]
pub(crate) mod testing;
mod tls;
mod url;
mod wait;
mod websocket;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use outrigger_config::daprd::{AppProtocol, AppSettings};
use outrigger_link::codec::V1;
use outrigger_link::{CallError, Invocation, Reply, Status, code};
use outrigger_resolver::LookupAddresses;
use outrigger_svc::{BoxFuture, Connect, collect_limited};
use outrigger_telemetry::metrics::Metrics;
use outrigger_telemetry::trace::TraceContext;
use rustls::crypto::CryptoProvider;
use tokio::time::Instant;

use self::base::Base;
use self::client::{AnswerBody, Client, HttpVersion};
use self::http_app::HttpApp;
use self::pool::PoolSettings;
use crate::components::Handlers;

pub(crate) use self::config::load_app_config;
pub(crate) use self::dial::{Dialer, Origin};
pub(crate) use self::gate::Gate;
pub(crate) use self::grpc::{GrpcApp, broken};
pub(crate) use self::probe::{AppStatus, Probe, ProbeFailure, ProbeSettings, watch_health};
pub(crate) use self::proxies::Proxies;

pub(crate) use self::tls::system_roots;
pub(crate) use self::tls::{Tls, unverified};
pub(crate) use self::wait::wait_for_app;

/// One worker's channel to the app; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct AppChannel(Arc<App>);

/// What channels need of their surroundings.
#[derive(Clone)]
pub(crate) struct AppNetwork {
    /// Finds the addresses of names.
    pub(crate) lookup: Arc<dyn LookupAddresses>,
    /// Opens connections.
    pub(crate) connect: Arc<dyn Connect>,
    /// Cryptography of TLS.
    pub(crate) crypto: Arc<CryptoProvider>,
    /// Number of workers, which share the limits.
    pub(crate) workers: usize,
    /// Proxies for calls to servers outside.
    pub(crate) proxies: Arc<Proxies>,
    /// Most bytes of the head of an answer.
    pub(crate) read_buffer_size: usize,
    /// Metrics of calls to the app.
    pub(crate) metrics: Metrics,
    /// The user's handlers around calls to the app and to servers outside.
    pub(crate) handlers: Handlers,
}

/// The probe of an app that speaks HTTP: `GET` of a path, good if the answer is 2xx.
#[derive(Debug)]
struct HttpProbe {
    app: HttpApp,
    path: String,
    metrics: Metrics,
}

#[derive(Debug)]
struct App {
    gate: Gate,
    transport: Transport,
}

#[derive(Debug)]
enum Transport {
    Http(HttpApp),
    Grpc(GrpcApp),
}

/// Idle connections of all workers together.
const MAX_IDLE: usize = 64;
/// Most bytes of a probe's answer that are read to keep its connection.
const PROBE_BODY: usize = 64 << 10;

// === impl AppChannel ===

impl AppChannel {
    /// A channel without a connection yet; none if there is no app port.
    ///
    /// `max_message_size` is the limit of gRPC messages in bytes.
    ///
    /// # Errors
    /// If the app's address or its token cannot be used.
    pub(crate) fn open(
        settings: &AppSettings,
        max_message_size: usize,
        network: &AppNetwork,
    ) -> Result<Option<Self>, String> {
        if settings.port == 0 {
            return Ok(None);
        }
        let protocol = settings.protocol;
        let tls = matches!(protocol, AppProtocol::Https | AppProtocol::Grpcs);
        let base = Base::of_app(&settings.channel_address, settings.port, tls);
        let base = base.map_err(|error| error.to_string())?;
        let token = settings
            .api_token
            .as_deref()
            .map(HeaderValue::from_str)
            .transpose();
        let token = token.map_err(|_| "the app's API token is no header value".to_owned())?;
        let gate = Gate::new(settings.max_concurrency);
        let (dialer, metrics) = (network.app_dialer(protocol), network.metrics.clone());
        let transport = match protocol {
            AppProtocol::Grpc | AppProtocol::Grpcs => {
                let origin = base.origin;
                let app = GrpcApp::new(origin, dialer, gate.clone(), token, max_message_size, metrics);
                Transport::Grpc(app)
            }
            AppProtocol::Http | AppProtocol::Https | AppProtocol::H2c => {
                let version = if protocol == AppProtocol::H2c {
                    HttpVersion::H2c
                } else {
                    HttpVersion::Http1
                };
                let client = Client::new(&base, version, dialer, network.pool_settings());
                let handlers = network.handlers.clone();
                Transport::Http(HttpApp::new(base, gate.clone(), token, metrics, handlers, client))
            }
        };
        Ok(Some(Self(Arc::new(App { gate, transport }))))
    }

    /// A channel for another worker: the same gate, connections of its own.
    #[must_use]
    pub(crate) fn for_worker(&self) -> Self {
        let transport = match &self.0.transport {
            Transport::Http(app) => Transport::Http(app.for_worker()),
            Transport::Grpc(app) => Transport::Grpc(app.clone()),
        };
        Self(Arc::new(App {
            gate: self.0.gate.clone(),
            transport,
        }))
    }

    /// Calls the app.
    ///
    /// # Errors
    /// If there is no answer of the app: the text is part of what the caller's client sees.
    pub(crate) async fn invoke(
        &self,
        mut call: Invocation,
        trace: &TraceContext,
    ) -> Result<Reply, CallError> {
        if call.version != V1 {
            let text = format!("Unsupported spec version: {}", call.version);
            return Err(Status::new(code::UNIMPLEMENTED, text).into());
        }
        if call.upgrade && !self.speaks_http1() {
            call.stay_in_http();
        }
        match &self.0.transport {
            Transport::Http(app) => app.invoke(call, trace).await,
            Transport::Grpc(app) => Box::pin(app.invoke(call, trace)).await,
        }
    }

    /// Whether the app speaks HTTP.
    #[must_use]
    pub(crate) fn is_http(&self) -> bool {
        matches!(self.0.transport, Transport::Http(_))
    }

    /// Whether the app's connections can leave HTTP.
    fn speaks_http1(&self) -> bool {
        matches!(&self.0.transport, Transport::Http(app) if app.speaks_http1())
    }

    /// The app as one that speaks gRPC, if it does.
    #[must_use]
    pub(crate) fn grpc(&self) -> Option<&GrpcApp> {
        match &self.0.transport {
            Transport::Http(_) => None,
            Transport::Grpc(app) => Some(app),
        }
    }

    /// Keeps a connection to a gRPC app open until the future is dropped; ends at once for an HTTP app.
    pub(crate) async fn keep_warm(&self) {
        if let Some(app) = self.grpc() {
            app.keep_warm().await;
        }
    }

    /// The gate before the app.
    #[must_use]
    pub(crate) fn gate(&self) -> &Gate {
        &self.0.gate
    }

    /// The probe of the app's health; `path` concerns HTTP apps only.
    #[must_use]
    pub(crate) fn probe(&self, path: &str, metrics: Metrics) -> Box<dyn Probe> {
        match &self.0.transport {
            Transport::Http(app) => Box::new(HttpProbe {
                app: app.for_worker(),
                path: path.to_owned(),
                metrics,
            }),
            Transport::Grpc(app) => Box::new(app.clone()),
        }
    }

    /// Asks an HTTP app something on the sidecar's own account; none for a gRPC app.
    pub(crate) async fn ask(
        &self,
        path: &'static str,
        app_id: HeaderValue,
    ) -> Result<Option<http::Response<AnswerBody>>, String> {
        let Transport::Http(app) = &self.0.transport else {
            return Ok(None);
        };
        let mut headers = HeaderMap::with_capacity(3);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(HeaderName::from_static("dapr-app-id"), app_id);
        app.ask(path, headers).await.map(Some)
    }
}

// === impl AppNetwork ===

impl AppNetwork {
    /// Opens connections to an app of this protocol, whose certificate is not looked at.
    #[must_use]
    pub(crate) fn app_dialer(&self, protocol: AppProtocol) -> Dialer {
        let alpn: &[&str] = if protocol == AppProtocol::Grpcs {
            &["h2"]
        } else {
            &[]
        };
        self.dialer().with_tls(Tls::of(unverified(&self.crypto, alpn)))
    }

    pub(crate) fn dialer(&self) -> Dialer {
        Dialer::new(Arc::clone(&self.lookup), Arc::clone(&self.connect))
    }

    pub(crate) fn pool_settings(&self) -> PoolSettings {
        PoolSettings {
            max_idle: MAX_IDLE.div_ceil(self.workers.max(1)),
            max_head: self.read_buffer_size,
            ..PoolSettings::default()
        }
    }
}

impl fmt::Debug for AppNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppNetwork")
            .field("workers", &self.workers)
            .field("read_buffer_size", &self.read_buffer_size)
            .finish_non_exhaustive()
    }
}

// === impl HttpProbe ===

impl HttpProbe {
    async fn status(&self) -> Result<u16, ProbeFailure> {
        let failed = |error: &dyn fmt::Display| ProbeFailure::Network(error.to_string());
        let response = self
            .app
            .get(&self.path, HeaderMap::new())
            .await
            .map_err(|error| failed(&error))?;
        let status = response.status().as_u16();
        // A body that is too long costs the connection, nothing else.
        drop(collect_limited(response.into_body(), PROBE_BODY).await);
        Ok(status)
    }
}

impl Probe for HttpProbe {
    fn probe(&self, timeout: Duration) -> BoxFuture<'_, Result<(), ProbeFailure>> {
        Box::pin(async move {
            let began = Instant::now();
            let outcome = tokio::time::timeout(timeout, self.status()).await;
            let outcome = outcome.unwrap_or_else(|_| {
                Err(ProbeFailure::Network(format!(
                    "Get \"{}\": context deadline exceeded",
                    self.app.url(&self.path)
                )))
            });
            let status = outcome.as_ref().copied().unwrap_or(500);
            self.metrics.health_probes().http(status, began.elapsed());
            match outcome? {
                200..=299 => Ok(()),
                status => Err(ProbeFailure::Status(status)),
            }
        })
    }
}

#[cfg(test)]
mod tests;
