//! Asking the certificate authority for an identity.
//!
//! Each request makes a new key, opens a connection that verifies the authority and shows no certificate, and
//! closes it again. Source: specification: identity 6.3.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use outrigger_api::sentry::{SignCertificateRequest, SignCertificateResponse};
use outrigger_kit::clock::Clock;
use outrigger_svc::Connect;
use prost_types::Timestamp;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::anchors::AnchorSource;
use crate::csr;
use crate::directory::DirectoryError;
use crate::jwt::{JwtSvidError, JwtSvids};
use crate::key::{KeyError, KeyType, PrivateKey};
use crate::metrics::FailureReason;
use crate::settings::Settings;
use crate::spiffe::{ControlPlane, SpiffeIdError, TrustDomain};
use crate::svid::{Svid, SvidError};
use crate::tls;
use crate::verify::Expect;
use dial::{Dialer, Link};
use token::TokenSource;

mod dial;
mod token;

pub use dial::{ConnectError, DialError};
pub use token::TokenError;

/// How many times a request is sent at most.
const ATTEMPTS: u32 = 5;

/// How long the answer to one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);

/// Pause between attempts, give or take a tenth.
const ATTEMPT_PAUSE: Duration = Duration::from_millis(50);

/// Obtains identities from the certificate authority.
#[derive(Debug)]
pub struct SentryClient {
    dialer: Dialer,
    tokens: TokenSource,
    key_type: KeyType,
    /// The request, but for token and key.
    template: SignCertificateRequest,
}

/// What the authority answered.
#[derive(Debug)]
pub struct Obtained {
    /// The new certificate with its key.
    pub svid: Svid,
    /// The tokens that came with it.
    pub jwts: JwtSvids,
}

/// Why no identity could be obtained.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The key or the request for it could not be made.
    #[error("failed to create certificate signing request: {0}")]
    Key(#[from] KeyError),
    /// The wait for a connection was called off.
    #[error("error establishing connection to sentry: {0}")]
    Connect(#[from] ConnectError),
    /// There is no token to show.
    #[error("error obtaining token: {0}")]
    Token(#[from] TokenError),
    /// The authority refused, or did not answer.
    #[error("error from sentry SignCertificate: rpc error: code = {} desc = {}", code_name(.0.code()), .0.message())]
    Sign(Box<Status>),
    /// The time in the answer is no time.
    #[error("error parsing ValidUntil: invalid timestamp")]
    ValidUntil,
    /// The certificate in the answer names nobody.
    #[error(transparent)]
    Svid(#[from] SvidError),
    /// A token in the answer cannot be used.
    #[error(transparent)]
    Jwt(#[from] JwtSvidError),
    /// The identity cannot be written to its folder.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

// === impl SentryClient ===

impl SentryClient {
    /// Prepares requests: to whom, for whom, and with which token.
    ///
    /// # Errors
    /// When the namespace of the control plane cannot be part of an id.
    pub fn new(
        settings: &Settings,
        control_plane: &TrustDomain,
        anchors: &AnchorSource,
        connect: Arc<dyn Connect>,
    ) -> Result<Self, SpiffeIdError> {
        let namespace = &settings.control_plane_namespace;
        let sentry = ControlPlane::Sentry.id(control_plane, namespace)?;
        let config = tls::open_client(anchors, Expect::Exact(sentry));
        // Only the control plane may ask for its own trust domain; for others the authority decides.
        let is_control_plane = ControlPlane::from_app_id(&settings.app_id).is_some();
        let trust_domain = if is_control_plane && settings.namespace() == namespace {
            control_plane.to_string()
        } else {
            String::new()
        };
        Ok(Self {
            dialer: Dialer::new(connect, &settings.sentry_address, config),
            tokens: TokenSource::new(settings),
            key_type: settings.key_type,
            template: SignCertificateRequest {
                id: settings.requested_id().to_owned(),
                trust_domain,
                namespace: settings.namespace().to_owned(),
                jwt_audiences: settings.jwt_audiences.clone(),
                ..SignCertificateRequest::default()
            },
        })
    }

    /// Obtains one identity. Waits for a connection without limit; the answer then has to come within five
    /// attempts of 3 s each.
    ///
    /// # Errors
    /// When `cancel` comes first, the authority refuses, or its answer is of no use.
    pub async fn obtain(
        &self,
        clock: &dyn Clock,
        cancel: &CancellationToken,
    ) -> Result<Obtained, RequestError> {
        let key = PrivateKey::generate(self.key_type)?;
        let certificate_signing_request = Bytes::from(csr::request(&key)?);
        let link = self.dialer.dial_until(cancel).await?;
        let token = self.tokens.read().await?;
        let request = SignCertificateRequest {
            certificate_signing_request,
            token: token.text,
            token_validator: token.validator.into(),
            ..self.template.clone()
        };
        let answer = tokio::select! {
            answer = self.sign(link, &request) => answer,
            () = cancel.cancelled() => Err(Status::cancelled("context canceled")),
        };
        let answer = answer.map_err(|status| RequestError::Sign(Box::new(status)))?;
        accept(answer, key, clock.now())
    }

    async fn sign(
        &self,
        link: Link,
        request: &SignCertificateRequest,
    ) -> Result<SignCertificateResponse, Status> {
        let mut link = Some(link);
        let mut attempt = 1;
        loop {
            let outcome = tokio::time::timeout(ATTEMPT_TIMEOUT, self.try_once(&mut link, request)).await;
            let status = match outcome {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded("context deadline exceeded"),
            };
            if attempt == ATTEMPTS || !may_pass(status.code()) {
                return Err(status);
            }
            attempt += 1;
            let spread = 0.9 + 0.2 * fastrand::f64();
            tokio::time::sleep(ATTEMPT_PAUSE.mul_f64(spread)).await;
        }
    }

    /// Sends the request over the link at hand, or over a new one if that has broken.
    async fn try_once(
        &self,
        link: &mut Option<Link>,
        request: &SignCertificateRequest,
    ) -> Result<SignCertificateResponse, Status> {
        let link = match link {
            Some(link) if link.is_open() => link,
            _ => {
                let dialled = self.dialer.dial().await;
                link.insert(dialled.map_err(|error| Status::unavailable(error.to_string()))?)
            }
        };
        self.dialer
            .client(link)
            .sign_certificate(request.clone())
            .await
            .map(tonic::Response::into_inner)
    }
}

// === impl RequestError ===

impl RequestError {
    /// The reason that the failure is counted under, if it is counted.
    #[must_use]
    pub fn reason(&self) -> Option<FailureReason> {
        match self {
            Self::Connect(_) => Some(FailureReason::SentryConnection),
            Self::Token(_) => Some(FailureReason::SentryToken),
            Self::Sign(_) | Self::Svid(_) => Some(FailureReason::Sign),
            Self::ValidUntil => Some(FailureReason::InvalidTimestamp),
            Self::Jwt(error) if error.is_about_audience() => Some(FailureReason::JwtAudience),
            Self::Jwt(_) => Some(FailureReason::JwtParse),
            Self::Key(_) | Self::Directory(_) => None,
        }
    }
}

/// Takes an answer apart. The chain of anchors in it is ignored: anchors come from the operator of the process.
fn accept(
    answer: SignCertificateResponse,
    key: PrivateKey,
    now: SystemTime,
) -> Result<Obtained, RequestError> {
    if !answer.valid_until.as_ref().is_some_and(is_valid) {
        return Err(RequestError::ValidUntil);
    }
    let svid = Svid::from_pem(&answer.workload_certificate, key)?;
    let jwts = JwtSvids::receive(
        answer.jwt,
        answer.per_audience_jwts,
        svid.id().trust_domain(),
        now,
    )?;
    Ok(Obtained { svid, jwts })
}

/// Whether a timestamp lies between the years 1 and 9999, as its definition asks.
fn is_valid(timestamp: &Timestamp) -> bool {
    (-62_135_596_800..=253_402_300_799).contains(&timestamp.seconds)
        && (0..1_000_000_000).contains(&timestamp.nanos)
}

/// Whether a request that failed so may pass when it is sent again.
fn may_pass(code: Code) -> bool {
    matches!(
        code,
        Code::DeadlineExceeded | Code::Unavailable | Code::ResourceExhausted
    )
}

/// The name of a gRPC code as logs of the peers have it.
fn code_name(code: Code) -> String {
    match code {
        Code::Ok => "OK".to_owned(),
        Code::Cancelled => "Canceled".to_owned(),
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests;
