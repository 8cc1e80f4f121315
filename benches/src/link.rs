//! Whole calls from sidecar to sidecar over a pipe in memory: pool, codec, HTTP/2 and body at both ends.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use outrigger_link::{
    CallScope, Callee, Framing, Invocation, LinkSettings, PeerAddress, PeerSettings, Peers, Reply, Retries,
    Security, Status, serve,
};
use outrigger_svc::{Body, BoxConnection, BoxFuture, CallContext, Connect, Drain, Surface, collect_limited};
use outrigger_telemetry::trace::TraceContext;

use crate::{Meter, samples};

const STAGE: &str = "link";

/// Bytes that the pipe holds.
const PIPE: usize = 256 << 10;

/// An app that answers with the body of the call.
struct Echo;

/// Connects everybody to an [`Echo`] in this process.
struct InMemory {
    settings: Arc<LinkSettings>,
    drain: Drain,
}

pub(crate) fn measure(meter: &mut impl Meter) {
    for (framing_name, framing) in [("h2", Framing::H2), ("own framing", Framing::Own)] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        let link = LinkSettings {
            framing,
            ..LinkSettings::default()
        };
        let connect = InMemory {
            settings: Arc::new(link.clone()),
            drain: Drain::new(),
        };
        let settings = PeerSettings {
            link,
            ..PeerSettings::default()
        };
        let peers = Peers::new(settings, Security::Plain, Arc::new(connect));
        let peer = PeerAddress {
            address: "callee:1".into(),
            app_id: "callee".into(),
            namespace: "default".into(),
        };
        for (size, len) in [("no body", 0), ("1 KiB", 1 << 10), ("64 KiB", 64 << 10)] {
            let body = samples::body(len);
            meter.measure(STAGE, &format!("a call, {size}, {framing_name}"), || {
                runtime.block_on(call(&peers, &peer, body.clone()));
            });
        }
    }
}

async fn call(peers: &Peers, peer: &PeerAddress, body: Bytes) {
    let len = body.len();
    let mut call = samples::call();
    call.body = Body::from(body);
    let reply = peers
        .call(peer, &mut call, Retries::BuiltIn, Some(&TraceContext::ZERO))
        .await;
    let answer = collect_limited(reply.expect("an answer").body, usize::MAX)
        .await
        .expect("a body");
    assert_eq!(answer.len(), len, "the app answers with the body");
}

// === impl Echo ===

impl Callee for Echo {
    async fn invoke(&self, _: CallScope, call: Invocation) -> Result<Reply, Status> {
        Ok(Reply {
            body: call.body,
            ..samples::reply()
        })
    }

    async fn other(&self, _: Request<Body>) -> Response<Body> {
        Response::new(Body::empty())
    }
}

// === impl InMemory ===

impl Connect for InMemory {
    fn connect<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<BoxConnection>> {
        let (near, far) = tokio::io::duplex(PIPE);
        let context = CallContext {
            surface: Surface::Internal,
            remote: None,
            peer: None,
        };
        let server = serve(
            far,
            Arc::clone(&self.settings),
            context,
            Arc::new(Echo),
            self.drain.signal(),
        );
        tokio::spawn(server);
        Box::pin(std::future::ready(Ok(Box::new(near) as BoxConnection)))
    }
}
