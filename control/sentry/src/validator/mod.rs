//! Deciding whether a caller may have the identity it asks for.
//!
//! ```text
//! request ──▶ Validators ──▶ insecure   common checks
//!             (by its kind)  jwks       common checks, then a token signed by a known key
//! ```

mod insecure;
mod jwks;
mod key_source;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use outrigger_api::sentry::SignCertificateRequest;
use outrigger_api::sentry::sign_certificate_request::TokenValidator;
use outrigger_identity::spiffe::{SpiffeIdError, TrustDomain};
use outrigger_svc::BoxFuture;

pub(crate) use insecure::Insecure;
pub(crate) use jwks::Jwks;
pub(crate) use key_source::KeySource;
pub use key_source::KeySourceError;

/// The longest app id, in bytes.
const MAX_APP_ID: usize = 64;

/// A way to prove who one is.
pub(crate) trait Validator: fmt::Debug + Send + Sync {
    /// Decides about one request. The certificate request in it has not been looked at.
    fn validate<'a>(
        &'a self,
        request: &'a SignCertificateRequest,
    ) -> BoxFuture<'a, Result<Validated, Refusal>>;
}

/// What a validator found out about the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Validated {
    /// The trust domain of the caller's identity.
    pub(crate) trust_domain: TrustDomain,
    /// JSON list of the container images that the caller runs; empty if that is not known.
    pub(crate) container_images: String,
}

/// Why a caller gets no identity; clients see the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// One or more rules that hold for every request are violated.
    #[error("invalid request: {}", .0.join("\n"))]
    Request(Vec<&'static str>),
    /// The trust domain has characters that it must not have.
    #[error(transparent)]
    TrustDomain(#[from] SpiffeIdError),
    /// There is no proof.
    #[error("the request does not contain a token")]
    NoToken,
    /// The keys have not been loaded yet.
    #[error("jwks validator not ready")]
    NotReady,
    /// The proof is not good for the identity.
    #[error("token validation failed: {0}")]
    Token(String),
}

/// Why no validator takes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoValidator {
    /// The request leaves the choice to sentry, which has no default.
    #[error("a validator name must be specified in this environment")]
    NoDefault,
    /// The kind that the request names is off, or not known.
    #[error("the requested validator is not enabled")]
    NotEnabled,
}

/// The validators that are on, by their numbers on the wire.
#[derive(Clone, Debug, Default)]
pub(crate) struct Validators {
    enabled: BTreeMap<i32, Arc<dyn Validator>>,
    default: Option<i32>,
}

// === impl Validators ===

impl Validators {
    /// Turns a validator on.
    pub(crate) fn enable(&mut self, kind: TokenValidator, validator: Arc<dyn Validator>) {
        self.enabled.insert(kind as i32, validator);
    }

    /// Takes requests that name no kind to this one.
    pub(crate) fn set_default(&mut self, kind: TokenValidator) {
        self.default = Some(kind as i32);
    }

    /// The validator for requests that name `kind`, a number that may be unknown.
    pub(crate) fn find(&self, kind: i32) -> Result<&dyn Validator, NoValidator> {
        let kind = match kind {
            0 => self.default.ok_or(NoValidator::NoDefault)?,
            kind => kind,
        };
        self.enabled
            .get(&kind)
            .map(AsRef::as_ref)
            .ok_or(NoValidator::NotEnabled)
    }
}

/// The rules for every request, whoever validates it; the result is the trust domain that is asked for.
pub(crate) fn check(request: &SignCertificateRequest) -> Result<TrustDomain, Refusal> {
    let app_id = match request.id.as_str() {
        "" => Some("parameter app-id cannot be empty"),
        id if id.contains('.') => Some("parameter app-id cannot contain dots"),
        _ => None,
    };
    let rules = [
        app_id,
        (request.id.len() > MAX_APP_ID).then_some("app ID must be 64 characters or less"),
        request
            .certificate_signing_request
            .is_empty()
            .then_some("CSR is required"),
        request.namespace.is_empty().then_some("namespace is required"),
    ];
    let violated: Vec<_> = rules.into_iter().flatten().collect();
    if !violated.is_empty() {
        return Err(Refusal::Request(violated));
    }
    match request.trust_domain.as_str() {
        "" => Ok(TrustDomain::public()),
        trust_domain => Ok(TrustDomain::parse(trust_domain)?),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn request() -> SignCertificateRequest {
        SignCertificateRequest {
            id: "myapp".to_owned(),
            namespace: "default".to_owned(),
            certificate_signing_request: "csr".into(),
            ..SignCertificateRequest::default()
        }
    }

    #[test]
    fn all_violated_rules_are_reported_in_order() {
        let empty = SignCertificateRequest::default();
        let long = "a".repeat(65);
        let rows: [(SignCertificateRequest, &str); 7] = [
            (
                empty,
                "invalid request: parameter app-id cannot be empty\nCSR is required\nnamespace is required",
            ),
            (
                SignCertificateRequest {
                    id: "a.b".to_owned(),
                    ..request()
                },
                "invalid request: parameter app-id cannot contain dots",
            ),
            (
                SignCertificateRequest {
                    id: long.clone(),
                    ..request()
                },
                "invalid request: app ID must be 64 characters or less",
            ),
            (
                SignCertificateRequest {
                    id: format!("{long}."),
                    ..request()
                },
                "invalid request: parameter app-id cannot contain dots\napp ID must be 64 characters or less",
            ),
            (
                SignCertificateRequest {
                    certificate_signing_request: "".into(),
                    ..request()
                },
                "invalid request: CSR is required",
            ),
            (
                SignCertificateRequest {
                    namespace: String::new(),
                    ..request()
                },
                "invalid request: namespace is required",
            ),
            (
                SignCertificateRequest {
                    trust_domain: "Bad".to_owned(),
                    ..request()
                },
                "trust domain characters are limited to lowercase letters, numbers, dots, dashes, and underscores",
            ),
        ];
        for (request, text) in rows {
            assert_eq!(check(&request).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn the_trust_domain_is_the_one_asked_for_or_public() {
        for (asked, got) in [("", "public"), ("foo", "foo"), ("spiffe://foo/bar", "foo")] {
            let request = SignCertificateRequest {
                trust_domain: asked.to_owned(),
                ..request()
            };
            assert_eq!(check(&request).unwrap().as_str(), got);
        }
        let odd = SignCertificateRequest {
            id: "a".repeat(64),
            namespace: "UP_per".repeat(50),
            ..request()
        };
        assert!(check(&odd).is_ok());
    }

    #[test]
    fn only_what_is_enabled_is_found() {
        let mut validators = Validators::default();
        validators.enable(TokenValidator::Jwks, Arc::new(Insecure));
        assert_eq!(validators.find(0).unwrap_err(), NoValidator::NoDefault);
        assert!(validators.find(3).is_ok());
        for kind in [-1, 1, 2, 4, i32::MAX] {
            assert_eq!(
                validators.find(kind).unwrap_err(),
                NoValidator::NotEnabled,
                "{kind}"
            );
        }
        validators.set_default(TokenValidator::Jwks);
        assert!(validators.find(0).is_ok());
    }
}
