//! What operators see: spans, series and lines, and that the tools they use take them.

mod collectors;
mod context;
mod deploy;
mod logs;
mod prometheus;
mod pushed;
mod series;
mod settings;
mod spans;

use std::collections::BTreeMap;

use outrigger_api::common::InvokeRequest;
use outrigger_api::runtime::InvokeServiceRequest;
use outrigger_test_kit::{Collector, Daprd, Result};

/// A caller's context that asks for spans.
const SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The same without the wish.
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

const INVOKE_SERVICE: &str = "/dapr.proto.runtime.v1.Dapr/InvokeService";

/// Two sidecars without mTLS; only the callee has an app.
struct Pair {
    caller: Daprd,
    callee: Daprd,
}

// === impl Pair ===

impl Pair {
    /// Starts them with the same `spec` of a Configuration, in flow style.
    async fn start(app_protocol: &str, app_port: u16, spec: &str) -> Result<Self> {
        let yaml = configuration(spec);
        // Spans are sent at once rather than every five seconds.
        let start = |builder: outrigger_test_kit::DaprdBuilder| {
            builder
                .configuration(&yaml)?
                .env("OTEL_BSP_SCHEDULE_DELAY", "50")
                .spawn()
        };
        let callee = start(Daprd::builder("callee")?.app(app_protocol, app_port))?;
        let caller = start(Daprd::builder("caller")?)?;
        callee.ready().await?;
        caller.ready().await?;
        Ok(Self { caller, callee })
    }
}

/// A Configuration resource with this `spec`, in flow style.
fn configuration(spec: &str) -> String {
    format!("apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {{name: observe}}\nspec: {spec}\n")
}

/// A `spec` that exports every span to a collector over gRPC.
fn exporting_to(collector: &Collector) -> String {
    format!(
        "{{tracing: {{samplingRate: '1', otel: {{endpointAddress: '127.0.0.1:{}', isSecure: false, protocol: grpc}}}}}}",
        collector.port()
    )
}

/// A call of a method of the callee's app by the gRPC API.
fn invocation(method: &str) -> InvokeServiceRequest {
    InvokeServiceRequest {
        id: "callee".to_owned(),
        message: Some(InvokeRequest {
            method: method.to_owned(),
            ..InvokeRequest::default()
        }),
    }
}

/// Trace id, span id and flags of a `traceparent`.
fn parts(traceparent: &str) -> (&str, &str, &str) {
    let mut parts = traceparent.split('-').skip(1);
    let mut next = || parts.next().unwrap_or_default();
    (next(), next(), next())
}

/// Pairs as a map of texts.
fn map<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}
