//! Documents in streams.

use bytes::Bytes;
use http::HeaderMap;
use outrigger_api::common::StreamPayload;
use outrigger_api::runtime as api;
use outrigger_test_kit::{GrpcReply, Result};
use prost::Message as _;

use super::{DECRYPT, ENCRYPT, World, encrypt_options};

fn payload(seq: u64, data: &[u8]) -> Option<StreamPayload> {
    let data = Bytes::copy_from_slice(data);
    Some(StreamPayload { data, seq })
}

fn encrypt(options: Option<api::EncryptRequestOptions>, payload: Option<StreamPayload>) -> Vec<u8> {
    api::EncryptRequest { options, payload }.encode_to_vec()
}

fn decrypt(options: Option<api::DecryptRequestOptions>, payload: Option<StreamPayload>) -> Vec<u8> {
    api::DecryptRequest { options, payload }.encode_to_vec()
}

fn decrypt_options() -> api::DecryptRequestOptions {
    api::DecryptRequestOptions {
        component_name: "vault".to_owned(),
        key_name: String::new(),
    }
}

/// The pieces of a reply, joined; each has the next number and some bytes.
fn joined(reply: &GrpcReply) -> Result<Vec<u8>> {
    assert_eq!((reply.status, reply.message.as_str()), (0, ""));
    let mut joined = Vec::new();
    for (expected, message) in (0..).zip(&reply.messages) {
        // Both kinds of reply have the payload in their first field.
        let payload = api::EncryptResponse::decode(message.clone())?
            .payload
            .unwrap_or_default();
        assert_eq!(payload.seq, expected);
        assert!(!payload.data.is_empty());
        joined.extend_from_slice(&payload.data);
    }
    Ok(joined)
}

#[tokio::test]
async fn a_document_is_made_and_read_in_pieces() -> Result<()> {
    let world = World::start().await?;
    let grpc = world.daprd.grpc().await?;
    for length in [0_usize, 1, 65535, 65536, 65537, 131_072] {
        let text: Vec<u8> = (0..length)
            .map(|index| u8::try_from(index % 251).unwrap_or(0))
            .collect();
        let options = Some(encrypt_options("aes", "A256KW"));
        // The options come with the first piece, or by themselves.
        let mut messages = match length % 2 {
            0 => vec![encrypt(options, None)],
            _ => vec![encrypt(options, payload(0, b""))],
        };
        for (seq, piece) in (u64::try_from(length % 2)?..).zip(text.chunks(30_000)) {
            messages.push(encrypt(None, payload(seq, piece)));
        }
        let document = joined(&grpc.call(ENCRYPT, HeaderMap::new(), messages).await?)?;
        assert!(document.starts_with(b"dapr.io/enc/v1\n"));

        let mut messages = vec![decrypt(Some(decrypt_options()), None)];
        for (seq, piece) in (0..).zip(document.chunks(50_000)) {
            messages.push(decrypt(None, payload(seq, piece)));
        }
        let reply = grpc.call(DECRYPT, HeaderMap::new(), messages).await?;
        assert_eq!(reply.messages.is_empty(), length == 0);
        assert!(joined(&reply)? == text, "{length}");
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_that_breaks_the_rules_is_refused() -> Result<()> {
    let world = World::start().await?;
    let grpc = world.daprd.grpc().await?;
    let options = |key: &str, algorithm: &str| Some(encrypt_options(key, algorithm));
    let good = || options("aes", "A256KW");
    let other = |name: &str| {
        let options = encrypt_options("aes", "A256KW");
        Some(api::EncryptRequestOptions {
            component_name: name.to_owned(),
            ..options
        })
    };
    let bad = |text: &str| (3, format!("invalid request: {text}"));
    let failed = |text: &str| (13, format!("failed to perform operation: {text}"));
    let table: Vec<(Vec<Vec<u8>>, _)> = vec![
        (
            vec![encrypt(None, payload(0, b"x"))],
            bad("first message does not contain the required options"),
        ),
        (vec![], bad("error waiting for first message: EOF")),
        (
            vec![encrypt(options("", "A256KW"), None)],
            bad("missing property 'keyName' in the options message"),
        ),
        (
            vec![encrypt(options("aes", ""), None)],
            bad("missing property 'keyWrapAlgorithm' in the options message"),
        ),
        (vec![encrypt(other(""), None)], bad("missing component name")),
        (
            vec![encrypt(other("no"), None)],
            (3, "crypto provider no not found".to_owned()),
        ),
        (
            vec![encrypt(options("aes", "x"), None)],
            failed("option Algorithm is not valid: algorithm X is not supported"),
        ),
        (
            vec![encrypt(options("absent", "AES"), None)],
            failed("failed to wrap the file key: failed to retrieve the key encryption key: key not found"),
        ),
        (
            vec![encrypt(good(), payload(1, b"x"))],
            failed("invalid sequence number received: 1 (expected: 0)"),
        ),
        (
            vec![encrypt(good(), payload(0, b"x")), encrypt(None, payload(2, b"x"))],
            failed("invalid sequence number received: 2 (expected: 1)"),
        ),
        (
            vec![
                encrypt(good(), payload(0, b"x")),
                encrypt(good(), payload(1, b"x")),
            ],
            failed("options found in non-leading message"),
        ),
    ];
    for (messages, expected) in table {
        let reply = grpc.call(ENCRYPT, HeaderMap::new(), messages).await?;
        assert_eq!((reply.status, reply.message), expected);
    }
    let messages = vec![decrypt(Some(decrypt_options()), payload(0, b"no document"))];
    let reply = grpc.call(DECRYPT, HeaderMap::new(), messages).await?;
    let expected = failed("invalid header: scheme name not found");
    assert_eq!((reply.status, reply.message), expected);
    Ok(())
}

#[tokio::test]
async fn a_client_that_says_nothing_is_not_waited_for() -> Result<()> {
    let world = World::start().await?;
    let grpc = world.daprd.grpc().await?;
    let begun = tokio::time::Instant::now();
    let mut stream = grpc.open(DECRYPT, HeaderMap::new()).await?;
    assert!(stream.next().await?.is_none());
    assert!(begun.elapsed().as_secs() >= 4);
    let reply = stream.finish().await?;
    let expected = "invalid request: error waiting for first message: context deadline exceeded";
    assert_eq!((reply.status, reply.message.as_str()), (3, expected));
    Ok(())
}

#[tokio::test]
async fn the_subtle_api_is_not_there() -> Result<()> {
    let world = World::start().await?;
    let grpc = world.daprd.grpc().await?;
    let path = "/dapr.proto.runtime.v1.Dapr/SubtleEncryptAlpha1";
    let reply = grpc.call(path, HeaderMap::new(), [""]).await?;
    let expected = "this API is currently not implemented";
    assert_eq!((reply.status, reply.message.as_str()), (12, expected));
    Ok(())
}
