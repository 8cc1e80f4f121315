//! Finding a path from a leaf to an anchor.

use std::time::SystemTime;

use outrigger_kit::time::rfc3339;
use rustls::crypto::WebPkiSupportedAlgorithms;

use super::constraints::{self, NameError};
use crate::certificate::{Certificate, SignatureError, Validity};

/// Most certificates on a path, leaf and anchor included.
const MAX_PATH: usize = 16;

/// Most signatures that are checked for one peer.
const MAX_SIGNATURE_CHECKS: u32 = 100;

/// Why no path leads from a leaf to an anchor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No chain of signatures leads to an anchor.
    #[error("x509: certificate signed by unknown authority{}", hint(.0.as_deref()))]
    UnknownAuthority(Option<Box<Suspect>>),
    /// A certificate on the path is no longer valid.
    #[error("x509: certificate has expired or is not yet valid: current time {} is after {}", rfc3339(*.now), rfc3339(*.not_after))]
    Expired {
        /// The time of judgement.
        now: SystemTime,
        /// The end of validity.
        not_after: SystemTime,
    },
    /// A certificate on the path is not valid yet.
    #[error("x509: certificate has expired or is not yet valid: current time {} is before {}", rfc3339(*.now), rfc3339(*.not_before))]
    NotYetValid {
        /// The time of judgement.
        now: SystemTime,
        /// The start of validity.
        not_before: SystemTime,
    },
    /// A certificate on the path has a critical extension that is not understood.
    #[error("x509: unhandled critical extension ({0})")]
    UnhandledCriticalExtension(String),
    /// An issuer on the path is not allowed to issue.
    #[error("x509: certificate is not authorized to sign other certificates")]
    NotAuthority,
    /// More intermediates follow an issuer than it allows.
    #[error("x509: too many intermediates for path length constraint")]
    TooManyIntermediates,
    /// An issuer may not issue for a name below it.
    #[error("x509: a root or intermediate certificate is not authorized to sign for this name: {0}")]
    Name(#[from] NameError),
    /// The peer's certificates take more work to judge than anyone's should.
    #[error("x509: signature check attempts limit reached while verifying certificate chain")]
    TooMuchWork,
}

/// An authority that has the right name but did not issue the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Name of the authority.
    pub authority: String,
    /// Why it cannot be the issuer.
    pub reason: String,
}

/// Where a certificate stands on a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Intermediate,
    Anchor,
}

struct Search<'a> {
    others: &'a [Certificate],
    anchors: &'a [Certificate],
    now: SystemTime,
    algorithms: WebPkiSupportedAlgorithms,
    checks_left: u32,
    /// Why the best candidate seen so far does not serve.
    refused: Option<PathError>,
    suspect: Option<Suspect>,
}

/// Finds a valid path from `leaf` through any of `others` to an anchor.
///
/// # Errors
/// When there is none; then the error is the one of the last candidate whose signature fitted.
pub(super) fn verify(
    leaf: &Certificate,
    others: &[Certificate],
    anchors: &[Certificate],
    now: SystemTime,
    algorithms: WebPkiSupportedAlgorithms,
) -> Result<(), PathError> {
    check_in_force(leaf, now)?;
    if anchors.contains(leaf) {
        return Ok(());
    }
    let mut search = Search {
        others,
        anchors,
        now,
        algorithms,
        checks_left: MAX_SIGNATURE_CHECKS,
        refused: None,
        suspect: None,
    };
    if search.extend(&mut vec![leaf])? {
        return Ok(());
    }
    Err(search
        .refused
        .unwrap_or_else(|| PathError::UnknownAuthority(search.suspect.map(Box::new))))
}

// === impl Search ===

impl<'a> Search<'a> {
    /// Looks for an issuer of the last certificate of `path`, and on from there, depth first.
    ///
    /// `Err` ends the search for good.
    fn extend(&mut self, path: &mut Vec<&'a Certificate>) -> Result<bool, PathError> {
        let (anchors, others) = (self.anchors, self.others);
        let Some(child) = path.last().copied() else {
            return Ok(false);
        };
        for anchor in candidates(child, anchors) {
            if self.accepts(path, anchor, Place::Anchor)? {
                return Ok(true);
            }
        }
        if path.len() + 1 >= MAX_PATH {
            return Ok(false);
        }
        for issuer in candidates(child, others) {
            if path.contains(&issuer) || !self.accepts(path, issuer, Place::Intermediate)? {
                continue;
            }
            path.push(issuer);
            if self.extend(path)? {
                return Ok(true);
            }
            path.pop();
        }
        Ok(false)
    }

    /// Whether `issuer` may stand above the last certificate of `path`.
    fn accepts(
        &mut self,
        path: &[&'a Certificate],
        issuer: &'a Certificate,
        place: Place,
    ) -> Result<bool, PathError> {
        if let Err(reason) = self.check_signature(path, issuer)? {
            self.suspect.get_or_insert_with(|| Suspect {
                authority: issuer.subject_name().to_owned(),
                reason,
            });
            return Ok(false);
        }
        match check_issuer(path, issuer, place, self.now) {
            Ok(()) => Ok(true),
            Err(error) => {
                self.refused = Some(error);
                Ok(false)
            }
        }
    }

    fn check_signature(
        &mut self,
        path: &[&'a Certificate],
        issuer: &'a Certificate,
    ) -> Result<Result<(), String>, PathError> {
        let Some(child) = path.last() else {
            return Ok(Ok(()));
        };
        if !may_issue(issuer) {
            let reason = "x509: invalid signature: parent certificate cannot sign this kind of certificate";
            return Ok(Err(reason.to_owned()));
        }
        self.checks_left = self.checks_left.checked_sub(1).ok_or(PathError::TooMuchWork)?;
        let checked = child.verify_issued_by(issuer, self.algorithms);
        Ok(checked.map_err(|error: SignatureError| error.to_string()))
    }
}

/// The certificates that may have issued `child`, the ones whose key it names first.
fn candidates<'a>(
    child: &Certificate,
    pool: &'a [Certificate],
) -> impl Iterator<Item = &'a Certificate> + use<'a> {
    let named = |issuer: &&Certificate| issuer.subject() == child.issuer();
    let rank = |issuer: &Certificate| match (child.authority_key_id(), issuer.subject_key_id()) {
        (Some(wanted), Some(id)) if wanted == id => 0_u8,
        (Some(_), Some(_)) => 2,
        _ => 1,
    };
    let mut found: Vec<_> = pool.iter().filter(named).collect();
    found.sort_by_key(|issuer| rank(issuer));
    found.into_iter()
}

/// Whether a certificate may issue others at all.
fn may_issue(issuer: &Certificate) -> bool {
    issuer.is_authority() && issuer.key_usage().is_none_or(|usage| usage.cert_sign)
}

fn check_issuer(
    path: &[&Certificate],
    issuer: &Certificate,
    place: Place,
    now: SystemTime,
) -> Result<(), PathError> {
    check_in_force(issuer, now)?;
    if place == Place::Intermediate && !issuer.is_authority() {
        return Err(PathError::NotAuthority);
    }
    if let Some(allowed) = issuer
        .basic_constraints()
        .and_then(|constraints| constraints.path_length)
    {
        let below = path.len().saturating_sub(1);
        if u32::try_from(below).is_ok_and(|below| below > allowed) {
            return Err(PathError::TooManyIntermediates);
        }
    }
    if let Some(constraints) = issuer.name_constraints() {
        for certificate in path {
            constraints::check(certificate.names(), constraints)?;
        }
    }
    Ok(())
}

/// What must hold for every certificate of a path, whatever its place.
fn check_in_force(certificate: &Certificate, now: SystemTime) -> Result<(), PathError> {
    if let Some(extension) = certificate.unhandled_critical_extension() {
        return Err(PathError::UnhandledCriticalExtension(extension.to_owned()));
    }
    match certificate.validity(now) {
        Validity::Valid => Ok(()),
        Validity::Expired => Err(PathError::Expired {
            now,
            not_after: certificate.not_after(),
        }),
        Validity::NotYet => Err(PathError::NotYetValid {
            now,
            not_before: certificate.not_before(),
        }),
    }
}

fn hint(suspect: Option<&Suspect>) -> String {
    suspect.map_or_else(String::new, |suspect| {
        format!(
            " (possibly because of \"{}\" while trying to verify candidate authority certificate \"{}\")",
            suspect.reason, suspect.authority
        )
    })
}
