//! The way of components to HTTP servers outside.
//!
//! The sidecar implements [`SendHttp`] once, with its own connections, name look-ups and trust; components hold
//! an [`HttpClient`] and bring no client of their own.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use outrigger_svc::{BoxError, BoxFuture, CollectError, Request, Response, collect_limited};
use tokio::time::{Instant, timeout_at};

/// Sends requests with absolute URIs, by `http` or `https`.
pub trait SendHttp: fmt::Debug + Send + Sync + 'static {
    /// Sends a request, follows redirects and answers when the head of the answer has arrived.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, BoxError>>;

    /// The same way with a trust of its own, and with connections that nobody else uses.
    ///
    /// # Errors
    /// If there is no such way, or the trust has no certificate.
    fn trusting(&self, trust: &Trust) -> Result<Arc<dyn SendHttp>, BoxError> {
        let _ = trust;
        Err("servers are verified by the roots of the system only".into())
    }
}

/// Which servers are believed; by default those that the system's roots vouch for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// PEM text of the roots that take the place of the system's.
    pub roots: Option<String>,
    /// Whether any certificate is believed.
    pub is_blind: bool,
    /// The name that certificates must have, in place of the host's.
    pub server_name: Option<String>,
}

/// A component's client; cheap to clone.
#[derive(Clone, Debug)]
pub struct HttpClient(Arc<dyn SendHttp>);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No server answered.
    #[error(transparent)]
    Send(BoxError),
    /// The answer took too long.
    #[error("context deadline exceeded")]
    Deadline,
    /// The body of the answer broke off or is too long.
    #[error(transparent)]
    Body(#[from] CollectError),
}

// === impl HttpClient ===

impl HttpClient {
    /// A client over a way of sending.
    #[must_use]
    pub fn new(sender: Arc<dyn SendHttp>) -> Self {
        Self(sender)
    }

    /// The client that believes other servers.
    ///
    /// # Errors
    /// If the way has no trust of its own, or the trust has no certificate.
    pub fn trusting(&self, trust: &Trust) -> Result<Self, BoxError> {
        self.0.trusting(trust).map(Self)
    }

    /// Sends a request and returns the answer with its body as a stream.
    ///
    /// # Errors
    /// If no server answered.
    pub async fn send(&self, request: Request) -> Result<Response, BoxError> {
        self.0.send(request).await
    }

    /// Sends a request and reads the whole answer, at most `limit` bytes, until `deadline`.
    ///
    /// # Errors
    /// If no server answered, in time or within the limit. Any status is an answer.
    pub async fn fetch(
        &self,
        request: Request,
        limit: usize,
        deadline: Instant,
    ) -> Result<http::Response<Bytes>, FetchError> {
        let fetch = async {
            let response = self.0.send(request).await.map_err(FetchError::Send)?;
            let (head, body) = response.into_parts();
            let body = collect_limited(body, limit).await?;
            Ok(http::Response::from_parts(head, body))
        };
        timeout_at(deadline, fetch)
            .await
            .unwrap_or(Err(FetchError::Deadline))
    }
}
