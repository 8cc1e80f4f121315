//! A fake app that speaks HTTP.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::h2;
use super::message::{HttpBody, HttpRequest, HttpResponse, Piece};
use super::wire::{Head, Reader, write_chunk, write_head};
use crate::Result;
use crate::until::until;

/// How an app is spoken to.
#[derive(Clone, Debug, Default)]
pub enum Flavor {
    /// HTTP/1.1.
    #[default]
    Http,
    /// HTTP/2 with prior knowledge.
    H2c,
    /// HTTP/1.1 in TLS.
    Https(Arc<rustls::ServerConfig>),
}

/// An app that records what it receives and answers by a function.
///
/// On HTTP/1.1 headers are recorded in the case and order in which they came.
#[derive(Debug)]
pub struct HttpApp {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortOnDropHandle<()>,
}

type BoxFuture<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

/// Answers a request whose body comes piece by piece.
pub(super) type Handler = dyn Fn(HttpRequest, mpsc::Receiver<Bytes>) -> BoxFuture<HttpResponse> + Send + Sync;

pub(super) struct Shared {
    pub(super) handler: Box<Handler>,
    requests: Mutex<Vec<HttpRequest>>,
    connections: AtomicU64,
}

// === impl HttpApp ===

impl HttpApp {
    /// Starts an app on a free port.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start<F>(handler: impl Fn(HttpRequest) -> F + Send + Sync + 'static) -> Result<Self>
    where
        F: Future<Output = HttpResponse> + Send + 'static,
    {
        Self::start_as(Flavor::Http, 0, handler).await
    }

    /// Starts an echo: an app that answers with 200 and what it received, but knows nothing of
    /// subscriptions and settings (`/dapr/…`).
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn echo() -> Result<Self> {
        Self::start(async |request: HttpRequest| {
            let kind = request
                .headers
                .get("content-type")
                .unwrap_or("text/plain")
                .to_owned();
            HttpResponse::ok(request.body).header("Content-Type", kind)
        })
        .await
    }

    /// Starts an app of a flavor on a port, 0 for any.
    ///
    /// # Errors
    /// If the port cannot be bound.
    pub async fn start_as<F>(
        flavor: Flavor,
        port: u16,
        handler: impl Fn(HttpRequest) -> F + Send + Sync + 'static,
    ) -> Result<Self>
    where
        F: Future<Output = HttpResponse> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let collecting: Box<Handler> = Box::new(move |mut request, mut pieces| {
            let handler = Arc::clone(&handler);
            Box::pin(async move {
                let mut body = Vec::new();
                while let Some(piece) = pieces.recv().await {
                    body.extend_from_slice(&piece);
                }
                request.body = body.into();
                handler(request).await
            })
        });
        Self::bind(flavor, port, collecting).await
    }

    /// Starts an app that sees the body piece by piece, while it may already answer.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn start_streaming<F>(
        handler: impl Fn(HttpRequest, mpsc::Receiver<Bytes>) -> F + Send + Sync + 'static,
    ) -> Result<Self>
    where
        F: Future<Output = HttpResponse> + Send + 'static,
    {
        Self::bind(
            Flavor::Http,
            0,
            Box::new(move |request, pieces| Box::pin(handler(request, pieces))),
        )
        .await
    }

    async fn bind(flavor: Flavor, port: u16, handler: Box<Handler>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let (requests, connections) = (Mutex::default(), AtomicU64::new(0));
        let shared = Arc::new(Shared {
            handler,
            requests,
            connections,
        });
        let accepting = Arc::clone(&shared);
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut tasks = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                // Tests of streams would wait for packets that are held back.
                stream.set_nodelay(true).ok();
                tasks.spawn(serve(stream, flavor.clone(), Arc::clone(&accepting)));
            }
        }));
        Ok(Self {
            address,
            shared,
            task,
        })
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// All requests so far, in the order in which their bodies were complete.
    #[must_use]
    pub fn requests(&self) -> Vec<HttpRequest> {
        self.shared.lock().clone()
    }

    /// The requests for a path so far.
    #[must_use]
    pub fn requests_for(&self, path: &str) -> Vec<HttpRequest> {
        self.shared
            .lock()
            .iter()
            .filter(|request| request.path() == path)
            .cloned()
            .collect()
    }

    /// Forgets the requests so far.
    pub fn clear(&self) {
        self.shared.lock().clear();
    }

    /// Waits until a path was asked for `count` times.
    ///
    /// # Errors
    /// If it is not.
    pub async fn wait_for_requests(&self, path: &str, count: usize) -> Result<Vec<HttpRequest>> {
        until(format_args!("{count} requests for {path}"), async || {
            let requests = self.requests_for(path);
            (requests.len() >= count).then_some(requests)
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

// === impl Shared ===

impl Shared {
    pub(super) fn record(&self, request: HttpRequest) {
        self.lock().push(request);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<HttpRequest>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}

async fn serve(stream: TcpStream, flavor: Flavor, shared: Arc<Shared>) {
    let connection = shared.connections.fetch_add(1, Ordering::Relaxed);
    // A connection that breaks is what some tests are about.
    match flavor {
        Flavor::Http => serve_http1(stream, connection, &shared).await.ok(),
        Flavor::H2c => h2::serve(stream, connection, shared).await.ok(),
        Flavor::Https(config) => match TlsAcceptor::from(config).accept(stream).await {
            Ok(stream) => serve_http1(stream, connection, &shared).await.ok(),
            Err(_) => None,
        },
    };
}

async fn serve_http1<S>(stream: S, connection: u64, shared: &Shared) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = Reader::new(reader);
    while let Some(head) = reader.head().await? {
        let (request, mut framing) = (parse(&head, connection)?, head.request_framing());
        let method = request.method.clone();
        if head
            .headers
            .get("expect")
            .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
        {
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let (sender, pieces) = mpsc::channel(1);
        let receive = async {
            let mut recorded = request.clone();
            let mut body = Vec::new();
            while let Some(piece) = reader.piece(&mut framing).await? {
                body.extend_from_slice(&piece);
                // A handler that does not want the rest is no reason not to record it.
                sender.send(piece).await.ok();
            }
            recorded.body = body.into();
            shared.record(recorded);
            drop(sender);
            Ok::<_, io::Error>(())
        };
        let respond = async {
            let response = (shared.handler)(request.clone(), pieces).await;
            write_response(&mut writer, response, &method).await
        };
        tokio::try_join!(receive, respond)?;
        if head.closes() {
            break;
        }
    }
    writer.shutdown().await
}

fn parse(head: &Head, connection: u64) -> io::Result<HttpRequest> {
    let mut words = head.first_line.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let headers = head.headers.clone();
    Ok(HttpRequest {
        headers,
        connection,
        ..HttpRequest::new(method, target)
    })
}

async fn write_response<W>(writer: &mut W, response: HttpResponse, method: &str) -> io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    let HttpResponse {
        status,
        mut headers,
        body,
    } = response;
    match &body {
        HttpBody::Full(bytes) => headers.push("Content-Length", bytes.len().to_string()),
        HttpBody::Stream(_) => headers.push("Transfer-Encoding", "chunked"),
        HttpBody::Absent => {}
    }
    write_head(
        writer,
        &format!("HTTP/1.1 {status} {}", reason(status)),
        headers.iter(),
    )
    .await?;
    if method == "HEAD" {
        return writer.flush().await;
    }
    match body {
        HttpBody::Full(bytes) => writer.write_all(&bytes).await?,
        HttpBody::Stream(mut pieces) => {
            writer.flush().await?;
            while let Some(piece) = pieces.recv().await {
                match piece {
                    Piece::Data(data) if data.is_empty() => {}
                    Piece::Data(data) => write_chunk(writer, &data).await?,
                    Piece::Cut => return Err(io::ErrorKind::ConnectionAborted.into()),
                }
            }
            write_chunk(writer, b"").await?;
        }
        HttpBody::Absent => {}
    }
    writer.flush().await
}

fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Unknown")
}

#[cfg(test)]
mod tests {
    use super::super::{HttpConnection, get, post, raw, send, send_h2c};
    use super::*;

    #[tokio::test]
    async fn requests_are_recorded_as_they_came() {
        let app = HttpApp::echo().await.unwrap();
        let request = "POST /a%20b?x=1 HTTP/1.1\r\nHost: h\r\nX-MiXed: v\r\nX-Mixed: w\r\nContent-Length: 4\r\n\
            Connection: close\r\n\r\nbody";
        let reply = raw(app.port(), request).await.unwrap();
        assert!(
            reply.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nbody")
        );
        let received = app.requests_for("/a%20b").remove(0);
        assert_eq!(
            received.headers.names(),
            ["Host", "X-MiXed", "X-Mixed", "Content-Length", "Connection"]
        );
        assert_eq!(received.query(), Some("x=1"));
        assert_eq!(received.text(), "body");
    }

    #[tokio::test]
    async fn any_status_and_kind_of_body_can_be_given() {
        let app = HttpApp::start(async |request: HttpRequest| match request.path() {
            "/none" => HttpResponse::new(204, "").without_body(),
            "/strange" => HttpResponse::new(599, "strange").header("X-A", "1"),
            "/events" => HttpResponse::events(["1", "2"]),
            _ => HttpResponse::json(&serde_json::json!({ "a": 1 })),
        })
        .await
        .unwrap();
        let url = |path: &str| format!("http://127.0.0.1:{}{path}", app.port());
        assert_eq!(get(url("/none")).await.unwrap().status, 204);
        let strange = get(url("/strange")).await.unwrap();
        assert_eq!(
            (strange.status, strange.text().as_str(), strange.header("x-a")),
            (599, "strange", Some("1"))
        );
        assert_eq!(
            get(url("/events")).await.unwrap().text(),
            "data: 1\n\ndata: 2\n\n"
        );
        assert_eq!(get(url("/")).await.unwrap().json().unwrap()["a"], 1);
        assert_eq!(app.connections(), 4);
    }

    #[tokio::test]
    async fn both_directions_stream_at_once() {
        let app = HttpApp::start_streaming(async |_, mut pieces: mpsc::Receiver<Bytes>| {
            let (response, sender) = HttpResponse::stream(200);
            tokio::spawn(async move {
                while let Some(piece) = pieces.recv().await {
                    sender.send(Piece::Data(piece)).await.ok();
                }
            });
            response
        })
        .await
        .unwrap();
        let mut connection = HttpConnection::open(app.port()).await.unwrap();
        let request = HttpRequest::new("POST", "/").header("Transfer-Encoding", "chunked");
        connection.send_head(&request).await.unwrap();
        assert_eq!(connection.reply_head().await.unwrap().status, 200);
        for piece in ["one", "two"] {
            connection.send_chunk(piece.as_bytes()).await.unwrap();
            assert_eq!(connection.piece().await.unwrap().unwrap(), piece);
        }
        connection.send_chunk(b"").await.unwrap();
        assert_eq!(connection.piece().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_response_can_break_off() {
        let app = HttpApp::start(async |_| {
            let (response, sender) = HttpResponse::stream(200);
            sender.try_send(Piece::Data("part".into())).unwrap();
            sender.try_send(Piece::Cut).unwrap();
            response
        })
        .await
        .unwrap();
        assert!(get(format!("http://127.0.0.1:{}/", app.port())).await.is_err());
    }

    #[tokio::test]
    async fn http2_apps_answer_alike() {
        let app = HttpApp::start_as(Flavor::H2c, 0, async |request: HttpRequest| {
            HttpResponse::new(201, request.body).header("x-a", "1")
        })
        .await
        .unwrap();
        let url = format!("http://127.0.0.1:{}/p?q=1", app.port());
        let reply = send_h2c(&HttpRequest::new("PUT", url).header("x-b", "2").body("body"))
            .await
            .unwrap();
        assert_eq!(
            (reply.status, reply.text().as_str(), reply.header("x-a")),
            (201, "body", Some("1"))
        );
        let received = app.requests().remove(0);
        assert_eq!(
            (received.method.as_str(), received.target.as_str()),
            ("PUT", "/p?q=1")
        );
        assert_eq!(received.headers.get("x-b"), Some("2"));
    }

    #[tokio::test]
    async fn a_connection_serves_several_requests_until_the_app_stops() {
        let app = HttpApp::echo().await.unwrap();
        let mut connection = HttpConnection::open(app.port()).await.unwrap();
        for body in ["a", "bb"] {
            let request = HttpRequest::new("POST", "/").body(body).chunked([1]);
            assert_eq!(connection.send(&request).await.unwrap().text(), body);
        }
        assert_eq!(app.connections(), 1);
        app.stop();
        assert!(connection.send(&HttpRequest::new("GET", "/")).await.is_err());
        let url = format!("http://127.0.0.1:{}/", app.port());
        assert!(post(&url, "x").await.is_err());
        assert!(send(&HttpRequest::new("GET", url)).await.is_err());
    }
}
