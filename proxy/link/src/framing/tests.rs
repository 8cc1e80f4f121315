//! The framing against the `h2` crate, and against peers that the tests play frame by frame.

mod limits;
mod peers;
mod weather;

use outrigger_svc::{Body, Drain};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::frame::{FrameHead, HEAD, Kind, PREFACE, Settings, flag, put_block, put_head, put_settings_ack};
use super::hpack::Encoder;
use crate::codec::encode_request_chunk;
use crate::tests::{App, call_of, settings, soon, spawn_server};
use crate::transport::Rpc;
use crate::{Framing, LinkSettings};

/// What a client sends first.
fn greeting() -> Vec<u8> {
    let mut out = PREFACE.to_vec();
    Settings::default().write(&mut out);
    put_settings_ack(&mut out);
    out
}

/// A frame that a server sent.
#[derive(Debug)]
struct Received {
    head: FrameHead,
    payload: Vec<u8>,
}

/// A client that the test plays frame by frame.
struct Puppet {
    io: DuplexStream,
    drain: Drain,
}

impl Puppet {
    async fn new(app: App) -> Self {
        Self::with(app, |_| {}).await
    }

    async fn with(app: App, change: impl Fn(&mut LinkSettings)) -> Self {
        let (mut io, far) = tokio::io::duplex(1 << 20);
        let drain = Drain::new();
        let mut settings = settings(Framing::Own);
        change(&mut settings);
        spawn_server(far, app, settings, &drain);
        io.write_all(&greeting()).await.unwrap();
        Self { io, drain }
    }

    async fn send(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        write(&mut out);
        // A server that has had enough closes the connection while more is sent.
        drop(self.io.write_all(&out).await);
    }

    async fn receive(&mut self) -> Option<Received> {
        soon(self.receive_ever()).await
    }

    /// The next frame, however long it takes.
    async fn receive_ever(&mut self) -> Option<Received> {
        let mut head = [0; HEAD];
        self.io.read_exact(&mut head).await.ok()?;
        let head = FrameHead::read(&head)?;
        let mut payload = vec![0; head.len];
        self.io.read_exact(&mut payload).await.ok()?;
        Some(Received { head, payload })
    }

    async fn next(&mut self, kind: Kind) -> Received {
        while let Some(received) = self.receive().await {
            if received.head.kind == kind && !(kind == Kind::Settings && received.head.has(flag::ACK)) {
                return received;
            }
        }
        panic!("the connection ended before a frame of kind {kind:?}");
    }

    /// The error code and text of the server's goodbye, which must be followed by the end.
    async fn goodbye(&mut self) -> (u32, String) {
        let received = self.next(Kind::GoAway).await;
        let code = u32::from_be_bytes(received.payload[4..8].try_into().unwrap());
        while self.receive().await.is_some() {}
        soon(async {
            while self.drain.in_flight() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        (code, String::from_utf8(received.payload[8..].to_vec()).unwrap())
    }
}

/// The head and the one message of a hot call.
fn put_call(out: &mut Vec<u8>, encoder: &mut Encoder, stream: u32) {
    let mut block = Vec::new();
    encoder.call(&mut block, Rpc::Stream, "callee:1", None);
    put_block(out, stream, 0, &block, 16_384);
    let mut message = Vec::new();
    let call = call_of("m", Body::empty());
    encode_request_chunk(&mut message, usize::MAX, &call, None).unwrap();
    put_head(out, message.len(), Kind::Data, flag::END_STREAM, stream);
    out.extend_from_slice(&message);
}
