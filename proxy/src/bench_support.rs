//! What the benches measure of the inside of this crate; it exists only with the feature `bench`, and no
//! program may rest on it.

use std::borrow::Cow;

use http::{HeaderMap, Method};
use outrigger_config::configuration;
use outrigger_config::daprd::AppProtocol;
use outrigger_link::Verb;
use outrigger_telemetry::metrics::Metrics;

use crate::access::{AccessControl, Protocol, Subject, naive};
use crate::http_api::{ApiRules, Port, Router};
use crate::invoke::Target;

/// The routes of the HTTP API, all allowed.
#[derive(Debug)]
pub struct ApiRouter(Router);

/// Compiled access control of an HTTP or gRPC app, and the rules that it was compiled from.
#[derive(Debug)]
pub struct Access {
    compiled: AccessControl,
    section: configuration::AccessControl,
    is_http: bool,
    metrics: Metrics,
}

// === impl Access ===

impl Access {
    /// Compiles a section for an app.
    ///
    /// # Panics
    /// If a policy lacks what tells whom it is for.
    #[must_use]
    pub fn new(section: configuration::AccessControl, is_http: bool) -> Self {
        let protocol = if is_http {
            AppProtocol::Http
        } else {
            AppProtocol::Grpc
        };
        Self {
            compiled: AccessControl::compile(Some(&section), protocol).expect("the policies are complete"),
            section,
            is_http,
            metrics: Metrics::disabled(),
        }
    }

    /// Counts decisions as a sidecar does.
    #[must_use]
    pub fn counted(self, metrics: Metrics) -> Self {
        Self { metrics, ..self }
    }

    /// Whether the peer may call; without a verb the call is one of gRPC.
    #[must_use]
    pub fn permits(&self, peer: Option<&str>, operation: &str, verb: Option<Verb>) -> bool {
        let subject = Subject {
            peer,
            operation,
            protocol: verb.map_or(Protocol::Grpc, Protocol::Http),
        };
        self.compiled.permit(subject, &self.metrics).is_ok()
    }

    /// The same by the slow and simple reading of the rules; the peer by trust domain, namespace and app id.
    #[must_use]
    pub fn permits_naively(
        &self,
        peer: Option<(&str, &str, &str)>,
        operation: &str,
        verb: Option<Verb>,
    ) -> bool {
        naive::allows(&self.section, self.is_http, peer, operation, verb).unwrap_or(true)
    }
}

// === impl ApiRouter ===

impl ApiRouter {
    /// Builds the tree of routes.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "nobody wants the default of a bench")]
    pub fn new() -> Self {
        Self(Router::new(&ApiRules::default(), Port::Api))
    }

    /// Whether a request of this method and cleaned path has a route.
    #[must_use]
    pub fn finds(&self, method: &Method, path: &str) -> bool {
        self.0.find(method, path).is_ok()
    }
}

/// The id and the method that a request names, from its escaped path and its headers.
#[must_use]
pub fn target<'a>(escaped_path: &'a str, headers: &HeaderMap) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
    let target = Target::of(escaped_path, headers).ok().flatten()?;
    Some((target.id, target.method))
}
