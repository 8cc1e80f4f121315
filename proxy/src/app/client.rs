//! An HTTP client for one origin, by whichever version it speaks.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION, TRANSFER_ENCODING};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use outrigger_svc::{Body, BoxError};

use super::base::Base;
use super::dial::Dialer;
use super::h2c::H2c;
use super::pool::{Pool, PoolSettings, PooledBody};
use super::send_error::SendError;

/// One worker's connections to one origin.
#[derive(Debug)]
pub(crate) struct Client {
    host: HeaderValue,
    /// The proxy that takes the requests, each with the whole URL.
    forwarder: Option<Arc<Forwarder>>,
    transport: Transport,
}

/// What a proxy is told beside the request.
#[derive(Debug)]
struct Forwarder {
    authorization: Option<HeaderValue>,
}

/// HTTP version of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HttpVersion {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    H2c,
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum AnswerBody {
    Http1(PooledBody),
    Http2(Incoming),
    /// The user's handlers have had it in their hands.
    Handled(Body),
}

#[derive(Debug)]
enum Transport {
    Http1(Pool),
    H2c(H2c),
}

// === impl Client ===

impl Client {
    /// A client without connections.
    pub(crate) fn new(base: &Base, version: HttpVersion, dialer: Dialer, settings: PoolSettings) -> Self {
        let forwarder = dialer.forwarder(&base.origin).map(|proxy| {
            let credentials = proxy.credentials.as_deref();
            let authorization = credentials.and_then(|value| HeaderValue::from_str(value).ok());
            Arc::new(Forwarder { authorization })
        });
        let transport = match version {
            HttpVersion::Http1 => Transport::Http1(Pool::new(base.origin.clone(), dialer, settings)),
            HttpVersion::H2c => {
                let max_head = u32::try_from(settings.max_head).unwrap_or(u32::MAX);
                Transport::H2c(H2c::new(base.origin.clone(), dialer, max_head))
            }
        };
        Self {
            host: base.host.clone(),
            forwarder,
            transport,
        }
    }

    /// The same for another worker.
    pub(crate) fn for_worker(&self) -> Self {
        let transport = match &self.transport {
            Transport::Http1(pool) => Transport::Http1(pool.for_worker()),
            Transport::H2c(connection) => Transport::H2c(connection.for_worker()),
        };
        Self {
            host: self.host.clone(),
            forwarder: self.forwarder.clone(),
            transport,
        }
    }

    /// Sends a request whose URI is a path and returns the answer as soon as its head has arrived.
    ///
    /// # Errors
    /// [`SendError`] if no connection could be opened or the one in use failed.
    pub(crate) async fn send(
        &self,
        mut request: http::Request<Body>,
    ) -> Result<http::Response<AnswerBody>, SendError> {
        match &self.transport {
            Transport::Http1(pool) => {
                request.headers_mut().insert(HOST, self.host.clone());
                if let Some(forwarder) = &self.forwarder {
                    let target = request.uri().path_and_query().cloned();
                    *request.uri_mut() = absolute(&self.host, target);
                    if let Some(value) = &forwarder.authorization {
                        request.headers_mut().insert(PROXY_AUTHORIZATION, value.clone());
                    }
                }
                Ok(pool.send(request).await?.map(AnswerBody::Http1))
            }
            Transport::H2c(connection) => {
                // HTTP/2 frames bodies itself.
                request.headers_mut().remove(TRANSFER_ENCODING);
                let target = request.uri().path_and_query().cloned();
                *request.uri_mut() = absolute(&self.host, target);
                *request.version_mut() = http::Version::HTTP_2;
                Ok(Box::pin(connection.send(request)).await?.map(AnswerBody::Http2))
            }
        }
    }
}

impl Client {
    /// Whether connections speak HTTP/1.1.
    pub(crate) const fn speaks_http1(&self) -> bool {
        matches!(self.transport, Transport::Http1(_))
    }

    /// Sends a request for WebSocket on a connection of its own. An answer of 101 takes it out of HTTP.
    ///
    /// # Errors
    /// [`SendError`] if no connection could be opened or it failed.
    pub(crate) async fn send_upgrade(
        &self,
        mut request: http::Request<Body>,
    ) -> Result<http::Response<AnswerBody>, SendError> {
        let Transport::Http1(pool) = &self.transport else {
            return self.send(request).await;
        };
        request.headers_mut().insert(HOST, self.host.clone());
        crate::websocket::ask(request.headers_mut());
        Ok(pool.send_alone(request).await?.map(AnswerBody::Http1))
    }
}

fn absolute(host: &HeaderValue, target: Option<PathAndQuery>) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Authority::try_from(host.as_bytes()).ok();
    parts.path_and_query = Some(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
    Uri::from_parts(parts).unwrap_or_default()
}

// === impl AnswerBody ===

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = match self.get_mut() {
            Self::Http1(body) => Pin::new(body).poll_frame(cx),
            Self::Http2(body) => Pin::new(body).poll_frame(cx),
            Self::Handled(body) => return Pin::new(body).poll_frame(cx),
        };
        polled.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_end_stream(),
            Self::Handled(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(body) => body.size_hint(),
            Self::Http2(body) => body.size_hint(),
            Self::Handled(body) => body.size_hint(),
        }
    }
}
