use std::time::Duration;

use outrigger_api::sentry::sign_certificate_request::TokenValidator;

use super::*;
use crate::fake_sentry::{FakeSentry, Step};
use crate::fixtures::Folder;
use crate::key::KeyKind;

fn settings() -> Settings {
    Settings {
        app_id: "myapp".to_owned(),
        control_plane_trust_domain: "localhost".to_owned(),
        control_plane_namespace: "default".to_owned(),
        sentry_address: "dapr-sentry.example:443".to_owned(),
        ..Settings::default()
    }
}

fn client(sentry: &FakeSentry, settings: &Settings) -> SentryClient {
    let control_plane = TrustDomain::parse("localhost").unwrap();
    SentryClient::new(
        settings,
        &control_plane,
        &sentry.anchors(),
        Arc::new(sentry.clone()),
    )
    .unwrap()
}

async fn obtain_with(sentry: &FakeSentry, settings: &Settings) -> Result<Obtained, RequestError> {
    let clock = sentry.clock();
    client(sentry, settings)
        .obtain(&*clock, &CancellationToken::new())
        .await
}

async fn obtain(steps: impl IntoIterator<Item = Step>) -> (FakeSentry, Result<Obtained, RequestError>) {
    let sentry = FakeSentry::new(steps);
    let obtained = obtain_with(&sentry, &settings()).await;
    (sentry, obtained)
}

fn gap(earlier: SystemTime, later: SystemTime) -> Duration {
    later.duration_since(earlier).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_app_asks_for_its_own_identity_and_gets_it() {
    let (sentry, obtained) = obtain([]).await;
    let obtained = obtained.unwrap();
    assert_eq!(obtained.svid.id().as_str(), "spiffe://public/ns/default/myapp");
    assert_eq!(obtained.svid.chain().len(), 2);
    assert_eq!(obtained.svid.key().kind(), KeyKind::Ed25519);
    assert_eq!(
        obtained.svid.leaf().public_key(),
        obtained.svid.key().public_key_bits()
    );
    let request = sentry.requests().remove(0);
    assert_eq!(
        (request.id.as_str(), request.namespace.as_str()),
        ("myapp", "default")
    );
    assert_eq!((request.token.as_str(), request.trust_domain.as_str()), ("", ""));
    assert_eq!(request.token_validator, i32::from(TokenValidator::Unknown));
    assert!(request.jwt_audiences.is_empty());
    assert!(
        request
            .certificate_signing_request
            .starts_with(b"-----BEGIN CERTIFICATE REQUEST-----\n")
    );
}

#[tokio::test(start_paused = true)]
async fn the_settings_shape_the_request() {
    let folder = Folder::new();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "secret\n").unwrap();
    let sentry = FakeSentry::new([]);
    let asked = Settings {
        local_identity: Some("other".to_owned()),
        namespace: Some("ns1".to_owned()),
        token_file: Some(token_file),
        jwt_audiences: vec!["a1".to_owned(), "a2".to_owned()],
        key_type: KeyType::Rsa2048,
        ..settings()
    };
    let obtained = obtain_with(&sentry, &asked).await.unwrap();
    assert_eq!(obtained.svid.key().kind(), KeyKind::Rsa);
    let request = sentry.requests().remove(0);
    assert_eq!(
        (request.id.as_str(), request.namespace.as_str()),
        ("other", "ns1")
    );
    assert_eq!(request.token, "secret\n");
    assert_eq!(request.token_validator, i32::from(TokenValidator::Jwks));
    assert_eq!(request.jwt_audiences, ["a1", "a2"]);
}

#[tokio::test(start_paused = true)]
async fn only_the_control_plane_in_its_own_namespace_names_a_trust_domain() {
    for (app_id, namespace, expected) in [
        ("dapr-scheduler", None, "localhost"),
        ("dapr-scheduler", Some("elsewhere"), ""),
        ("myapp", None, ""),
    ] {
        let sentry = FakeSentry::new([]);
        let asked = Settings {
            app_id: app_id.to_owned(),
            namespace: namespace.map(str::to_owned),
            ..settings()
        };
        obtain_with(&sentry, &asked).await.unwrap();
        assert_eq!(
            sentry.requests()[0].trust_domain,
            expected,
            "{app_id} {namespace:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn every_request_makes_a_new_key() {
    let sentry = FakeSentry::new([]);
    let first = obtain_with(&sentry, &settings()).await.unwrap();
    let second = obtain_with(&sentry, &settings()).await.unwrap();
    assert_ne!(
        first.svid.key().public_key_bits(),
        second.svid.key().public_key_bits()
    );
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_five_times() {
    let busy = || Step::Refuse(Status::resource_exhausted("busy"));
    let away = || Step::Refuse(Status::unavailable("away"));
    let (sentry, obtained) = obtain([busy(), away(), busy(), away()]).await;
    assert!(obtained.is_ok());
    let times = sentry.request_times();
    assert_eq!(times.len(), 5);
    for pair in times.windows(2) {
        let pause = gap(pair[0], pair[1]);
        assert!((45..=57).contains(&pause.as_millis()), "{pause:?}");
    }

    let (sentry, obtained) = obtain([busy(), busy(), busy(), busy(), away(), busy()]).await;
    let error = obtained.unwrap_err();
    assert_eq!(
        error.to_string(),
        "error from sentry SignCertificate: rpc error: code = Unavailable desc = away"
    );
    assert_eq!(error.reason(), Some(FailureReason::Sign));
    assert_eq!(sentry.requests().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_final() {
    let (sentry, obtained) = obtain([Step::Refuse(Status::permission_denied("who are you"))]).await;
    assert_eq!(
        obtained.unwrap_err().to_string(),
        "error from sentry SignCertificate: rpc error: code = PermissionDenied desc = who are you"
    );
    assert_eq!(sentry.requests().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_awaited_for_three_seconds() {
    let (sentry, obtained) = obtain([Step::Hang]).await;
    assert!(obtained.is_ok());
    let times = sentry.request_times();
    let waited = gap(times[0], times[1]);
    assert!((3_000..=3_100).contains(&waited.as_millis()), "{waited:?}");

    let (_, obtained) = obtain([Step::Hang, Step::Hang, Step::Hang, Step::Hang, Step::Hang]).await;
    assert_eq!(
        obtained.unwrap_err().to_string(),
        "error from sentry SignCertificate: rpc error: code = DeadlineExceeded desc = context deadline exceeded"
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_breaks_is_made_anew() {
    let (sentry, obtained) = obtain([Step::Break, Step::Break]).await;
    assert!(obtained.is_ok(), "{:?}", obtained.unwrap_err());
    assert_eq!(sentry.dials().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_tried_for_ever_with_growing_pauses() {
    let (sentry, obtained) = obtain((0..12).map(|_| Step::Unreachable)).await;
    assert!(obtained.is_ok());
    let dials = sentry.dials();
    assert_eq!(dials.len(), 13);
    let mut expected = 1.0_f64;
    for pair in dials.windows(2) {
        let pause = gap(pair[0], pair[1]).as_secs_f64();
        assert!(
            (expected * 0.8 - 0.01..=expected * 1.2 + 0.01).contains(&pause),
            "{pause} is not about {expected}"
        );
        expected = (expected * 1.6).min(120.0);
    }
}

/// The error after `cancel` comes 5 s into the wait for a connection.
async fn cancelled_after(sentry: &FakeSentry) -> RequestError {
    let cancel = CancellationToken::new();
    let soon = cancel.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(5)).await;
        soon.cancel();
    });
    let clock = sentry.clock();
    client(sentry, &settings())
        .obtain(&*clock, &cancel)
        .await
        .unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_is_somebody_else_is_not_asked() {
    let sentry = FakeSentry::with_id(&["spiffe://public/ns/default/myapp"], []);
    let error = cancelled_after(&sentry).await;
    assert_eq!(
        error.to_string(),
        "error establishing connection to sentry: context canceled: connection error: desc = \"transport: \
         authentication handshake failed: unexpected ID \\\"spiffe://public/ns/default/myapp\\\"\""
    );
    assert_eq!(error.reason(), Some(FailureReason::SentryConnection));
    assert!(sentry.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_last_failure_is_told_when_the_wait_is_called_off() {
    let sentry = FakeSentry::new((0..9).map(|_| Step::Unreachable));
    assert_eq!(
        cancelled_after(&sentry).await.to_string(),
        "error establishing connection to sentry: context canceled: connection error: desc = \"transport: Error \
         while dialing: dial tcp dapr-sentry.example:443: connect: connection refused\""
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_of_no_use_fails_the_request() {
    type Change = fn(&mut SignCertificateResponse);
    let no_time: Change = |answer| answer.valid_until = None;
    let wild_time: Change = |answer| {
        answer.valid_until = Some(Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        });
    };
    let no_certificate: Change = |answer| answer.workload_certificate = Bytes::new();
    let broken_token: Change = |answer| answer.jwt = Some("x".to_owned());
    let rows = [
        (
            no_time,
            "error parsing ValidUntil: invalid timestamp",
            FailureReason::InvalidTimestamp,
        ),
        (
            wild_time,
            "error parsing ValidUntil: invalid timestamp",
            FailureReason::InvalidTimestamp,
        ),
        (
            no_certificate,
            "no certificates received from sentry",
            FailureReason::Sign,
        ),
        (
            broken_token,
            "error parsing JWT: invalid JWT",
            FailureReason::JwtParse,
        ),
    ];
    for (change, text, reason) in rows {
        let (_, obtained) = obtain([Step::Change(change)]).await;
        let error = obtained.unwrap_err();
        assert_eq!(error.to_string(), text);
        assert_eq!(error.reason(), Some(reason));
    }
}

#[tokio::test(start_paused = true)]
async fn the_anchors_in_the_answer_are_ignored() {
    let (_, obtained) = obtain([Step::Change(|answer| answer.trust_chain_certificates.clear())]).await;
    assert!(obtained.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_read_fails_the_request() {
    let sentry = FakeSentry::new([]);
    let asked = Settings {
        token_file_variable: Some(String::new()),
        ..settings()
    };
    let error = obtain_with(&sentry, &asked).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "error obtaining token: environmental variable DAPR_SENTRY_TOKEN_FILE is set with an empty value"
    );
    assert_eq!(error.reason(), Some(FailureReason::SentryToken));
    assert!(sentry.requests().is_empty());
}
