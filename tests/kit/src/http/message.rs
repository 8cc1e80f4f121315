//! Requests and responses.

use anyhow::Context as _;
use bytes::Bytes;
use tokio::sync::mpsc;

use crate::Result;

/// Headers in the order and the case in which they came or are to go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

/// A request: one that an app received, or one that a client sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRequest {
    /// The verb.
    pub method: String,
    /// Path and query as they are on the wire; for a client the whole URL.
    pub target: String,
    /// The headers.
    pub headers: Headers,
    /// The whole body.
    pub body: Bytes,
    /// Sends the body in chunks of these sizes, the rest in one, rather than with a length.
    pub chunks: Option<Vec<usize>>,
    /// Number of the connection that it came by, from 0; apps only.
    pub connection: u64,
}

/// A response that an app gives.
#[derive(Debug)]
pub struct HttpResponse {
    /// The status code, any number.
    pub status: u16,
    /// Headers beside those that frame the body.
    pub headers: Headers,
    /// The body.
    pub body: HttpBody,
}

/// The body of a response.
#[derive(Debug)]
pub enum HttpBody {
    /// Bytes with a `Content-Length`.
    Full(Bytes),
    /// Chunks, each of them written at once.
    Stream(mpsc::Receiver<Piece>),
    /// No body and no header about one.
    Absent,
}

/// A part of a streamed body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes of one chunk.
    Data(Bytes),
    /// The connection breaks here.
    Cut,
}

/// Where the pieces of a streamed body are put.
pub type PieceSender = mpsc::Sender<Piece>;

/// A response that a client received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpReply {
    /// The status code.
    pub status: u16,
    /// The text beside it; empty on HTTP/2.
    pub reason: String,
    /// The headers.
    pub headers: Headers,
    /// The whole body.
    pub body: Bytes,
}

// === impl Headers ===

impl Headers {
    /// The first value of a header, whatever its case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of a header, whatever its case.
    pub fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a str> + use<'a, 'n> {
        let same = move |(own, _): &&(String, String)| own.eq_ignore_ascii_case(name);
        self.0.iter().filter(same).map(|(_, value)| value.as_str())
    }

    /// The names in their order and case.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Adds a header.
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }

    /// The headers in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl From<&http::HeaderMap> for Headers {
    fn from(map: &http::HeaderMap) -> Self {
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Self(
            map.iter()
                .map(|(name, value)| (name.to_string(), text(value)))
                .collect(),
        )
    }
}

// === impl HttpRequest ===

impl HttpRequest {
    /// A request of a client; `url` is sent as it is written.
    pub fn new(method: &str, url: impl Into<String>) -> Self {
        Self {
            method: method.to_owned(),
            target: url.into(),
            ..Self::default()
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the body in chunks of these sizes, the rest in one.
    #[must_use]
    pub fn chunked(mut self, sizes: impl Into<Vec<usize>>) -> Self {
        self.chunks = Some(sizes.into());
        self
    }

    /// The path of the target.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// The query of the target, without the question mark.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        Some(self.target.split_once('?')?.1)
    }

    /// The body as text; bytes that are none are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

// === impl HttpResponse ===

impl HttpResponse {
    /// A response with a status and a text.
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            headers: Headers::default(),
            body: HttpBody::Full(body.into()),
        }
    }

    /// A response with status 200 and a text.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::new(200, body)
    }

    /// A response with status 200 and a JSON text.
    #[must_use]
    pub fn json(value: &serde_json::Value) -> Self {
        Self::ok(value.to_string()).header("Content-Type", "application/json")
    }

    /// A response whose chunks are sent as they are put into the sender.
    #[must_use]
    pub fn stream(status: u16) -> (Self, PieceSender) {
        let (sender, pieces) = mpsc::channel(16);
        (
            Self {
                status,
                headers: Headers::default(),
                body: HttpBody::Stream(pieces),
            },
            sender,
        )
    }

    /// A response of server-sent events, `data: <event>` each.
    #[must_use]
    pub fn events<E: AsRef<str>>(events: impl IntoIterator<Item = E>) -> Self {
        let events: Vec<_> = events
            .into_iter()
            .map(|event| format!("data: {}\n\n", event.as_ref()))
            .collect();
        let (sender, pieces) = mpsc::channel(events.len().max(1));
        for event in events {
            sender
                .try_send(Piece::Data(event.into()))
                .expect("the channel has room for all");
        }
        let mut headers = Headers::default();
        headers.push("Content-Type", "text/event-stream");
        Self {
            status: 200,
            headers,
            body: HttpBody::Stream(pieces),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(name, value);
        self
    }

    /// A response without body and without a word about one.
    #[must_use]
    pub fn without_body(mut self) -> Self {
        self.body = HttpBody::Absent;
        self
    }
}

// === impl HttpReply ===

impl HttpReply {
    /// The body as text; bytes that are none are replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// If it is none.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {}", self.text()))
    }

    /// The first value of a header, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }
}
