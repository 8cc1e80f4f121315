//! A fake app that speaks gRPC.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use outrigger_api::common::{InvokeRequest, InvokeResponse};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;

use super::frame::{Messages, frame};
use crate::{Result, until};

/// An app that answers any gRPC method by a function and records what was called.
#[derive(Debug)]
pub struct GrpcApp {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortOnDropHandle<()>,
}

/// A call that an app received.
#[derive(Debug)]
pub struct GrpcCall {
    /// `/<package>.<Service>/<Method>`.
    pub path: String,
    /// The metadata, transport headers included.
    pub metadata: HeaderMap,
    /// The messages as they come.
    pub messages: Messages,
}

/// The answer to a call.
#[derive(Debug)]
pub struct GrpcAnswer {
    metadata: HeaderMap,
    frames: Option<mpsc::Receiver<Bytes>>,
    trailers: HeaderMap,
}

/// Path and metadata of a recorded call.
type Record = (String, HeaderMap);

type Handler = dyn Fn(GrpcCall) -> Pin<Box<dyn Future<Output = GrpcAnswer> + Send>> + Send + Sync;

struct Shared {
    handler: Box<Handler>,
    calls: Mutex<Vec<Record>>,
    connections: AtomicU64,
}

// === impl GrpcApp ===

impl GrpcApp {
    /// Starts an app on a free port.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start<F>(handler: impl Fn(GrpcCall) -> F + Send + Sync + 'static) -> Result<Self>
    where
        F: Future<Output = GrpcAnswer> + Send + 'static,
    {
        Self::start_with(None, handler).await
    }

    /// Starts an app on a free port, in TLS if there is a configuration for it.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start_with<F>(
        tls: Option<Arc<rustls::ServerConfig>>,
        handler: impl Fn(GrpcCall) -> F + Send + Sync + 'static,
    ) -> Result<Self>
    where
        F: Future<Output = GrpcAnswer> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let handler: Box<Handler> = Box::new(move |call| Box::pin(handler(call)));
        let (calls, connections) = (Mutex::default(), AtomicU64::new(0));
        let shared = Arc::new(Shared {
            handler,
            calls,
            connections,
        });
        let accepting = Arc::clone(&shared);
        let tls = tls.map(TlsAcceptor::from);
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut tasks = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).ok();
                accepting.connections.fetch_add(1, Ordering::Relaxed);
                let (shared, tls) = (Arc::clone(&accepting), tls.clone());
                tasks.spawn(async move {
                    // A connection that breaks is what some tests are about.
                    match tls {
                        None => serve(stream, shared).await.ok(),
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, shared).await.ok(),
                            Err(_) => None,
                        },
                    }
                });
            }
        }));
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    /// Starts an app that serves `AppCallback/OnInvoke` and nothing else, by a function that answers
    /// with a response or a status.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn on_invoke(
        invoke: impl Fn(InvokeRequest, HeaderMap) -> Result<InvokeResponse, (i32, String)> + Send + Sync + 'static,
    ) -> Result<Self> {
        let invoke = Arc::new(invoke);
        Self::start(move |mut call| {
            let invoke = Arc::clone(&invoke);
            async move {
                if call.path != "/dapr.proto.runtime.v1.AppCallback/OnInvoke" {
                    return GrpcAnswer::status(12, "unknown method");
                }
                match call.message::<InvokeRequest>().await {
                    Ok(request) => match invoke(request, call.metadata) {
                        Ok(response) => GrpcAnswer::message(&response),
                        Err((code, message)) => GrpcAnswer::status(code, &message),
                    },
                    Err(error) => GrpcAnswer::status(13, &format!("{error:#}")),
                }
            }
        })
        .await
    }

    /// Starts an app that sends every frame of every method back as it comes.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn echo() -> Result<Self> {
        Self::start(async |mut call: GrpcCall| {
            let (answer, sender) = GrpcAnswer::stream();
            tokio::spawn(async move {
                while let Ok(Some(frame)) = call.messages.next_frame().await {
                    if sender.send(frame).await.is_err() {
                        break;
                    }
                }
            });
            answer
        })
        .await
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Metadata of the calls of a method so far.
    #[must_use]
    pub fn calls(&self, path: &str) -> Vec<HeaderMap> {
        let calls = self.shared.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls
            .iter()
            .filter(|(called, _)| called == path)
            .map(|(_, metadata)| metadata.clone())
            .collect()
    }

    /// Waits until a method was called `count` times.
    ///
    /// # Errors
    /// If it is not.
    pub async fn wait_for_calls(&self, path: &str, count: usize) -> Result<Vec<HeaderMap>> {
        until(format_args!("{count} calls of {path}"), async || {
            let calls = self.calls(path);
            (calls.len() >= count).then_some(calls)
        })
        .await
    }

    /// Number of connections that were opened so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Stops the app and breaks all its connections.
    pub fn stop(&self) {
        self.task.abort();
    }
}

// === impl GrpcCall ===

impl GrpcCall {
    /// The one message of a unary call.
    ///
    /// # Errors
    /// If there is none or it is of another type.
    pub async fn message<M: Message + Default>(&mut self) -> Result<M> {
        let bytes = self.messages.next().await?;
        Ok(M::decode(bytes.ok_or_else(|| anyhow::anyhow!("no message"))?)?)
    }
}

// === impl GrpcAnswer ===

impl GrpcAnswer {
    /// A message and status 0.
    pub fn message(message: &impl Message) -> Self {
        Self::bytes([message.encode_to_vec()])
    }

    /// Messages as bytes and status 0.
    pub fn bytes<B: AsRef<[u8]>>(messages: impl IntoIterator<Item = B>) -> Self {
        let frames: Vec<_> = messages
            .into_iter()
            .map(|message| frame(message.as_ref()))
            .collect();
        let (sender, receiver) = mpsc::channel(frames.len().max(1));
        for frame in frames {
            sender.try_send(frame).expect("the channel has room for all");
        }
        Self {
            metadata: HeaderMap::new(),
            frames: Some(receiver),
            trailers: trailers(0, ""),
        }
    }

    /// Frames that are sent as they are put into the sender, and status 0.
    #[must_use]
    pub fn stream() -> (Self, mpsc::Sender<Bytes>) {
        let (sender, receiver) = mpsc::channel(16);
        (
            Self {
                metadata: HeaderMap::new(),
                frames: Some(receiver),
                trailers: trailers(0, ""),
            },
            sender,
        )
    }

    /// No message and a status; any number.
    #[must_use]
    pub fn status(code: i32, message: &str) -> Self {
        Self {
            metadata: HeaderMap::new(),
            frames: None,
            trailers: trailers(code, message),
        }
    }

    /// Ends with this status, after the messages if there are any.
    #[must_use]
    pub fn ending(mut self, code: i32, message: &str) -> Self {
        self.trailers.extend(trailers(code, message));
        self
    }

    /// Adds response metadata.
    #[must_use]
    pub fn with_metadata(mut self, metadata: HeaderMap) -> Self {
        self.metadata.extend(metadata);
        self
    }

    /// Adds trailing metadata.
    #[must_use]
    pub fn with_trailers(mut self, trailers: HeaderMap) -> Self {
        self.trailers.extend(trailers);
        self
    }

    fn encode(self) -> http::Response<BoxBody<Bytes, Infallible>> {
        let trailers_only = self.frames.is_none();
        let frames = self.frames.unwrap_or_else(|| mpsc::channel(1).1);
        let end = (!trailers_only).then(|| Frame::trailers(self.trailers.clone()));
        let body = ReceiverStream::new(frames)
            .map(Frame::data)
            .chain(tokio_stream::iter(end))
            .map(Ok);
        let mut response = http::Response::new(BodyExt::boxed(StreamBody::new(body)));
        let headers = response.headers_mut();
        headers.insert(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/grpc"),
        );
        headers.extend(self.metadata);
        if trailers_only {
            headers.extend(self.trailers);
        }
        response
    }
}

// === impl Shared ===

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("calls", &self.calls)
            .finish_non_exhaustive()
    }
}

async fn serve<S>(stream: S, shared: Arc<Shared>) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (head, body) = request.into_parts();
        let call = GrpcCall {
            path: head.uri.path().to_owned(),
            metadata: head.headers,
            messages: Messages::new(body),
        };
        let record = (call.path.clone(), call.metadata.clone());
        shared
            .calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(record);
        let answer = (shared.handler)(call);
        async move { Ok::<_, Infallible>(answer.await.encode()) }
    });
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}

fn trailers(code: i32, message: &str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", code.into());
    if !message.is_empty() {
        let message = utf8_percent_encode(message, NON_ALPHANUMERIC).to_string();
        trailers.insert(
            "grpc-message",
            message.parse().expect("an encoded text is a header value"),
        );
    }
    trailers
}

#[cfg(test)]
mod tests {
    use super::super::{GrpcClient, metadata};
    use super::*;

    #[tokio::test]
    async fn frames_are_echoed_while_the_call_goes_on() {
        let app = GrpcApp::echo().await.unwrap();
        let client = GrpcClient::connect(app.port()).await.unwrap();
        let mut stream = client.open("/a.B/C", metadata([("x-a", "1")])).await.unwrap();
        for message in ["one", "two"] {
            stream.send(message.as_bytes()).await.unwrap();
            assert_eq!(stream.next().await.unwrap().unwrap(), message);
        }
        stream.half_close();
        let reply = stream.finish().await.unwrap();
        assert_eq!((reply.status, reply.messages.len()), (0, 0));
        assert_eq!(app.calls("/a.B/C")[0]["x-a"], "1");
        assert_eq!(app.connections(), 1);
    }

    #[tokio::test]
    async fn any_status_can_be_given_with_and_without_messages() {
        let app = GrpcApp::start(async |call: GrpcCall| match call.path.as_str() {
            "/only" => GrpcAnswer::status(20, "a b%"),
            _ => GrpcAnswer::bytes(["m"])
                .ending(5, "x")
                .with_trailers(metadata([("x-t", "1")])),
        })
        .await
        .unwrap();
        let client = GrpcClient::connect(app.port()).await.unwrap();
        let only = client.call("/only", HeaderMap::new(), ["q"]).await.unwrap();
        assert_eq!(
            (only.status, only.message.as_str(), only.messages.len()),
            (20, "a b%", 0)
        );
        let both = client.call("/both", HeaderMap::new(), ["q"]).await.unwrap();
        assert_eq!(
            (both.status, both.message.as_str(), &both.messages[0][..]),
            (5, "x", &b"m"[..])
        );
        assert_eq!(both.trailers["x-t"], "1");
    }

    #[tokio::test]
    async fn an_app_is_invoked() {
        let app = GrpcApp::on_invoke(|request, _| match request.method.as_str() {
            "hello" => Ok(InvokeResponse {
                content_type: "text/plain".to_owned(),
                ..InvokeResponse::default()
            }),
            _ => Err((5, "no such method".to_owned())),
        })
        .await
        .unwrap();
        let client = GrpcClient::connect(app.port()).await.unwrap();
        let path = "/dapr.proto.runtime.v1.AppCallback/OnInvoke";
        let request = |method: &str| InvokeRequest {
            method: method.to_owned(),
            ..InvokeRequest::default()
        };
        let response: InvokeResponse = client
            .unary(path, HeaderMap::new(), &request("hello"))
            .await
            .unwrap();
        assert_eq!(response.content_type, "text/plain");
        let refused = client
            .unary::<InvokeResponse>(path, HeaderMap::new(), &request("x"))
            .await;
        assert_eq!(refused.unwrap_err().to_string(), "status 5: no such method");
    }
}
