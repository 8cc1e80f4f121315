//! Tokens that carry an identity: the signing key, the keys that are published, and signing.

use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bytes::Bytes;
use outrigger_config::sentry::Jwt;
use outrigger_identity::key::{Curve, KeyError, KeyKind, KeyType, PrivateKey};
use outrigger_kit::quote::go_quote;
use serde::Serialize;

use crate::ca::unix_seconds;
use crate::jose::{Algorithm, Encoder, Jwk, JwkSet, JwkSetError};
use crate::oidc::PublishedKeys;

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
mod tests {
    use jsonwebtoken::jwk::JwkSet as OracleKeys;
    use jsonwebtoken::{Algorithm as OracleAlgorithm, DecodingKey, Validation, decode, decode_header};
    use serde_json::Value;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn settings() -> Jwt {
        Jwt {
            issuer: None,
            signing_algorithm: "RS256".to_owned(),
            key_id: None,
            ttl: 24 * HOUR,
        }
    }

    fn pem_of(algorithm: &'static rcgen::SignatureAlgorithm) -> String {
        rcgen::KeyPair::generate_for(algorithm).unwrap().serialize_pem()
    }

    /// Stored material with a key set made for the key.
    fn material(key: &str, algorithm: Algorithm) -> JwtMaterial {
        let jwk = Jwk::of(&PrivateKey::from_pem(key.as_bytes()).unwrap(), algorithm).unwrap();
        let kid = jwk.thumbprint().unwrap();
        let jwks = JwkSet::single(jwk.with_key_id(&kid)).to_json();
        JwtMaterial::load(
            &JwtText {
                key: key.into(),
                jwks: jwks.into(),
            },
            None,
        )
        .unwrap()
    }

    /// Checks a token with another library and returns its claims.
    fn checked(token: &str, published: &PublishedKeys, algorithm: OracleAlgorithm) -> Value {
        let keys: OracleKeys = serde_json::from_slice(&published.jwks).unwrap();
        let header = decode_header(token).unwrap();
        let key = keys
            .find(&header.kid.unwrap())
            .expect("the set has the key of the header");
        let mut validation = Validation::new(algorithm);
        validation.validate_aud = false;
        decode(token, &DecodingKey::from_jwk(key).unwrap(), &validation)
            .unwrap()
            .claims
    }

    #[test]
    fn a_generated_key_signs_with_rs256_and_others_can_check_it() {
        let material = JwtMaterial::generate(None).unwrap();
        let settings = Jwt {
            signing_algorithm: "ES256".to_owned(),
            issuer: Some("me".to_owned()),
            ..settings()
        };
        let issuer = JwtIssuer::new(&material, settings, HOUR / 4).unwrap();
        let now = SystemTime::now();
        let token = issuer
            .issue("spiffe://public/ns/default/myapp", &["public", "a1"], now)
            .unwrap();
        let claims = checked(&token, &issuer.published(), OracleAlgorithm::RS256);
        let seconds = |name: &str| claims[name].as_i64().unwrap();
        assert_eq!(seconds("iat"), unix_seconds(now));
        assert_eq!(
            (seconds("exp") - seconds("iat"), seconds("iat") - seconds("nbf")),
            (86_400, 900)
        );
        assert_eq!(claims["aud"], serde_json::json!(["public", "a1"]));
        assert_eq!(
            (&claims["sub"], &claims["use"], &claims["iss"]),
            (
                &"spiffe://public/ns/default/myapp".into(),
                &"sig".into(),
                &"me".into()
            )
        );
        let names: Vec<_> = claims.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["aud", "exp", "iat", "iss", "jti", "nbf", "sub", "use"]);
        let id = claims["jti"].as_str().unwrap();
        assert!(id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')));
    }

    #[test]
    fn a_generated_key_set_has_its_exact_form() {
        let material = JwtMaterial::generate(None).unwrap();
        let issuer = JwtIssuer::new(&material, settings(), HOUR).unwrap();
        let published = String::from_utf8(issuer.published().jwks.to_vec()).unwrap();
        let rest = published
            .strip_prefix(r#"{"keys":[{"alg":"RS256","e":"AQAB","kid":""#)
            .unwrap();
        let (kid, rest) = rest.split_once('"').unwrap();
        assert_eq!(kid.len(), 44);
        let modulus = rest
            .strip_prefix(r#","kty":"RSA","n":""#)
            .and_then(|rest| rest.strip_suffix(r#"","use":"sig"}]}"#));
        let thumbprint = format!(r#"{{"e":"AQAB","kty":"RSA","n":"{}"}}"#, modulus.unwrap());
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, thumbprint.as_bytes());
        assert_eq!(
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, hash),
            kid
        );

        let token = issuer.issue("s", &["a"], SystemTime::now()).unwrap();
        let header = token.split('.').next().and_then(crate::jose::decode).unwrap();
        assert_eq!(
            String::from_utf8(header).unwrap(),
            format!(r#"{{"alg":"RS256","kid":"{kid}","typ":"JWT"}}"#)
        );

        let text = material.to_text().unwrap();
        let again = JwtIssuer::new(&JwtMaterial::load(&text, None).unwrap(), settings(), HOUR).unwrap();
        assert_eq!(again.published().jwks, issuer.published().jwks);
    }

    #[test]
    fn provided_keys_of_every_kind_sign() {
        let rsa = pem_of(&rcgen::PKCS_RSA_SHA256);
        for (key, name, oracle) in [
            (rsa.clone(), "RS384", Some(OracleAlgorithm::RS384)),
            (rsa, "PS256", Some(OracleAlgorithm::PS256)),
            (
                pem_of(&rcgen::PKCS_ECDSA_P256_SHA256),
                "ES256",
                Some(OracleAlgorithm::ES256),
            ),
            (
                pem_of(&rcgen::PKCS_ECDSA_P384_SHA384),
                "ES384",
                Some(OracleAlgorithm::ES384),
            ),
            (pem_of(&rcgen::PKCS_ECDSA_P521_SHA512), "ES512", None),
            (
                pem_of(&rcgen::PKCS_ED25519),
                "EdDSA",
                Some(OracleAlgorithm::EdDSA),
            ),
        ] {
            let algorithm = Algorithm::from_name(name).unwrap();
            let material = material(&key, algorithm);
            let settings = Jwt {
                signing_algorithm: name.to_owned(),
                ..settings()
            };
            let issuer = JwtIssuer::new(&material, settings, HOUR).unwrap();
            assert_eq!(issuer.published().algorithm, name);
            let token = issuer.issue("s", &["a"], SystemTime::now()).unwrap();
            let parts = crate::jose::Compact::parse(&token).unwrap();
            let set = JwkSet::parse(&issuer.published().jwks).unwrap();
            assert!(
                set.keys()[0].verify(algorithm, parts.message.as_bytes(), &parts.signature),
                "{name}"
            );
            if let Some(oracle) = oracle {
                assert_eq!(checked(&token, &issuer.published(), oracle)["sub"], "s");
            }
        }
    }

    #[test]
    fn keys_and_algorithms_that_do_not_fit_are_refused() {
        let material = material(&pem_of(&rcgen::PKCS_ECDSA_P256_SHA256), Algorithm::Es256);
        for (name, text) in [
            ("", "JWT signing algorithm required"),
            (
                "RS256",
                "JWT signing key is incompatible with algorithm RS256: RS256 requires an RSA key",
            ),
            (
                "ES384",
                "JWT signing key is incompatible with algorithm ES384: ES384 requires an ECDSA key on the curve P-384",
            ),
            (
                "HS256",
                "JWT signing key is incompatible with algorithm HS256: unsupported signature algorithm: HS256",
            ),
        ] {
            let settings = Jwt {
                signing_algorithm: name.to_owned(),
                ..settings()
            };
            assert_eq!(
                JwtIssuer::new(&material, settings, HOUR).unwrap_err().to_string(),
                text
            );
        }
    }

    #[test]
    fn a_key_set_must_hold_the_signing_key() {
        let own = pem_of(&rcgen::PKCS_ED25519);
        let jwk = |pem: &str, kid: &str| {
            Jwk::of(&PrivateKey::from_pem(pem.as_bytes()).unwrap(), Algorithm::EdDsa)
                .unwrap()
                .with_key_id(kid)
        };
        let only = |key: Jwk| JwkSet::single(key).to_json();
        let ours = only(jwk(&own, "K"));
        let other = only(jwk(&pem_of(&rcgen::PKCS_ED25519), "K"));
        let encryption = ours.replace(r#""use":"sig""#, r#""use":"enc""#);
        let no_match = "JWKS doesn't contain a matching public key for the JWT signing key";
        let rows = [
            (ours.as_str(), None, ""),
            (&ours, Some("K"), ""),
            (r#"{"keys":[]}"#, None, "JWKS doesn't contain any keys"),
            (
                &ours,
                Some("L"),
                "JWKS doesn't contain a key with user-provided key ID \"L\"",
            ),
            (
                &other,
                Some("K"),
                "JWKS contains a key with user-provided key ID \"K\" but the key content doesn't match the signing key",
            ),
            (&other, None, no_match),
            (&encryption, None, no_match),
            (
                "",
                None,
                "failed to parse JWKS: failed to unmarshal JWK set: EOF while parsing a value at line 1 column 0",
            ),
        ];
        for (jwks, key_id, text) in rows {
            let stored = JwtText {
                key: own.clone().into(),
                jwks: jwks.into(),
            };
            let error =
                JwtMaterial::load(&stored, key_id).map_or_else(|error| error.to_string(), |_| String::new());
            assert_eq!(error, text, "{jwks}");
        }
        let stored = JwtText {
            key: Vec::new(),
            jwks: ours.into(),
        };
        assert_eq!(
            JwtMaterial::load(&stored, None).unwrap_err().to_string(),
            "failed to load JWT signing key: key is not PEM encoded"
        );
    }

    #[test]
    fn a_given_key_id_is_in_headers_and_in_a_generated_set() {
        let material = JwtMaterial::generate(Some("K")).unwrap();
        let settings = Jwt {
            key_id: Some("K".to_owned()),
            ..settings()
        };
        let issuer = JwtIssuer::new(&material, settings, HOUR).unwrap();
        let token = issuer.issue("s", &["a"], SystemTime::now()).unwrap();
        assert_eq!(
            checked(&token, &issuer.published(), OracleAlgorithm::RS256)["sub"],
            "s"
        );
        assert!(JwtMaterial::load(&material.to_text().unwrap(), Some("K")).is_ok());
    }
}
