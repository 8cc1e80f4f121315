use std::time::{Duration, SystemTime};

use outrigger_kit::clock::ManualClock;
use tonic::Status;

use super::*;
use crate::fake_sentry::{FakeSentry, Step};
use crate::identity::Seams;
use crate::settings::Settings;

const HOUR: Duration = Duration::from_secs(3600);

async fn start(sentry: &FakeSentry, clock: Arc<dyn Clock>) -> (Identity, Renewal) {
    let settings = Settings {
        app_id: "myapp".to_owned(),
        control_plane_trust_domain: "localhost".to_owned(),
        control_plane_namespace: "default".to_owned(),
        sentry_address: "127.0.0.1:50001".to_owned(),
        trust_anchors: Some(sentry.authority().anchors_pem().into()),
        ..Settings::default()
    };
    let seams = Seams {
        connect: Arc::new(sentry.clone()),
        clock,
        metrics: Arc::new(()),
    };
    Identity::start(&settings, seams, &CancellationToken::new())
        .await
        .unwrap()
}

/// Starts an identity and its renewal on the time of the runtime.
async fn renewing(steps: impl IntoIterator<Item = Step>) -> (FakeSentry, Identity, CancellationToken) {
    let sentry = FakeSentry::new(steps);
    let (identity, renewal) = start(&sentry, sentry.clock()).await;
    let cancel = CancellationToken::new();
    tokio::spawn(renewal.run(cancel.clone()));
    (sentry, identity, cancel)
}

fn gaps(times: &[SystemTime]) -> Vec<Duration> {
    times
        .windows(2)
        .map(|pair| pair[1].duration_since(pair[0]).unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_day_long_certificate_is_renewed_at_its_half_life() {
    let (sentry, identity, cancel) = renewing([]).await;
    let first = identity.svid();
    sentry.requested(3).await;
    let half_life = Duration::from_secs(11 * 3600 + 52 * 60 + 30);
    for gap in gaps(&sentry.request_times()) {
        // Certificates are of whole seconds.
        let distance = gap.abs_diff(half_life);
        assert!(distance <= Duration::from_secs(1), "{gap:?}");
    }
    assert_ne!(first.chain(), identity.svid().chain());
    assert_ne!(
        first.key().public_key_bits(),
        identity.svid().key().public_key_bits()
    );

    cancel.cancel();
    tokio::time::sleep(48 * HOUR).await;
    assert_eq!(sentry.requests().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_renewal_that_fails_is_tried_every_ten_seconds() {
    let refuse = || Step::Refuse(Status::permission_denied("not now"));
    let (sentry, identity, _cancel) = renewing([]).await;
    let first = identity.svid();
    sentry.push((0..6).map(|_| refuse()));
    sentry.requested(8).await;
    let times = sentry.request_times();
    for gap in gaps(times.get(1..).unwrap()) {
        let distance = gap.abs_diff(Duration::from_secs(10));
        assert!(distance < Duration::from_millis(100), "{gap:?}");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_ne!(first.chain(), identity.svid().chain());
}

#[tokio::test(start_paused = true)]
async fn renewal_goes_on_past_the_end_of_the_certificate() {
    let (sentry, identity, _cancel) = renewing([Step::Issue(0, 20)]).await;
    sentry.push((0..100).map(|_| Step::Refuse(Status::permission_denied("not now"))));
    let first = identity.svid();
    sentry.requested(102).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_ne!(first.chain(), identity.svid().chain());
    let last = *sentry.request_times().last().unwrap();
    assert!(last > first.leaf().not_after() + Duration::from_secs(900));
}

#[tokio::test(start_paused = true)]
async fn certificates_of_no_length_are_renewed_one_after_the_other_until_a_long_one_comes() {
    let (sentry, identity, _cancel) = renewing((0..50).map(|_| Step::Issue(0, 0))).await;
    let start = sentry.clock().now();
    sentry.requested(51).await;
    let times = sentry.request_times();
    assert!(times.last().unwrap().duration_since(start).unwrap() < Duration::from_secs(2));
    assert!(gaps(&times).iter().skip(1).all(|gap| *gap >= SHORTEST_PAUSE));

    tokio::time::sleep(11 * HOUR).await;
    assert_eq!(sentry.requests().len(), 51);
    assert!(identity.svid().leaf().not_after() > sentry.clock().now());
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_notices_within_a_minute() {
    let sentry = FakeSentry::new([]);
    let clock = Arc::new(ManualClock::new(SystemTime::now()));
    let (_identity, renewal) = start(&sentry, clock.clone()).await;
    tokio::spawn(renewal.run(CancellationToken::new()));
    tokio::time::sleep(24 * HOUR).await;
    assert_eq!(sentry.requests().len(), 1, "the clock on the wall stood still");
    clock.advance(13 * HOUR);
    let woke = tokio::time::Instant::now();
    sentry.requested(2).await;
    assert!(woke.elapsed() <= Duration::from_secs(61));
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_is_gone_for_hours_is_looked_for_all_the_time() {
    let (sentry, identity, _cancel) = renewing([]).await;
    let first = identity.svid();
    // Unreachable from the first renewal on, until long after the end of the certificate.
    sentry.push((0..5000).map(|_| Step::Unreachable));
    sentry.requested(2).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let back = *sentry.request_times().last().unwrap();
    let outage = back.duration_since(first.leaf().not_after()).unwrap();
    assert!(outage > HOUR, "{outage:?} after the end of the certificate");
    assert_ne!(first.chain(), identity.svid().chain());
    // The pauses between two connections grow to two minutes, with a fifth of jitter.
    let longest = gaps(&sentry.dials()[1..]).into_iter().skip(1).max();
    assert!(longest < Some(Duration::from_secs(145)), "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_back_asks_for_nothing_and_finds_its_renewal_again() {
    let sentry = FakeSentry::new([]);
    let begin = SystemTime::now();
    let clock = Arc::new(ManualClock::new(begin));
    let (identity, renewal) = start(&sentry, clock.clone()).await;
    let first = identity.svid();
    tokio::spawn(renewal.run(CancellationToken::new()));
    for hours in [1, 24, 24 * 365] {
        clock.set(begin - hours * HOUR);
        tokio::time::sleep(48 * HOUR).await;
        assert_eq!(sentry.requests().len(), 1, "{hours} hours back");
        assert_eq!(first.chain(), identity.svid().chain());
    }
    clock.set(begin + 13 * HOUR);
    let woke = tokio::time::Instant::now();
    sentry.requested(2).await;
    assert!(woke.elapsed() <= Duration::from_secs(61));
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_ahead_of_the_authority_by_days_causes_no_storm_of_renewals() {
    let sentry = FakeSentry::new([]);
    let begin = SystemTime::now();
    let clock = Arc::new(ManualClock::new(begin));
    let (_identity, renewal) = start(&sentry, clock.clone()).await;
    tokio::spawn(renewal.run(CancellationToken::new()));
    // Every certificate is long over when it comes.
    clock.set(begin + 72 * HOUR);
    tokio::time::sleep(HOUR).await;
    let requests = sentry.requests().len();
    assert!((10..=361).contains(&requests), "{requests} requests in an hour");
    clock.set(begin);
    tokio::time::sleep(HOUR).await;
    assert!(sentry.requests().len() <= requests + 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ends_earlier_hastens_the_renewal() {
    let (sentry, identity, _cancel) = renewing([Step::Change(|answer| {
        let exp = SystemTime::now() + 2 * HOUR;
        let exp = exp.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let claims =
            format!("{{\"aud\":[\"public\"],\"exp\":{exp},\"sub\":\"spiffe://public/ns/default/myapp\"}}");
        let encode = |text: &str| {
            use base64::Engine;
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
        };
        answer.jwt = Some(format!("{}.{}.", encode("{\"alg\":\"RS256\"}"), encode(&claims)));
    })])
    .await;
    assert_eq!(
        identity.jwt_svid("public").unwrap().id().as_str(),
        "spiffe://public/ns/default/myapp"
    );
    sentry.requested(2).await;
    let gap = gaps(&sentry.request_times())[0];
    assert!(gap.abs_diff(HOUR) < Duration::from_secs(3), "{gap:?}");
}

#[test]
fn moments_are_printed_as_go_prints_them() {
    let moment = |seconds, nanos| Moment(SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos)).to_string();
    assert_eq!(moment(1_795_497_910, 0), "2026-11-24 05:25:10 +0000 UTC");
    assert_eq!(
        moment(1_795_497_910, 120_000_000),
        "2026-11-24 05:25:10.12 +0000 UTC"
    );
}

#[test]
fn the_plan_names_every_end() {
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let mut plan = Plan {
        expires: at(1_795_497_910),
        jwt_expires: None,
        renew: at(1_795_454_260),
    };
    assert_eq!(
        plan.to_string(),
        "cert expires on: 2026-11-24 05:25:10 +0000 UTC, renewal at: 2026-11-23 17:17:40 +0000 UTC"
    );
    plan.jwt_expires = Some(at(1_795_497_909));
    assert_eq!(
        plan.to_string(),
        "cert expires on: 2026-11-24 05:25:10 +0000 UTC, jwt expires on: 2026-11-24 05:25:09 +0000 UTC, renewal \
         at: 2026-11-23 17:17:40 +0000 UTC"
    );
}
