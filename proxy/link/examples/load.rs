//! Measures a link under load: client and server with an echo on two single-threaded runtimes over loopback.
//!
//! ```text
//! cargo run --release -p outrigger-link --example load -- [h2|own] [plain|tls] [calls at once] [body bytes] [seconds] [echo|sink]
//! ```
//!
//! Prints calls a second, CPU time a call of both ends together, and the median and 99th percentile latency.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use outrigger_identity::key::PrivateKey;
use outrigger_identity::{AnchorSource, Expect, Svid, SvidSource, TrustAnchors, tls};
use outrigger_link::{
    CallScope, Callee, Framing, HttpExtension, Invocation, LinkSettings, Metadata, PeerAddress, PeerSettings,
    Peers, Reply, ReplyStatus, Retries, Security, Status, TcpConnect, Verb, serve,
};
use outrigger_svc::{Body, CallContext, Drain, Surface, collect_limited};
use outrigger_telemetry::trace::TraceContext;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is measured.
#[derive(Clone, Debug)]
struct Plan {
    framing: Framing,
    tls: bool,
    at_once: usize,
    body: usize,
    time: Duration,
    is_sink: bool,
}

/// Answers with the body of the call, or only takes it.
struct App {
    is_sink: bool,
}

/// Identities of both ends; none without TLS.
#[derive(Clone)]
struct Identities {
    caller: SvidSource,
    callee: SvidSource,
    anchors: AnchorSource,
}

fn main() {
    let plan = Plan::from_arguments();
    let identities = plan.tls.then(Identities::new);
    let (send_address, address) = mpsc::channel();
    let server = (plan.clone(), identities.clone());
    std::thread::spawn(move || runtime().block_on(serve_forever(server.0, server.1, send_address)));
    let address = address.recv().expect("the server starts");
    let report = runtime().block_on(load(&plan, identities, address));
    println!("{plan:?}\n{report}");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

async fn serve_forever(plan: Plan, identities: Option<Identities>, address: mpsc::Sender<SocketAddr>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    address
        .send(listener.local_addr().expect("an address"))
        .expect("the client waits");
    let config = identities.map(|ids| Arc::new(tls::mutual_server(&ids.callee, &ids.anchors, Expect::Any)));
    let settings = Arc::new(plan.link());
    let drain = Drain::new();
    let app = Arc::new(App {
        is_sink: plan.is_sink,
    });
    loop {
        let (stream, remote) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("an option");
        let context = CallContext {
            surface: Surface::Internal,
            remote: Some(remote),
            peer: None,
        };
        let (settings, signal) = (settings.clone(), drain.signal());
        match config.clone() {
            None => drop(tokio::spawn(serve(
                stream,
                settings,
                context,
                app.clone(),
                signal,
            ))),
            Some(config) => {
                let app = app.clone();
                drop(tokio::spawn(async move {
                    let stream = BufReader::with_capacity(32 << 10, stream);
                    let io = tls::accept(config, stream).await.expect("a handshake");
                    serve(io, settings, context, app, signal).await;
                }))
            }
        }
    }
}

async fn load(plan: &Plan, identities: Option<Identities>, address: SocketAddr) -> String {
    let security = match identities {
        None => Security::Plain,
        Some(ids) => Security::Mutual {
            svid: ids.caller,
            anchors: ids.anchors,
        },
    };
    let settings = PeerSettings {
        link: plan.link(),
        ..PeerSettings::default()
    };
    let peers = Peers::new(settings, security, Arc::new(TcpConnect));
    let peer = PeerAddress {
        address: address.to_string().into(),
        app_id: "callee".into(),
        namespace: "default".into(),
    };
    let body = Bytes::from(vec![b'x'; plan.body]);
    let answer = if plan.is_sink { 0 } else { plan.body };
    one_call(&peers, &peer, body.clone(), answer).await;

    let cpu = cpu_time();
    let start = Instant::now();
    let end = start + plan.time;
    let workers = (0..plan.at_once).map(|_| {
        let (peers, peer, body) = (peers.clone(), peer.clone(), body.clone());
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while Instant::now() < end {
                let begun = Instant::now();
                one_call(&peers, &peer, body.clone(), answer).await;
                latencies.push(begun.elapsed());
            }
            latencies
        })
    });
    let mut latencies = Vec::new();
    for worker in workers.collect::<Vec<_>>() {
        latencies.append(&mut worker.await.expect("calls succeed"));
    }
    let (elapsed, cpu) = (start.elapsed(), cpu_time() - cpu);
    latencies.sort();
    let calls = latencies.len();
    let at = |share: f64| latencies[((calls - 1) as f64 * share) as usize].as_micros();
    format!(
        "{:.0} calls/s, {:.1} us CPU a call, p50 {} us, p99 {} us",
        calls as f64 / elapsed.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / calls as f64,
        at(0.5),
        at(0.99)
    )
}

async fn one_call(peers: &Peers, peer: &PeerAddress, body: Bytes, answer: usize) {
    let mut call = Invocation::new("orders");
    call.http = Some(HttpExtension {
        verb: Verb::POST,
        query: "a=1".into(),
    });
    call.content_type = "application/json".into();
    call.metadata = Metadata::with_capacity(12, 600);
    for (name, value) in [
        ("User-Agent", "curl/7.88.1"),
        ("Accept", "*/*"),
        ("X-Forwarded-For", "192.0.2.2"),
        ("X-Forwarded-Host", "vm"),
        ("Forwarded", "for=192.0.2.2;by=192.0.2.2;host=vm"),
        ("destination-app-id", "callee"),
        ("dapr-caller-namespace", "default"),
        ("dapr-caller-app-id", "caller"),
        ("dapr-callee-app-id", "callee"),
    ] {
        call.metadata.push(name, value);
    }
    call.body = Body::from(body);
    let reply = peers
        .call(peer, &mut call, Retries::BuiltIn, Some(&TraceContext::ZERO))
        .await;
    let body = collect_limited(reply.expect("an answer").body, usize::MAX)
        .await
        .expect("a body");
    assert_eq!(body.len(), answer);
}

/// CPU time of the process so far.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11..13]
        .iter()
        .map(|field| field.parse::<u64>().unwrap_or_default())
        .sum();
    // The kernel counts in hundredths of a second.
    Duration::from_millis(ticks * 10)
}

// === impl Plan ===

impl Plan {
    fn from_arguments() -> Self {
        let mut arguments = std::env::args().skip(1);
        let mut next = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
        Self {
            framing: if next("own") == "h2" {
                Framing::H2
            } else {
                Framing::Own
            },
            tls: next("tls") == "tls",
            at_once: next("32").parse().expect("a number of calls"),
            body: next("0").parse().expect("a number of bytes"),
            time: Duration::from_secs(next("5").parse().expect("a number of seconds")),
            is_sink: next("echo") == "sink",
        }
    }

    fn link(&self) -> LinkSettings {
        LinkSettings {
            framing: self.framing,
            ..LinkSettings::default()
        }
    }
}

// === impl App ===

impl Callee for App {
    async fn invoke(&self, _: CallScope, mut call: Invocation) -> Result<Reply, Status> {
        if self.is_sink {
            let body = std::mem::take(&mut call.body);
            collect_limited(body, usize::MAX)
                .await
                .map_err(|error| Status::internal(error.to_string()))?;
        }
        Ok(Reply {
            status: ReplyStatus::new(200),
            headers: [
                ("Server", "BaseHTTP/0.6 Python/3.11.7"),
                ("Date", "Mon, 23 Nov 2026 07:12:52 GMT"),
            ]
            .into_iter()
            .collect(),
            content_type: call.content_type,
            body: call.body,
            ..Reply::default()
        })
    }

    async fn other(&self, _: Request<Body>) -> Response<Body> {
        Response::new(Body::empty())
    }
}

// === impl Identities ===

impl Identities {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = params.self_signed(&key).expect("a root");
        let anchors = AnchorSource::fixed(TrustAnchors::from_pem(root.pem()).expect("anchors"));
        let issuer = Issuer::new(params, key);
        let identity = |app_id: &str| {
            let key = KeyPair::generate().expect("a key");
            let mut params = CertificateParams::new(Vec::new()).expect("no names");
            let id = format!("spiffe://public/ns/default/{app_id}");
            params.subject_alt_names = vec![SanType::URI(id.try_into().expect("ASCII"))];
            let leaf = params.signed_by(&key, &issuer).expect("a leaf");
            let key = PrivateKey::from_pem(key.serialize_pem().as_bytes()).expect("a key");
            SvidSource::new(Svid::from_pem(leaf.pem().as_bytes(), key).expect("an identity"))
        };
        Self {
            caller: identity("caller"),
            callee: identity("callee"),
            anchors,
        }
    }
}
