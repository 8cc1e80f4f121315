use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use outrigger_telemetry::trace::TraceContext;
use proptest::prelude::{any, prop, proptest};

use super::{Decoder, Encoder, FieldList, HpackError};
use crate::Status;
use crate::transport::Rpc;

fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, HpackError> {
    let mut list = FieldList::new(1 << 20);
    decoder.decode(block, &mut list)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(list
        .iter()
        .map(|(name, value)| (text(name), text(value)))
        .collect())
}

fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
    fields
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    digits
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

#[test]
fn the_requests_of_the_standard_are_read_in_sequence() {
    // RFC 7541, C.4: three requests on one connection, with Huffman codes.
    let mut decoder = Decoder::new();
    let start = [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
    ];
    let blocks: [(&str, Vec<(&str, &str)>); 3] = [
        ("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", start.to_vec()),
        (
            "8286 84be 5886 a8eb 1064 9cbf",
            [&start[..], &[("cache-control", "no-cache")]].concat(),
        ),
        (
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
            vec![
                (":method", "GET"),
                (":scheme", "https"),
                (":path", "/index.html"),
                (":authority", "www.example.com"),
                ("custom-key", "custom-value"),
            ],
        ),
    ];
    for (block, fields) in blocks {
        assert_eq!(decode(&mut decoder, &hex(block)).unwrap(), owned(&fields));
    }
}

#[test]
fn the_responses_of_the_standard_are_read_with_a_small_table() {
    // RFC 7541, C.6, behind a change of the table's size to 256.
    let mut decoder = Decoder::new();
    let first = "3fe101 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e \
                 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3";
    let second = "4883 640e ffc1 c0bf";
    let fields = |status| {
        owned(&[
            (":status", status),
            ("cache-control", "private"),
            ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
            ("location", "https://www.example.com"),
        ])
    };
    assert_eq!(decode(&mut decoder, &hex(first)).unwrap(), fields("302"));
    assert_eq!(decode(&mut decoder, &hex(second)).unwrap(), fields("307"));
}

#[test]
fn a_recorded_call_of_the_reference_is_read() {
    let mut decoder = Decoder::new();
    let first = "838645aa6241d762f5d8749d735492d950e842fdc2bee2d9dcc42e4abb9c83498f5317874519ce41d1b9361474ff418b0be25c0b\
                 89715c138100bf5f8b1d75d0620d263d4c4d65647a8a9acac8b4c7602bbc25c340027465864d833505b11f408e9acac8b0c842d\
                 6958b510f21aa9b839bd9ab";
    let second = "8386c3c2c1c0bfbe";
    let expected = owned(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", Rpc::Stream.path()),
        (":authority", "192.0.2.2:26102"),
        ("content-type", "application/grpc"),
        ("user-agent", "grpc-go/1.82.1"),
        ("te", "trailers"),
        ("grpc-accept-encoding", "gzip"),
    ]);
    assert_eq!(decode(&mut decoder, &hex(first)).unwrap(), expected);
    assert_eq!(decode(&mut decoder, &hex(second)).unwrap(), expected);
}

#[test]
fn hot_calls_shrink_to_indexes() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    let trace =
        TraceContext::from_traceparent(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
    for (rpc, trace, limit) in [
        (Rpc::Stream, None, 300),
        (Rpc::Stream, Some(&trace), 200),
        (Rpc::Unary, None, 100),
        (Rpc::Stream, None, 7),
        (Rpc::Unary, None, 7),
        (Rpc::Stream, Some(&trace), 110),
        (Rpc::Stream, Some(&TraceContext::ZERO), 110),
    ] {
        let mut block = Vec::new();
        encoder.call(&mut block, rpc, "127.0.0.1:50002", trace);
        assert!(block.len() <= limit, "{} bytes", block.len());
        let mut expected = owned(&[
            (":method", "POST"),
            (":scheme", "http"),
            (":path", rpc.path()),
            (":authority", "127.0.0.1:50002"),
            ("content-type", "application/grpc"),
            ("user-agent", crate::transport::USER_AGENT),
            ("te", "trailers"),
        ]);
        let fields = decode(&mut decoder, &block).unwrap();
        if let Some(trace) = trace {
            let text = String::from_utf8(trace.write_traceparent().to_vec()).unwrap();
            expected.push(("traceparent".to_owned(), text));
            assert_eq!(fields[8].0, "grpc-trace-bin");
            assert_eq!(fields[8].1.len(), 39);
        }
        assert_eq!(fields[..expected.len()], expected);
    }
}

#[test]
fn answers_and_statuses_are_read_back() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    let odd = Status {
        code: 20,
        message: "50%".to_owned(),
        details: b"\x08\x14".as_slice().into(),
    };
    for round in 0..2 {
        let mut block = Vec::new();
        encoder.answer(&mut block);
        let head = owned(&[(":status", "200"), ("content-type", "application/grpc")]);
        assert_eq!(decode(&mut decoder, &block).unwrap(), head);

        let mut block = Vec::new();
        encoder.end(&mut block, &Status::default());
        let end = owned(&[("grpc-status", "0"), ("grpc-message", "")]);
        assert_eq!(decode(&mut decoder, &block).unwrap(), end);
        assert!(round == 0 || block.len() == 2);

        let mut block = Vec::new();
        encoder.refusal(&mut block, &odd);
        let refusal = owned(&[
            ("grpc-status", "20"),
            ("grpc-message", "50%25"),
            ("grpc-status-details-bin", "CBQ"),
        ]);
        assert_eq!(decode(&mut decoder, &block).unwrap(), [head, refusal].concat());
    }
}

#[test]
fn a_peer_without_a_table_gets_everything_in_full() {
    for (size, len) in [
        (0, 100..300),
        (100, 100..300),
        (2000, 1..8),
        (4096, 1..8),
        (100_000, 1..8),
    ] {
        let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
        encoder.call(&mut Vec::new(), Rpc::Stream, "a:1", None);
        let mut block = Vec::new();
        Encoder::new().call(&mut block, Rpc::Stream, "a:1", None);
        decode(&mut decoder, &block).unwrap();
        encoder.limit_table(size);
        for _ in 0..2 {
            let mut block = Vec::new();
            encoder.call(&mut block, Rpc::Stream, "a:1", None);
            assert_eq!(decode(&mut decoder, &block).unwrap().len(), 7);
            assert!(
                len.contains(&(block.len().max(1) - usize::from(block[0] & 0xe0 == 0x20) * 3)),
                "{size}: {}",
                block.len()
            );
        }
    }
}

#[test]
fn raw_heads_are_read_back() {
    let (mut encoder, mut decoder) = (Encoder::new(), Decoder::new());
    let request = Request::builder()
        .method("PATCH")
        .uri("http://h:1/p?q=1")
        .header("x-a", "1")
        .header("x-a", "2")
        .header("connection", "close")
        .header("te", "gzip")
        .header("host", "other")
        .body(())
        .unwrap();
    let mut block = Vec::new();
    encoder.request(&mut block, &request.into_parts().0);
    let expected = [
        (":method", "PATCH"),
        (":scheme", "http"),
        (":path", "/p?q=1"),
        (":authority", "h:1"),
        ("x-a", "1"),
        ("x-a", "2"),
    ];
    assert_eq!(decode(&mut decoder, &block).unwrap(), owned(&expected));
    let response = Response::builder().status(418).header("y", "z").body(()).unwrap();
    let mut block = Vec::new();
    encoder.response(&mut block, &response.into_parts().0);
    assert_eq!(
        decode(&mut decoder, &block).unwrap(),
        owned(&[(":status", "418"), ("y", "z")])
    );
}

#[test]
fn blocks_that_break_the_rules_are_errors() {
    let cases: [&[u8]; 9] = [
        b"\x80",
        b"\xbe",
        b"\x40",
        b"\x40\x01a\x05b",
        b"\x7f\xff\xff\xff\xff\xff\x01",
        b"\x3f\xff\xff\x7f",
        b"\x82\x20",
        b"\x40\x81\xff\x00",
        b"\x0f",
    ];
    for case in cases {
        assert!(decode(&mut Decoder::new(), case).is_err(), "{case:?}");
    }
}

#[test]
fn a_list_over_the_limit_is_cut_but_the_table_is_kept_right() {
    let mut decoder = Decoder::new();
    let mut list = FieldList::new(100);
    let mut block = b"\x40\x01a\x0b".to_vec();
    block.extend_from_slice(b"01234567890");
    block.extend_from_slice(&[0xbe; 1000]);
    decoder.decode(&block, &mut list).unwrap();
    assert!(list.is_too_large);
    assert_eq!(list.iter().count(), 2);
    decoder.decode(b"\xbe", &mut list).unwrap();
    assert!(!list.is_too_large);
    assert_eq!(list.iter().next(), Some((&b"a"[..], &b"01234567890"[..])));
}

proptest! {
    #[test]
    fn any_map_is_read_back(
        fields in prop::collection::vec(("x[a-z0-9-]{0,20}", prop::collection::vec(0x20_u8..0x7f, 0..200)), 0..20),
    ) {
        let mut map = HeaderMap::new();
        for (name, value) in &fields {
            map.append(HeaderName::try_from(name).unwrap(), HeaderValue::from_bytes(value).unwrap());
        }
        let mut block = Vec::new();
        Encoder::new().trailers(&mut block, &map);
        let expected: Vec<_> = map.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        assert_eq!(decode(&mut Decoder::new(), &block).unwrap(), expected);
    }

    #[test]
    fn noise_never_panics(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..5)) {
        let mut decoder = Decoder::new();
        for block in blocks {
            if decode(&mut decoder, &block).is_err() {
                break;
            }
        }
    }
}
