//! Writes the hot messages: measures, then writes.

use super::wire::{
    field_len, int32, number_len, optional_len, put_field, put_head, put_number, put_optional,
};
use super::{EncodeError, PREFIX, Piece};
use crate::{Invocation, Metadata, Reply};

/// Writes the first message of a streamed call, up to the bytes of `piece`, which must follow.
///
/// # Errors
/// If the message with its piece is longer than `max`, or a value of the metadata is not UTF-8.
pub fn encode_request_chunk(
    out: &mut Vec<u8>,
    max: usize,
    call: &Invocation,
    piece: Option<Piece>,
) -> Result<(), EncodeError> {
    let any = Any::without_value(&call.type_url);
    let request = Request::measure(call, any)?;
    let payload = piece.map(Payload::measure);
    let tail = payload.map_or(0, |payload| payload.field_len());
    put_prefix(out, max, field_len(request.len) + tail)?;
    put_head(out, 1, request.len);
    request.write(out);
    if let Some(payload) = payload {
        payload.write(out);
    }
    Ok(())
}

/// Writes the first message of a streamed answer, up to the bytes of `piece`, which must follow.
///
/// A stream of `events` has the status code 0 and no message.
///
/// # Errors
/// If the message with its piece is longer than `max`, or a value of the headers is not UTF-8.
pub fn encode_response_chunk(
    out: &mut Vec<u8>,
    max: usize,
    reply: &Reply,
    events: bool,
    piece: Option<Piece>,
) -> Result<(), EncodeError> {
    let any = Any::without_value(&reply.type_url);
    let mut response = Response::measure(reply, any)?;
    if events {
        response.become_events();
    }
    let payload = piece.map(Payload::measure);
    let tail = payload.map_or(0, |payload| payload.field_len());
    put_prefix(out, max, field_len(response.len) + tail)?;
    put_head(out, 1, response.len);
    response.write(out);
    if let Some(payload) = payload {
        payload.write(out);
    }
    Ok(())
}

/// Writes a message after the first, in either direction, up to the bytes of `piece`, which must follow.
///
/// A stream of `events` repeats an empty head in each message.
///
/// # Errors
/// If the message with its piece is longer than `max`.
pub fn encode_tail_chunk(
    out: &mut Vec<u8>,
    max: usize,
    events: bool,
    piece: Piece,
) -> Result<(), EncodeError> {
    let payload = Payload::measure(piece);
    let head = if events { field_len(0) } else { 0 };
    put_prefix(out, max, head + payload.field_len())?;
    if events {
        put_head(out, 1, 0);
    }
    payload.write(out);
    Ok(())
}

/// Writes the one message of a unary call with its whole body.
///
/// # Errors
/// If the message is longer than `max`, or a value of the metadata is not UTF-8.
pub fn encode_request(
    out: &mut Vec<u8>,
    max: usize,
    call: &Invocation,
    data: &[u8],
) -> Result<(), EncodeError> {
    let request = Request::measure(call, Some(Any::new(&call.type_url, data)))?;
    put_prefix(out, max, request.len)?;
    request.write(out);
    Ok(())
}

/// Writes the one message of a unary answer with its whole body.
///
/// # Errors
/// If the message is longer than `max`, or a value of the headers is not UTF-8.
pub fn encode_response(out: &mut Vec<u8>, max: usize, reply: &Reply, data: &[u8]) -> Result<(), EncodeError> {
    let response = Response::measure(reply, Some(Any::new(&reply.type_url, data)))?;
    put_prefix(out, max, response.len)?;
    response.write(out);
    Ok(())
}

/// `InternalInvokeRequest` with the lengths of its parts.
struct Request<'a> {
    call: &'a Invocation,
    any: Option<Any<'a>>,
    extension: usize,
    message: usize,
    len: usize,
}

/// `InternalInvokeResponse` with the lengths of its parts.
struct Response<'a> {
    reply: &'a Reply,
    any: Option<Any<'a>>,
    code: i32,
    status: usize,
    /// None if the message is left out.
    message: Option<usize>,
    len: usize,
}

/// `google.protobuf.Any` with its length.
struct Any<'a> {
    type_url: &'a [u8],
    value: &'a [u8],
    len: usize,
}

/// `StreamPayload` with its length; the data comes last.
#[derive(Clone, Copy)]
struct Payload {
    piece: Piece,
    len: usize,
}

// === impl Request ===

impl<'a> Request<'a> {
    fn measure(call: &'a Invocation, any: Option<Any<'a>>) -> Result<Self, EncodeError> {
        let extension = call.http.as_ref().map_or(0, |http| {
            number_len(int32(http.verb.0)) + optional_len(http.query.as_bytes().len())
        });
        let message = optional_len(call.method.as_bytes().len())
            + any.as_ref().map_or(0, |any| field_len(any.len))
            + optional_len(call.content_type.as_bytes().len())
            + call.http.as_ref().map_or(0, |_| field_len(extension));
        let len = number_len(int32(call.version)) + metadata_len(&call.metadata)? + field_len(message);
        Ok(Self {
            call,
            any,
            extension,
            message,
            len,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_number(out, 1, int32(self.call.version));
        put_metadata(out, 2, &self.call.metadata);
        put_head(out, 3, self.message);
        put_optional(out, 1, self.call.method.as_bytes());
        if let Some(any) = &self.any {
            any.write(out, 2);
        }
        put_optional(out, 3, self.call.content_type.as_bytes());
        if let Some(http) = &self.call.http {
            put_head(out, 4, self.extension);
            put_number(out, 1, int32(http.verb.0));
            put_optional(out, 2, http.query.as_bytes());
        }
    }
}

// === impl Response ===

impl<'a> Response<'a> {
    fn measure(reply: &'a Reply, any: Option<Any<'a>>) -> Result<Self, EncodeError> {
        let details: usize = reply.status.details.iter().map(|any| field_len(any.len())).sum();
        let status = number_len(int32(reply.status.code))
            + optional_len(reply.status.message.as_bytes().len())
            + details;
        let message = any.as_ref().map_or(0, |any| field_len(any.len))
            + optional_len(reply.content_type.as_bytes().len());
        let len = field_len(status)
            + metadata_len(&reply.headers)?
            + metadata_len(&reply.trailers)?
            + field_len(message);
        Ok(Self {
            reply,
            any,
            code: reply.status.code,
            status,
            message: Some(message),
            len,
        })
    }

    fn become_events(&mut self) {
        let status = self.status - number_len(int32(self.code));
        self.len -= field_len(self.status) - field_len(status);
        self.status = status;
        self.code = 0;
        if let Some(message) = self.message.take() {
            self.len -= field_len(message);
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_head(out, 1, self.status);
        put_number(out, 1, int32(self.code));
        put_optional(out, 2, self.reply.status.message.as_bytes());
        for any in &self.reply.status.details {
            put_field(out, 3, any);
        }
        put_metadata(out, 2, &self.reply.headers);
        put_metadata(out, 3, &self.reply.trailers);
        if let Some(message) = self.message {
            put_head(out, 4, message);
            if let Some(any) = &self.any {
                any.write(out, 1);
            }
            put_optional(out, 2, self.reply.content_type.as_bytes());
        }
    }
}

// === impl Any ===

impl<'a> Any<'a> {
    fn new(type_url: &'a crate::Text, value: &'a [u8]) -> Self {
        let type_url = type_url.as_bytes();
        Self {
            type_url,
            value,
            len: optional_len(type_url.len()) + optional_len(value.len()),
        }
    }

    /// What a streamed message says of its body: the type, if it has one.
    fn without_value(type_url: &'a crate::Text) -> Option<Self> {
        (!type_url.is_empty()).then(|| Self::new(type_url, &[]))
    }

    fn write(&self, out: &mut Vec<u8>, number: u8) {
        put_head(out, number, self.len);
        put_optional(out, 1, self.type_url);
        put_optional(out, 2, self.value);
    }
}

// === impl Payload ===

impl Payload {
    fn measure(piece: Piece) -> Self {
        Self {
            piece,
            len: number_len(piece.seq) + optional_len(piece.len),
        }
    }

    const fn field_len(&self) -> usize {
        field_len(self.len)
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_head(out, 2, self.len);
        put_number(out, 2, self.piece.seq);
        if self.piece.len > 0 {
            put_head(out, 1, self.piece.len);
        }
    }
}

/// Writes the gRPC prefix of a message of `len` bytes.
fn put_prefix(out: &mut Vec<u8>, max: usize, len: usize) -> Result<(), EncodeError> {
    let max = max.min(i32::MAX as usize);
    let Some(narrow) = u32::try_from(len).ok().filter(|_| len <= max) else {
        return Err(EncodeError::TooLarge { len, max });
    };
    out.reserve(PREFIX + len);
    out.push(0);
    out.extend_from_slice(&narrow.to_be_bytes());
    Ok(())
}

/// Length of a map from names to lists of values, as a field with a one-byte tag.
fn metadata_len(metadata: &Metadata) -> Result<usize, EncodeError> {
    let mut len = 0;
    for (name, values) in metadata.groups() {
        let mut list = 0;
        for value in values {
            if !value.is_ascii() && std::str::from_utf8(value).is_err() {
                return Err(EncodeError::NotUtf8);
            }
            list += field_len(value.len());
        }
        len += field_len(optional_len(name.len()) + field_len(list));
    }
    Ok(len)
}

fn put_metadata(out: &mut Vec<u8>, number: u8, metadata: &Metadata) {
    for (name, values) in metadata.groups() {
        let list = values.clone().map(|value| field_len(value.len())).sum();
        put_head(out, number, optional_len(name.len()) + field_len(list));
        put_optional(out, 1, name);
        put_head(out, 2, list);
        for value in values {
            put_field(out, 1, value);
        }
    }
}
