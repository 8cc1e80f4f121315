//! Spans as log lines.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use time::OffsetDateTime;

use crate::trace::hex::Hex;
use crate::trace::record::SpanRecord;

/// Prints one line a span, in the form that the reference runtime prints.
#[derive(Debug)]
pub(in crate::trace) struct Stdout {
    /// What the `m=` part of moments counts from.
    started: SystemTime,
}

/// A moment as Go prints it: wall clock in UTC and the monotonic offset from the start of the program.
struct Moment {
    time: SystemTime,
    started: SystemTime,
}

// === impl Stdout ===

impl Stdout {
    pub(super) fn new() -> Self {
        Self {
            started: SystemTime::now(),
        }
    }

    pub(super) fn export(&self, batch: &[Arc<SpanRecord>]) {
        for span in batch {
            tracing::info!(target: "dapr.runtime.trace", "{}", self.line(span));
        }
    }

    fn line(&self, span: &SpanRecord) -> String {
        let moment = |time| Moment {
            time,
            started: self.started,
        };
        format!(
            "[{}] Trace: {} Span: {}/{} Time: [{} ->  {}] Annotations: []",
            span.name,
            Hex(&span.trace_id),
            Hex(&span.parent_id),
            Hex(&span.span_id),
            moment(span.start),
            moment(span.end),
        )
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wall = OffsetDateTime::from(self.time);
        let (date, (hour, minute, second, nanos)) = (wall.date(), wall.to_hms_nano());
        write!(f, "{date} {hour:02}:{minute:02}:{second:02}")?;
        if nanos != 0 {
            f.write_str(format!(".{nanos:09}").trim_end_matches('0'))?;
        }
        let (sign, offset) = match self.time.duration_since(self.started) {
            Ok(after) => ('+', after),
            Err(before) => ('-', before.duration()),
        };
        write!(
            f,
            " +0000 UTC m={sign}{}.{:09}",
            offset.as_secs(),
            offset.subsec_nanos()
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::trace::record::SpanKind;

    #[test]
    fn a_span_is_one_line_of_the_known_form() {
        let start = UNIX_EPOCH + Duration::new(1_795_417_937, 452_864_120);
        let exporter = Stdout {
            started: start - Duration::new(4, 110_260_336),
        };
        let span = SpanRecord {
            trace_id: *b"\x0a\xf7\x65\x19\x16\xcd\x43\xdd\x84\x48\xeb\x21\x1c\x80\x31\x9c",
            span_id: *b"\x12\xb1\xe8\x4c\x70\x92\x9c\xa1",
            flags: 1,
            state: None,
            parent_id: *b"\xb7\xad\x6b\x71\x69\x20\x33\x31",
            kind: SpanKind::Client,
            name: "CallLocal/callee/hello".to_owned(),
            start,
            end: start + Duration::new(0, 3_635_472),
            attributes: Vec::new(),
            dropped_attributes: 0,
            failure: None,
        };
        assert_eq!(
            exporter.line(&span),
            "[CallLocal/callee/hello] Trace: 0af7651916cd43dd8448eb211c80319c \
             Span: b7ad6b7169203331/12b1e84c70929ca1 \
             Time: [2026-11-23 07:12:17.45286412 +0000 UTC m=+4.110260336 ->  \
             2026-11-23 07:12:17.456499592 +0000 UTC m=+4.113895808] Annotations: []"
        );
    }
}
