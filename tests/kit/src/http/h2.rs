//! The same apps and clients on HTTP/2.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;

use super::app::Shared;
use super::client::split;
use super::message::{Headers, HttpBody, HttpReply, HttpRequest, HttpResponse, Piece};
use crate::{PATIENCE, Result};

type Body = BoxBody<Bytes, anyhow::Error>;

/// Sends a request over HTTP/2 with prior knowledge, on a connection of its own.
///
/// # Errors
/// If there is no whole reply.
pub async fn send_h2c(request: &HttpRequest) -> Result<HttpReply> {
    timeout(PATIENCE, exchange(request))
        .await
        .context("no reply in time")?
}

async fn exchange(request: &HttpRequest) -> Result<HttpReply> {
    let (authority, _) = split(&request.target)?;
    let stream = TcpStream::connect(authority)
        .await
        .with_context(|| format!("cannot connect to {authority}"))?;
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(async move {
        // The request sees the failure.
        connection.await.ok();
    }));
    let mut builder = http::Request::builder()
        .method(request.method.as_str())
        .uri(&request.target);
    for (name, value) in request.headers.iter() {
        builder = builder.header(name, value);
    }
    let response = sender
        .send_request(builder.body(Full::new(request.body.clone()))?)
        .await?;
    let (head, body) = response.into_parts();
    Ok(HttpReply {
        status: head.status.as_u16(),
        reason: String::new(),
        headers: Headers::from(&head.headers),
        body: body.collect().await?.to_bytes(),
    })
}

/// Serves a connection of an app.
pub(super) async fn serve(stream: TcpStream, connection: u64, shared: Arc<Shared>) -> Result<()> {
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(answer(request, connection, shared).await) }
    });
    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await?;
    Ok(())
}

async fn answer(
    request: http::Request<Incoming>,
    connection: u64,
    shared: Arc<Shared>,
) -> http::Response<Body> {
    let (head, mut body) = request.into_parts();
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut request = HttpRequest::new(head.method.as_str(), target);
    request.headers = Headers::from(&head.headers);
    request.connection = connection;

    let (sender, pieces) = mpsc::channel(1);
    let response = (shared.handler)(request.clone(), pieces);
    let receive = async move {
        let mut whole = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data() {
                whole.extend_from_slice(&data);
                sender.send(data).await.ok();
            }
        }
        request.body = whole.into();
        shared.record(request);
    };
    // The rest of the request goes on while the response streams.
    tokio::spawn(receive);
    encode(response.await)
}

fn encode(response: HttpResponse) -> http::Response<Body> {
    let HttpResponse {
        status,
        headers,
        body,
    } = response;
    let body = match body {
        HttpBody::Full(bytes) => Full::new(bytes).map_err(|never| match never {}).boxed(),
        HttpBody::Absent => Empty::new().map_err(|never| match never {}).boxed(),
        HttpBody::Stream(pieces) => {
            let frames = ReceiverStream::new(pieces).map(|piece| match piece {
                Piece::Data(data) => Ok(Frame::data(data)),
                Piece::Cut => Err(anyhow::anyhow!("cut")),
            });
            BodyExt::boxed(StreamBody::new(frames))
        }
    };
    let mut builder = http::Response::builder().status(status);
    for (name, value) in headers.iter() {
        builder = builder.header(name, value);
    }
    builder.body(body).expect("a test gives valid headers")
}
