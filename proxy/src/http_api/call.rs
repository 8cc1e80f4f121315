//! One request of the HTTP API on its way through the layers.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use outrigger_svc::{CallContext, Request};
use outrigger_telemetry::trace::{Span, TraceContext};

/// A request with what the layers have found out about it.
#[derive(Debug)]
pub(crate) struct Call {
    /// The request as it came; middleware may change it, the route stays.
    pub(crate) request: Request,
    /// Facts of the connection.
    pub(crate) context: CallContext,
    /// Trace context that what happens on behalf of this call belongs to; none while tracing is off.
    pub(crate) trace: Option<TraceContext>,
    /// Name and attributes of the call's span.
    pub(crate) notes: SpanNotes,
    /// The cleaned path, where it is not simply that of the request.
    route_path: Option<Box<str>>,
}

/// What inner layers have to say about the span of their call; nothing is kept unless it is recorded.
#[derive(Clone, Debug, Default)]
pub(crate) struct SpanNotes(Option<Arc<Mutex<Notes>>>);

#[derive(Debug, Default)]
struct Notes {
    name: Option<String>,
    attributes: Vec<(&'static str, String)>,
}

// === impl Call ===

impl Call {
    /// Begins a call; `route_path` is the cleaned path if it differs from the request's.
    pub(super) fn new(request: Request, context: CallContext, route_path: Option<Box<str>>) -> Self {
        Self {
            request,
            context,
            trace: None,
            notes: SpanNotes::default(),
            route_path,
        }
    }

    /// The escaped, cleaned path that decides the route.
    #[must_use]
    pub(crate) fn route_path(&self) -> &str {
        self.route_path
            .as_deref()
            .unwrap_or_else(|| self.request.uri().path())
    }

    /// Keeps the route when something that may change the request's path comes next.
    pub(super) fn pin_route(&mut self) {
        if self.route_path.is_none() {
            self.route_path = Some(self.request.uri().path().into());
        }
    }
}

// === impl SpanNotes ===

impl SpanNotes {
    /// Notes for `span`: they are kept only if it is recorded.
    pub(super) fn of(span: &Span) -> Self {
        Self(span.is_recording().then(Arc::default))
    }

    /// Whether anybody reads these notes.
    #[must_use]
    pub(crate) fn is_recording(&self) -> bool {
        self.0.is_some()
    }

    /// Renames the span.
    pub(crate) fn rename(&self, name: impl FnOnce() -> String) {
        self.write(|notes| notes.name = Some(name()));
    }

    /// Adds an attribute.
    pub(crate) fn attribute(&self, name: &'static str, value: impl Into<String>) {
        self.write(|notes| notes.attributes.push((name, value.into())));
    }

    /// Moves the notes onto the span.
    pub(super) fn write_to(&self, span: &mut Span) {
        self.write(|notes| {
            if let Some(name) = notes.name.take() {
                span.set_name(name);
            }
            for (name, value) in notes.attributes.drain(..) {
                span.set_attribute(Cow::Borrowed(name), value);
            }
        });
    }

    fn write(&self, change: impl FnOnce(&mut Notes)) {
        if let Some(notes) = &self.0 {
            change(&mut notes.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}
