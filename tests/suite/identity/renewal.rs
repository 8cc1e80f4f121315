//! Certificates that are renewed while the sidecars work.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use outrigger_test_kit::http::HttpConnection;
use outrigger_test_kit::{
    Authority, Daprd, HttpApp, HttpRequest, HttpResponse, Result, Signal, isolated, until_within,
};
use tokio::task::JoinSet;
use tokio::time::Instant;
use x509_parser::pem::parse_x509_pem;

use super::authority::Lab;
use super::openssl::{CertificateFiles, s_client};

/// Lifetime of the certificates: half of it passes between two renewals.
const LIFETIME: &str = "{workloadCertTTL: 6s, allowedClockSkew: 0s}";

/// Callers at the same time.
const CALLERS: usize = 4;

/// Longest wait for several renewals on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// Two sidecars of one authority, and an app behind one of them.
struct Pair {
    lab: Lab,
    authority: Authority,
    caller: Daprd,
    callee: Daprd,
    app: HttpApp,
}

/// Calls without a pause, until it is dropped or asked for the outcome.
struct Load {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU32>,
    tasks: JoinSet<Result<()>>,
}

// === impl Pair ===

impl Pair {
    /// Starts sidecars for an authority that runs already, which signs with what is in its files.
    async fn start(lab: Lab, authority: Authority, anchors: &str) -> Result<Self> {
        let app = HttpApp::start(async |_| HttpResponse::ok("hello")).await?;
        let address = format!("127.0.0.1:{}", lab.port);
        let sidecar = |app_id: &str| -> Result<_> {
            Ok(Daprd::builder(app_id)?
                .flag("enable-mtls", true)
                .flag("sentry-address", &address)
                .env("DAPR_TRUST_ANCHORS", anchors))
        };
        let callee = sidecar("callee")?.app("http", app.port()).start().await?;
        let caller = sidecar("myapp")?.start().await?;
        Ok(Self {
            lab,
            authority,
            caller,
            callee,
            app,
        })
    }

    /// The leaf that a sidecar shows to a new peer.
    async fn leaf(&self, daprd: &Daprd) -> Result<String> {
        let files = CertificateFiles::new(&self.authority.issue_to("peer")?)?;
        let options = files.options();
        let options: Vec<_> = options
            .iter()
            .map(String::as_str)
            .chain(["-alpn", "h2", "-showcerts"])
            .collect();
        let shown = s_client(daprd.internal_port, &options, Some("Verify return code:")).await?;
        let begin = shown.find("-----BEGIN CERTIFICATE").context("no certificate")?;
        let chain = shown.split_at(begin).1;
        let end = chain.find("-----END CERTIFICATE-----\n").context("no end")?;
        Ok(format!("{}-----END CERTIFICATE-----\n", chain.split_at(end).0))
    }

    /// Waits until the callee has shown `count` leafs to new peers; each must have been valid when it was shown.
    async fn leafs(&self, count: usize) -> Result<Vec<String>> {
        let mut seen = BTreeSet::new();
        let mut leafs = Vec::new();
        until_within(LONG, format_args!("{count} certificates"), async || {
            let leaf = self.leaf(&self.callee).await.ok()?;
            let (not_before, not_after) = validity(&leaf).ok()?;
            let now = time::OffsetDateTime::now_utc().unix_timestamp();
            assert!(
                (not_before..=not_after).contains(&now),
                "shown at {now}, valid from {not_before} to {not_after}"
            );
            if seen.insert(leaf.clone()) {
                leafs.push(leaf);
            }
            (leafs.len() >= count).then_some(())
        })
        .await?;
        Ok(leafs)
    }
}

// === impl Load ===

impl Load {
    fn start(daprd: &Daprd) -> Self {
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let mut tasks = JoinSet::new();
        for _ in 0..CALLERS {
            let (stop, calls, port) = (Arc::clone(&stop), Arc::clone(&calls), daprd.http_port);
            tasks.spawn(async move { call_on(port, &stop, &calls).await });
        }
        Self { stop, calls, tasks }
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Waits for more calls, and fails if one has failed.
    async fn goes_on(&mut self) -> Result<()> {
        let before = self.calls();
        until_within(LONG, "further calls", async || {
            (self.calls() > before + 100).then_some(())
        })
        .await
        .or_else(|error| match self.tasks.try_join_next() {
            Some(Ok(Err(failure))) => Err(failure),
            _ => Err(error),
        })
    }

    /// Ends the calls; not one may have failed.
    async fn finish(mut self) -> Result<u32> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(outcome) = self.tasks.join_next().await {
            outcome??;
        }
        Ok(self.calls())
    }
}

async fn call_on(port: u16, stop: &AtomicBool, calls: &AtomicU32) -> Result<()> {
    let mut connection = HttpConnection::open(port).await?;
    let request = HttpRequest::new("GET", "/v1.0/invoke/callee/method/hello");
    while !stop.load(Ordering::Relaxed) {
        let reply = connection.send(&request).await?;
        anyhow::ensure!(reply.status == 200, "status {}: {}", reply.status, reply.text());
        calls.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn validity(pem: &str) -> Result<(i64, i64)> {
    let (_, block) = parse_x509_pem(pem.as_bytes())?;
    let certificate = block.parse_x509()?;
    let validity = certificate.validity();
    Ok((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

/// An authority whose root and issuer the test knows.
async fn known_authority(mtls: &str) -> Result<(Lab, Authority, outrigger_test_kit::Process)> {
    let lab = Lab::new(mtls)?;
    let authority = Authority::new()?;
    authority.write(&lab.credentials())?;
    let sentry = lab.start().await?;
    Ok((lab, authority, sentry))
}

#[test]
fn no_call_fails_while_certificates_are_renewed() {
    isolated!(async {
        let (lab, authority, _sentry) = known_authority(LIFETIME).await?;
        let anchors = authority.anchors().to_owned();
        let pair = Pair::start(lab, authority, &anchors).await?;
        let mut load = Load::start(&pair.caller);
        load.goes_on().await?;
        let links = links(&pair.callee)?;

        let begun = Instant::now();
        let leafs = pair.leafs(5).await?;
        let begins: Vec<_> = leafs.iter().map(|leaf| validity(leaf)).collect::<Result<_>>()?;
        assert!(begins.is_sorted(), "newer and newer: {begins:?}");
        let elapsed = begun.elapsed();
        load.goes_on().await?;
        assert!(load.finish().await? > 500);
        assert!(pair.app.connections() <= 8, "calls share connections");

        // Two sidecars, one request each in half a lifetime, and the first two.
        let requests = pair
            .lab
            .metric("dapr_sentry_cert_sign_request_received_total")
            .await?
            .unwrap_or_default();
        let most = 2.0 * (elapsed.as_secs_f64() / 3.0 + 4.0);
        assert!(
            (8.0..=most).contains(&requests),
            "{requests} requests in {elapsed:?}"
        );

        assert_eq!(
            self::links(&pair.callee)?,
            links,
            "the links of before are still there"
        );
        for daprd in [&pair.caller, &pair.callee] {
            daprd
                .process
                .wait_for_lines("msg=\"Successfully renewed workload identity; ", 4)
                .await?;
            assert_eq!(daprd.process.lines_with("level=error").len(), 0);
        }
        Ok(())
    });
}

#[test]
fn connections_outlive_the_authority_and_the_certificates_they_were_made_with() {
    isolated!(async {
        let (lab, authority, mut sentry) = known_authority(LIFETIME).await?;
        let anchors = authority.anchors().to_owned();
        let pair = Pair::start(lab, authority, &anchors).await?;
        let mut load = Load::start(&pair.caller);
        load.goes_on().await?;
        sentry.signal(Signal::Kill).await?;
        sentry.exit().await?;

        // Longer than any certificate lives.
        let last = pair.leaf(&pair.callee).await?;
        let (_, not_after) = validity(&last)?;
        until_within(LONG, "the end of the last certificate", async || {
            let now = time::OffsetDateTime::now_utc().unix_timestamp();
            (now > not_after).then_some(())
        })
        .await?;
        load.goes_on().await?;
        for daprd in [&pair.caller, &pair.callee] {
            assert_eq!(daprd.get("/v1.0/healthz").await?.status, 204, "it stays up");
        }
        // What a new peer is shown has expired, and a new peer that looks at it refuses it.
        let (_, not_after) = validity(&pair.leaf(&pair.callee).await?)?;
        assert!(not_after < time::OffsetDateTime::now_utc().unix_timestamp());

        let _sentry = pair.lab.start().await?;
        until_within(LONG, "a new certificate", async || {
            let (_, not_after) = validity(&pair.leaf(&pair.callee).await.ok()?).ok()?;
            (not_after > time::OffsetDateTime::now_utc().unix_timestamp()).then_some(())
        })
        .await?;
        load.goes_on().await?;
        load.finish().await?;
        Ok(())
    });
}

#[test]
fn an_authority_that_restarts_is_not_noticed() {
    isolated!(async {
        let (lab, authority, mut sentry) = known_authority(LIFETIME).await?;
        let anchors = authority.anchors().to_owned();
        let pair = Pair::start(lab, authority, &anchors).await?;
        let mut load = Load::start(&pair.caller);
        for _ in 0..2 {
            load.goes_on().await?;
            assert!(sentry.stop().await?.success());
            sentry = pair.lab.start().await?;
            pair.leafs(2).await?;
        }
        load.finish().await?;
        Ok(())
    });
}

#[test]
fn no_call_fails_while_root_and_issuer_are_replaced() {
    isolated!(async {
        let new = Authority::new()?;
        let lab = Lab::new(LIFETIME)?;
        let old = Authority::new()?;
        let both = [old.anchors(), new.anchors()].concat();
        old.write(&lab.credentials())?;
        std::fs::write(lab.credentials().join("ca.crt"), &both)?;
        let sentry = lab.start().await?;
        let pair = Pair::start(lab, old, &both).await?;
        let mut load = Load::start(&pair.caller);
        load.goes_on().await?;

        new.write(&pair.lab.credentials())?;
        std::fs::write(pair.lab.credentials().join("ca.crt"), &both)?;
        sentry
            .wait_for_line("Issuer credentials changed; reloading")
            .await?;
        let anchors = new.anchors().to_owned();
        until_within(LONG, "leafs of the new issuer", async || {
            for daprd in [&pair.caller, &pair.callee] {
                let leaf = pair.leaf(daprd).await.ok()?;
                let chain = [
                    leaf,
                    std::fs::read_to_string(pair.lab.credentials().join("issuer.crt")).ok()?,
                ]
                .concat();
                super::openssl::verify(&anchors, &chain).await.ok()?;
            }
            Some(())
        })
        .await?;
        load.goes_on().await?;

        // A third sidecar opens new links to one that has changed over.
        let third = Daprd::builder("third")?
            .flag("enable-mtls", true)
            .flag("sentry-address", format_args!("127.0.0.1:{}", pair.lab.port))
            .env("DAPR_TRUST_ANCHORS", new.anchors())
            .start()
            .await?;
        assert_eq!(third.invoke("callee", "hello").await?.status, 200);
        load.finish().await?;
        Ok(())
    });
}

#[test]
fn the_identity_is_renewed_while_the_end_is_blocked() {
    isolated!(async {
        let (lab, authority, _sentry) =
            known_authority("{workloadCertTTL: 4s, allowedClockSkew: 0s}").await?;
        let app = HttpApp::start(async |_| HttpResponse::ok("hello")).await?;
        let mut daprd = Daprd::builder("a")?
            .app("http", app.port())
            .flag("enable-mtls", true)
            .flag("sentry-address", format_args!("127.0.0.1:{}", lab.port))
            .flag("dapr-block-shutdown-duration", "8s")
            .env("DAPR_TRUST_ANCHORS", authority.anchors())
            .start()
            .await?;
        daprd.process.signal(Signal::Terminate).await?;
        daprd.process.wait_for_line("Blocking graceful shutdown").await?;
        daprd
            .process
            .wait_for_lines("msg=\"Successfully renewed workload identity; ", 2)
            .await?;
        assert_eq!(daprd.process.exit().await?.code(), Some(0));
        Ok(())
    });
}

#[test]
fn a_restart_does_not_leave_a_second_renewal_behind() {
    isolated!(async {
        let (lab, authority, _sentry) =
            known_authority("{workloadCertTTL: 4s, allowedClockSkew: 0s}").await?;
        let daprd = Daprd::builder("a")?
            .flag("enable-mtls", true)
            .flag("sentry-address", format_args!("127.0.0.1:{}", lab.port))
            .env("DAPR_TRUST_ANCHORS", authority.anchors())
            .start()
            .await?;
        for restarts in 1..=3 {
            daprd.process.signal(Signal::Hangup).await?;
            daprd
                .process
                .wait_for_lines("dapr initialized. Status: Running.", restarts + 1)
                .await?;
        }
        let series = "dapr_sentry_cert_sign_request_received_total";
        let before = lab.metric(series).await?.unwrap_or_default();
        let renewals = daprd
            .process
            .lines_with("Successfully renewed workload identity; ")
            .len();
        daprd
            .process
            .wait_for_lines("Successfully renewed workload identity; ", renewals + 3)
            .await?;
        let after = lab.metric(series).await?.unwrap_or_default();
        assert!(
            after - before <= 4.0,
            "{} requests for 3 renewals",
            after - before
        );
        Ok(())
    });
}

/// The other ends of the links to a sidecar.
fn links(daprd: &Daprd) -> Result<String> {
    let table = std::fs::read_to_string(format!("/proc/{}/net/tcp", daprd.process.id()))?;
    let port = format!(":{:04X}", daprd.internal_port);
    let mut links: Vec<_> = table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (local, remote, state) = (words.next()?, words.next()?, words.next()?);
            // Established, and not one of this test's own.
            (local.ends_with(&port) && state == "01").then(|| remote.to_owned())
        })
        .collect();
    links.sort();
    Ok(links.join(" "))
}
