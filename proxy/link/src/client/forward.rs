//! Requests that are passed on to a peer as they are. Source: specification, service invocation 13.

use std::future::poll_fn;

use http::{Request, Response, Version, request};
use http_body::Body as _;
use outrigger_svc::Body;

use super::{AbortOnDrop, Checkout, Link};
use crate::Status;
use crate::raw::{RawBody, send_body};
use crate::transport::{Failure, Head, RecvHalf, SendHalf};

/// What lives as long as the body of a response.
#[derive(Debug)]
struct Guard {
    _checkout: Checkout,
    /// Sends the body of the request, which may well outlast the start of the response.
    _sending: Option<AbortOnDrop>,
}

/// A stream that was opened for a request whose body has not been touched.
#[derive(Debug)]
pub(crate) struct Opened {
    send: SendHalf,
    recv: RecvHalf,
    checkout: Checkout,
}

// === impl Link ===

impl Link {
    /// Passes a gRPC request on and returns when the response has begun; frames and trailers are not touched.
    ///
    /// Both bodies stream independently of each other. Dropping the body of the response cancels the request.
    ///
    /// # Errors
    /// If the request cannot be sent or the peer resets it.
    pub async fn forward(&self, request: Request<Body>) -> Result<Response<Body>, Status> {
        let (head, body) = request.into_parts();
        let opened = self.open(head, body.is_end_stream(), self.checkout()).await;
        opened.map_err(|failure| failure.status)?.exchange(body).await
    }

    pub(crate) async fn open(
        &self,
        mut head: request::Parts,
        is_last: bool,
        checkout: Checkout,
    ) -> Result<Opened, Failure> {
        head.version = Version::HTTP_2;
        let (send, recv) = self.client.clone().request(head, is_last).await?;
        Ok(Opened { send, recv, checkout })
    }
}

// === impl Opened ===

impl Opened {
    /// Sends the body and waits for the start of the response.
    pub(crate) async fn exchange(self, body: Body) -> Result<Response<Body>, Status> {
        let Self {
            mut send,
            mut recv,
            checkout,
        } = self;
        let sending = (!body.is_end_stream())
            .then(|| AbortOnDrop::spawn(async move { send_body(body, &mut send).await }));
        let head = match poll_fn(|cx| recv.poll_head(cx))
            .await
            .map_err(|failure| failure.status)?
        {
            Head::Raw(head) => *head,
            Head::Ended(status) => return Err(status),
            Head::Started => return Err(Status::internal("answer without a head")),
        };
        let body = if recv.is_end() {
            Body::empty()
        } else {
            let guard = Guard {
                _checkout: checkout,
                _sending: sending,
            };
            Body::new(RawBody::new(recv, guard))
        };
        Ok(Response::from_parts(head, body))
    }
}
