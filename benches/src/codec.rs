//! The hot messages, by the hand-written codec and by prost.

use std::hint::black_box;

use bytes::{BufMut, Bytes};
use http::HeaderMap;
use outrigger_api::internals::{InternalInvokeRequestStream, InternalInvokeResponseStream};
use outrigger_link::codec::{
    PREFIX, Piece, decode_request_chunk, decode_response_chunk, encode_request_chunk, encode_response_chunk,
};
use outrigger_link::{Invocation, Metadata, Reply};
use outrigger_telemetry::trace::TraceContext;
use prost::Message;

use crate::samples::MAX_MESSAGE;
use crate::{Meter, peer, samples};

const STAGE: &str = "codec";

pub(crate) fn measure(meter: &mut impl Meter) {
    for (size, len) in [("no body", 0), ("1 KiB", 1024)] {
        let body = samples::body(len);
        requests(meter, size, &body);
        responses(meter, size, &body);
    }
    ways(meter);
}

fn requests(meter: &mut impl Meter, size: &str, body: &Bytes) {
    let (ours, theirs) = (
        samples::call(),
        peer::request(&samples::client_headers(), body.clone()),
    );
    let mut out = Vec::new();
    write_request(&mut out, &ours, body);
    let message = Bytes::copy_from_slice(&out[PREFIX..]);
    let read = InternalInvokeRequestStream::decode(message.clone()).expect("prost reads what we write");
    assert_eq!(read, theirs, "both codecs say the same");

    meter.measure(STAGE, &format!("encode a request, {size}"), || {
        write_request(&mut out, black_box(&ours), body);
    });
    meter.measure(STAGE, &format!("encode a request, {size}, prost"), || {
        write(&mut out, black_box(&theirs))
    });
    meter.measure(STAGE, &format!("decode a request, {size}"), || {
        decode_request_chunk(black_box(&message))
    });
    meter.measure(STAGE, &format!("decode a request, {size}, prost"), || {
        InternalInvokeRequestStream::decode(black_box(&message).clone())
    });
}

fn responses(meter: &mut impl Meter, size: &str, body: &Bytes) {
    let (ours, theirs) = (samples::reply(), peer::response(body.clone()));
    let mut out = Vec::new();
    write_response(&mut out, &ours, body);
    let message = Bytes::copy_from_slice(&out[PREFIX..]);
    let read = InternalInvokeResponseStream::decode(message.clone()).expect("prost reads what we write");
    assert_eq!(read, theirs, "both codecs say the same");

    meter.measure(STAGE, &format!("encode an answer, {size}"), || {
        write_response(&mut out, black_box(&ours), body);
    });
    meter.measure(STAGE, &format!("encode an answer, {size}, prost"), || {
        write(&mut out, black_box(&theirs))
    });
    meter.measure(STAGE, &format!("decode an answer, {size}"), || {
        decode_response_chunk(black_box(&message))
    });
    meter.measure(STAGE, &format!("decode an answer, {size}, prost"), || {
        InternalInvokeResponseStream::decode(black_box(&message).clone())
    });
}

/// The whole way of the headers of a request, from the client's to the app's.
fn ways(meter: &mut impl Meter) {
    let headers = samples::client_headers();
    let mut out = Vec::new();
    headers_to_message(&mut out, &headers);
    let message = Bytes::copy_from_slice(&out[PREFIX..]);
    meter.measure(STAGE, "headers of the client to the message", || {
        headers_to_message(&mut out, black_box(&headers));
    });
    meter.measure(STAGE, "headers of the client to the message, prost", || {
        write(&mut out, &peer::request(black_box(&headers), Bytes::new()));
    });
    meter.measure(STAGE, "the message to headers of the app", || {
        message_to_headers(black_box(&message))
    });
    meter.measure(STAGE, "the message to headers of the app, prost", || {
        let chunk = InternalInvokeRequestStream::decode(black_box(&message).clone()).expect("a message");
        peer::to_headers(&chunk.request.unwrap_or_default().metadata)
    });
}

fn headers_to_message(out: &mut Vec<u8>, headers: &HeaderMap) {
    let mut call = Invocation::new("neworder");
    call.content_type = "application/json".into();
    call.metadata = Metadata::from_http(headers);
    samples::add_forwarding(&mut call.metadata);
    write_request(out, &call, &Bytes::new());
}

fn message_to_headers(message: &Bytes) -> HeaderMap {
    let chunk = decode_request_chunk(message).expect("a message");
    chunk
        .request
        .unwrap_or_default()
        .call
        .metadata
        .to_http_headers(&TraceContext::ZERO)
}

/// Message and payload in one buffer, as they go out.
fn write_request(out: &mut Vec<u8>, call: &Invocation, body: &Bytes) {
    out.clear();
    encode_request_chunk(out, MAX_MESSAGE, call, piece(body)).expect("the sample can be sent");
    out.extend_from_slice(body);
}

fn write_response(out: &mut Vec<u8>, reply: &Reply, body: &Bytes) {
    out.clear();
    encode_response_chunk(out, MAX_MESSAGE, reply, false, piece(body)).expect("the sample can be sent");
    out.extend_from_slice(body);
}

/// The same by prost.
fn write(out: &mut Vec<u8>, message: &impl Message) {
    out.clear();
    let len = message.encoded_len();
    out.put_u8(0);
    out.put_u32(u32::try_from(len).expect("the sample is short"));
    message.encode(out).expect("a vector has room");
}

fn piece(body: &Bytes) -> Option<Piece> {
    (!body.is_empty()).then_some(Piece {
        len: body.len(),
        seq: 0,
    })
}
