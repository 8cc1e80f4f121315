//! A receiver of spans.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;

use crate::{GrpcAnswer, GrpcApp, GrpcCall, Result, until};

/// Takes spans over OTLP/gRPC and keeps them.
#[derive(Debug)]
pub struct Collector {
    app: GrpcApp,
    spans: Arc<Mutex<Vec<SpanRecord>>>,
}

/// A span that was exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpanRecord {
    /// The name.
    pub name: String,
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// 16 hexadecimal digits, empty for a root.
    pub parent_span_id: String,
    /// `SPAN_KIND_SERVER` and so on.
    pub kind: String,
    /// The attributes as text.
    pub attributes: BTreeMap<String, String>,
    /// The attributes of the process.
    pub resource: BTreeMap<String, String>,
    /// 0 unset, 1 ok, 2 error.
    pub status_code: i32,
    /// The text beside the status.
    pub status_message: String,
    /// Begin and end in nanoseconds of Unix time.
    pub times: (u64, u64),
}

// === impl Collector ===

impl Collector {
    /// Starts a receiver on a free port.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start() -> Result<Self> {
        let spans = Arc::new(Mutex::new(Vec::new()));
        let received = Arc::clone(&spans);
        let app = GrpcApp::start(move |mut call: GrpcCall| {
            let received = Arc::clone(&received);
            async move {
                match call.message::<ExportTraceServiceRequest>().await {
                    Ok(request) => {
                        lock(&received).extend(records(request));
                        GrpcAnswer::message(&ExportTraceServiceResponse::default())
                    }
                    Err(error) => GrpcAnswer::status(3, &format!("{error:#}")),
                }
            }
        });
        Ok(Self {
            app: app.await?,
            spans,
        })
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.app.port()
    }

    /// All spans so far.
    #[must_use]
    pub fn spans(&self) -> Vec<SpanRecord> {
        lock(&self.spans).clone()
    }

    /// Waits until `count` spans are as wanted.
    ///
    /// # Errors
    /// If they do not come, with the names of those that did.
    pub async fn wait_for_spans(
        &self,
        count: usize,
        want: impl Fn(&SpanRecord) -> bool,
    ) -> Result<Vec<SpanRecord>> {
        let found = until(format!("{count} spans"), async || {
            let found: Vec<_> = self.spans().into_iter().filter(|span| want(span)).collect();
            (found.len() >= count).then_some(found)
        });
        found.await.map_err(|error| {
            let names: Vec<_> = self.spans().into_iter().map(|span| span.name).collect();
            error.context(format!("spans so far: {names:?}"))
        })
    }
}

// === impl SpanRecord ===

impl SpanRecord {
    /// How long it took, in microseconds.
    #[must_use]
    pub fn micros(&self) -> u128 {
        u128::from(self.times.1.saturating_sub(self.times.0) / 1_000)
    }
}

fn lock(spans: &Mutex<Vec<SpanRecord>>) -> MutexGuard<'_, Vec<SpanRecord>> {
    spans.lock().unwrap_or_else(PoisonError::into_inner)
}

fn records(request: ExportTraceServiceRequest) -> Vec<SpanRecord> {
    let mut records = Vec::new();
    for group in request.resource_spans {
        let resource = texts(group.resource.unwrap_or_default().attributes);
        let spans = group.scope_spans.into_iter().flat_map(|scope| scope.spans);
        records.extend(spans.map(|span| record(span, resource.clone())));
    }
    records
}

fn record(span: Span, resource: BTreeMap<String, String>) -> SpanRecord {
    let kind = span.kind().as_str_name().to_owned();
    let status = span.status.unwrap_or_default();
    SpanRecord {
        name: span.name,
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_span_id: hex(&span.parent_span_id),
        kind,
        attributes: texts(span.attributes),
        resource,
        status_code: status.code,
        status_message: status.message,
        times: (span.start_time_unix_nano, span.end_time_unix_nano),
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes
        .into_iter()
        .map(|pair| (pair.key, text(pair.value.unwrap_or_default())))
        .collect()
}

fn text(value: AnyValue) -> String {
    match value.value {
        Some(any_value::Value::StringValue(text)) => text,
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::DoubleValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(truth)) => truth.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};

    use super::*;
    use crate::GrpcClient;

    #[tokio::test]
    async fn exported_spans_are_kept() {
        let collector = Collector::start().await.unwrap();
        let value = AnyValue {
            value: Some(any_value::Value::IntValue(200)),
        };
        let attribute = KeyValue {
            key: "status".to_owned(),
            value: Some(value),
            ..KeyValue::default()
        };
        let span = Span {
            name: "call".to_owned(),
            trace_id: vec![0xab; 16],
            kind: 2,
            attributes: vec![attribute],
            ..Span::default()
        };
        let scope_spans = vec![ScopeSpans {
            spans: vec![span],
            ..ScopeSpans::default()
        }];
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                scope_spans,
                ..ResourceSpans::default()
            }],
        };
        let client = GrpcClient::connect(collector.port()).await.unwrap();
        let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
        client
            .unary::<ExportTraceServiceResponse>(path, HeaderMap::new(), &request)
            .await
            .unwrap();
        let spans = collector
            .wait_for_spans(1, |span| span.name == "call")
            .await
            .unwrap();
        assert_eq!(spans[0].trace_id, "ab".repeat(16));
        assert_eq!(spans[0].kind, "SPAN_KIND_SERVER");
        assert_eq!(spans[0].attributes["status"], "200");
    }
}
