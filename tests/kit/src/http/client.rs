//! A client that sends exactly what it is told.

use std::net::Ipv4Addr;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::message::{HttpReply, HttpRequest};
use super::wire::{Framing, Reader, write_chunk, write_head};
use crate::{PATIENCE, Result};

/// A connection whose requests and replies are handled by hand.
#[derive(Debug)]
pub struct HttpConnection {
    host: String,
    reader: Reader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    method: String,
    framing: Framing,
}

/// Fetches a URL.
///
/// # Errors
/// If there is no whole reply.
pub async fn get(url: impl Into<String>) -> Result<HttpReply> {
    send(&HttpRequest::new("GET", url)).await
}

/// Posts a body to a URL.
///
/// # Errors
/// If there is no whole reply.
pub async fn post(url: impl Into<String>, body: impl Into<Bytes>) -> Result<HttpReply> {
    send(&HttpRequest::new("POST", url).body(body)).await
}

/// Sends a request on a connection of its own.
///
/// # Errors
/// If there is no whole reply.
pub async fn send(request: &HttpRequest) -> Result<HttpReply> {
    let (authority, target) = split(&request.target)?;
    let mut connection = HttpConnection::open_to(authority).await?;
    let request = HttpRequest {
        target: target.to_owned(),
        ..request.clone()
    };
    let reply = timeout(PATIENCE, connection.send(&request)).await;
    reply.with_context(|| format!("no reply from {authority} in time"))?
}

/// Sends bytes to a port of the loopback address and returns all that comes back as text.
///
/// # Errors
/// If the connection fails or does not end in time.
pub async fn raw(port: u16, bytes: impl AsRef<[u8]>) -> Result<String> {
    let exchange = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.write_all(bytes.as_ref()).await?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await?;
        Ok(String::from_utf8_lossy(&reply).into_owned())
    };
    timeout(PATIENCE, exchange)
        .await
        .context("the connection does not end")?
}

/// Host and port, and the target, of a URL.
pub(super) fn split(url: &str) -> Result<(&str, &str)> {
    let rest = url
        .strip_prefix("http://")
        .with_context(|| format!("no http URL: {url}"))?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    Ok((authority, if target.is_empty() { "/" } else { target }))
}

// === impl HttpConnection ===

impl HttpConnection {
    /// Connects to a port of the loopback address.
    ///
    /// # Errors
    /// If nobody listens there.
    pub async fn open(port: u16) -> Result<Self> {
        Self::open_to(&format!("127.0.0.1:{port}")).await
    }

    async fn open_to(authority: &str) -> Result<Self> {
        let stream = TcpStream::connect(authority)
            .await
            .with_context(|| format!("cannot connect to {authority}"))?;
        stream.set_nodelay(true)?;
        let (reader, writer) = stream.into_split();
        let (host, method) = (authority.to_owned(), String::new());
        Ok(Self {
            host,
            reader: Reader::new(reader),
            writer,
            method,
            framing: Framing::Over,
        })
    }

    /// Sends a request, whose target is path and query, and receives the whole reply.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn send(&mut self, request: &HttpRequest) -> Result<HttpReply> {
        match &request.chunks {
            Some(sizes) => {
                self.send_head(&request.clone().header("Transfer-Encoding", "chunked"))
                    .await?;
                let mut rest = request.body.clone();
                for size in sizes {
                    self.send_chunk(&rest.split_to((*size).min(rest.len()))).await?;
                }
                if !rest.is_empty() {
                    self.send_chunk(&rest).await?;
                }
                self.send_chunk(b"").await?;
            }
            None => {
                let has_length = request.headers.get("content-length").is_some();
                let wants_length =
                    !request.body.is_empty() || ["POST", "PUT", "PATCH"].contains(&request.method.as_str());
                match wants_length && !has_length {
                    true => {
                        let length = request.body.len().to_string();
                        self.send_head(&request.clone().header("Content-Length", length))
                            .await?;
                    }
                    false => self.send_head(request).await?,
                }
                self.writer.write_all(&request.body).await?;
            }
        }
        let mut reply = self.reply_head().await?;
        reply.body = self
            .reader
            .body(self.framing)
            .await
            .context("the reply breaks off")?;
        Ok(reply)
    }

    /// Sends the head of a request, with a `Host` header unless it has one.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn send_head(&mut self, request: &HttpRequest) -> Result<()> {
        self.method.clone_from(&request.method);
        let first_line = format!("{} {} HTTP/1.1", request.method, request.target);
        let host = [("Host", self.host.as_str())];
        let needs_host = usize::from(request.headers.get("host").is_none());
        let headers = host.into_iter().take(needs_host).chain(request.headers.iter());
        write_head(&mut self.writer, &first_line, headers).await?;
        Ok(self.writer.flush().await?)
    }

    /// Sends a chunk of a body; an empty one ends it.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn send_chunk(&mut self, data: &[u8]) -> Result<()> {
        Ok(write_chunk(&mut self.writer, data).await?)
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write_all(bytes).await?;
        Ok(self.writer.flush().await?)
    }

    /// Receives the head of the reply; informational ones are passed over.
    ///
    /// # Errors
    /// If the connection ends or what comes is no HTTP.
    pub async fn reply_head(&mut self) -> Result<HttpReply> {
        loop {
            let head = self
                .reader
                .head()
                .await?
                .context("the connection ended without a reply")?;
            let mut words = head.first_line.splitn(3, ' ');
            if words.next() != Some("HTTP/1.1") {
                bail!("no reply: {}", head.first_line);
            }
            let status = words
                .next()
                .unwrap_or_default()
                .parse()
                .context("a reply without status")?;
            let reason = words.next().unwrap_or_default().to_owned();
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            self.framing = head.response_framing(&self.method, status);
            return Ok(HttpReply {
                status,
                reason,
                headers: head.headers,
                body: Bytes::new(),
            });
        }
    }

    /// Receives the next piece of the reply's body, for chunked ones a chunk; none at its end.
    ///
    /// # Errors
    /// If the body breaks off.
    pub async fn piece(&mut self) -> Result<Option<Bytes>> {
        Ok(self.reader.piece(&mut self.framing).await?)
    }
}
