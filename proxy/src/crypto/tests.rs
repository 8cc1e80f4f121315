//! Documents, whole and in pieces, right and wrong.

use std::sync::Arc;

use bytes::Bytes;
use outrigger_component::crypto::{CryptoProvider, KeyUse, Sealed};
use outrigger_resilience::{ComponentKind, Policies};
use outrigger_svc::{BoxError, BoxFuture};
use outrigger_telemetry::metrics::{Block, Metrics};
use zeroize::Zeroizing;

use super::segments::{FileKey, SEGMENT};
use super::{Conversion, Crypto, DocumentError, EncryptOptions, EncryptRequest, Keys};
use crate::components::{Calls, Table};

/// A provider that knows one wrapped key, and hides keys by turning them around.
#[derive(Debug)]
struct Fake;

const DOCUMENT: &[&[u8]] = &[
    b"dapr.io/enc/v1\n",
    br#"{"k":"mykey","kw":1,"wfk":"iNDAtKXHFfQo8VRl7igNYXRsOw5HU4GpSaF19o02DY+r4ZENHDforg==","cph":1,"np":"oKGio6Slpg=="}"#,
    b"\n",
    b"O7Twdtews+g4PaO4xs5kc8W1RHxqhDjLlmySMsHlY90=\n",
    &[
        0xe5, 0x90, 0xc9, 0x25, 0xb7, 0x0d, 0x5a, 0x7b, 0xdb, 0xba, 0x94, 0xfb, 0x1a, 0x1a, 0xb1, 0x09, 0x95, 0x02,
        0x14, 0x0a, 0x93,
    ],
];
const WRAPPED: [u8; 40] = [
    0x88, 0xd0, 0xc0, 0xb4, 0xa5, 0xc7, 0x15, 0xf4, 0x28, 0xf1, 0x54, 0x65, 0xee, 0x28, 0x0d, 0x61, 0x74,
    0x6c, 0x3b, 0x0e, 0x47, 0x53, 0x81, 0xa9, 0x49, 0xa1, 0x75, 0xf6, 0x8d, 0x36, 0x0d, 0x8f, 0xab, 0xe1,
    0x91, 0x0d, 0x1c, 0x37, 0xe8, 0xae,
];

fn file_key() -> [u8; 32] {
    std::array::from_fn(|index| u8::try_from(index).unwrap())
}

impl CryptoProvider for Fake {
    fn wrap_key<'a>(&'a self, key: &'a [u8], with: KeyUse<'a>) -> BoxFuture<'a, Result<Sealed, BoxError>> {
        let bytes = match (with.name, key == file_key()) {
            ("mykey", true) => WRAPPED.to_vec(),
            ("absent", _) => return Box::pin(async { Err("no such key".into()) }),
            _ => key.iter().rev().copied().collect(),
        };
        Box::pin(async { Ok(Sealed { bytes, tag: vec![1] }) })
    }

    fn unwrap_key<'a>(
        &'a self,
        wrapped: &'a [u8],
        with: KeyUse<'a>,
    ) -> BoxFuture<'a, Result<Vec<u8>, BoxError>> {
        let key = match (with.name, wrapped == WRAPPED) {
            ("mykey", true) => file_key().to_vec(),
            ("short", _) => vec![1],
            ("absent", _) => return Box::pin(async { Err("no such key".into()) }),
            _ => wrapped.iter().rev().copied().collect(),
        };
        Box::pin(async { Ok(key) })
    }
}

fn crypto(is_loaded: bool) -> Crypto {
    let providers: Table<dyn CryptoProvider> = Table::default();
    if is_loaded {
        providers.insert("vault", &(Arc::new(Fake) as Arc<dyn CryptoProvider>));
    }
    let calls = Calls::new(
        ComponentKind::Crypto,
        Some(Block::Crypto),
        Policies::default(),
        Metrics::disabled(),
    );
    Crypto::new(providers, calls)
}

fn keys() -> Keys {
    crypto(true).find("vault").unwrap()
}

fn options(key_name: &str, cipher: &str) -> EncryptOptions {
    EncryptOptions::try_from(EncryptRequest {
        key_name,
        algorithm: "AES",
        cipher,
        ..EncryptRequest::default()
    })
    .unwrap()
}

/// Feeds a conversion pieces of a size and joins what it makes.
async fn run(mut conversion: Conversion, input: &[u8], piece: usize) -> Result<Vec<u8>, DocumentError> {
    let mut output = Vec::new();
    for piece in input.chunks(piece) {
        let mut piece = Bytes::copy_from_slice(piece);
        while let Some(made) = conversion.next(&mut piece).await? {
            assert!(made.len() <= SEGMENT + 16);
            output.extend_from_slice(&made);
        }
        assert!(piece.is_empty());
    }
    while let Some(made) = conversion.finish()? {
        output.extend_from_slice(&made);
    }
    Ok(output)
}

async fn opened(document: &[u8], key_name: &str) -> Result<Vec<u8>, String> {
    let conversion = Conversion::decrypt(keys(), key_name.to_owned());
    let whole = run(conversion, document, usize::MAX).await;
    // In pieces it is the same.
    let conversion = Conversion::decrypt(keys(), key_name.to_owned());
    assert_eq!(run(conversion, document, 1009).await, whole);
    whole.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_document_is_the_known_one_byte_for_byte() {
    let key = FileKey::new(Zeroizing::new(file_key()));
    let prefix = [0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6];
    let conversion = Conversion::encrypt_with(&keys(), options("mykey", ""), key, prefix).await;
    let document = run(conversion.unwrap(), b"hello", 2).await.unwrap();
    assert_eq!(document, DOCUMENT.concat());
    assert_eq!(opened(&document, "").await.unwrap(), b"hello");
}

#[tokio::test]
async fn texts_of_all_lengths_come_back() {
    for cipher in ["AES-GCM", "CHACHA20-POLY1305"] {
        for length in [0_usize, 1, 15, 65535, 65536, 65537, 131_072, 131_073] {
            let text: Vec<u8> = (0..length)
                .map(|index| u8::try_from(index % 251).unwrap())
                .collect();
            let conversion = Conversion::encrypt(&keys(), options("any", cipher))
                .await
                .unwrap();
            let document = run(conversion, &text, 50_000).await.unwrap();
            let body = document.splitn(4, |byte| *byte == b'\n').nth(3).unwrap();
            assert_eq!(body.len(), length + 16 * length.div_ceil(SEGMENT), "{length}");
            assert_eq!(opened(&document, "").await.unwrap(), text, "{length}");
        }
    }
}

#[tokio::test]
async fn no_two_documents_are_alike() {
    let document = || async {
        let conversion = Conversion::encrypt(&keys(), options("any", "")).await.unwrap();
        run(conversion, b"text", 4).await.unwrap()
    };
    assert_ne!(document().await, document().await);
}

#[tokio::test]
async fn what_is_no_document_is_refused() {
    let long = [b"dapr.io/enc/v1\n".as_slice(), &[b'x'; 70_000], b"\n"].concat();
    let [scheme, manifest, line, signature, body] = *DOCUMENT else {
        unreachable!("a document has five parts");
    };
    let other = |from: &[u8], manifest: &str| [from, manifest.as_bytes(), b"\nAAAA\n"].concat();
    let table: Vec<(Vec<u8>, &str)> = vec![
        (vec![], "invalid header: scheme name not found"),
        (
            b"dapr.io/enc/v1".to_vec(),
            "invalid header: scheme name not found",
        ),
        (vec![b'x'; 70_000], "invalid header: scheme name not found"),
        (b"\nx\ny\n".to_vec(), "invalid header: invalid format"),
        (
            b"dapr.io/enc/v2\nx\ny\n".to_vec(),
            "invalid header: unsupported scheme",
        ),
        (
            b"dapr.io/enc/v1 \nx\ny\n".to_vec(),
            "invalid header: unsupported scheme",
        ),
        (scheme.to_vec(), "invalid header: manifest not found"),
        (long, "invalid header: manifest not found"),
        (
            b"dapr.io/enc/v1\n\ny\n".to_vec(),
            "invalid header: invalid format",
        ),
        (
            [scheme, manifest, line].concat(),
            "invalid header: message authentication code not found",
        ),
        (
            [scheme, manifest, line, line].concat(),
            "invalid header: invalid format",
        ),
        (other(scheme, "no"), "invalid header: invalid manifest"),
        (other(scheme, "{}"), "invalid header: invalid manifest"),
        (
            other(scheme, r#"{"k":"a","kw":1,"wfk":"","cph":1,"np":"oKGio6Slpg=="}"#),
            "invalid header: invalid manifest",
        ),
        (
            other(
                scheme,
                r#"{"k":"a","kw":6,"wfk":"AA==","cph":1,"np":"oKGio6Slpg=="}"#,
            ),
            "invalid header: invalid manifest",
        ),
        (
            other(
                scheme,
                r#"{"k":"a","kw":1,"wfk":"AA==","cph":3,"np":"oKGio6Slpg=="}"#,
            ),
            "invalid header: invalid manifest",
        ),
        (
            other(scheme, r#"{"k":"a","kw":1,"wfk":"AA==","cph":1,"np":"oKGio6Sl"}"#),
            "invalid header: invalid manifest",
        ),
        (
            other(scheme, r#"{"kw":1,"wfk":"AA==","cph":1,"np":"oKGio6Slpg=="}"#),
            "document's manifest does not contain a key name, and no key name was provided",
        ),
        (
            other(
                scheme,
                r#"{"k":"a","kw":1,"wfk":"AA==","cph":1,"np":"oKGio6Slpg=="}"#,
            ),
            "failed to validate the document's signature",
        ),
        (
            [scheme, manifest, line, b"AA?A\n", body].concat(),
            "failed to decode header's signature: illegal base64 data at input byte 2",
        ),
        (
            [scheme, manifest, b" \n", signature, body].concat(),
            "failed to validate the document's signature",
        ),
    ];
    for (document, expected) in table {
        assert_eq!(opened(&document, "").await.unwrap_err(), expected);
    }
}

#[tokio::test]
async fn a_wrong_key_looks_like_a_wrong_signature() {
    let document = DOCUMENT.concat();
    for key_name in ["absent", "short", "other"] {
        let error = opened(&document, key_name).await.unwrap_err();
        assert_eq!(error, "failed to validate the document's signature", "{key_name}");
    }
    assert_eq!(opened(&document, "mykey").await.unwrap(), b"hello");
}

#[tokio::test]
async fn nobody_signs_with_the_key_that_stands_in_for_one_that_cannot_be_unwrapped() {
    let zeros = FileKey::new(Zeroizing::new([0; 32]));
    let conversion = Conversion::encrypt_with(&keys(), options("any", ""), zeros, [0; 7]).await;
    let document = run(conversion.unwrap(), b"text", 4).await.unwrap();
    for key_name in ["absent", "short"] {
        let error = opened(&document, key_name).await.unwrap_err();
        assert_eq!(error, "failed to validate the document's signature", "{key_name}");
    }
}

#[tokio::test]
async fn segments_that_were_changed_moved_or_cut_off_do_not_open() {
    let conversion = Conversion::encrypt(&keys(), options("any", "")).await.unwrap();
    let document = run(conversion, &vec![7; 2 * SEGMENT + 1], 4096).await.unwrap();
    let header = document.len() - 2 * (SEGMENT + 16) - 17;
    let sealed = SEGMENT + 16;
    let failed = |segment: u64| format!("error processing segment {segment}: failed to decrypt segment");
    let (head, body) = document.split_at(header);

    let mut changed = document.clone();
    changed[header + sealed + 5] ^= 1;
    assert_eq!(opened(&changed, "").await.unwrap_err(), failed(1));
    let swapped = [
        head,
        &body[sealed..2 * sealed],
        &body[..sealed],
        &body[2 * sealed..],
    ]
    .concat();
    assert_eq!(opened(&swapped, "").await.unwrap_err(), failed(0));
    assert_eq!(
        opened(&document[..header + 2 * sealed], "").await.unwrap_err(),
        failed(1)
    );
    assert_eq!(
        opened(&document[..document.len() - 1], "").await.unwrap_err(),
        failed(2)
    );
    assert_eq!(opened(&document[..header + 3], "").await.unwrap_err(), failed(0));
    let longer = [&document[..], b"x"].concat();
    assert_eq!(opened(&longer, "").await.unwrap_err(), failed(2));
}

#[tokio::test]
async fn a_key_that_cannot_be_wrapped_or_named_ends_the_document_before_it_begins() {
    let refused = Conversion::encrypt(&keys(), options("absent", ""))
        .await
        .unwrap_err();
    assert_eq!(refused.to_string(), "failed to wrap the file key: no such key");
    let long = "k".repeat(70_000);
    let refused = Conversion::encrypt(&keys(), options(&long, ""))
        .await
        .unwrap_err();
    assert_eq!(refused.to_string(), "header is too long");
}

#[test]
fn providers_are_found_by_their_names() {
    let none = crypto(false).find("vault").unwrap_err();
    assert_eq!(none.to_string(), "crypto providers not configured");
    for (name, expected) in [
        ("", "invalid request: missing component name"),
        ("other", "crypto provider other not found"),
    ] {
        assert_eq!(crypto(true).find(name).unwrap_err().to_string(), expected);
    }
}
