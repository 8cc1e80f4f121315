//! One call and its answer, whichever surface they came by.

use std::fmt;

use bytes::Bytes;
use http::Method;
use outrigger_svc::Body;

use crate::codec::V1;
use crate::{Metadata, Text};

/// One call to a method of an app, as it travels from sidecar to sidecar.
#[derive(Debug, Default)]
pub struct Invocation {
    /// Version of the contract; [`V1`] is the only one there is.
    pub version: i32,
    /// Name of the method: a cleaned path without a leading slash, or a gRPC method name.
    pub method: Text,
    /// Verb and query of an HTTP call; absent if a gRPC caller gave none.
    pub http: Option<HttpExtension>,
    /// Content type of the body; may be empty.
    pub content_type: Text,
    /// Type URL of the body, when it is a packed protobuf message; else empty.
    pub type_url: Text,
    /// HTTP headers or gRPC metadata of the call, in the letter case of the wire.
    pub metadata: Metadata,
    /// Body of the call.
    pub body: Body,
    /// Whether the length of the body is unknown, so that it must be neither buffered nor sent again.
    pub streaming: bool,
    /// Whether the client wants to leave HTTP for WebSocket. If the answer is 101, both bodies are the bytes
    /// of the connection from there on; until then the body of the call has none.
    pub upgrade: bool,
}

/// An [`Invocation`] without its body, of which calls are made that all say the same.
#[derive(Clone, Debug)]
pub struct InvocationHead {
    version: i32,
    method: Text,
    http: Option<HttpExtension>,
    content_type: Text,
    type_url: Text,
    metadata: Metadata,
    streaming: bool,
    upgrade: bool,
}

/// Verb and query that accompany a call which came or leaves by HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpExtension {
    /// HTTP method.
    pub verb: Verb,
    /// Query string without the question mark, encoded as the client sent it.
    pub query: Text,
}

/// Number of an HTTP method in the contract; numbers that have no name pass through unchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Verb(pub i32);

/// The answer to an [`Invocation`].
#[derive(Debug, Default)]
pub struct Reply {
    /// Status of the app's answer.
    pub status: ReplyStatus,
    /// HTTP headers or gRPC header metadata.
    pub headers: Metadata,
    /// gRPC trailer metadata; empty for HTTP apps.
    pub trailers: Metadata,
    /// Content type of the body; may be empty.
    pub content_type: Text,
    /// Type URL of the body of a gRPC app; else empty.
    pub type_url: Text,
    /// Body of the answer.
    pub body: Body,
}

/// Status of an app's answer: an HTTP status from 100 on, a gRPC code below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyStatus {
    /// HTTP status or gRPC code.
    pub code: i32,
    /// Message of a gRPC status.
    pub message: Text,
    /// Details of a gRPC status; each is an encoded `google.protobuf.Any`.
    pub details: Vec<Bytes>,
}

// === impl Invocation ===

impl Invocation {
    /// A call of `method` without metadata and body.
    #[must_use]
    pub fn new(method: impl Into<Text>) -> Self {
        Self {
            version: V1,
            method: method.into(),
            ..Self::default()
        }
    }

    /// Makes a call that wants to leave HTTP an ordinary one without a body, for an app that cannot follow it.
    pub fn stay_in_http(&mut self) {
        if std::mem::take(&mut self.upgrade) {
            self.body = Body::empty();
            self.streaming = false;
        }
    }

    /// Whether an HTTP caller asked for server-sent events: the exact key `Accept` with `text/event-stream`
    /// as its first value, in any case.
    ///
    /// Source: specification, service invocation 6.3.
    #[must_use]
    pub fn wants_events(&self) -> bool {
        self.metadata
            .first_bytes("Accept")
            .is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
    }
}

// === impl InvocationHead ===

impl InvocationHead {
    /// Takes a call apart.
    #[must_use]
    pub fn split(call: Invocation) -> (Self, Body) {
        let Invocation {
            version,
            method,
            http,
            content_type,
            type_url,
            metadata,
            body,
            streaming,
            upgrade,
        } = call;
        let head = Self {
            version,
            method,
            http,
            content_type,
            type_url,
            metadata,
            streaming,
            upgrade,
        };
        (head, body)
    }

    /// A call with this body.
    #[must_use]
    pub fn with_body(self, body: Body) -> Invocation {
        let Self {
            version,
            method,
            http,
            content_type,
            type_url,
            metadata,
            streaming,
            upgrade,
        } = self;
        Invocation {
            version,
            method,
            http,
            content_type,
            type_url,
            metadata,
            body,
            streaming,
            upgrade,
        }
    }

    /// Whether the length of the body was unknown, so that it must not be sent again.
    #[must_use]
    pub const fn is_streaming(&self) -> bool {
        self.streaming
    }
}

// === impl Verb ===

impl Verb {
    /// No verb; HTTP app channels refuse it.
    pub const NONE: Self = Self(0);
    /// `GET`.
    pub const GET: Self = Self(1);
    /// `HEAD`.
    pub const HEAD: Self = Self(2);
    /// `POST`.
    pub const POST: Self = Self(3);
    /// `PUT`.
    pub const PUT: Self = Self(4);
    /// `DELETE`.
    pub const DELETE: Self = Self(5);
    /// `CONNECT`; HTTP app channels refuse it.
    pub const CONNECT: Self = Self(6);
    /// `OPTIONS`.
    pub const OPTIONS: Self = Self(7);
    /// `TRACE`.
    pub const TRACE: Self = Self(8);
    /// `PATCH`.
    pub const PATCH: Self = Self(9);

    const NAMES: [&'static str; 10] = [
        "NONE", "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
    ];

    /// The verb of an HTTP method in any letter case; methods that have no number are sent as `POST`.
    ///
    /// Source: specification, service invocation 3.4.
    #[must_use]
    pub fn from_method(method: &Method) -> Self {
        let number = Self::NAMES
            .iter()
            .position(|name| name.eq_ignore_ascii_case(method.as_str()));
        number
            .and_then(|number| i32::try_from(number).ok())
            .map_or(Self::POST, Self)
    }

    /// The HTTP method; none for [`Self::NONE`] and for numbers without a name.
    #[must_use]
    pub fn to_method(self) -> Option<Method> {
        match self {
            Self::GET => Some(Method::GET),
            Self::HEAD => Some(Method::HEAD),
            Self::POST => Some(Method::POST),
            Self::PUT => Some(Method::PUT),
            Self::DELETE => Some(Method::DELETE),
            Self::CONNECT => Some(Method::CONNECT),
            Self::OPTIONS => Some(Method::OPTIONS),
            Self::TRACE => Some(Method::TRACE),
            Self::PATCH => Some(Method::PATCH),
            _ => None,
        }
    }

    /// Name of the verb, if the number has one.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        usize::try_from(self.0)
            .ok()
            .and_then(|number| Self::NAMES.get(number))
            .copied()
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

// === impl ReplyStatus ===

impl ReplyStatus {
    /// The status of an app that leaves HTTP.
    pub const SWITCHING_PROTOCOLS: i32 = 101;

    /// A status that is a number only.
    #[must_use]
    pub fn new(code: i32) -> Self {
        Self {
            code,
            ..Self::default()
        }
    }

    /// Whether an app leaves HTTP.
    #[must_use]
    pub const fn is_switching(&self) -> bool {
        self.code == Self::SWITCHING_PROTOCOLS
    }

    /// Whether an HTTP app answered.
    #[must_use]
    pub const fn is_http(&self) -> bool {
        self.code >= 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_have_the_numbers_of_the_contract() {
        let cases = [
            ("GET", 1),
            ("HEAD", 2),
            ("POST", 3),
            ("PUT", 4),
            ("DELETE", 5),
            ("CONNECT", 6),
            ("OPTIONS", 7),
            ("TRACE", 8),
            ("PATCH", 9),
            ("NONE", 0),
            ("get", 1),
            ("PROPFIND", 3),
        ];
        for (method, number) in cases {
            assert_eq!(Verb::from_method(&method.parse().unwrap()).0, number, "{method}");
        }
        assert_eq!(Verb::NONE.to_method(), None);
        assert_eq!(Verb(77).to_string(), "77");
        for number in 1..=9 {
            let verb = Verb(number);
            assert_eq!(Verb::from_method(&verb.to_method().unwrap()), verb);
        }
    }

    #[test]
    fn only_the_canonical_accept_header_asks_for_events() {
        let cases = [
            ("Accept", "text/event-stream", true),
            ("Accept", " Text/Event-Stream ", true),
            ("accept", "text/event-stream", false),
            ("Accept", "text/event-stream, */*", false),
        ];
        for (name, value, expected) in cases {
            let mut call = Invocation::new("m");
            call.metadata.push(name, value);
            assert_eq!(call.wants_events(), expected, "{name}: {value}");
        }
    }
}
