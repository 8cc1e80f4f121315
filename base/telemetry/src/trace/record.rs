//! What is known of a span when it has ended.

use std::borrow::Cow;
use std::time::SystemTime;

/// Most attributes that a span keeps; further ones are counted and dropped.
pub(super) const MAX_ATTRIBUTES: usize = 128;

/// The part that the own program plays in a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Serves a request of a peer.
    Server,
    /// Asks another party, or works on behalf of the own app.
    Client,
    /// Hands a message to a broker.
    Producer,
    /// Work inside the program.
    Internal,
}

/// A span that has ended and is sampled.
#[derive(Clone, Debug)]
pub(super) struct SpanRecord {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    pub(super) flags: u8,
    pub(super) state: Option<std::sync::Arc<str>>,
    /// Zero for the root of a trace.
    pub(super) parent_id: [u8; 8],
    pub(super) kind: SpanKind,
    pub(super) name: String,
    pub(super) start: SystemTime,
    pub(super) end: SystemTime,
    pub(super) attributes: Vec<(Cow<'static, str>, String)>,
    pub(super) dropped_attributes: u32,
    /// Description of the failure; none if the span did not fail.
    pub(super) failure: Option<String>,
}
