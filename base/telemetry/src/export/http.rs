//! One HTTP/1 request on a connection of its own: exports are seconds apart, so none is kept open.

use std::io;
use std::pin::pin;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use outrigger_svc::{CollectError, collect_limited};

use super::network::Dialer;

/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 1 << 20;

/// Posts batches to one receiver.
#[derive(Clone, Debug)]
pub(crate) struct Poster {
    dialer: Dialer,
    /// Headers that every request carries.
    headers: HeaderMap,
}

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("connection failed: {0}")]
    Connect(#[from] io::Error),
    #[error("request failed: {0}")]
    Exchange(#[from] hyper::Error),
    #[error("answer failed: {0}")]
    Answer(#[from] CollectError),
    #[error("malformed address")]
    Address,
}

// === impl Poster ===

impl Poster {
    pub(crate) fn new(dialer: Dialer, headers: HeaderMap) -> Self {
        Self { dialer, headers }
    }

    pub(crate) async fn post(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let io = TokioIo::new(self.dialer.dial(request.uri()).await?);
        let authority = request.uri().authority().ok_or(HttpError::Address)?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| HttpError::Address)?;
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        *request.uri_mut() = Uri::try_from(path).map_err(|_| HttpError::Address)?;
        request.headers_mut().insert(HOST, host);
        request.headers_mut().extend(self.headers.clone());

        let (mut sender, connection) = http1::handshake(io).await?;
        let exchange = async move {
            let (head, body) = sender.send_request(request.map(Full::new)).await?.into_parts();
            Ok(Response::from_parts(
                head,
                collect_limited(body, MAX_ANSWER).await?,
            ))
        };
        let mut exchange = pin!(exchange);
        tokio::select! {
            biased;
            answer = &mut exchange => answer,
            // A connection that ends may have delivered the whole answer before.
            _ = connection => exchange.await,
        }
    }
}
