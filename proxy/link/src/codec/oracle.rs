//! The same messages in the hands of a generated codec, to compare with.

use std::collections::HashMap;

use bytes::Bytes;
use proptest::collection::{hash_map, vec};
use proptest::option;
use proptest::prelude::{ProptestConfig, Strategy, any, proptest};
use prost::Message;

use super::{
    PREFIX, Piece, decode_request, decode_request_chunk, decode_response, decode_response_chunk,
    encode_request, encode_request_chunk, encode_response, encode_response_chunk, encode_tail_chunk,
};
use crate::{HttpExtension, Invocation, Metadata, Reply, ReplyStatus, Text, Verb};

#[derive(Clone, PartialEq, Message)]
struct List {
    #[prost(string, repeated, tag = "1")]
    values: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Extension {
    #[prost(int32, tag = "1")]
    verb: i32,
    #[prost(string, tag = "2")]
    querystring: String,
}

#[derive(Clone, PartialEq, Message)]
struct InvokeRequest {
    #[prost(string, tag = "1")]
    method: String,
    #[prost(message, optional, tag = "2")]
    data: Option<Any>,
    #[prost(string, tag = "3")]
    content_type: String,
    #[prost(message, optional, tag = "4")]
    http_extension: Option<Extension>,
}

#[derive(Clone, PartialEq, Message)]
struct Actor {
    #[prost(string, tag = "1")]
    actor_type: String,
}

#[derive(Clone, PartialEq, Message)]
struct InternalRequest {
    #[prost(int32, tag = "1")]
    ver: i32,
    #[prost(map = "string, message", tag = "2")]
    metadata: HashMap<String, List>,
    #[prost(message, optional, tag = "3")]
    message: Option<InvokeRequest>,
    #[prost(message, optional, tag = "4")]
    actor: Option<Actor>,
}

#[derive(Clone, PartialEq, Message)]
struct InvokeResponse {
    #[prost(message, optional, tag = "1")]
    data: Option<Any>,
    #[prost(string, tag = "2")]
    content_type: String,
}

#[derive(Clone, PartialEq, Message)]
struct StatusMessage {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct InternalResponse {
    #[prost(message, optional, tag = "1")]
    status: Option<StatusMessage>,
    #[prost(map = "string, message", tag = "2")]
    headers: HashMap<String, List>,
    #[prost(map = "string, message", tag = "3")]
    trailers: HashMap<String, List>,
    #[prost(message, optional, tag = "4")]
    message: Option<InvokeResponse>,
}

#[derive(Clone, PartialEq, Message)]
struct StreamPayload {
    #[prost(bytes = "vec", tag = "1")]
    data: Vec<u8>,
    #[prost(uint64, tag = "2")]
    seq: u64,
}

#[derive(Clone, PartialEq, Message)]
struct RequestStream {
    #[prost(message, optional, tag = "1")]
    request: Option<InternalRequest>,
    #[prost(message, optional, tag = "2")]
    payload: Option<StreamPayload>,
}

#[derive(Clone, PartialEq, Message)]
struct ResponseStream {
    #[prost(message, optional, tag = "1")]
    response: Option<InternalResponse>,
    #[prost(message, optional, tag = "2")]
    payload: Option<StreamPayload>,
}

fn lists() -> impl Strategy<Value = HashMap<String, List>> {
    let list = vec(".{0,12}", 1..4).prop_map(|values| List { values });
    hash_map("[a-zA-Z:-]{0,10}", list, 0..80)
}

fn any_message() -> impl Strategy<Value = Any> {
    (".{0,20}", vec(any::<u8>(), 0..300)).prop_map(|(type_url, value)| Any { type_url, value })
}

fn request() -> impl Strategy<Value = InternalRequest> {
    let extension = (any::<i32>(), ".{0,20}").prop_map(|(verb, querystring)| Extension { verb, querystring });
    let message = (
        ".{0,20}",
        option::of(any_message()),
        ".{0,20}",
        option::of(extension),
    )
        .prop_map(|(method, data, content_type, http_extension)| InvokeRequest {
            method,
            data,
            content_type,
            http_extension,
        });
    let actor = ".{0,5}".prop_map(|actor_type| Actor { actor_type });
    (any::<i32>(), lists(), option::of(message), option::of(actor)).prop_map(
        |(ver, metadata, message, actor)| InternalRequest {
            ver,
            metadata,
            message,
            actor,
        },
    )
}

fn response() -> impl Strategy<Value = InternalResponse> {
    let status = (any::<i32>(), ".{0,20}", vec(any_message(), 0..3)).prop_map(|(code, message, details)| {
        StatusMessage {
            code,
            message,
            details,
        }
    });
    let message = (option::of(any_message()), ".{0,20}")
        .prop_map(|(data, content_type)| InvokeResponse { data, content_type });
    (option::of(status), lists(), lists(), option::of(message)).prop_map(
        |(status, headers, trailers, message)| InternalResponse {
            status,
            headers,
            trailers,
            message,
        },
    )
}

fn payload() -> impl Strategy<Value = StreamPayload> {
    let data = vec(any::<u8>(), 0..300);
    (data, any::<u64>()).prop_map(|(data, seq)| StreamPayload { data, seq })
}

fn map_of(metadata: &Metadata) -> HashMap<String, List> {
    let mut map = HashMap::<String, List>::new();
    for (name, value) in metadata.iter() {
        let value = String::from_utf8(value.to_vec()).unwrap();
        map.entry(name.to_owned()).or_default().values.push(value);
    }
    map
}

fn metadata_of(map: &HashMap<String, List>) -> Metadata {
    let entries = map
        .iter()
        .flat_map(|(name, list)| list.values.iter().map(move |value| (name, value)));
    entries.collect()
}

fn call_of(request: &InternalRequest) -> Invocation {
    let message = request.message.clone().unwrap_or_default();
    Invocation {
        version: request.ver,
        method: message.method.into(),
        http: message.http_extension.map(|http| HttpExtension {
            verb: Verb(http.verb),
            query: http.querystring.into(),
        }),
        content_type: message.content_type.into(),
        type_url: message.data.unwrap_or_default().type_url.into(),
        metadata: metadata_of(&request.metadata),
        ..Invocation::default()
    }
}

fn reply_of(response: &InternalResponse) -> Reply {
    let message = response.message.clone().unwrap_or_default();
    let status = response.status.clone().unwrap_or_default();
    Reply {
        status: ReplyStatus {
            code: status.code,
            message: status.message.into(),
            details: status
                .details
                .iter()
                .map(|any| any.encode_to_vec().into())
                .collect(),
        },
        headers: metadata_of(&response.headers),
        trailers: metadata_of(&response.trailers),
        content_type: message.content_type.into(),
        type_url: message.data.unwrap_or_default().type_url.into(),
        ..Reply::default()
    }
}

fn assert_same_call(call: &Invocation, request: &InternalRequest) {
    let expected = call_of(request);
    assert_eq!(call.version, expected.version);
    assert_eq!(call.method, expected.method);
    assert_eq!(call.http, expected.http);
    assert_eq!(call.content_type, expected.content_type);
    assert_eq!(call.type_url, expected.type_url);
    assert_eq!(map_of(&call.metadata), request.metadata);
}

fn assert_same_reply(reply: &Reply, response: &InternalResponse) {
    let expected = reply_of(response);
    assert_eq!(reply.status, expected.status);
    assert_eq!(reply.content_type, expected.content_type);
    assert_eq!(reply.type_url, expected.type_url);
    assert_eq!(map_of(&reply.headers), response.headers);
    assert_eq!(map_of(&reply.trailers), response.trailers);
}

/// What the encoder can express: a message is always there, and its data only for a type.
fn as_encoded(mut request: InternalRequest, data: Option<&[u8]>) -> InternalRequest {
    request.actor = None;
    let message = request.message.get_or_insert_default();
    let type_url = message.data.take().unwrap_or_default().type_url;
    message.data = match data {
        Some(data) => Some(Any {
            type_url,
            value: data.to_vec(),
        }),
        None if type_url.is_empty() => None,
        None => Some(Any {
            type_url,
            value: Vec::new(),
        }),
    };
    request
}

fn response_as_encoded(mut response: InternalResponse, data: Option<&[u8]>) -> InternalResponse {
    response.status.get_or_insert_default();
    let message = response.message.get_or_insert_default();
    let type_url = message.data.take().unwrap_or_default().type_url;
    message.data = match data {
        Some(data) => Some(Any {
            type_url,
            value: data.to_vec(),
        }),
        None if type_url.is_empty() => None,
        None => Some(Any {
            type_url,
            value: Vec::new(),
        }),
    };
    response
}

fn piece_of(payload: Option<&StreamPayload>) -> Option<Piece> {
    payload.map(|payload| Piece {
        len: payload.data.len(),
        seq: payload.seq,
    })
}

/// Appends the bytes of the piece and takes off the prefix, which must be right.
fn finish(mut out: Vec<u8>, payload: Option<&StreamPayload>) -> Vec<u8> {
    out.extend_from_slice(payload.map_or(&[], |payload| &payload.data));
    let (prefix, message) = out.split_at(PREFIX);
    assert_eq!(prefix[0], 0);
    assert_eq!(prefix[1..], u32::try_from(message.len()).unwrap().to_be_bytes());
    message.to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_oracle_reads_what_callers_write(request in request(), payload in option::of(payload())) {
        let mut out = Vec::new();
        encode_request_chunk(&mut out, usize::MAX, &call_of(&request), piece_of(payload.as_ref())).unwrap();
        let message = finish(out, payload.as_ref());
        let expected = RequestStream { request: Some(as_encoded(request, None)), payload };
        assert_eq!(RequestStream::decode(&message[..]).unwrap(), expected);
    }

    #[test]
    fn the_oracle_reads_what_callees_write(response in response(), payload in option::of(payload())) {
        let mut out = Vec::new();
        let reply = reply_of(&response);
        encode_response_chunk(&mut out, usize::MAX, &reply, false, piece_of(payload.as_ref())).unwrap();
        let message = finish(out, payload.as_ref());
        let expected = ResponseStream { response: Some(response_as_encoded(response, None)), payload };
        assert_eq!(ResponseStream::decode(&message[..]).unwrap(), expected);
    }

    #[test]
    fn the_oracle_reads_streams_of_events(response in response(), payload in payload()) {
        let mut out = Vec::new();
        encode_response_chunk(&mut out, usize::MAX, &reply_of(&response), true, piece_of(Some(&payload))).unwrap();
        let first = ResponseStream::decode(&finish(out, Some(&payload))[..]).unwrap();
        let mut head = response_as_encoded(response, None);
        head.message = None;
        head.status.as_mut().unwrap().code = 0;
        assert_eq!(first, ResponseStream { response: Some(head), payload: Some(payload.clone()) });

        let mut out = Vec::new();
        encode_tail_chunk(&mut out, usize::MAX, true, piece_of(Some(&payload)).unwrap()).unwrap();
        let later = ResponseStream::decode(&finish(out, Some(&payload))[..]).unwrap();
        assert_eq!(later, ResponseStream { response: Some(InternalResponse::default()), payload: Some(payload) });
    }

    #[test]
    fn the_oracle_reads_later_pieces(payload in payload()) {
        let mut out = Vec::new();
        encode_tail_chunk(&mut out, usize::MAX, false, piece_of(Some(&payload)).unwrap()).unwrap();
        let message = finish(out, Some(&payload));
        assert_eq!(RequestStream::decode(&message[..]).unwrap(), RequestStream { request: None, payload: Some(payload) });
    }

    #[test]
    fn the_oracle_reads_unary_messages(request in request(), response in response(), data in vec(any::<u8>(), 0..300)) {
        let mut out = Vec::new();
        encode_request(&mut out, usize::MAX, &call_of(&request), &data).unwrap();
        let read = InternalRequest::decode(&finish(out, None)[..]).unwrap();
        assert_eq!(read, as_encoded(request, Some(&data)));

        let mut out = Vec::new();
        encode_response(&mut out, usize::MAX, &reply_of(&response), &data).unwrap();
        let read = InternalResponse::decode(&finish(out, None)[..]).unwrap();
        assert_eq!(read, response_as_encoded(response, Some(&data)));
    }

    #[test]
    fn calls_of_the_oracle_are_read(request in option::of(request()), payload in option::of(payload())) {
        let stream = RequestStream { request: request.clone(), payload: payload.clone() };
        let chunk = decode_request_chunk(&stream.encode_to_vec().into()).unwrap();
        assert_eq!(chunk.request.is_some(), request.is_some());
        if let (Some(head), Some(request)) = (&chunk.request, &request) {
            assert_same_call(&head.call, request);
            assert_eq!(head.has_metadata, !request.metadata.is_empty());
            assert_eq!(head.has_message, request.message.is_some());
        }
        assert_eq!(chunk.payload.as_ref().map(|read| (read.data.to_vec(), read.seq)), payload.map(|sent| (sent.data, sent.seq)));
    }

    #[test]
    fn answers_of_the_oracle_are_read(response in option::of(response()), payload in option::of(payload())) {
        let stream = ResponseStream { response: response.clone(), payload: payload.clone() };
        let chunk = decode_response_chunk(&stream.encode_to_vec().into()).unwrap();
        assert_eq!(chunk.response.is_some(), response.is_some());
        if let (Some(head), Some(response)) = (&chunk.response, &response) {
            assert_same_reply(&head.reply, response);
            assert_eq!(head.has_status, response.status.is_some());
            assert_eq!(head.has_headers, !response.headers.is_empty());
            assert_eq!(head.has_message, response.message.is_some());
        }
        assert_eq!(chunk.payload.as_ref().map(|read| (read.data.to_vec(), read.seq)), payload.map(|sent| (sent.data, sent.seq)));
    }

    #[test]
    fn unary_messages_of_the_oracle_are_read(request in request(), response in response()) {
        let head = decode_request(&request.encode_to_vec().into()).unwrap();
        assert_same_call(&head.call, &request);
        let data = request.message.and_then(|message| message.data).unwrap_or_default();
        assert_eq!(head.data, data.value);

        let head = decode_response(&response.encode_to_vec().into()).unwrap();
        assert_same_reply(&head.reply, &response);
        let data = response.message.and_then(|message| message.data).unwrap_or_default();
        assert_eq!(head.data, data.value);
    }

    #[test]
    fn damaged_messages_are_errors_or_messages_but_never_panics(
        request in request(),
        response in response(),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<proptest::sample::Index>(),
    ) {
        for mut bytes in [
            RequestStream { request: Some(request), payload: None }.encode_to_vec(),
            ResponseStream { response: Some(response), payload: None }.encode_to_vec(),
        ] {
            if bytes.is_empty() {
                continue;
            }
            let index = at.index(bytes.len());
            bytes[index] = byte;
            bytes.truncate(cut.index(bytes.len()) + 1);
            let bytes = Bytes::from(bytes);
            drop(decode_request_chunk(&bytes));
            drop(decode_response_chunk(&bytes));
            drop(decode_request(&bytes));
            drop(decode_response(&bytes));
        }
    }

    #[test]
    fn what_is_read_from_noise_is_what_the_oracle_reads(bytes in vec(any::<u8>(), 0..60)) {
        let bytes = Bytes::from(bytes);
        if let Ok(expected) = InternalRequest::decode(&bytes[..]) {
            let head = decode_request(&bytes).unwrap();
            assert_same_call(&head.call, &expected);
        }
    }
}

#[test]
fn a_message_over_the_limit_is_not_sent() {
    let piece = Piece { len: 100, seq: 0 };
    let refused = encode_tail_chunk(&mut Vec::new(), 50, false, piece).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "trying to send message larger than max (104 vs. 50)"
    );
}

#[test]
fn a_value_that_is_not_text_is_not_sent() {
    let mut call = Invocation::new("m");
    call.metadata.push("X", b"\xe9");
    let refused = encode_request_chunk(&mut Vec::new(), 500, &call, None).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "grpc: error while marshaling: string field contains invalid UTF-8"
    );
}

/// The first message of a recorded call between two reference sidecars.
#[test]
fn a_recorded_call_is_read() {
    let recorded = b"\n\xc3\x02\x08\x01\x12\r\n\x06X-Mine\x12\x03\n\x01v\x12\x1b\n\nUser-Agent\x12\r\n\x0bcurl/7.88.1\
        \x12\x1e\n\x0fX-Forwarded-For\x12\x0b\n\t192.0.2.2\x12\x18\n\x10X-Forwarded-Host\x12\x04\n\x02vm\
        \x121\n\tForwarded\x12$\n\"for=192.0.2.2;by=192.0.2.2;host=vm\
        \x12\x1e\n\x12destination-app-id\x12\x08\n\x06callee\x12\"\n\x15dapr-caller-namespace\x12\t\n\x07default\
        \x12\x1e\n\x12dapr-caller-app-id\x12\x08\n\x06caller\x12\x1e\n\x12dapr-callee-app-id\x12\x08\n\x06callee\
        \x12\x0f\n\x06Accept\x12\x05\n\x03*/*\x1a\x11\n\x06orders\"\x07\x08\x01\x12\x03a=1";
    let chunk = decode_request_chunk(&Bytes::from_static(recorded)).unwrap();
    let call = chunk.request.unwrap().call;
    assert_eq!(call.version, 1);
    assert_eq!(call.method, "orders");
    assert_eq!(call.http.as_ref().unwrap().verb, Verb::GET);
    assert_eq!(call.http.as_ref().unwrap().query, "a=1");
    assert_eq!(call.metadata.len(), 10);
    assert_eq!(call.metadata.first("dapr-caller-app-id"), Some("caller"));
    assert_eq!(chunk.payload, None);

    let mut out = Vec::new();
    encode_request_chunk(&mut out, usize::MAX, &call, None).unwrap();
    assert_eq!(out[PREFIX..], recorded[..]);
    assert_eq!(Text::from("x"), "x");
}
