//! One request of the HTTP API on its way through the layers.

use outrigger_svc::{CallContext, Request};
use outrigger_telemetry::trace::{SharedSpan, TraceContext};

/// A request with what the layers have found out about it.
#[derive(Debug)]
pub(crate) struct Call {
    /// The request as it came; middleware may change it, the route stays.
    pub(crate) request: Request,
    /// Facts of the connection.
    pub(crate) context: CallContext,
    /// Trace context that what happens on behalf of this call belongs to; none while tracing is off.
    pub(crate) trace: Option<TraceContext>,
    /// The call's span, which all layers may tell about.
    pub(crate) span: SharedSpan,
    /// The cleaned path, where it is not simply that of the request.
    route_path: Option<Box<str>>,
}

// === impl Call ===

impl Call {
    /// Begins a call; `route_path` is the cleaned path if it differs from the request's.
    pub(super) fn new(request: Request, context: CallContext, route_path: Option<Box<str>>) -> Self {
        Self {
            request,
            context,
            trace: None,
            span: SharedSpan::default(),
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
