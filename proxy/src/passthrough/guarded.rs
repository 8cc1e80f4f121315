//! Calls that pass through under the policies of their target.
//!
//! Unless the client says that a call streams, its policies cover the whole of it, and what is sent again is its
//! one message. Of a call that streams they cover that the stream is opened.
//!
//! Source: specification, service invocation 13; resiliency 5.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use outrigger_link::{CallError, ReplayBody};
use outrigger_resilience::{Class, Failure, Policy, PolicyError};
use outrigger_svc::{Body, BoxError, Request, Response};
use outrigger_telemetry::metrics::Kind;
use tokio_util::sync::CancellationToken;

use super::{Failed, Network, Passthrough, Peer, Received, deliver, watched};
use crate::attempt::{self, attempted, second_message, status_of};
use crate::grpc_api::{Scanner, answer};

/// The body of a request that has one message; a second one is told and ends it.
struct SingleMessage {
    inner: Body,
    scanner: Scanner,
    has_message: bool,
    second: CancellationToken,
}

/// A stream that could not be opened.
struct NotOpened(CallError);

// === impl Passthrough ===

impl<N: Network> Passthrough<N> {
    /// Passes a call on as often as the policy wants.
    pub(super) async fn send_under(&self, policy: Policy<'_>, peer: &Peer<'_>, request: Request) -> Response {
        if peer.kind == Kind::Streaming {
            return self.open_under(policy, peer, request).await;
        }
        let (head, body) = request.into_parts();
        let second = policy.has_retries().then(CancellationToken::new);
        let body = match &second {
            Some(second) => ReplayBody::keeping_later(Body::new(SingleMessage {
                inner: body,
                scanner: Scanner::default(),
                has_message: false,
                second: second.clone(),
            })),
            None => ReplayBody::once(body),
        };
        let attempt = |_| {
            let request = Request::from_parts(head.clone(), body.replay());
            self.attempt(peer, request, second.as_ref())
        };
        match policy.begin(attempt).await {
            Ok(((response, received), pending)) => {
                let kind = attempt::Kind::Grpc(second);
                let response = response.map(|body| attempted(body, pending, kind));
                watched(response, received).await
            }
            Err(PolicyError::Operation(failed)) => failed.response,
            Err(other) => answer(&status_of(&other)),
        }
    }

    async fn attempt(
        &self,
        peer: &Peer<'_>,
        request: Request,
        second: Option<&CancellationToken>,
    ) -> Result<(Response, Received), Failed> {
        let answer = self.send(peer, request);
        let Some(second) = second else {
            return answer.await;
        };
        tokio::select! {
            biased;
            () = second.cancelled() => Err(Failed::new(second_message(), Class::Permanent)),
            answer = answer => answer,
        }
    }

    async fn open_under(&self, policy: Policy<'_>, peer: &Peer<'_>, request: Request) -> Response {
        let received = Received::begin(self.network.metrics(), peer);
        let (head, body) = request.into_parts();
        let is_last = body.is_end_stream();
        let open = |_| {
            let opened = self.network.open(peer.target, head.clone(), is_last);
            async { opened.await.map_err(NotOpened) }
        };
        let outcome = match policy.run(open).await {
            Ok(opened) => match opened.exchange(body).await {
                Ok(response) => deliver(response).await,
                Err(status) => Err(status),
            },
            Err(PolicyError::Operation(NotOpened(error))) => Err(error.into()),
            Err(other) => Err(status_of(&other)),
        };
        let response = outcome.unwrap_or_else(|status| answer(&status));
        watched(response, received).await
    }
}

// === impl Failed ===

impl Failure for Failed {
    fn class(&self) -> Class {
        self.class
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status.fmt(f)
    }
}

// === impl NotOpened ===

impl Failure for NotOpened {
    fn class(&self) -> Class {
        Class::Plain
    }
}

impl fmt::Display for NotOpened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl SingleMessage ===

impl HttpBody for SingleMessage {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            let has_message = &mut this.has_message;
            let scanned = this
                .scanner
                .scan(data, |_| match std::mem::replace(has_message, true) {
                    true => Err(second_message()),
                    false => Ok(()),
                });
            if let Err(status) = scanned {
                this.second.cancel();
                return Poll::Ready(Some(Err(status.into())));
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
