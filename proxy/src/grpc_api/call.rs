//! One call of the gRPC API on its way through the layers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use http::HeaderMap;
use outrigger_api::METHODS;
use outrigger_svc::{CallContext, Request};
use outrigger_telemetry::trace::{SharedSpan, TraceContext};

/// A call with what the layers have found out about it.
#[derive(Debug)]
pub(crate) struct Call {
    /// The request as it came.
    pub(crate) request: Request,
    /// Facts of the connection.
    pub(crate) context: CallContext,
    /// Kind of the method.
    pub(crate) kind: MethodKind,
    /// Facts that inner layers and handlers add to or read from.
    pub(crate) facts: Facts,
}

/// What goes with a call into the handlers, in the extensions of its request.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Trace context that what happens on behalf of this call belongs to.
    pub(crate) trace: TraceContext,
    /// The span of the call, if it is recorded.
    pub(crate) span: SharedSpan,
    /// Messages and bytes so far.
    pub(crate) traffic: Arc<Traffic>,
}

/// How the messages of a method follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MethodKind {
    /// One request, one response.
    Unary,
    /// A stream in one direction at least.
    Stream,
    /// Not ours: it goes to the app that the metadata names.
    Foreign,
}

/// The methods that a server has, by path.
#[derive(Clone, Debug)]
pub(crate) struct Methods(Arc<HashMap<Box<str>, MethodKind>>);

/// What has crossed the server in one call, in bytes of messages without their prefixes.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
    too_large: OnceLock<String>,
}

// === impl Facts ===

impl Facts {
    /// Facts of a call that nothing is known about.
    pub(crate) fn new() -> Self {
        Self {
            trace: TraceContext::ZERO,
            span: SharedSpan::default(),
            traffic: Arc::default(),
        }
    }

    /// The facts that [`super::routes`] has put into the extensions of a request.
    pub(crate) fn of(extensions: &http::Extensions) -> &Self {
        extensions.get().expect("the routes set the facts of a call")
    }
}

// === impl Call ===

impl Call {
    /// Full name of the method: `/package.Service/Method`.
    pub(crate) fn method(&self) -> &str {
        self.request.uri().path()
    }

    /// Id of the app that a foreign call is for, as the metadata names it.
    pub(crate) fn target(&self) -> Option<&str> {
        target_of(self.request.headers())
    }
}

/// The first value of `dapr-callee-app-id`, else of `dapr-app-id`; an empty one counts as absent.
pub(crate) fn target_of(headers: &HeaderMap) -> Option<&str> {
    let mut values = ["dapr-callee-app-id", "dapr-app-id"]
        .into_iter()
        .filter_map(|name| headers.get(name));
    values.find_map(|value| value.to_str().ok().filter(|id| !id.is_empty()))
}

// === impl Methods ===

impl Methods {
    /// The methods of these services of the contracts, and those of server reflection.
    pub(crate) fn of(services: &[&str]) -> Self {
        let known = METHODS.iter().filter(|method| services.contains(&method.service));
        let known = known.map(|method| {
            let kind = match method.is_streaming {
                true => MethodKind::Stream,
                false => MethodKind::Unary,
            };
            (
                format!("/{}/{}", method.service, method.name).into_boxed_str(),
                kind,
            )
        });
        let reflection = super::reflection::METHODS.map(|path| (path.into(), MethodKind::Stream));
        Self(Arc::new(known.chain(reflection).collect()))
    }

    /// The kind of the method at this path.
    pub(crate) fn kind(&self, path: &str) -> MethodKind {
        self.0.get(path).copied().unwrap_or(MethodKind::Foreign)
    }
}

// === impl Traffic ===

impl Traffic {
    pub(crate) fn count_received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn count_sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of messages that came from the client.
    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Bytes of messages that went to the client.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Remembers that a message of the client was too large; the first one counts.
    pub(crate) fn refuse(&self, text: String) {
        self.too_large.get_or_init(|| text);
    }

    /// Why the client's messages are not read any more.
    pub(crate) fn refusal(&self) -> Option<&str> {
        self.too_large.get().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn methods_are_known_by_service_and_kind() {
        let methods = Methods::of(&["dapr.proto.runtime.v1.Dapr", "TaskHubSidecarService"]);
        let table = [
            ("/dapr.proto.runtime.v1.Dapr/GetMetadata", MethodKind::Unary),
            (
                "/dapr.proto.runtime.v1.Dapr/SubscribeTopicEventsAlpha1",
                MethodKind::Stream,
            ),
            ("/dapr.proto.runtime.v1.Dapr/Nothing", MethodKind::Foreign),
            ("/TaskHubSidecarService/Hello", MethodKind::Unary),
            ("/TaskHubSidecarService/GetWorkItems", MethodKind::Stream),
            (
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                MethodKind::Stream,
            ),
            ("/grpc.health.v1.Health/Check", MethodKind::Foreign),
            ("/dapr.proto.sentry.v1.CA/SignCertificate", MethodKind::Foreign),
        ];
        for (path, kind) in table {
            assert_eq!(methods.kind(path), kind, "{path}");
        }
    }

    #[test]
    fn the_callee_id_wins_over_the_app_id() {
        let mut headers = HeaderMap::new();
        assert_eq!(target_of(&headers), None);
        headers.insert("dapr-app-id", HeaderValue::from_static("a"));
        assert_eq!(target_of(&headers), Some("a"));
        headers.insert("dapr-callee-app-id", HeaderValue::from_static("b"));
        assert_eq!(target_of(&headers), Some("b"));
        headers.insert("dapr-callee-app-id", HeaderValue::from_static(""));
        assert_eq!(target_of(&headers), Some("a"));
    }
}
