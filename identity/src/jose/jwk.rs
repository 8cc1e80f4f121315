//! JSON web keys (RFC 7517): public halves of keys and sets of them.

use std::collections::BTreeMap;

use crate::der;
use crate::key::{Curve, KeyError, KeyKind, PrivateKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::UnparsedPublicKey;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use outrigger_kit::quote::go_quote;
use serde_json::{Map, Value};

use super::{Algorithm, Compact, decode, encode};

/// The members of a key that must not be shown to anyone (RFC 7518 6).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A public key with what is known about its use.
#[derive(Clone, Debug)]
pub struct Jwk {
    members: BTreeMap<String, Value>,
    key: PublicKey,
}

/// A list of public keys.
#[derive(Clone, Debug, Default)]
pub struct JwkSet {
    keys: Vec<Jwk>,
}

/// Why a text is not a set of keys.
#[derive(Debug, thiserror::Error)]
pub enum JwkSetError {
    /// The text is not JSON.
    #[error("failed to unmarshal JWK set: {0}")]
    Json(#[from] serde_json::Error),
    /// The JSON is neither a set nor a key.
    #[error("failed to unmarshal JWK set: no keys")]
    NotASet,
    /// A member of a key is missing or malformed.
    #[error("failed to unmarshal key {index} of JWK set")]
    Key {
        /// Position of the key in the set, from 0.
        index: usize,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum PublicKey {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point of a curve of NIST, or an Ed25519 key.
    Point(KeyKind, Vec<u8>),
    /// A key for something else; it is listed, but matches nothing.
    Other,
}

// === impl Jwk ===

impl Jwk {
    /// The public half of `key`, described for signatures with `algorithm`.
    pub fn of(key: &PrivateKey, algorithm: Algorithm) -> Result<Self, KeyError> {
        let mut jwk = Self::bare(key)?;
        jwk.members.insert("alg".to_owned(), algorithm.name().into());
        jwk.members.insert("use".to_owned(), "sig".into());
        Ok(jwk)
    }

    /// The key with another id.
    pub fn with_key_id(mut self, key_id: &str) -> Self {
        self.members.insert("kid".to_owned(), key_id.into());
        self
    }

    /// `kid`.
    pub fn key_id(&self) -> Option<&str> {
        self.text("kid")
    }

    /// Whether the key is for signatures, or not said to be for anything else.
    pub fn is_for_signatures(&self) -> bool {
        self.text("use").is_none_or(|usage| usage == "sig")
    }

    /// Whether this is the public half of `key`.
    pub fn belongs_to(&self, key: &PrivateKey) -> bool {
        Self::bare(key).is_ok_and(|own| own.key == self.key)
    }

    /// The SHA-256 thumbprint (RFC 7638) in standard base64 with padding; nothing for keys of unknown types.
    pub fn thumbprint(&self) -> Option<String> {
        let names: &[&str] = match self.key {
            PublicKey::Rsa { .. } => &["e", "kty", "n"],
            PublicKey::Point(KeyKind::Ed25519, _) => &["crv", "kty", "x"],
            PublicKey::Point(..) => &["crv", "kty", "x", "y"],
            PublicKey::Other => return None,
        };
        let members: BTreeMap<_, _> = names
            .iter()
            .filter_map(|name| Some((name, self.text(name)?)))
            .collect();
        let text = serde_json::to_string(&members).ok()?;
        Some(STANDARD.encode(digest(&SHA256, text.as_bytes())))
    }

    /// Whether `signature` over `message` was made with `algorithm` by the owner of this key.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let usable = self.is_for_signatures() && self.text("alg").is_none_or(|own| own == algorithm.name());
        usable
            && match &self.key {
                PublicKey::Rsa { modulus, exponent } => {
                    algorithm.rsa_verification().is_some_and(|parameters| {
                        PublicKeyComponents {
                            n: modulus,
                            e: exponent,
                        }
                        .verify(parameters, message, signature)
                        .is_ok()
                    })
                }
                PublicKey::Point(kind, bytes) => {
                    *kind == algorithm.key_kind()
                        && algorithm.point_verification().is_some_and(|verification| {
                            UnparsedPublicKey::new(verification, bytes)
                                .verify(message, signature)
                                .is_ok()
                        })
                }
                PublicKey::Other => false,
            }
    }

    fn bare(key: &PrivateKey) -> Result<Self, KeyError> {
        let bits = key.public_key_bits();
        let members = match key.kind() {
            KeyKind::Ed25519 => vec![
                ("crv", "Ed25519".to_owned()),
                ("kty", "OKP".to_owned()),
                ("x", encode(bits)),
            ],
            KeyKind::Ecdsa(curve) => {
                let coordinates = bits.get(1..).ok_or(KeyError::Failed)?;
                let (x, y) = coordinates.split_at(coordinates.len() / 2);
                let name = curve_name(curve).to_owned();
                vec![
                    ("crv", name),
                    ("kty", "EC".to_owned()),
                    ("x", encode(x)),
                    ("y", encode(y)),
                ]
            }
            KeyKind::Rsa => {
                let (modulus, exponent) = rsa_components(bits).ok_or(KeyError::Failed)?;
                vec![
                    ("e", encode(exponent)),
                    ("kty", "RSA".to_owned()),
                    ("n", encode(modulus)),
                ]
            }
        };
        let members = members
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        Self::from_members(members).ok_or(KeyError::Failed)
    }

    fn from_members(mut members: BTreeMap<String, Value>) -> Option<Self> {
        members.retain(|name, _| !PRIVATE_MEMBERS.contains(&name.as_str()));
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let bytes = |name: &str| text(name).and_then(decode);
        let key = match (text("kty")?, text("crv")) {
            ("RSA", _) => PublicKey::Rsa {
                modulus: without_leading_zeros(&bytes("n")?).to_vec(),
                exponent: without_leading_zeros(&bytes("e")?).to_vec(),
            },
            ("EC", Some(name)) => match curve_of(name) {
                Some(curve) => {
                    let mut point = vec![4];
                    point.extend(bytes("x")?);
                    point.extend(bytes("y")?);
                    PublicKey::Point(KeyKind::Ecdsa(curve), point)
                }
                None => PublicKey::Other,
            },
            ("OKP", Some("Ed25519")) => PublicKey::Point(KeyKind::Ed25519, bytes("x")?),
            _ => PublicKey::Other,
        };
        Some(Self { members, key })
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name).and_then(Value::as_str)
    }
}

// === impl JwkSet ===

impl JwkSet {
    /// A set of one key.
    pub fn single(key: Jwk) -> Self {
        Self { keys: vec![key] }
    }

    /// Reads a set, or a single key. Private halves are dropped.
    pub fn parse(text: &[u8]) -> Result<Self, JwkSetError> {
        let mut document: BTreeMap<String, Value> = serde_json::from_slice(text)?;
        let keys = match document.remove("keys") {
            Some(Value::Array(keys)) => keys,
            None if document.contains_key("kty") => vec![Value::Object(document.into_iter().collect())],
            _ => return Err(JwkSetError::NotASet),
        };
        let read = |(index, value)| match value {
            Value::Object(members) => {
                Jwk::from_members(members.into_iter().collect()).ok_or(JwkSetError::Key { index })
            }
            _ => Err(JwkSetError::Key { index }),
        };
        let keys = keys.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        Ok(Self { keys })
    }

    /// The set as one line of JSON, members in alphabetical order.
    pub fn to_json(&self) -> String {
        let keys: Vec<_> = self.keys.iter().map(|key| &key.members).collect();
        serde_json::to_string(&BTreeMap::from([("keys", keys)])).expect("keys are plain JSON values")
    }

    /// Checks the signature of a token by the key that the token names, and returns the claims.
    ///
    /// # Errors
    /// What is no token, names no key or none of this set, or has another signature.
    pub fn verify(&self, token: &str) -> Result<Map<String, Value>, String> {
        let token = Compact::parse(token).ok_or("invalid JWT")?;
        let Some(key_id) = &token.key_id else {
            return Err(
                "key provider 0 failed: failed to find matching key: no key ID (\"kid\") specified in token"
                    .to_owned(),
            );
        };
        let named = |key: &&Jwk| key.key_id() == Some(key_id);
        let mut named = self.keys.iter().filter(named).peekable();
        if named.peek().is_none() {
            return Err(format!(
                "key provider 0 failed: failed to find key with key ID {} in key set",
                go_quote(key_id)
            ));
        }
        let signed = token.algorithm.is_some_and(|algorithm| {
            named.any(|key| key.verify(algorithm, token.message.as_bytes(), &token.signature))
        });
        if signed {
            Ok(token.claims)
        } else {
            Err("could not verify message using any of the signatures or keys".to_owned())
        }
    }

    /// The keys in order.
    pub fn keys(&self) -> &[Jwk] {
        &self.keys
    }
}

const fn curve_name(curve: Curve) -> &'static str {
    match curve {
        Curve::P256 => "P-256",
        Curve::P384 => "P-384",
        Curve::P521 => "P-521",
    }
}

fn curve_of(name: &str) -> Option<Curve> {
    [Curve::P256, Curve::P384, Curve::P521]
        .into_iter()
        .find(|curve| curve_name(*curve) == name)
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017 A.1.1).
fn rsa_components(encoding: &[u8]) -> Option<(&[u8], &[u8])> {
    let (key, _) = der::read(encoding)?;
    let (modulus, rest) = der::read(key.contents)?;
    let (exponent, _) = der::read(rest)?;
    Some((
        without_leading_zeros(modulus.contents),
        without_leading_zeros(exponent.contents),
    ))
}

fn without_leading_zeros(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
    bytes.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyType;

    /// The key of RFC 7638 3.1.
    const KNOWN: &str = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;

    #[test]
    fn thumbprints_are_those_of_the_standards_in_padded_base64() {
        let rsa = JwkSet::parse(KNOWN.as_bytes()).unwrap();
        assert_eq!(
            rsa.keys()[0].thumbprint().unwrap(),
            "NzbLsXh8uDCcd+6MNwXF4W/7noWXFZAfHkxZsRGC9Xs="
        );
        let edwards = br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let edwards = JwkSet::parse(edwards).unwrap();
        assert_eq!(
            edwards.keys()[0].thumbprint().unwrap(),
            "kPrK/qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k="
        );
    }

    #[test]
    fn a_signature_of_the_standard_is_accepted_and_a_changed_one_is_not() {
        // RFC 8037 A.4.
        let key = br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let key = &JwkSet::parse(key).unwrap().keys()[0].clone();
        let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature =
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let mut signature = decode(signature).unwrap();
        assert!(key.verify(Algorithm::EdDsa, message, &signature));
        assert!(!key.verify(Algorithm::Es256, message, &signature));
        signature[0] ^= 1;
        assert!(!key.verify(Algorithm::EdDsa, message, &signature));
    }

    #[test]
    fn a_key_says_what_it_is_for() {
        let key = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        let jwk = Jwk::of(&key, Algorithm::Es256).unwrap().with_key_id("k");
        assert!(jwk.belongs_to(&key) && jwk.is_for_signatures());
        let other = PrivateKey::generate(KeyType::EcdsaP256).unwrap();
        assert!(!jwk.belongs_to(&other));
        let json = JwkSet::single(jwk).to_json();
        assert!(
            json.starts_with(
                r#"{"keys":[{"alg":"ES256","crv":"P-256","kid":"k","kty":"EC","use":"sig","x":""#
            )
        );
        let encryption = json.replace(r#""use":"sig""#, r#""use":"enc""#);
        assert!(!JwkSet::parse(encryption.as_bytes()).unwrap().keys()[0].is_for_signatures());
    }

    #[test]
    fn private_halves_are_not_published() {
        let set =
            br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AA","d":"secret"},{"kty":"oct","k":"secret"}]}"#;
        let json = JwkSet::parse(set).unwrap().to_json();
        assert_eq!(
            json,
            r#"{"keys":[{"crv":"Ed25519","kty":"OKP","x":"AA"},{"kty":"oct"}]}"#
        );
    }

    #[test]
    fn texts_that_are_no_sets_are_refused() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"keys":{}}"#,
            r#"{"keys":[1]}"#,
            r#"{"keys":[{"kty":"RSA"}]}"#,
            r#"{"keys":[{}]}"#,
        ] {
            assert!(JwkSet::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(JwkSet::parse(br#"{"keys":[]}"#).unwrap().keys().is_empty());
    }
}
