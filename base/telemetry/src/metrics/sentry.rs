//! The certificate authority.

use std::time::{SystemTime, UNIX_EPOCH};

use super::instrument::{Counter, Gauge};
use super::registry::{Description, Fixed, Registry};

/// Signing requests and the issuer's own certificate.
///
/// Specification: sentry, section 7.
#[derive(Debug)]
pub struct Sentry {
    requests: Counter,
    signed: Counter,
    failed: Counter,
    own_failed: Counter,
    issuer_changed: Counter,
    issuer_expiry: Gauge,
}

// === impl Sentry ===

impl Sentry {
    pub(super) fn new(registry: &Registry) -> Self {
        let describe = |name, help, labels| Description {
            name,
            help,
            labels,
            fixed: Fixed::Nothing,
        };
        let counter = |name, help, labels| registry.counter(describe(name, help, labels));
        Self {
            requests: counter(
                "sentry/cert/sign/request_received_total",
                "The number of CSRs received.",
                &[],
            ),
            signed: counter(
                "sentry/cert/sign/success_total",
                "The number of certificates issuances that have succeeded.",
                &[],
            ),
            failed: counter(
                "sentry/cert/sign/failure_total",
                "The number of errors occurred when signing the CSR.",
                &["reason"],
            ),
            own_failed: counter(
                "sentry/servercert/issue_failed_total",
                "The number of own certificates that could not be issued.",
                &["reason"],
            ),
            issuer_changed: counter(
                "sentry/issuercert/changed_total",
                "The number of issuer cert updates, when issuer cert or key is changed",
                &[],
            ),
            issuer_expiry: registry.gauge(describe(
                "sentry/issuercert/expiry_timestamp",
                "The unix timestamp, in seconds, when issuer/root cert will expire.",
                &[],
            )),
        }
    }

    /// Counts a signing request.
    pub fn request_received(&self) {
        self.requests.increment(&[]);
    }

    /// Counts a certificate that has been issued.
    pub fn signed(&self) {
        self.signed.increment(&[]);
    }

    /// Counts a signing request that failed, for whatever reason.
    pub fn sign_failed(&self) {
        self.failed.increment(&["sign"]);
    }

    /// Counts a certificate of the own server that could not be issued.
    pub fn own_certificate_failed(&self) {
        self.own_failed.increment(&[""]);
    }

    /// Counts a change of the issuer's files.
    pub fn issuer_changed(&self) {
        self.issuer_changed.increment(&[]);
    }

    /// Sets when the first issuer certificate expires.
    pub fn issuer_expires(&self, moment: SystemTime) {
        let seconds = moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.issuer_expiry.set(&[], seconds as f64);
    }
}
