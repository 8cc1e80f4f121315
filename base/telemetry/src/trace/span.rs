//! A piece of the own work within a trace.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::time::Instant;

use super::context::TraceContext;
use super::pipeline::Pipeline;
use super::record::{MAX_ATTRIBUTES, SpanKind, SpanRecord};

/// Attribute names that start with this are internal and never exported.
const INTERNAL: &str = "__dapr.";

/// Work in progress; it ends when dropped.
///
/// A span that is not sampled carries its context and nothing else: no allocation, and every setter is a
/// branch on a null pointer.
pub struct Span {
    context: TraceContext,
    recording: Option<Box<Recording>>,
}

/// A sampled span that has not ended.
struct Recording {
    record: SpanRecord,
    started: Instant,
    pipeline: Arc<Pipeline>,
}

// === impl Span ===

impl Span {
    /// A span without a record: what it carries is what is propagated.
    pub(super) fn carrying(context: TraceContext) -> Self {
        Self {
            context,
            recording: None,
        }
    }

    /// A span whose record goes to `pipeline` when it ends.
    pub(super) fn recorded(
        context: TraceContext,
        parent_id: [u8; 8],
        kind: SpanKind,
        name: &str,
        pipeline: Arc<Pipeline>,
    ) -> Self {
        let start = SystemTime::now();
        let record = SpanRecord {
            trace_id: context.trace_id,
            span_id: context.span_id,
            flags: context.flags,
            state: context.state.clone(),
            parent_id,
            kind,
            name: name.to_owned(),
            start,
            end: start,
            attributes: Vec::new(),
            dropped_attributes: 0,
            failure: None,
        };
        let recording = Recording {
            record,
            started: Instant::now(),
            pipeline,
        };
        Self {
            context,
            recording: Some(Box::new(recording)),
        }
    }

    /// The context to propagate.
    #[must_use]
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    /// Whether the span is sampled and goes to an exporter; if not, names and attributes need not be made.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.recording.is_some()
    }

    /// Renames the span if it is recording.
    pub fn set_name(&mut self, name: impl Into<String>) {
        if let Some(recording) = &mut self.recording {
            recording.record.name = name.into();
        }
    }

    /// Sets an attribute if the span is recording; an earlier value of that name is replaced.
    ///
    /// Empty values and names that start with `__dapr.` are left out; at most 128 attributes are kept.
    pub fn set_attribute(&mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) {
        let Some(recording) = &mut self.recording else {
            return;
        };
        let (name, value) = (name.into(), value.into());
        if value.is_empty() || name.starts_with(INTERNAL) {
            return;
        }
        let record = &mut recording.record;
        if let Some((_, old)) = record.attributes.iter_mut().find(|(known, _)| *known == name) {
            *old = value;
        } else if record.attributes.len() < MAX_ATTRIBUTES {
            record.attributes.push((name, value));
        } else {
            record.dropped_attributes += 1;
        }
    }

    /// Marks the span as failed for the reason that `description` gives.
    pub fn fail(&mut self, description: impl Into<String>) {
        if let Some(recording) = &mut self.recording {
            recording.record.failure = Some(description.into());
        }
    }

    /// Marks the span as failed if `status` is 400 or above, with the description `Code(<n>): <reason>`.
    pub fn set_http_status(&mut self, status: http::StatusCode) {
        if self.is_recording() && status.as_u16() >= 400 {
            let reason = status.canonical_reason().unwrap_or("Unknown");
            self.fail(format!("Code({}): {reason}", status.as_u16()));
        }
    }

    /// Ends the span now.
    pub fn end(self) {}
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some(recording) = self.recording.take() {
            let Recording {
                mut record,
                started,
                pipeline,
            } = *recording;
            record.end = record.start + started.elapsed();
            pipeline.push(record);
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Span");
        shown.field("context", &format_args!("{}", self.context));
        if let Some(recording) = &self.recording {
            shown.field("name", &recording.record.name);
        }
        shown.finish_non_exhaustive()
    }
}
