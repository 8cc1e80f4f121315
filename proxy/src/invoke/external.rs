//! Targets outside the mesh: plain URLs, and the servers that HTTPEndpoint resources name.
//!
//! A request goes straight from the caller's sidecar to the server, by the rules of an app that speaks HTTP
//! but without forwarding, identity or token headers. Endpoints have clients of their own that follow
//! redirects; plain URLs use a client like that of the app channel, which does not.
//!
//! Source: specification, service invocation 11.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use outrigger_config::daprd::AppProtocol;
use outrigger_link::{CallError, Invocation, Reply};
use outrigger_telemetry::metrics::Metrics;
use outrigger_telemetry::trace::TraceContext;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::Instant;

use super::clients::{Clients, Redirects};
use crate::app::base::Base;
use crate::app::client::HttpVersion;
use crate::app::handlers::through;
use crate::app::http_app::{content_length, reply};
use crate::app::request::Prepared;
use crate::app::{AppNetwork, Gate, Tls, system_roots, unverified};
use crate::components::Handlers;

/// An HTTPEndpoint resource with all references resolved.
#[derive(Clone, Default)]
pub(crate) struct EndpointSettings {
    /// Name of the resource, by which it is called.
    pub(crate) name: String,
    /// What paths are put behind, unchanged.
    pub(crate) base_url: String,
    /// Headers that replace those of the client.
    pub(crate) headers: Vec<(String, String)>,
    /// Roots to trust in place of the system's, PEM.
    pub(crate) root_ca: Option<String>,
    /// Own certificate and key, PEM.
    pub(crate) client_certificate: Option<(String, String)>,
}

/// Why an endpoint cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("HTTPEndpoint {name}: {reason}")]
pub(crate) struct EndpointError {
    /// Name of the resource.
    pub(crate) name: String,
    /// What is wrong with it.
    pub(crate) reason: String,
}

/// The servers outside that a sidecar knows by name, and how it trusts those it does not; shared by all workers.
#[derive(Clone)]
pub(crate) struct Endpoints {
    by_name: Arc<HashMap<String, Arc<Endpoint>>>,
    system: Tls,
}

/// One worker's way to servers outside.
#[derive(Debug)]
pub(super) struct External {
    gate: Gate,
    metrics: Metrics,
    handlers: Handlers,
    endpoints: HashMap<String, (Arc<Endpoint>, Clients)>,
    urls: Clients,
}

struct Endpoint {
    base: Base,
    headers: Vec<(HeaderName, HeaderValue)>,
    tls: Tls,
}

/// Times for endpoints to connect and to shake hands.
const ENDPOINT_TIMEOUT: Duration = Duration::from_secs(15);

// === impl Endpoints ===

impl Endpoints {
    /// Reads the settings of all endpoints.
    ///
    /// # Errors
    /// The first endpoint that cannot be used.
    pub(crate) fn new(settings: &[EndpointSettings], network: &AppNetwork) -> Result<Self, EndpointError> {
        let system = Tls::system(&network.crypto);
        let mut by_name = HashMap::with_capacity(settings.len());
        for settings in settings {
            let name = settings.name.clone();
            match Endpoint::new(settings, network, &system) {
                Ok(endpoint) => by_name.insert(name, Arc::new(endpoint)),
                Err(reason) => return Err(EndpointError { name, reason }),
            };
        }
        Ok(Self {
            by_name: Arc::new(by_name),
            system,
        })
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

// === impl Endpoint ===

impl Endpoint {
    fn new(settings: &EndpointSettings, network: &AppNetwork, system: &Tls) -> Result<Self, String> {
        let base = Base::parse(&settings.base_url).map_err(|error| error.to_string())?;
        let header = |(name, value): &(String, String)| {
            let parsed = HeaderName::try_from(name)
                .ok()
                .zip(HeaderValue::from_str(value).ok());
            parsed.ok_or_else(|| format!("the header {name} cannot be sent"))
        };
        let headers = settings.headers.iter().map(header).collect::<Result<_, _>>()?;
        let tls = own_tls(settings, network)?.map_or_else(|| system.clone(), Tls::of);
        Ok(Self { base, headers, tls })
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("base", &self.base.text)
            .finish_non_exhaustive()
    }
}

/// The TLS of an endpoint that has roots or a certificate of its own.
fn own_tls(settings: &EndpointSettings, network: &AppNetwork) -> Result<Option<Arc<ClientConfig>>, String> {
    if settings.root_ca.is_none() && settings.client_certificate.is_none() {
        return Ok(None);
    }
    let failed = |error: &dyn fmt::Display| error.to_string();
    let roots = match &settings.root_ca {
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(pem)? {
                roots.add(certificate).map_err(|error| failed(&error))?;
            }
            roots
        }
        None => system_roots(),
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&network.crypto))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots);
    let config = match &settings.client_certificate {
        Some((certificate, key)) => {
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| failed(&error))?;
            builder
                .with_client_auth_cert(certificates(certificate)?, key)
                .map_err(|error| failed(&error))?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Some(Arc::new(config)))
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let certificates = read.map_err(|error| error.to_string())?;
    if certificates.is_empty() {
        Err("no certificate found in the PEM text".to_owned())
    } else {
        Ok(certificates)
    }
}

// === impl External ===

impl External {
    /// A worker's clients; `gate` counts these calls apart from those of the app.
    pub(super) fn new(
        endpoints: &Endpoints,
        gate: Gate,
        protocol: AppProtocol,
        network: &AppNetwork,
    ) -> Self {
        let url_tls = match protocol {
            AppProtocol::Https => Tls::of(unverified(&network.crypto, &["http/1.1"])),
            _ => endpoints.system.clone(),
        };
        let version = if protocol == AppProtocol::H2c {
            HttpVersion::H2c
        } else {
            HttpVersion::Http1
        };
        let urls = Clients::new(
            version,
            network.dialer().with_tls(url_tls).with_proxies(&network.proxies),
            network.pool_settings(),
        );
        let with_clients = |(name, endpoint): (&String, &Arc<Endpoint>)| {
            let dialer = network.dialer().with_timeouts(ENDPOINT_TIMEOUT, ENDPOINT_TIMEOUT);
            let dialer = dialer
                .with_tls(endpoint.tls.clone())
                .with_proxies(&network.proxies);
            let clients = Clients::new(HttpVersion::Http1, dialer, network.pool_settings());
            (name.clone(), (Arc::clone(endpoint), clients))
        };
        let endpoints = endpoints.by_name.iter().map(with_clients).collect();
        Self {
            gate,
            metrics: network.metrics.clone(),
            handlers: network.handlers.clone(),
            endpoints,
            urls,
        }
    }

    /// Whether an endpoint has this name.
    pub(super) fn has_endpoint(&self, name: &str) -> bool {
        self.endpoints.contains_key(name)
    }

    /// The base URL of an endpoint, if one has this name.
    pub(super) fn base_url(&self, name: &str) -> Option<&str> {
        self.endpoints.get(name).map(|(endpoint, _)| &*endpoint.base.text)
    }

    /// Calls a plain URL.
    pub(super) async fn call_url(
        &self,
        url: &str,
        call: Invocation,
        trace: &TraceContext,
    ) -> Result<Reply, CallError> {
        let base = Base::parse(url).map_err(|error| CallError::text(error.to_string()))?;
        let prepared = Prepared::new(&base, call, trace, &[]).await?;
        self.send(&base, &self.urls, prepared, Redirects::Return).await
    }

    /// Calls the server that an endpoint names.
    pub(super) async fn call_endpoint(
        &self,
        name: &str,
        call: Invocation,
        trace: &TraceContext,
    ) -> Result<Reply, CallError> {
        let Some((endpoint, clients)) = self.endpoints.get(name) else {
            return Err(CallError::text(format!(
                "cannot invoke http endpoint {name}: app channel not initialized"
            )));
        };
        let prepared = Prepared::new(&endpoint.base, call, trace, &endpoint.headers).await?;
        self.send(&endpoint.base, clients, prepared, Redirects::Follow)
            .await
    }

    async fn send(
        &self,
        base: &Base,
        clients: &Clients,
        prepared: Prepared,
        redirects: Redirects,
    ) -> Result<Reply, CallError> {
        let Prepared { request, path, query } = prepared;
        let slot = self.gate.wait().await;
        let method = request.method().clone();
        let began = Instant::now();
        let outcome = through(&self.handlers, request, |request| {
            clients.send(base, request, redirects)
        })
        .await;
        let (status, received) = match &outcome {
            Ok(response) => (response.status().as_u16(), content_length(response.headers())),
            Err(_) => (500, 0),
        };
        let series = self.metrics.http_client();
        series.record(method.as_str(), &path, status, 0, received, began.elapsed());
        match outcome {
            Ok(response) => Ok(reply(response, slot)),
            Err(failure) => {
                let first = || (method, Prepared::url(base, &path, &query));
                Err(CallError::text(failure.into_request_error(first).to_string()))
            }
        }
    }
}

#[cfg(test)]
mod tests;
