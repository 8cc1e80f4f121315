//! Requests that are not hot: heads, body frames and trailers pass unchanged.

use std::future::poll_fn;
use std::sync::Arc;

use http::request;
use http_body::Body as _;
use outrigger_svc::Body;

use super::{Callee, Running, Shared};
use crate::raw::{RawBody, send_body};
use crate::transport::{RecvHalf, Responder};

// === impl Shared ===

impl<C: Callee> Shared<C> {
    pub(super) async fn raw(
        self: Arc<Self>,
        mut head: Box<request::Parts>,
        mut responder: Responder,
        body: RecvHalf,
    ) {
        let _running = Running::count(&self.running);
        head.extensions.insert(self.context.clone());
        let body = if body.is_end() {
            Body::empty()
        } else {
            Body::new(RawBody::new(body, ()))
        };
        let request = http::Request::from_parts(*head, body);
        let response = tokio::select! {
            biased;
            response = self.callee.other(request) => response,
            _ = poll_fn(|cx| responder.poll_reset(cx)) => return,
        };
        let (head, body) = response.into_parts();
        let is_last = body.is_end_stream();
        let mut send = responder.respond(head, is_last);
        if !is_last {
            send_body(body, &mut send).await;
        }
    }
}
