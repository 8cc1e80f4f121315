//! Memory stays flat however long a document is.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::HeaderMap;
use outrigger_api::common::StreamPayload;
use outrigger_api::runtime as api;
use outrigger_test_kit::Result;
use outrigger_test_kit::grpc::GrpcStream;
use prost::Message as _;
use tokio::time::timeout;

use super::{DECRYPT, ENCRYPT, World, encrypt_options};

/// Bytes of a message.
const PIECE: usize = 1 << 20;
/// Bytes of text in a segment.
const SEGMENT: usize = 64 << 10;
/// Most memory of the sidecar.
const MOST: u64 = 40 << 20;

/// Messages of the long document: 1 GiB by `just streams`, else 128 MiB.
fn pieces() -> u64 {
    match std::env::var_os("TESTKIT_LONG") {
        Some(_) => 1024,
        None => 128,
    }
}

async fn next(stream: &mut GrpcStream) -> Result<StreamPayload> {
    let message = timeout(Duration::from_secs(30), stream.next())
        .await
        .context("nothing comes")??;
    // Both kinds of reply have the payload in their first field.
    let reply = api::EncryptResponse::decode(message.context("the stream has ended")?)?;
    reply.payload.context("no payload")
}

fn text(seq: u64) -> Bytes {
    vec![u8::try_from(seq % 256).unwrap_or(0); PIECE].into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_document_goes_through_both_ways_at_once_in_little_memory() -> Result<()> {
    let world = World::start().await?;
    let grpc = world.daprd.grpc().await?;
    let mut sealing = grpc.open(ENCRYPT, HeaderMap::new()).await?;
    let mut opening = grpc.open(DECRYPT, HeaderMap::new()).await?;
    let options = api::DecryptRequest {
        options: Some(api::DecryptRequestOptions {
            component_name: "vault".to_owned(),
            key_name: String::new(),
        }),
        payload: None,
    };
    opening.send(&options.encode_to_vec()).await?;
    let (mut sealed, mut opened) = (0_u64, 0_u64);
    let segments = u64::try_from(PIECE / SEGMENT)?;
    for seq in 0..pieces() {
        let request = api::EncryptRequest {
            options: (seq == 0).then(|| encrypt_options("aes", "A256KW")),
            payload: Some(StreamPayload { data: text(seq), seq }),
        };
        sealing.send(&request.encode_to_vec()).await?;
        // The header, and all segments but the last: that one waits for more.
        while sealed < (seq + 1) * segments {
            let payload = next(&mut sealing).await?;
            assert_eq!(payload.seq, sealed);
            sealed += 1;
            let request = api::DecryptRequest {
                options: None,
                payload: Some(payload),
            };
            opening.send(&request.encode_to_vec()).await?;
        }
        while opened + 2 < sealed {
            let payload = next(&mut opening).await?;
            assert_eq!(payload.data.first(), text(opened / segments).first());
            assert_eq!(payload.data.len(), SEGMENT);
            opened += 1;
        }
    }
    sealing.half_close();
    let payload = next(&mut sealing).await?;
    let request = api::DecryptRequest {
        options: None,
        payload: Some(payload),
    };
    opening.send(&request.encode_to_vec()).await?;
    opening.half_close();
    let rest = opening.finish().await?;
    assert_eq!((rest.status, rest.messages.len()), (0, 2));
    let memory = world.daprd.process.memory()?.own_peak();
    println!("{} KiB at most", memory >> 10);
    ensure!(memory < MOST, "the sidecar took {memory} bytes");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_is_held_back() -> Result<()> {
    let world = World::start().await?;
    let grpc = world.daprd.grpc().await?;
    let mut stream = grpc.open(ENCRYPT, HeaderMap::new()).await?;
    let mut seq = 0;
    loop {
        let request = api::EncryptRequest {
            options: (seq == 0).then(|| encrypt_options("aes", "A256KW")),
            payload: Some(StreamPayload { data: text(seq), seq }),
        };
        let message = request.encode_to_vec();
        // Nobody reads the document: the way fills, and then stands still.
        let sent = timeout(Duration::from_secs(2), stream.send(&message)).await;
        let Ok(sent) = sent else { break };
        sent?;
        seq += 1;
        ensure!(seq < 200, "the sidecar takes everything");
    }
    ensure!(
        world.daprd.process.memory()?.own_peak() < MOST,
        "the sidecar keeps it all"
    );
    Ok(())
}
