//! Writes header blocks.

use base64::Engine;
use http::{HeaderMap, request, response};
use outrigger_telemetry::trace::TraceContext;

use super::TABLE_SIZE;
use crate::Status;
use crate::status::{LENIENT, encode_message};
use crate::transport::{GRPC, Rpc, USER_AGENT};

/// Writes the header blocks of one connection, in the order in which they are sent.
#[derive(Debug)]
pub(crate) struct Encoder {
    /// When each field was told to be remembered, counted in such fields.
    remembered: [Option<u32>; Sticky::COUNT],
    count: u32,
    /// Whether the peer keeps a table that is large enough for all sticky fields.
    has_table: bool,
    /// A change of the table's size that the next block must begin with.
    resize: Option<usize>,
    table_size: usize,
}

/// Fields that calls repeat. They fit into the dynamic table together, so that none is ever forgotten.
#[derive(Clone, Copy)]
enum Sticky {
    StreamPath,
    UnaryPath,
    Authority,
    ContentType,
    UserAgent,
    Te,
    TraceParent,
    GrpcTrace,
    StatusOk,
    NoMessage,
}

/// Indexes of the static table.
const AUTHORITY: usize = 1;
const METHOD_POST: usize = 3;
const METHOD: usize = 2;
const PATH: usize = 4;
const SCHEME_HTTP: usize = 6;
const SCHEME: usize = 6;
const STATUS_200: usize = 8;
const STATUS: usize = 8;
const CONTENT_TYPE: usize = 31;
const USER_AGENT_NAME: usize = 58;
const STATIC_COUNT: usize = 61;

/// Room that the sticky fields need, with names and values of the usual length.
const STICKY_SIZE: usize = 1536;

/// Longest authority that is remembered.
const MAX_AUTHORITY: usize = 512;

/// The first bits of a field's form, and how many bits of its first byte are left for an index.
const INDEXED: (u8, u32) = (0x80, 7);
const REMEMBERED: (u8, u32) = (0x40, 6);
const PLAIN: (u8, u32) = (0x00, 4);
const RESIZE: (u8, u32) = (0x20, 5);

// === impl Encoder ===

impl Encoder {
    pub(crate) const fn new() -> Self {
        Self {
            remembered: [None; Sticky::COUNT],
            count: 0,
            has_table: true,
            resize: None,
            table_size: TABLE_SIZE,
        }
    }

    /// Keeps to the size of the table that the peer allows. A table that is too small is given up.
    pub(crate) fn limit_table(&mut self, size: usize) {
        let size = if size < STICKY_SIZE { 0 } else { size };
        if size < self.table_size {
            self.table_size = size;
            self.resize = Some(size);
            self.has_table = size > 0;
        }
    }

    /// The head of a hot call.
    pub(crate) fn call(
        &mut self,
        out: &mut Vec<u8>,
        rpc: Rpc,
        authority: &str,
        trace: Option<&TraceContext>,
    ) {
        self.begin(out);
        put_integer(out, INDEXED, METHOD_POST);
        put_integer(out, INDEXED, SCHEME_HTTP);
        let path = rpc.path().as_bytes();
        match rpc {
            Rpc::Stream => self.sticky(out, Sticky::StreamPath, PATH, "", path),
            Rpc::Unary => self.sticky(out, Sticky::UnaryPath, PATH, "", path),
            Rpc::Upgrade => put_field(out, PLAIN, PATH, "", path),
        }
        if authority.len() <= MAX_AUTHORITY {
            self.sticky(out, Sticky::Authority, AUTHORITY, "", authority.as_bytes());
        } else {
            put_field(out, PLAIN, AUTHORITY, "", authority.as_bytes());
        }
        self.sticky(out, Sticky::ContentType, CONTENT_TYPE, "", GRPC.as_bytes());
        self.sticky(out, Sticky::UserAgent, USER_AGENT_NAME, "", USER_AGENT.as_bytes());
        self.sticky(out, Sticky::Te, 0, "te", b"trailers");
        if let Some(trace) = trace {
            self.sticky_name(
                out,
                Sticky::TraceParent,
                "traceparent",
                &trace.write_traceparent(),
            );
            let mut text = [0; 40];
            let len = LENIENT
                .encode_slice(trace.to_grpc_bin(), &mut text)
                .unwrap_or_default();
            self.sticky_name(out, Sticky::GrpcTrace, "grpc-trace-bin", &text[..len]);
        }
    }

    /// The head of the answer to a gRPC call.
    pub(crate) fn answer(&mut self, out: &mut Vec<u8>) {
        self.begin(out);
        put_integer(out, INDEXED, STATUS_200);
        self.sticky(out, Sticky::ContentType, CONTENT_TYPE, "", GRPC.as_bytes());
    }

    /// The head of an answer that is a status only.
    pub(crate) fn refusal(&mut self, out: &mut Vec<u8>, status: &Status) {
        self.answer(out);
        self.status(out, status);
    }

    /// The trailers of an answer.
    pub(crate) fn end(&mut self, out: &mut Vec<u8>, status: &Status) {
        self.begin(out);
        self.status(out, status);
    }

    /// The head of a raw request.
    pub(crate) fn request(&mut self, out: &mut Vec<u8>, head: &request::Parts) {
        self.begin(out);
        put_field(out, PLAIN, METHOD, "", head.method.as_str().as_bytes());
        put_field(
            out,
            PLAIN,
            SCHEME,
            "",
            head.uri.scheme_str().unwrap_or("http").as_bytes(),
        );
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        put_field(out, PLAIN, PATH, "", path.as_bytes());
        if let Some(authority) = head.uri.authority() {
            put_field(out, PLAIN, AUTHORITY, "", authority.as_str().as_bytes());
        }
        put_map(out, &head.headers);
    }

    /// The head of a raw response.
    pub(crate) fn response(&mut self, out: &mut Vec<u8>, head: &response::Parts) {
        self.begin(out);
        put_field(out, PLAIN, STATUS, "", head.status.as_str().as_bytes());
        put_map(out, &head.headers);
    }

    /// Raw trailers.
    pub(crate) fn trailers(&mut self, out: &mut Vec<u8>, trailers: &HeaderMap) {
        self.begin(out);
        put_map(out, trailers);
    }

    fn begin(&mut self, out: &mut Vec<u8>) {
        if let Some(size) = self.resize.take() {
            put_integer(out, RESIZE, size);
        }
    }

    fn status(&mut self, out: &mut Vec<u8>, status: &Status) {
        if status.code == 0 {
            self.sticky(out, Sticky::StatusOk, 0, "grpc-status", b"0");
        } else {
            put_field(out, PLAIN, 0, "grpc-status", status.code.to_string().as_bytes());
        }
        if status.message.is_empty() {
            self.sticky(out, Sticky::NoMessage, 0, "grpc-message", b"");
        } else {
            put_field(
                out,
                PLAIN,
                0,
                "grpc-message",
                encode_message(&status.message).as_bytes(),
            );
        }
        if !status.details.is_empty() {
            let details = LENIENT.encode(&status.details);
            put_field(out, PLAIN, 0, "grpc-status-details-bin", details.as_bytes());
        }
    }

    /// A field that is always the same.
    fn sticky(&mut self, out: &mut Vec<u8>, field: Sticky, index: usize, name: &str, value: &[u8]) {
        match self.index_of(field) {
            Some(index) => put_integer(out, INDEXED, index),
            None => put_field(out, self.remember(field), index, name, value),
        }
    }

    /// A field of which only the name is always the same.
    fn sticky_name(&mut self, out: &mut Vec<u8>, field: Sticky, name: &str, value: &[u8]) {
        match self.index_of(field) {
            Some(index) => put_field(out, PLAIN, index, "", value),
            None => put_field(out, self.remember(field), 0, name, value),
        }
    }

    fn index_of(&self, field: Sticky) -> Option<usize> {
        let place = self.remembered[field as usize].filter(|_| self.has_table)?;
        Some(STATIC_COUNT + (self.count - place) as usize)
    }

    /// The form in which a field that is not known to the peer is sent.
    fn remember(&mut self, field: Sticky) -> (u8, u32) {
        if !self.has_table {
            return PLAIN;
        }
        self.remembered[field as usize] = Some(self.count);
        self.count += 1;
        REMEMBERED
    }
}

// === impl Sticky ===

impl Sticky {
    const COUNT: usize = Self::NoMessage as usize + 1;
}

/// The fields of a map, without those that HTTP/2 forbids (RFC 9113, 8.2.2).
fn put_map(out: &mut Vec<u8>, map: &HeaderMap) {
    for (name, value) in map {
        match name.as_str() {
            "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" | "host" => {}
            "te" if value != "trailers" => {}
            name => put_field(out, PLAIN, 0, name, value.as_bytes()),
        }
    }
}

/// A field whose name is at `index`, or is `name` if the index is 0.
fn put_field(out: &mut Vec<u8>, form: (u8, u32), index: usize, name: &str, value: &[u8]) {
    put_integer(out, form, index);
    if index == 0 {
        put_string(out, name.as_bytes());
    }
    put_string(out, value);
}

fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    put_integer(out, (0, 7), text.len());
    out.extend_from_slice(text);
}

/// An integer (RFC 7541, 5.1) behind the first bits of a form.
fn put_integer(out: &mut Vec<u8>, (first, bits): (u8, u32), mut value: usize) {
    let mask = (1_usize << bits) - 1;
    if value < mask {
        out.push(first | value as u8);
        return;
    }
    out.push(first | mask as u8);
    value -= mask;
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
