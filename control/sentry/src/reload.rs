//! Taking new files of the issuer into use, without closing a port.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use outrigger_config::watch::DirectoryWatcher;
use outrigger_telemetry::metrics::Metrics;
use tokio_util::sync::CancellationToken;

use crate::ca::{Authority, AuthoritySettings};
use crate::error::Error;
use crate::oidc_server::OidcCertificate;
use crate::own::OwnIdentity;

/// How long to wait for further changes: files are replaced one after another.
const BATCH: Duration = Duration::from_secs(2);

/// How long before its issuer expires an authority starts to complain.
const EXPIRY_WARNING: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Opens an authority and opens it again when its files change.
#[derive(Debug)]
pub(crate) struct Reloader {
    settings: AuthoritySettings,
    watcher: DirectoryWatcher,
    files: Vec<PathBuf>,
    seen: Contents,
    metrics: Metrics,
}

/// What is renewed when files have changed.
#[derive(Debug)]
pub(crate) struct InUse {
    pub(crate) authority: Arc<ArcSwap<Authority>>,
    pub(crate) own: OwnIdentity,
    pub(crate) oidc_certificate: Option<Arc<OidcCertificate>>,
}

/// What the files contain, to tell a change from mere activity in their directories.
#[derive(Debug, Default, PartialEq, Eq)]
struct Contents(Vec<Option<Vec<u8>>>);

// === impl Reloader ===

impl Reloader {
    /// Watches the files of the authority and further ones.
    pub(crate) fn new(
        settings: AuthoritySettings,
        further_files: &[PathBuf],
        metrics: Metrics,
    ) -> Result<Self, Error> {
        let paths = &settings.paths;
        let mut files = vec![
            paths.issuer_certificate.clone(),
            paths.issuer_key.clone(),
            paths.anchors.clone(),
            paths.jwt_key.clone(),
            paths.jwks.clone(),
        ];
        files.extend_from_slice(further_files);
        let watcher = DirectoryWatcher::of_files(files.iter().map(PathBuf::as_path))?;
        Ok(Self {
            settings,
            watcher,
            files,
            seen: Contents::default(),
            metrics,
        })
    }

    /// Opens the authority and remembers what its files contain.
    pub(crate) fn open(&mut self) -> Result<Authority, Error> {
        // Looked at first: a change while the files are read is seen as one.
        self.seen = Contents::of(&self.files);
        let now = SystemTime::now();
        let authority = Authority::open(self.settings.clone(), now)?;
        if authority.is_generated() {
            self.seen = Contents::of(&self.files);
            self.metrics.sentry().issuer_changed();
        }
        self.metrics.sentry().issuer_expires(authority.expiry());
        if authority.expiry() < now + EXPIRY_WARNING {
            let expiry = outrigger_kit::time::rfc3339(authority.expiry());
            tracing::warn!(target: "dapr.sentry", "The issuer certificate expires on {expiry}");
        }
        tracing::info!(target: "dapr.sentry", "CA certificate key pair ready");
        Ok(authority)
    }

    /// Replaces what is in use whenever files have changed, until `stop`.
    ///
    /// # Errors
    /// If the new files cannot be used.
    pub(crate) async fn run(mut self, in_use: InUse, stop: CancellationToken) -> Result<(), Error> {
        loop {
            tokio::select! {
                () = self.changed() => {}
                () = stop.cancelled() => return Ok(()),
            }
            self.metrics.sentry().issuer_changed();
            tokio::select! {
                () = tokio::time::sleep(BATCH) => {}
                () = stop.cancelled() => return Ok(()),
            }
            tracing::warn!(target: "dapr.sentry", "Issuer credentials changed; reloading");
            in_use.authority.store(Arc::new(self.open()?));
            in_use.own.renew()?;
            if let Some(certificate) = &in_use.oidc_certificate {
                certificate.reload()?;
            }
        }
    }

    async fn changed(&self) {
        loop {
            self.watcher.changed().await;
            if Contents::of(&self.files) != self.seen {
                return;
            }
        }
    }
}

// === impl Contents ===

impl Contents {
    fn of(files: &[PathBuf]) -> Self {
        let hash = |file: &PathBuf| Some(digest(&SHA256, &std::fs::read(file).ok()?).as_ref().to_vec());
        Self(files.iter().map(hash).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn contents_tell_a_change_from_activity() {
        let scratch = Scratch::new();
        let files = [scratch.path().join("a"), scratch.path().join("b")];
        std::fs::write(&files[0], "1").unwrap();
        let seen = Contents::of(&files);
        std::fs::write(scratch.path().join("other"), "1").unwrap();
        std::fs::write(&files[0], "1").unwrap();
        assert_eq!(Contents::of(&files), seen);
        std::fs::write(&files[0], "2").unwrap();
        assert_ne!(Contents::of(&files), seen);
        std::fs::write(&files[0], "1").unwrap();
        std::fs::write(&files[1], "").unwrap();
        assert_ne!(Contents::of(&files), seen, "a new file is a change");
    }
}
