//! The messages between sidecars: any cut of any bytes into pieces, compared with a generated codec.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use outrigger_api::internals::{
    InternalInvokeRequest, InternalInvokeRequestStream, InternalInvokeResponse, InternalInvokeResponseStream,
};
use outrigger_link::codec::{
    Assembler, decode_request, decode_request_chunk, decode_response, decode_response_chunk,
};
use prost::Message;

const LIMIT: usize = 4096;

fuzz_target!(|bytes: &[u8]| {
    let [size, bytes @ ..] = bytes else { return };
    let mut assembler = Assembler::new(LIMIT);
    let mut taken = 0;
    for piece in bytes.chunks(usize::from(*size).max(1)) {
        assembler.push(Bytes::copy_from_slice(piece));
        loop {
            match assembler.next_message() {
                Ok(Some(message)) => {
                    assert!(message.len() <= LIMIT);
                    taken += 5 + message.len();
                    decode(&message);
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
    assert!(taken <= bytes.len());
    assert_eq!(assembler.is_partial(), taken < bytes.len());
});

fn decode(bytes: &Bytes) {
    // The generated codec refuses texts that are not UTF-8; ours may leave that to whoever reads them.
    if let Ok(expected) = InternalInvokeRequest::decode(bytes.clone()) {
        let head = decode_request(bytes).expect("a request that the generated codec reads");
        let message = expected.message.unwrap_or_default();
        assert_eq!(head.call.method.as_str(), message.method);
        assert_eq!(head.data, message.data.unwrap_or_default().value);
        assert_eq!(head.has_metadata, !expected.metadata.is_empty());
    } else {
        decode_request(bytes).ok();
    }
    if let Ok(expected) = InternalInvokeResponse::decode(bytes.clone()) {
        let head = decode_response(bytes).expect("a response that the generated codec reads");
        assert_eq!(
            head.data,
            expected
                .message
                .unwrap_or_default()
                .data
                .unwrap_or_default()
                .value
        );
        assert_eq!(head.has_headers, !expected.headers.is_empty());
    } else {
        decode_response(bytes).ok();
    }
    if let Ok(expected) = InternalInvokeRequestStream::decode(bytes.clone()) {
        let chunk = decode_request_chunk(bytes).expect("a chunk that the generated codec reads");
        assert_eq!(chunk.request.is_some(), expected.request.is_some());
        let payload = expected.payload.map(|payload| (payload.data, payload.seq));
        assert_eq!(chunk.payload.map(|payload| (payload.data, payload.seq)), payload);
    } else {
        decode_request_chunk(bytes).ok();
    }
    if let Ok(expected) = InternalInvokeResponseStream::decode(bytes.clone()) {
        let chunk = decode_response_chunk(bytes).expect("a chunk that the generated codec reads");
        assert_eq!(chunk.response.is_some(), expected.response.is_some());
        let payload = expected.payload.map(|payload| (payload.data, payload.seq));
        assert_eq!(chunk.payload.map(|payload| (payload.data, payload.seq)), payload);
    } else {
        decode_response_chunk(bytes).ok();
    }
}
