//! Tokens that carry an identity: the signing key, the keys that are published, and signing.

use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bytes::Bytes;
use outrigger_config::sentry::Jwt;
use outrigger_identity::key::{Curve, KeyError, KeyKind, KeyType, PrivateKey};
use outrigger_kit::quote::go_quote;
use serde::Serialize;

use crate::ca::unix_seconds;
use crate::oidc::PublishedKeys;
use outrigger_identity::jose::{Algorithm, Encoder, Jwk, JwkSet, JwkSetError};

/// The two texts that are stored for tokens.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct JwtText {
    pub(crate) key: Vec<u8>,
    pub(crate) jwks: Vec<u8>,
}

/// A signing key whose public half is in the key set that belongs to it.
#[derive(Debug)]
pub(crate) struct JwtMaterial {
    key: PrivateKey,
    jwks: JwkSet,
    generated: bool,
}

/// Signs tokens.
#[derive(Debug)]
pub(crate) struct JwtIssuer {
    settings: Jwt,
    clock_skew: Duration,
    algorithm: Algorithm,
    encoder: Encoder,
    jwks: Bytes,
}

/// Why no tokens can be signed.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    /// The signing key cannot be read or used.
    #[error("failed to load JWT signing key: {0}")]
    Key(#[from] KeyError),
    /// The key set cannot be read.
    #[error("failed to parse JWKS: {0}")]
    Jwks(#[from] JwkSetError),
    /// The key set is empty.
    #[error("JWKS doesn't contain any keys")]
    NoKeys,
    /// The given key id is not in the key set.
    #[error("JWKS doesn't contain a key with user-provided key ID {}", go_quote(.0))]
    NoKeyId(String),
    /// The given key id names another key.
    #[error("JWKS contains a key with user-provided key ID {} but the key content doesn't match the signing key", go_quote(.0))]
    OtherKey(String),
    /// The public half of the signing key is not in the key set.
    #[error("JWKS doesn't contain a matching public key for the JWT signing key")]
    NoMatch,
    /// No algorithm was given.
    #[error("JWT signing algorithm required")]
    NoAlgorithm,
    /// The key is of another kind than the algorithm needs.
    #[error("JWT signing key is incompatible with algorithm {algorithm}: {reason}")]
    Incompatible {
        /// The algorithm as it was given.
        algorithm: String,
        /// What the algorithm needs.
        reason: String,
    },
}

/// The payload; members are in the order of the alphabet.
#[derive(Serialize)]
struct Claims<'a> {
    aud: &'a [&'a str],
    exp: i64,
    iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    iss: Option<&'a str>,
    jti: String,
    nbf: i64,
    sub: &'a str,
    r#use: &'static str,
}

// === impl JwtMaterial ===

impl JwtMaterial {
    /// Makes an RSA key of 2048 bits and a key set with its public half.
    ///
    /// The set takes `key_id` if one is given, so that the tokens can be matched with it.
    pub(crate) fn generate(key_id: Option<&str>) -> Result<Self, JwtError> {
        let key = PrivateKey::generate(KeyType::Rsa2048)?;
        let jwk = Jwk::of(&key, Algorithm::Rs256)?;
        let key_id = match key_id {
            Some(key_id) => key_id.to_owned(),
            None => jwk.thumbprint().ok_or(KeyError::Failed)?,
        };
        let jwks = JwkSet::single(jwk.with_key_id(&key_id));
        Ok(Self {
            key,
            jwks,
            generated: true,
        })
    }

    /// Reads and checks stored material; `key_id` is the one that the operator gave.
    pub(crate) fn load(text: &JwtText, key_id: Option<&str>) -> Result<Self, JwtError> {
        let key = PrivateKey::from_pem(&text.key)?;
        let jwks = JwkSet::parse(&text.jwks)?;
        if jwks.keys().is_empty() {
            return Err(JwtError::NoKeys);
        }
        match key_id {
            Some(key_id) => {
                let mut named = jwks
                    .keys()
                    .iter()
                    .filter(|jwk| jwk.key_id() == Some(key_id))
                    .peekable();
                if named.peek().is_none() {
                    return Err(JwtError::NoKeyId(key_id.to_owned()));
                }
                if !named.any(|jwk| jwk.belongs_to(&key)) {
                    return Err(JwtError::OtherKey(key_id.to_owned()));
                }
            }
            None if jwks
                .keys()
                .iter()
                .any(|jwk| jwk.is_for_signatures() && jwk.belongs_to(&key)) => {}
            None => return Err(JwtError::NoMatch),
        }
        Ok(Self {
            key,
            jwks,
            generated: false,
        })
    }

    /// The two texts that [`Self::load`] reads.
    pub(crate) fn to_text(&self) -> Result<JwtText, KeyError> {
        Ok(JwtText {
            key: self.key.to_pem()?.into_bytes(),
            jwks: self.jwks.to_json().into_bytes(),
        })
    }
}

// === impl JwtText ===

impl std::fmt::Debug for JwtText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JwtText").finish_non_exhaustive()
    }
}

// === impl JwtIssuer ===

impl JwtIssuer {
    /// Binds the key to the algorithm of the settings, or to RS256 if sentry has made the key.
    ///
    /// Tokens start to hold `clock_skew` earlier than now.
    pub(crate) fn new(material: &JwtMaterial, settings: Jwt, clock_skew: Duration) -> Result<Self, JwtError> {
        let algorithm = match material.generated {
            true => Algorithm::Rs256,
            false => compatible_algorithm(&settings.signing_algorithm, material.key.kind())?,
        };
        let key_id = match &settings.key_id {
            Some(key_id) => key_id.clone(),
            None => Jwk::of(&material.key, algorithm)?
                .thumbprint()
                .ok_or(KeyError::Failed)?,
        };
        Ok(Self {
            encoder: Encoder::new(&material.key, algorithm, &key_id)?,
            jwks: material.jwks.to_json().into(),
            algorithm,
            clock_skew,
            settings,
        })
    }

    /// A token of `subject`, a SPIFFE id, for `audiences` in their order.
    pub(crate) fn issue(
        &self,
        subject: &str,
        audiences: &[&str],
        now: SystemTime,
    ) -> Result<String, KeyError> {
        let mut random = [0; 16];
        SystemRandom::new()
            .fill(&mut random)
            .map_err(|_| KeyError::Failed)?;
        let claims = Claims {
            aud: audiences,
            exp: unix_seconds(now + self.settings.ttl),
            iat: unix_seconds(now),
            iss: self.settings.issuer.as_deref(),
            jti: random.iter().map(|byte| format!("{byte:02x}")).collect(),
            nbf: unix_seconds(now - self.clock_skew),
            sub: subject,
            r#use: "sig",
        };
        self.encoder
            .encode(&serde_json::to_string(&claims).expect("claims are plain JSON values"))
    }

    /// What those need who check the tokens.
    pub(crate) fn published(&self) -> PublishedKeys {
        PublishedKeys {
            jwks: self.jwks.clone(),
            algorithm: self.algorithm.name(),
        }
    }
}

fn compatible_algorithm(name: &str, kind: KeyKind) -> Result<Algorithm, JwtError> {
    if name.is_empty() {
        return Err(JwtError::NoAlgorithm);
    }
    let incompatible = |reason| JwtError::Incompatible {
        algorithm: name.to_owned(),
        reason,
    };
    let algorithm = Algorithm::from_name(name)
        .ok_or_else(|| incompatible(format!("unsupported signature algorithm: {name}")))?;
    if algorithm.key_kind() == kind {
        Ok(algorithm)
    } else {
        Err(incompatible(format!(
            "{name} requires {}",
            describe(algorithm.key_kind())
        )))
    }
}

const fn describe(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::Ed25519 => "an Ed25519 key",
        KeyKind::Ecdsa(Curve::P256) => "an ECDSA key on the curve P-256",
        KeyKind::Ecdsa(Curve::P384) => "an ECDSA key on the curve P-384",
        KeyKind::Ecdsa(Curve::P521) => "an ECDSA key on the curve P-521",
        KeyKind::Rsa => "an RSA key",
    }
}

#[cfg(test)]
mod tests;
