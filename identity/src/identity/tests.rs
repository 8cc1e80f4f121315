use std::path::PathBuf;
use std::sync::Mutex;

use bytes::Bytes;
use outrigger_kit::clock::SystemClock;

use super::*;
use crate::fake_sentry::{FakeSentry, Step};
use crate::fixtures::{self, Folder};
use crate::metrics::FailureReason;

#[derive(Default)]
struct Counts(Mutex<Vec<String>>);

impl IdentityMetrics for Counts {
    fn initialized(&self) {
        self.0.lock().unwrap().push("initialized".to_owned());
    }

    fn rotation_failed(&self, reason: FailureReason) {
        self.0.lock().unwrap().push(reason.as_str().to_owned());
    }
}

fn settings(sentry: &FakeSentry) -> Settings {
    Settings {
        app_id: "myapp".to_owned(),
        control_plane_trust_domain: "localhost".to_owned(),
        control_plane_namespace: "default".to_owned(),
        sentry_address: "127.0.0.1:50001".to_owned(),
        trust_anchors: Some(sentry.authority().anchors_pem().into()),
        ..Settings::default()
    }
}

async fn start(settings: &Settings, sentry: &FakeSentry) -> Result<(Identity, Renewal), StartError> {
    let seams = Seams {
        connect: Arc::new(sentry.clone()),
        clock: Arc::new(SystemClock),
        metrics: Arc::new(()),
    };
    Identity::start(settings, seams, &CancellationToken::new()).await
}

#[tokio::test(start_paused = true)]
async fn settings_of_no_use_stop_the_start_with_their_texts() {
    let sentry = FakeSentry::new([]);
    let anchors = Bytes::from(sentry.authority().anchors_pem());
    type Change = fn(&mut Settings);
    let rows: [(Change, &str); 9] = [
        (
            |settings| settings.control_plane_trust_domain.clear(),
            "control plane trust domain is required",
        ),
        (
            |settings| settings.control_plane_trust_domain = "Bad".to_owned(),
            "invalid control plane trust domain: trust domain characters are limited to lowercase letters, \
             numbers, dots, dashes, and underscores",
        ),
        (
            |settings| settings.control_plane_namespace.clear(),
            "invalid control plane namespace: path cannot contain empty segments",
        ),
        (
            |settings| settings.trust_anchors = None,
            "trust anchors are required",
        ),
        (
            |settings| settings.trust_anchors = Some(Bytes::new()),
            "trust anchors are required",
        ),
        (
            |settings| settings.trust_anchors_file = Some(PathBuf::from("x")),
            "trust anchors cannot be specified in both TrustAnchors and TrustAnchorsFile",
        ),
        (
            |settings| settings.trust_anchors = Some(Bytes::from_static(b"x")),
            "failed to decode trust anchors: no certificates found",
        ),
        (
            |settings| {
                let text = crate::pem::encode("CERTIFICATE", b"x");
                settings.trust_anchors = Some(text.into());
            },
            "failed to decode trust anchors: x509: malformed certificate",
        ),
        (
            |settings| settings.token_file_variable = Some(String::new()),
            "failed to retrieve the initial identity: error obtaining token: environmental variable \
             DAPR_SENTRY_TOKEN_FILE is set with an empty value",
        ),
    ];
    for (change, text) in rows {
        let mut settings = settings(&sentry);
        settings.trust_anchors = Some(anchors.clone());
        change(&mut settings);
        assert_eq!(start(&settings, &sentry).await.unwrap_err().to_string(), text);
    }
    assert!(sentry.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_started_identity_knows_who_it_is() {
    let sentry = FakeSentry::new([]);
    let (identity, _renewal) = start(&settings(&sentry), &sentry).await.unwrap();
    assert_eq!(identity.spiffe_id().as_str(), "spiffe://public/ns/default/myapp");
    assert_eq!(
        format!("{identity:?}"),
        "Identity(SpiffeId(\"spiffe://public/ns/default/myapp\"))"
    );
    assert_eq!(
        identity.jwt_svid("a").unwrap_err().to_string(),
        "no JWT SVID available"
    );
    assert!(Arc::ptr_eq(&identity.server_config(), &identity.server_config()));
    assert!(Arc::ptr_eq(
        &identity.client_config(Expect::Any),
        &identity.client_config(Expect::Any)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_stops_the_start_and_is_counted() {
    let sentry = FakeSentry::new([Step::Refuse(tonic::Status::permission_denied("no"))]);
    let metrics = Arc::new(Counts::default());
    let seams = || Seams {
        connect: Arc::new(sentry.clone()),
        clock: Arc::new(SystemClock),
        metrics: metrics.clone(),
    };
    let cancel = CancellationToken::new();
    let error = Identity::start(&settings(&sentry), seams(), &cancel)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to retrieve the initial identity: error from sentry SignCertificate: rpc error: code = \
         PermissionDenied desc = no"
    );
    Identity::start(&settings(&sentry), seams(), &cancel)
        .await
        .unwrap();
    assert_eq!(*metrics.0.lock().unwrap(), ["sign", "initialized"]);
}

#[tokio::test(start_paused = true)]
async fn the_identity_is_written_to_its_folder() {
    let folder = Folder::new();
    let sentry = FakeSentry::new([]);
    let settings = Settings {
        identity_directory: Some(folder.path().join("tls")),
        ..settings(&sentry)
    };
    let (identity, _renewal) = start(&settings, &sentry).await.unwrap();
    let key = std::fs::read_to_string(folder.path().join("tls/key.pem")).unwrap();
    assert_eq!(key, identity.svid().key().to_pem().unwrap());
}

#[tokio::test]
async fn anchors_may_come_from_a_file() {
    let folder = Folder::new();
    let path = folder.path().join("ca.crt");
    let sentry = FakeSentry::new([]);
    std::fs::write(&path, sentry.authority().anchors_pem()).unwrap();
    let mut settings = settings(&sentry);
    settings.trust_anchors = None;
    settings.trust_anchors_file = Some(path.clone());
    let (identity, renewal) = start(&settings, &sentry).await.unwrap();
    let mut anchors = identity.anchors().clone();
    let renewing = tokio::spawn(renewal.run(CancellationToken::new()));

    std::fs::write(folder.path().join("new"), fixtures::ROOT).unwrap();
    std::fs::rename(folder.path().join("new"), &path).unwrap();
    anchors.changed().await;
    assert_eq!(anchors.current().as_pem(), fixtures::ROOT.as_bytes());

    std::fs::write(folder.path().join("new"), "nothing").unwrap();
    std::fs::rename(folder.path().join("new"), &path).unwrap();
    let error = renewing.await.unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "failed to read trust anchors file: '{}': no certificates found",
            path.display()
        )
    );
}

#[tokio::test(start_paused = true)]
async fn a_file_of_anchors_that_is_missing_is_awaited() {
    let folder = Folder::new();
    let path = folder.path().join("ca.crt");
    let writer = tokio::spawn({
        let path = path.clone();
        async move {
            tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
            std::fs::write(path, fixtures::ROOT).unwrap();
        }
    });
    let started = tokio::time::Instant::now();
    let cancel = CancellationToken::new();
    let (source, _watch) = AnchorSource::watch(&path, &cancel).await.unwrap();
    assert_eq!(source.current().certificates().len(), 1);
    assert!(started.elapsed() >= std::time::Duration::from_secs(3));
    writer.await.unwrap();

    cancel.cancel();
    let missing = folder.path().join("never");
    let error = AnchorSource::watch(&missing, &cancel).await.unwrap_err();
    assert_eq!(error.to_string(), "context canceled");
}
