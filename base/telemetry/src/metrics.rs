//! Metrics under the names and labels that dashboards and alerts know, in the Prometheus text format.
//!
//! ```text
//! record(labels) ──▶ known series (no lock) ──▶ sharded counts
//!                        │ the first time
//!                        ▼
//!                    Family: rules ──▶ limit ──▶ series, sorted ──▶ encode() ──▶ serve()
//! ```
//!
//! A series appears with its first record. A family has at most `max_series` of them; what is recorded beyond is
//! counted in one series whose recorded labels are all `overflow`, so that sums stay right and a client that
//! invents paths cannot fill the memory.
//!
//! The counts themselves are our own: those of the `prometheus` crate sit behind a lock at every look-up. Its
//! model is the seam for everything that is not hot: the process's own figures are a collector in a
//! [`prometheus::Registry`], and programs may register more.

mod balance;
mod cache;
mod cells;
mod component;
mod exposition;
mod family;
mod foreign;
pub mod golden;
mod grpc;
mod http;
mod instrument;
mod invocation;
mod number;
mod path;
mod pattern;
mod process;
mod push;
mod registry;
mod resiliency;
mod rules;
mod runtime;
mod sample;
mod sentry;
mod serve;
mod settings;
#[cfg(test)]
mod tests;
mod workflow;

use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;

use exposition::Exposition;
use path::PathLabels;
use process::Process;
use registry::{Buckets, Description, Fixed, Registry};
use sample::Reader;

use crate::export::Exports;

pub use balance::Balance;
pub use cells::pin_thread;
pub use component::{Block, Components, Delivery};
pub use exposition::Form;
pub use grpc::{Grpc, code_name};
pub use http::{HealthProbes, HttpClient, HttpSeries, HttpServer};
pub use instrument::{Counter, Gauge, Histogram};
pub use invocation::{Caller, Invocation, Kind, Target};
pub use push::{Push, PushSettings};
pub use resiliency::{BreakerState, PolicyUse, Resiliency};
pub use rules::RuleError;
pub use runtime::{Decision, Mtls, PolicyCaller, Runtime, Success};
pub use sentry::Sentry;
pub use serve::serve;
pub use settings::{DEFAULT_MAX_SERIES, HttpLabels, LabelRule, MetricRule, MetricsSettings};
pub use workflow::Workflow;

pub(crate) use number::float;

/// All metrics of a program; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    foreign: prometheus::Registry,
    process: Process,
    http_server: HttpServer,
    http_client: HttpClient,
    health_probes: HealthProbes,
    grpc_server: Grpc,
    grpc_client: Grpc,
    invocation: Invocation,
    balance: Balance,
    runtime: Runtime,
    mtls: Mtls,
    resiliency: Resiliency,
    components: Components,
    workflow: Workflow,
    sentry: Sentry,
    exports: Exports,
}

// === impl Metrics ===

impl Metrics {
    /// Metrics as the settings say.
    ///
    /// # Errors
    /// If the pattern of a rule cannot be compiled; [`Metrics::disabled`] goes on without recording.
    pub fn new(settings: &MetricsSettings) -> Result<Self, RuleError> {
        let registry = Registry::new(settings)?;
        let paths = PathLabels::new(&settings.http);
        let foreign = prometheus::Registry::new();
        let process = Process::default();
        foreign
            .register(Box::new(process.clone()))
            .expect("the registry is empty");
        Ok(Self(Arc::new(Inner {
            http_server: HttpServer::new(&registry, paths.clone(), settings.http.increased_cardinality),
            http_client: HttpClient::new(&registry, paths),
            health_probes: HealthProbes::new(&registry),
            grpc_server: Grpc::server(&registry),
            grpc_client: Grpc::client(&registry),
            invocation: Invocation::new(&registry),
            balance: Balance::new(&registry),
            runtime: Runtime::new(&registry, settings.record_error_codes),
            mtls: Mtls::new(&registry),
            resiliency: Resiliency::new(&registry),
            components: Components::new(&registry),
            workflow: Workflow::new(&registry, !settings.app_id.is_empty()),
            sentry: Sentry::new(&registry),
            exports: Exports::new(|name, help, labels| {
                registry.counter(Description {
                    name,
                    help,
                    labels,
                    fixed: Fixed::AppId,
                })
            }),
            registry,
            foreign,
            process,
        })))
    }

    /// Metrics that record nothing; the process's own figures are shown all the same.
    #[must_use]
    pub fn disabled() -> Self {
        let settings = MetricsSettings {
            enabled: false,
            ..MetricsSettings::default()
        };
        Self::new(&settings).expect("there is no rule to compile")
    }

    /// Whether anything is recorded.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.0.registry.is_enabled()
    }

    /// Requests to the sidecar's HTTP API.
    #[must_use]
    pub fn http_server(&self) -> &HttpServer {
        &self.0.http_server
    }

    /// Requests to the app over HTTP.
    #[must_use]
    pub fn http_client(&self) -> &HttpClient {
        &self.0.http_client
    }

    /// Probes of the app's health.
    #[must_use]
    pub fn health_probes(&self) -> &HealthProbes {
        &self.0.health_probes
    }

    /// Calls to the sidecar's gRPC servers.
    #[must_use]
    pub fn grpc_server(&self) -> &Grpc {
        &self.0.grpc_server
    }

    /// Calls over gRPC to the app and to other sidecars.
    #[must_use]
    pub fn grpc_client(&self) -> &Grpc {
        &self.0.grpc_client
    }

    /// Service invocation between sidecars.
    #[must_use]
    pub fn invocation(&self) -> &Invocation {
        &self.0.invocation
    }

    /// How calls are spread over the instances of other apps.
    #[must_use]
    pub fn balance(&self) -> &Balance {
        &self.0.balance
    }

    /// Components, access control and actors.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.0.runtime
    }

    /// The own certificate.
    #[must_use]
    pub fn mtls(&self) -> &Mtls {
        &self.0.mtls
    }

    /// Policies of resiliency resources.
    #[must_use]
    pub fn resiliency(&self) -> &Resiliency {
        &self.0.resiliency
    }

    /// Operations on components.
    #[must_use]
    pub fn components(&self) -> &Components {
        &self.0.components
    }

    /// Workflows and their activities.
    #[must_use]
    pub fn workflow(&self) -> &Workflow {
        &self.0.workflow
    }

    /// The certificate authority.
    #[must_use]
    pub fn sentry(&self) -> &Sentry {
        &self.0.sentry
    }

    /// What becomes of what is exported.
    #[must_use]
    pub(crate) fn exports(&self) -> &Exports {
        &self.0.exports
    }

    /// Counts an error answer, if error codes are recorded at all.
    pub fn error_code(&self, code: &str, category: &str) {
        self.0.runtime.error_code(code, category);
    }

    /// A counter of the own names: `dapr_` is put in front unless it begins with `outrigger_`, and what a name
    /// cannot hold becomes `_`.
    ///
    /// The labels are recorded in the order given. Asking twice for a name gives the same series. Names that
    /// begin with `outrigger_` bear the label `app_id` in a sidecar. What is recorded beyond the limit of series
    /// is counted in one of them.
    ///
    /// # Panics
    /// If the name belongs to a metric of another kind.
    #[must_use]
    pub fn counter(&self, name: &str, help: &str, labels: &'static [&'static str]) -> Counter {
        self.0.registry.counter(Description {
            name,
            help,
            labels,
            fixed: Fixed::Nothing,
        })
    }

    /// A gauge, named and recorded like a [`counter`](Self::counter).
    ///
    /// # Panics
    /// If the name belongs to a metric of another kind.
    #[must_use]
    pub fn gauge(&self, name: &str, help: &str, labels: &'static [&'static str]) -> Gauge {
        self.0.registry.gauge(Description {
            name,
            help,
            labels,
            fixed: Fixed::Nothing,
        })
    }

    /// A histogram with bounds of its own, named and recorded like a [`counter`](Self::counter).
    ///
    /// # Panics
    /// If the name belongs to a metric of another kind.
    #[must_use]
    pub fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &'static [&'static str],
        bounds: &[f64],
    ) -> Histogram {
        let description = Description {
            name,
            help,
            labels,
            fixed: Fixed::Nothing,
        };
        self.0
            .registry
            .histogram(description, &Buckets::Own(bounds.to_vec()))
    }

    /// Where metrics with names of their own are registered, such as those of an embedded store.
    #[must_use]
    pub fn foreign(&self) -> &prometheus::Registry {
        &self.0.foreign
    }

    /// Counts the tasks of a runtime in `go_goroutines`.
    pub fn watch_tasks(&self, runtime: Handle) {
        self.0.process.watch(runtime);
    }

    /// All series in the Prometheus text format.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.encode_as(Form::Text)
    }

    /// All series in one of the text forms.
    #[must_use]
    pub fn encode_as(&self, form: Form) -> Bytes {
        let mut text = String::with_capacity(16 * 1024);
        let mut exposition = Exposition::new(&mut text, form);
        self.read(&mut exposition);
        exposition.end();
        text.into()
    }

    /// Shows everything that was recorded.
    fn read(&self, reader: &mut impl Reader) {
        self.0.registry.read(reader);
        foreign::read(&self.0.foreign.gather(), reader);
    }
}
