//! A client that sees everything of a gRPC call.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::StreamBody;
use hyper::body::Frame;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use percent_encoding::percent_decode_str;
use prost::Message;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;

use super::frame::{Messages, frame};
use crate::{PATIENCE, Result};

type Frames = tokio_stream::adapters::Map<
    ReceiverStream<Bytes>,
    fn(Bytes) -> Result<Frame<Bytes>, std::convert::Infallible>,
>;

/// A connection on which any method can be called.
#[derive(Debug)]
pub struct GrpcClient {
    sender: SendRequest<StreamBody<Frames>>,
    scheme: &'static str,
    authority: String,
    _connection: AbortOnDropHandle<()>,
}

/// All that came back from a call.
#[derive(Clone, Debug)]
pub struct GrpcReply {
    /// The response metadata.
    pub metadata: HeaderMap,
    /// The messages.
    pub messages: Vec<Bytes>,
    /// The trailing metadata; the response metadata if there were no messages.
    pub trailers: HeaderMap,
    /// The status, any number.
    pub status: i32,
    /// The status message, decoded.
    pub message: String,
}

/// A call that is under way.
#[derive(Debug)]
pub struct GrpcStream {
    requests: Option<mpsc::Sender<Bytes>>,
    response: Response,
}

#[derive(Debug)]
enum Response {
    Waiting(AbortOnDropHandle<Result<http::Response<hyper::body::Incoming>>>),
    Open(Box<(HeaderMap, Messages)>),
    Broken,
}

// === impl GrpcClient ===

impl GrpcClient {
    /// Connects to a port of the loopback address without TLS.
    ///
    /// # Errors
    /// If nobody speaks HTTP/2 there.
    pub async fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        Self::over(stream, "http", format!("127.0.0.1:{port}")).await
    }

    /// Connects to a port of the loopback address with TLS.
    ///
    /// # Errors
    /// If the handshake fails or nobody speaks HTTP/2 there.
    pub async fn connect_tls(port: u16, config: Arc<rustls::ClientConfig>) -> Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
        let stream = TlsConnector::from(config)
            .connect(name, stream)
            .await
            .context("handshake failed")?;
        Self::over(stream, "https", format!("127.0.0.1:{port}")).await
    }

    async fn over<S>(stream: S, scheme: &'static str, authority: String) -> Result<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await?;
        let connection = AbortOnDropHandle::new(tokio::spawn(async move {
            // The calls see the failure.
            connection.await.ok();
        }));
        sender.ready().await?;
        Ok(Self {
            sender,
            scheme,
            authority,
            _connection: connection,
        })
    }

    /// Calls a method with any number of messages and waits for the end.
    ///
    /// # Errors
    /// If the stream breaks before its end; a status is not an error.
    pub async fn call<B: AsRef<[u8]>>(
        &self,
        path: &str,
        metadata: HeaderMap,
        messages: impl IntoIterator<Item = B>,
    ) -> Result<GrpcReply> {
        let exchange = async {
            let mut stream = self.open(path, metadata).await?;
            for message in messages {
                // A server may answer before it has everything; what it answers is what counts.
                if stream.send(message.as_ref()).await.is_err() {
                    break;
                }
            }
            stream.half_close();
            stream.finish().await
        };
        timeout(PATIENCE, exchange)
            .await
            .with_context(|| format!("{path} does not end"))?
    }

    /// Calls a unary method.
    ///
    /// # Errors
    /// `status <code>: <message>` if the status is not 0.
    pub async fn unary<M: Message + Default>(
        &self,
        path: &str,
        metadata: HeaderMap,
        request: &impl Message,
    ) -> Result<M> {
        let reply = self.call(path, metadata, [request.encode_to_vec()]).await?;
        if reply.status != 0 {
            bail!("status {}: {}", reply.status, reply.message);
        }
        let message = reply.messages.into_iter().next().context("no message")?;
        Ok(M::decode(message)?)
    }

    /// Starts a call.
    ///
    /// # Errors
    /// If path or authority are not allowed in HTTP.
    pub async fn open(&self, path: &str, metadata: HeaderMap) -> Result<GrpcStream> {
        let (requests, frames) = mpsc::channel(16);
        let encode: fn(Bytes) -> _ = |frame| Ok(Frame::data(frame));
        let mut request = Request::builder()
            .method("POST")
            .uri(format!("{}://{}{path}", self.scheme, self.authority))
            .body(StreamBody::new(ReceiverStream::new(frames).map(encode)))?;
        let headers = request.headers_mut();
        headers.insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/grpc"),
        );
        headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
        headers.extend(metadata);
        let response = self.sender.clone().send_request(request);
        let response = AbortOnDropHandle::new(tokio::spawn(async move { Ok(response.await?) }));
        Ok(GrpcStream {
            requests: Some(requests),
            response: Response::Waiting(response),
        })
    }
}

// === impl GrpcStream ===

impl GrpcStream {
    /// Sends a message.
    ///
    /// # Errors
    /// If the call is over.
    pub async fn send(&mut self, message: &[u8]) -> Result<()> {
        self.send_frame(frame(message)).await
    }

    /// Sends bytes in place of a frame.
    ///
    /// # Errors
    /// If the call is over.
    pub async fn send_frame(&mut self, frame: Bytes) -> Result<()> {
        let requests = self.requests.as_ref().context("the sending side is closed")?;
        requests.send(frame).await.context("the call is over")
    }

    /// Ends the sending side.
    pub fn half_close(&mut self) {
        self.requests = None;
    }

    /// The next message; none at the end.
    ///
    /// # Errors
    /// If the stream breaks.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        self.opened().await?.1.next().await
    }

    /// The response metadata.
    ///
    /// # Errors
    /// If the stream breaks before.
    pub async fn metadata(&mut self) -> Result<&HeaderMap> {
        Ok(self.opened().await?.0)
    }

    /// Reads to the end; messages that were read before are not in the reply.
    ///
    /// # Errors
    /// If the stream breaks.
    pub async fn finish(mut self) -> Result<GrpcReply> {
        self.half_close();
        let (metadata, stream) = self.opened().await?;
        let mut messages = Vec::new();
        while let Some(message) = stream.next().await? {
            messages.push(message);
        }
        let trailers = stream.trailers().unwrap_or(metadata).clone();
        let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok());
        let status = text("grpc-status").context("no grpc-status")?.parse()?;
        let message = percent_decode_str(text("grpc-message").unwrap_or_default())
            .decode_utf8_lossy()
            .into_owned();
        Ok(GrpcReply {
            metadata: metadata.clone(),
            messages,
            status,
            message,
            trailers,
        })
    }

    async fn opened(&mut self) -> Result<(&HeaderMap, &mut Messages)> {
        if let Response::Waiting(response) = &mut self.response {
            let outcome = response
                .await
                .map_err(anyhow::Error::from)
                .and_then(|response| response);
            self.response = Response::Broken;
            let (head, body) = outcome?.into_parts();
            self.response = Response::Open(Box::new((head.headers, Messages::new(body))));
        }
        match &mut self.response {
            Response::Open(opened) => {
                let (metadata, messages) = &mut **opened;
                Ok((metadata, messages))
            }
            Response::Waiting(_) | Response::Broken => bail!("the call broke before"),
        }
    }
}
