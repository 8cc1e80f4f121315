//! Log records over OTLP: the lines of the log with their fields, and the ids of the span that they belong to.
//!
//! What is printed is exported, from the moment on that the exporter is opened. The scope of a line is the
//! instrumentation scope of its record, its message the body, all other fields are attributes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::dispatcher;

use super::fields::{Fields, Kind};
use super::{Level, Logger};
use crate::export::otlp::{Exchange, Sender, pair, resource, scope};
use crate::export::{
    BatchLimits, ExportError, Network, OtlpSettings, Queue, Receive, Resource, SetupError, Signal,
};
use crate::trace::current;

/// Where log records are exported to and how many at a time.
#[derive(Clone, Debug)]
pub struct LogExportSettings {
    /// The receiver.
    pub receiver: OtlpSettings,
    /// Who it is that logs.
    pub resource: Resource,
    /// Size and timing of batches; see [`BatchLimits::LOGS`].
    pub batch: BatchLimits,
}

/// Log records that are exported until this is shut down.
#[derive(Debug)]
pub struct LogExport {
    queue: Arc<Queue<Record>>,
    leaving: watch::Sender<bool>,
    task: JoinHandle<()>,
    /// Longest that a shutdown waits.
    patience: Duration,
}

/// A record and the scope that it belongs to.
#[derive(Debug)]
pub(super) struct Record {
    scope: String,
    record: LogRecord,
}

/// The requests of this signal.
#[derive(Debug)]
struct OfLogs;

/// Sends batches to the receiver.
#[derive(Debug)]
struct Receiver {
    sender: Sender<OfLogs>,
    resource: ProtoResource,
}

// === impl LogExport ===

impl LogExport {
    /// Exports what the process's [`Logger`] prints from now on, on the runtime `control`.
    ///
    /// # Errors
    /// If the exporter cannot be set up; a receiver that is down is not an error.
    pub fn open(
        settings: &LogExportSettings,
        control: &Handle,
        network: &Network,
    ) -> Result<Self, SetupError> {
        let (leaving, left) = watch::channel(false);
        let receiver = Receiver {
            sender: Sender::open(&settings.receiver, control, network, left)?,
            resource: resource(&settings.resource),
        };
        let queue = Arc::new(Queue::new(settings.batch));
        let task = control.spawn(queue.clone().drain_into(receiver, network.metrics.clone()));
        set_queue(Some(&queue));
        Ok(Self {
            queue,
            leaving,
            task,
            patience: settings.batch.timeout,
        })
    }

    /// Exports what is queued and stops. Takes at most the export timeout of the settings.
    pub async fn shut_down(self) {
        set_queue(None);
        self.leaving.send_replace(true);
        self.queue.close();
        let mut task = self.task;
        // A task that panicked has been reported by its runtime.
        if timeout(self.patience, &mut task).await.is_err() {
            task.abort();
        }
    }
}

// === impl Record ===

impl Record {
    /// What a line says.
    pub(super) fn of_line(time: SystemTime, level: Level, scope: &str, fields: &mut Fields) -> Self {
        let nanos = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        let mut scope = scope;
        let body = Value::StringValue(fields.message().to_owned());
        let mut attributes = Vec::new();
        for (name, value, kind) in fields.sorted() {
            match name {
                "scope" => scope = value,
                "type" => {}
                _ => attributes.push(attribute(name, value, kind)),
            }
        }
        let mut record = LogRecord {
            time_unix_nano: nanos,
            observed_time_unix_nano: nanos,
            severity_number: severity(level) as i32,
            severity_text: level.as_str().to_owned(),
            body: Some(AnyValue { value: Some(body) }),
            attributes,
            ..LogRecord::default()
        };
        if let Some(span) = current::position() {
            record.trace_id = span.trace_id.to_vec();
            record.span_id = span.span_id.to_vec();
            record.flags = span.flags.into();
        }
        Self {
            scope: scope.to_owned(),
            record,
        }
    }
}

// === impl OfLogs ===

impl Exchange for OfLogs {
    type Request = ExportLogsServiceRequest;
    type Response = ExportLogsServiceResponse;

    const METHOD: &'static str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    const PATH: &'static str = "/v1/logs";

    fn rejected(response: Self::Response) -> Option<(i64, String)> {
        let rejected = response.partial_success?;
        Some((rejected.rejected_log_records, rejected.error_message))
    }
}

// === impl Receiver ===

impl Receive for Receiver {
    type Item = Record;

    const SIGNAL: Signal = Signal::Logs;

    async fn export(&self, batch: Vec<Record>) -> Result<(), ExportError> {
        let mut by_scope: BTreeMap<String, Vec<LogRecord>> = BTreeMap::new();
        for Record { scope, record } in batch {
            by_scope.entry(scope).or_default().push(record);
        }
        let scope_logs = by_scope.into_iter().map(|(name, log_records)| ScopeLogs {
            scope: Some(scope(&name)),
            log_records,
            ..ScopeLogs::default()
        });
        let resource_logs = vec![ResourceLogs {
            resource: Some(self.resource.clone()),
            scope_logs: scope_logs.collect(),
            ..ResourceLogs::default()
        }];
        self.sender.send(ExportLogsServiceRequest { resource_logs }).await
    }

    fn name(&self) -> &str {
        self.sender.address()
    }
}

/// Hands the records of the process's logger to a queue, or to nobody.
fn set_queue(queue: Option<&Arc<Queue<Record>>>) {
    dispatcher::get_default(|dispatch| {
        // Without a logger of ours there is nothing to export.
        if let Some(logger) = dispatch.downcast_ref::<Logger>() {
            logger.export_to(queue.cloned());
        }
    });
}

fn attribute(name: &str, value: &str, kind: Kind) -> KeyValue {
    let bare = || {
        let integer = value.parse().map(Value::IntValue);
        let number = integer.or_else(|_| value.parse().map(Value::DoubleValue));
        number.or_else(|_| value.parse().map(Value::BoolValue)).ok()
    };
    let parsed = (kind == Kind::Bare).then(bare).flatten();
    pair(
        name,
        parsed.unwrap_or_else(|| Value::StringValue(value.to_owned())),
    )
}

const fn severity(level: Level) -> SeverityNumber {
    match level {
        Level::Debug => SeverityNumber::Debug,
        Level::Info => SeverityNumber::Info,
        Level::Warning => SeverityNumber::Warn,
        Level::Error => SeverityNumber::Error,
        Level::Fatal => SeverityNumber::Fatal,
    }
}
