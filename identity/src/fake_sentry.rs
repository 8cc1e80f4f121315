//! A certificate authority service for tests, reached without a network.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use outrigger_api::sentry::ca_server::{Ca, CaServer};
use outrigger_api::sentry::{SignCertificateRequest, SignCertificateResponse};
use outrigger_kit::clock::Clock;
use outrigger_svc::{BoxConnection, BoxFuture, Connect};
use tokio::io::duplex;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::anchors::AnchorSource;
use crate::authority::{Authority, Leaf, SENTRY};
use crate::svid::SvidSource;
use crate::{der, pem, tls};

/// What the authority does with one request or connection.
pub(crate) enum Step {
    /// Refuses the connection.
    Unreachable,
    /// Refuses the request.
    Refuse(Status),
    /// Never answers.
    Hang,
    /// Breaks the connection.
    Break,
    /// Answers with a certificate that is valid for so many seconds before and after the moment.
    Issue(u64, u64),
    /// Answers like `Issue(900, 86_400)`, but changed.
    Change(fn(&mut SignCertificateResponse)),
}

/// A clock that shows the time of the runtime, which tests pause.
#[derive(Debug)]
pub(crate) struct RuntimeClock {
    start: SystemTime,
    started: Instant,
}

/// The service and the network that leads to it. Once its steps are used up it issues for a day.
#[derive(Clone)]
pub(crate) struct FakeSentry(Arc<Inner>);

struct Inner {
    authority: Authority,
    svid: SvidSource,
    clock: Arc<RuntimeClock>,
    steps: Mutex<VecDeque<Step>>,
    log: Mutex<Log>,
    seen: watch::Sender<usize>,
}

/// What has happened.
#[derive(Default)]
struct Log {
    dials: Vec<SystemTime>,
    requests: Vec<(SystemTime, SignCertificateRequest)>,
}

// === impl RuntimeClock ===

impl RuntimeClock {
    pub(crate) fn new() -> Self {
        Self {
            start: SystemTime::now(),
            started: Instant::now(),
        }
    }
}

impl Clock for RuntimeClock {
    fn now(&self) -> SystemTime {
        self.start + self.started.elapsed()
    }
}

// === impl FakeSentry ===

impl FakeSentry {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::with_id(&[SENTRY], steps)
    }

    /// A service that shows another id than it should.
    pub(crate) fn with_id(id: &'static [&'static str], steps: impl IntoIterator<Item = Step>) -> Self {
        let authority = Authority::new();
        Self(Arc::new(Inner {
            svid: authority.source(id),
            authority,
            clock: Arc::new(RuntimeClock::new()),
            steps: Mutex::new(steps.into_iter().collect()),
            log: Mutex::new(Log::default()),
            seen: watch::Sender::new(0),
        }))
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.0.authority
    }

    pub(crate) fn anchors(&self) -> AnchorSource {
        self.0.authority.anchors()
    }

    pub(crate) fn clock(&self) -> Arc<RuntimeClock> {
        self.0.clock.clone()
    }

    pub(crate) fn push(&self, steps: impl IntoIterator<Item = Step>) {
        self.0.steps.lock().unwrap().extend(steps);
    }

    pub(crate) fn dials(&self) -> Vec<SystemTime> {
        self.0.log.lock().unwrap().dials.clone()
    }

    pub(crate) fn requests(&self) -> Vec<SignCertificateRequest> {
        let log = self.0.log.lock().unwrap();
        log.requests.iter().map(|(_, request)| request.clone()).collect()
    }

    /// When requests came.
    pub(crate) fn request_times(&self) -> Vec<SystemTime> {
        let log = self.0.log.lock().unwrap();
        log.requests.iter().map(|(time, _)| *time).collect()
    }

    /// Waits until so many requests have come.
    pub(crate) async fn requested(&self, count: usize) {
        let mut seen = self.0.seen.subscribe();
        seen.wait_for(|seen| *seen >= count).await.unwrap();
    }

    fn next_step_is(&self, wanted: fn(&Step) -> bool) -> bool {
        let mut steps = self.0.steps.lock().unwrap();
        let found = steps.front().is_some_and(wanted);
        if found {
            steps.pop_front();
        }
        found
    }

    fn issue(&self, request: &SignCertificateRequest, before: u64, after: u64) -> SignCertificateResponse {
        let now = self.0.clock.now();
        let ahead = now
            .duration_since(SystemTime::now())
            .unwrap_or_default()
            .as_secs();
        let [ahead, before, after] = [ahead, before, after].map(|seconds| i64::try_from(seconds).unwrap());
        let leaf = Leaf {
            valid: ahead - before..ahead + after,
            ..Leaf::default()
        };
        let block = pem::blocks(&request.certificate_signing_request).next().unwrap();
        let key = public_key_of(&block.contents);
        let issuer = &self.0.authority.issuer;
        let chain = [issuer.certify(&leaf, key), issuer.der.clone()];
        SignCertificateResponse {
            workload_certificate: pem::encode_certificates(&chain).into(),
            trust_chain_certificates: vec![self.0.authority.anchors_pem().into()],
            valid_until: Some((now + Duration::from_secs(after.unsigned_abs())).into()),
            ..SignCertificateResponse::default()
        }
    }
}

impl Connect for FakeSentry {
    fn connect<'a>(&'a self, _address: &'a str) -> BoxFuture<'a, io::Result<BoxConnection>> {
        let now = self.0.clock.now();
        self.0.log.lock().unwrap().dials.push(now);
        if self.next_step_is(|step| matches!(step, Step::Unreachable)) {
            return Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) });
        }
        let (near, far) = duplex(64 * 1024);
        let config = Arc::new(tls::open_server(&self.0.svid));
        let service = self.clone();
        tokio::spawn(async move {
            let Ok(stream) = tls::accept(config, far).await else {
                return;
            };
            let (breaking, broken) = watch::channel(false);
            let service = TowerToHyperService::new(CaServer::new(Endpoint { service, breaking }));
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            let mut broken = broken;
            tokio::select! {
                served = connection => drop(served),
                _ = broken.wait_for(|broken| *broken) => {}
            }
        });
        Box::pin(async { Ok(Box::new(near) as BoxConnection) })
    }
}

/// The service as one connection sees it.
struct Endpoint {
    service: FakeSentry,
    breaking: watch::Sender<bool>,
}

// === impl Endpoint ===

#[tonic::async_trait]
impl Ca for Endpoint {
    async fn sign_certificate(
        &self,
        request: Request<SignCertificateRequest>,
    ) -> Result<Response<SignCertificateResponse>, Status> {
        let request = request.into_inner();
        let inner = &self.service.0;
        let entry = (inner.clock.now(), request.clone());
        inner.log.lock().unwrap().requests.push(entry);
        inner.seen.send_modify(|seen| *seen += 1);
        let step = inner.steps.lock().unwrap().pop_front();
        match step.unwrap_or(Step::Issue(900, 86_400)) {
            Step::Issue(before, after) => Ok(Response::new(self.service.issue(&request, before, after))),
            Step::Change(change) => {
                let mut answer = self.service.issue(&request, 900, 86_400);
                change(&mut answer);
                Ok(Response::new(answer))
            }
            Step::Refuse(status) => Err(status),
            Step::Break => {
                self.breaking.send_replace(true);
                std::future::pending().await
            }
            Step::Hang | Step::Unreachable => std::future::pending().await,
        }
    }
}

/// The `SubjectPublicKeyInfo` of a certificate request.
fn public_key_of(request: &[u8]) -> &[u8] {
    let (request, _) = der::read(request).unwrap();
    let (info, _) = der::read(request.contents).unwrap();
    let (_version, rest) = der::read(info.contents).unwrap();
    let (_subject, rest) = der::read(rest).unwrap();
    der::read(rest).unwrap().0.raw
}
