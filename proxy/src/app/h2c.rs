//! HTTP/2 connections to a server that is known to speak it, without TLS.

use std::sync::{Mutex, PoisonError};

use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use outrigger_svc::Body;

use super::dial::{Dialer, Origin};
use super::send_error::SendError;

/// One worker's connection to one origin; it is opened again when it has ended.
#[derive(Debug)]
pub(crate) struct H2c {
    origin: Origin,
    dialer: Dialer,
    max_head: u32,
    current: Mutex<Option<SendRequest<Body>>>,
}

/// Bytes that the server may send before they are taken, on one stream and on all.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

// === impl H2c ===

impl H2c {
    /// No connection yet; `max_head` is the limit of an answer's head in bytes.
    pub(crate) fn new(origin: Origin, dialer: Dialer, max_head: u32) -> Self {
        Self {
            origin,
            dialer,
            max_head,
            current: Mutex::default(),
        }
    }

    /// The same for another worker.
    pub(crate) fn for_worker(&self) -> Self {
        Self::new(self.origin.clone(), self.dialer.clone(), self.max_head)
    }

    /// Sends a request whose URI has a scheme and an authority.
    ///
    /// # Errors
    /// [`SendError`] if no connection could be opened or the one in use failed.
    pub(crate) async fn send(
        &self,
        mut request: http::Request<Body>,
    ) -> Result<http::Response<Incoming>, SendError> {
        if let Some(mut sender) = self.standing() {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(SendError::Transport(failed.into_error())),
                },
            }
        }
        let mut sender = self.connect().await?;
        sender.send_request(request).await.map_err(SendError::Transport)
    }

    fn standing(&self) -> Option<SendRequest<Body>> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.as_ref().filter(|sender| !sender.is_closed()).cloned()
    }

    async fn connect(&self) -> Result<SendRequest<Body>, SendError> {
        let stream = self.dialer.dial(&self.origin).await?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(self.max_head)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(SendError::Transport)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(target: "dapr.runtime.channels", "a connection to the app ended: {error}");
            }
        });
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Some(sender.clone());
        Ok(sender)
    }
}
