//! Reads the hot messages; everything read borrows from the received message.

use std::ops::Range;

use bytes::Bytes;

use super::Payload;
use super::wire::{DecodeError, Field, Reader};
use crate::metadata::Span;
use crate::{HttpExtension, Invocation, Metadata, Reply, Text, Verb};

/// A message of a streamed call.
#[derive(Debug, Default)]
pub struct RequestChunk {
    /// The head; in the first message only.
    pub request: Option<RequestHead>,
    /// A piece of the body.
    pub payload: Option<Payload>,
}

/// Everything of a call but its body.
#[derive(Debug, Default)]
pub struct RequestHead {
    /// The call; its body is empty.
    pub call: Invocation,
    /// Body inside the message, as unary calls have it.
    pub data: Bytes,
    /// Whether there was metadata.
    pub has_metadata: bool,
    /// Whether there was a message.
    pub has_message: bool,
}

/// A message of a streamed answer.
#[derive(Debug, Default)]
pub struct ResponseChunk {
    /// The head; in the first message, or empty in later ones of a stream of events.
    pub response: Option<ResponseHead>,
    /// A piece of the body.
    pub payload: Option<Payload>,
}

/// Everything of an answer but its body.
#[derive(Debug, Default)]
pub struct ResponseHead {
    /// The answer; its body is empty.
    pub reply: Reply,
    /// Body inside the message, as unary answers have it.
    pub data: Bytes,
    /// Whether there was a status.
    pub has_status: bool,
    /// Whether there were headers.
    pub has_headers: bool,
    /// Whether there was a message.
    pub has_message: bool,
}

/// Reads `InternalInvokeRequestStream`.
///
/// # Errors
/// If the bytes are no such message.
pub fn decode_request_chunk(bytes: &Bytes) -> Result<RequestChunk, DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut chunk = RequestChunk::default();
    while let Some(field) = reader.next_field()? {
        match field {
            Field::Bytes(1, range) => {
                let head = chunk.request.get_or_insert_default();
                read_request(reader.nested(&range), bytes, head)?;
            }
            Field::Bytes(2, range) => {
                read_payload(
                    reader.nested(&range),
                    bytes,
                    chunk.payload.get_or_insert_default(),
                )?;
            }
            _ => {}
        }
    }
    Ok(chunk)
}

/// Reads `InternalInvokeResponseStream`.
///
/// # Errors
/// If the bytes are no such message.
pub fn decode_response_chunk(bytes: &Bytes) -> Result<ResponseChunk, DecodeError> {
    let mut reader = Reader::new(bytes);
    let mut chunk = ResponseChunk::default();
    while let Some(field) = reader.next_field()? {
        match field {
            Field::Bytes(1, range) => {
                let head = chunk.response.get_or_insert_default();
                read_response(reader.nested(&range), bytes, head)?;
            }
            Field::Bytes(2, range) => {
                read_payload(
                    reader.nested(&range),
                    bytes,
                    chunk.payload.get_or_insert_default(),
                )?;
            }
            _ => {}
        }
    }
    Ok(chunk)
}

/// Reads `InternalInvokeRequest`.
///
/// # Errors
/// If the bytes are no such message.
pub fn decode_request(bytes: &Bytes) -> Result<RequestHead, DecodeError> {
    let mut head = RequestHead::default();
    read_request(Reader::new(bytes), bytes, &mut head)?;
    Ok(head)
}

/// Reads `InternalInvokeResponse`.
///
/// # Errors
/// If the bytes are no such message.
pub fn decode_response(bytes: &Bytes) -> Result<ResponseHead, DecodeError> {
    let mut head = ResponseHead::default();
    read_response(Reader::new(bytes), bytes, &mut head)?;
    Ok(head)
}

// === impl RequestChunk ===

impl RequestChunk {
    /// Whether a message after the first holds what only the first may hold.
    #[must_use]
    pub fn repeats_head(&self) -> bool {
        self.request
            .as_ref()
            .is_some_and(|head| head.has_metadata || head.has_message)
    }
}

// === impl ResponseChunk ===

impl ResponseChunk {
    /// Whether a message after the first holds what only the first may hold.
    #[must_use]
    pub fn repeats_head(&self) -> bool {
        let head = self.response.as_ref();
        head.is_some_and(|head| head.has_status || head.has_headers || head.has_message)
    }
}

fn read_request(mut reader: Reader<'_>, frame: &Bytes, head: &mut RequestHead) -> Result<(), DecodeError> {
    while let Some(field) = reader.next_field()? {
        match field {
            Field::Varint(1, value) => head.call.version = int32(value),
            Field::Bytes(2, range) => {
                head.has_metadata = true;
                read_entry(&reader.nested(&range), frame, &mut head.call.metadata)?;
            }
            Field::Bytes(3, range) => {
                head.has_message = true;
                read_invoke_request(reader.nested(&range), frame, head)?;
            }
            _ => {}
        }
    }
    head.call.metadata.finish_decoded();
    Ok(())
}

fn read_invoke_request(
    mut reader: Reader<'_>,
    frame: &Bytes,
    head: &mut RequestHead,
) -> Result<(), DecodeError> {
    while let Some(field) = reader.next_field()? {
        match field {
            Field::Bytes(1, range) => head.call.method = text(frame, &range)?,
            Field::Bytes(2, range) => {
                read_any(
                    reader.nested(&range),
                    frame,
                    &mut head.call.type_url,
                    &mut head.data,
                )?;
            }
            Field::Bytes(3, range) => head.call.content_type = text(frame, &range)?,
            Field::Bytes(4, range) => {
                let http = head.call.http.get_or_insert_default();
                read_http_extension(reader.nested(&range), frame, http)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn read_http_extension(
    mut reader: Reader<'_>,
    frame: &Bytes,
    http: &mut HttpExtension,
) -> Result<(), DecodeError> {
    while let Some(field) = reader.next_field()? {
        match field {
            Field::Varint(1, value) => http.verb = Verb(int32(value)),
            Field::Bytes(2, range) => http.query = text(frame, &range)?,
            _ => {}
        }
    }
    Ok(())
}

fn read_response(mut reader: Reader<'_>, frame: &Bytes, head: &mut ResponseHead) -> Result<(), DecodeError> {
    while let Some(field) = reader.next_field()? {
        match field {
            Field::Bytes(1, range) => {
                head.has_status = true;
                read_status(reader.nested(&range), frame, &mut head.reply)?;
            }
            Field::Bytes(2, range) => {
                head.has_headers = true;
                read_entry(&reader.nested(&range), frame, &mut head.reply.headers)?;
            }
            Field::Bytes(3, range) => read_entry(&reader.nested(&range), frame, &mut head.reply.trailers)?,
            Field::Bytes(4, range) => {
                head.has_message = true;
                read_invoke_response(reader.nested(&range), frame, head)?;
            }
            _ => {}
        }
    }
    head.reply.headers.finish_decoded();
    head.reply.trailers.finish_decoded();
    Ok(())
}

fn read_status(mut reader: Reader<'_>, frame: &Bytes, reply: &mut Reply) -> Result<(), DecodeError> {
    while let Some(field) = reader.next_field()? {
        match field {
            Field::Varint(1, value) => reply.status.code = int32(value),
            Field::Bytes(2, range) => reply.status.message = text(frame, &range)?,
            Field::Bytes(3, range) => reply.status.details.push(frame.slice(range)),
            _ => {}
        }
    }
    Ok(())
}

fn read_invoke_response(
    mut reader: Reader<'_>,
    frame: &Bytes,
    head: &mut ResponseHead,
) -> Result<(), DecodeError> {
    while let Some(field) = reader.next_field()? {
        match field {
            Field::Bytes(1, range) => {
                read_any(
                    reader.nested(&range),
                    frame,
                    &mut head.reply.type_url,
                    &mut head.data,
                )?;
            }
            Field::Bytes(2, range) => head.reply.content_type = text(frame, &range)?,
            _ => {}
        }
    }
    Ok(())
}

fn read_any(
    mut reader: Reader<'_>,
    frame: &Bytes,
    type_url: &mut Text,
    value: &mut Bytes,
) -> Result<(), DecodeError> {
    while let Some(field) = reader.next_field()? {
        match field {
            Field::Bytes(1, range) => *type_url = text(frame, &range)?,
            Field::Bytes(2, range) => *value = frame.slice(range),
            _ => {}
        }
    }
    Ok(())
}

fn read_payload(mut reader: Reader<'_>, frame: &Bytes, payload: &mut Payload) -> Result<(), DecodeError> {
    while let Some(field) = reader.next_field()? {
        match field {
            Field::Bytes(1, range) => payload.data = frame.slice(range),
            Field::Varint(2, value) => payload.seq = value,
            _ => {}
        }
    }
    Ok(())
}

/// Reads one entry of a map; as in every protobuf map the last one of a name counts.
fn read_entry(reader: &Reader<'_>, frame: &Bytes, metadata: &mut Metadata) -> Result<(), DecodeError> {
    let mut name = 0..0;
    let mut fields = reader.clone();
    while let Some(field) = fields.next_field()? {
        if let Field::Bytes(1, range) = field {
            name = range;
        }
    }
    reader.check_utf8(&name)?;
    metadata.begin_decoded(frame, reader.bytes(&name));
    let mut fields = reader.clone();
    while let Some(field) = fields.next_field()? {
        if let Field::Bytes(2, range) = field {
            let mut list = reader.nested(&range);
            while let Some(field) = list.next_field()? {
                if let Field::Bytes(1, value) = field {
                    reader.check_utf8(&value)?;
                    metadata.push_span(Span::on_wire(&name), Span::on_wire(&value));
                }
            }
        }
    }
    Ok(())
}

fn text(frame: &Bytes, range: &Range<usize>) -> Result<Text, DecodeError> {
    Text::from_utf8(frame.slice(range.clone())).map_err(|_| DecodeError::NotUtf8)
}

/// Numbers of 32 bits travel as numbers of 64 and are cut.
const fn int32(value: u64) -> i32 {
    (value & 0xffff_ffff) as u32 as i32
}
