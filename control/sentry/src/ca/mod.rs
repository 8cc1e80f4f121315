//! The certificate authority: opens or makes the bundle, and signs workloads.

mod bundle;
mod certificate;
mod chain;
mod names;
mod request;
mod store;

use std::time::{Duration, SystemTime};

use outrigger_config::sentry::{CredentialPaths, Jwt};
use outrigger_identity::key::KeyError;
use outrigger_identity::pem;
use outrigger_identity::spiffe::{ControlPlane, SpiffeId, SpiffeIdError, TrustDomain};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

pub use bundle::BundleError;
pub use chain::ChainError;
pub(crate) use names::dns_names;
pub(crate) use request::public_key;
pub use store::StoreError;

use crate::jwt::{JwtError, JwtIssuer, JwtMaterial};
use bundle::Bundle;
use certificate::{Leaf, Validity};
use store::{FileStore, Stored};

/// Log scope of the authority.
const SCOPE: &str = "dapr.sentry.ca";

/// What the authority is for and where it keeps its bundle.
#[derive(Clone, Debug)]
pub(crate) struct AuthoritySettings {
    /// Trust domain of the control plane.
    pub(crate) trust_domain: TrustDomain,
    /// Namespace of the control plane.
    pub(crate) namespace: String,
    /// How long a workload's certificate holds.
    pub(crate) lifetime: Duration,
    /// How much earlier than now a certificate starts to hold.
    pub(crate) clock_skew: Duration,
    /// Tokens, if they are to be issued.
    pub(crate) jwt: Option<Jwt>,
    /// Where the bundle is kept.
    pub(crate) paths: CredentialPaths,
}

/// Signs certificates with the issuer of a bundle, and tokens if that is on.
#[derive(Debug)]
pub(crate) struct Authority {
    settings: AuthoritySettings,
    bundle: Bundle,
    jwt: Option<JwtIssuer>,
    generated: bool,
}

/// A certificate that was just signed.
#[derive(Debug)]
pub(crate) struct Signed {
    /// Leaf, then the issuer chain.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) validity: Validity,
}

/// Why there is no usable authority.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The name of sentry itself is not a SPIFFE id.
    #[error("failed to build the SPIFFE ID of sentry: {0}")]
    Id(#[from] SpiffeIdError),
    /// The files could not be read or written.
    #[error("failed to get CA bundle: {0}")]
    Store(#[from] StoreError),
    /// The stored bundle is not usable.
    #[error("failed to get CA bundle: failed to verify CA bundle: {0}")]
    Verify(#[from] BundleError),
    /// The stored key for tokens is not usable.
    #[error("failed to get CA bundle: {0}")]
    Jwt(#[from] JwtError),
    /// A new bundle could not be made.
    #[error("failed to get CA bundle: failed to generate CA bundle: {0}")]
    Generate(#[source] BundleError),
}

// === impl Authority ===

impl Authority {
    /// Loads the bundle from its files, or makes one and writes it there.
    pub(crate) fn open(settings: AuthoritySettings, now: SystemTime) -> Result<Self, CaError> {
        let store = FileStore::new(settings.paths.clone());
        let stored = store.load()?;
        let mut made = Stored::default();
        let key_id = settings.jwt.as_ref().and_then(|jwt| jwt.key_id.as_deref());

        let bundle = match &stored.bundle {
            Some(text) => {
                tracing::info!(target: SCOPE, "Root and issuer certs found: using credentials from store");
                Bundle::load(text, now)?
            }
            None => {
                tracing::info!(target: SCOPE, "Root and issuer certs not found: generating self signed CA");
                let id = ControlPlane::Sentry.id(&settings.trust_domain, &settings.namespace)?;
                let bundle = Bundle::generate(
                    settings.trust_domain.as_str(),
                    id.as_str(),
                    settings.clock_skew,
                    now,
                )
                .map_err(CaError::Generate)?;
                made.bundle = Some(bundle.to_text().map_err(BundleError::from)?);
                bundle
            }
        };
        let material = match (&stored.jwt, &settings.jwt) {
            // Checked even if tokens are off; kept even if the bundle is new: others may know its keys.
            (Some(text), _) => Some(JwtMaterial::load(text, key_id)?),
            (None, Some(_)) => {
                let material = JwtMaterial::generate(key_id)?;
                made.jwt = Some(material.to_text().map_err(JwtError::from)?);
                Some(material)
            }
            (None, None) => None,
        };
        let jwt = match (material, &settings.jwt) {
            (Some(material), Some(jwt)) => Some(JwtIssuer::new(&material, jwt.clone(), settings.clock_skew)?),
            _ => None,
        };
        let generated = made != Stored::default();
        if generated {
            tracing::info!(target: SCOPE, "Generating self-signed CA certs and persisting to store");
            store.save(&made)?;
            tracing::info!(
                target: SCOPE,
                "Self-signed certs and JWT root key generated and persisted successfully"
            );
        }
        Ok(Self {
            settings,
            bundle,
            jwt,
            generated,
        })
    }

    /// Signs a certificate for `id` that holds the key of `public_key_info`.
    ///
    /// `container_images` is the JSON list of the images that the workload runs, empty for none.
    pub(crate) fn sign(
        &self,
        id: &SpiffeId,
        public_key_info: &[u8],
        dns_names: &[String],
        container_images: &str,
        now: SystemTime,
    ) -> Result<Signed, KeyError> {
        let validity = Validity {
            not_before: now - self.settings.clock_skew,
            not_after: now + self.settings.lifetime,
        };
        let leaf = Leaf {
            public_key_info,
            validity,
            dns_names,
            uri: id.as_str(),
            container_images,
        };
        let mut chain = vec![CertificateDer::from(self.bundle.sign(&leaf)?)];
        chain.extend_from_slice(self.bundle.chain());
        Ok(Signed { chain, validity })
    }

    /// All anchors in PEM.
    pub(crate) fn anchors(&self) -> &str {
        self.bundle.anchors()
    }

    /// The signer of tokens, if they are on.
    pub(crate) const fn jwt(&self) -> Option<&JwtIssuer> {
        self.jwt.as_ref()
    }

    /// The last second at which the issuer holds.
    pub(crate) fn expiry(&self) -> SystemTime {
        self.bundle.issuer().not_after()
    }

    /// Whether the bundle, or a part of it, was made when this authority was opened.
    pub(crate) const fn is_generated(&self) -> bool {
        self.generated
    }
}

// === impl Signed ===

impl Signed {
    /// The chain in PEM.
    pub(crate) fn to_pem(&self) -> String {
        pem::encode_certificates(&self.chain)
    }
}

/// Whole seconds since 1970, rounded down.
pub(crate) fn unix_seconds(at: SystemTime) -> i64 {
    OffsetDateTime::from(at).unix_timestamp()
}

#[cfg(test)]
mod tests;
