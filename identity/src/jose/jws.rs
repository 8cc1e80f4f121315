//! Signed tokens in their compact form (RFC 7515 7.1).

use crate::key::{Curve, KeyError, KeyKind, PrivateKey};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, RsaEncoding, RsaKeyPair,
};
use serde_json::Value;

use super::{Algorithm, decode, encode};

/// Signs payloads with one key under one header.
#[derive(Debug)]
pub struct Encoder {
    header: String,
    signer: Signer,
}

/// A token that was taken apart, but whose signature has not been checked.
#[derive(Debug)]
pub struct Compact<'a> {
    /// `alg`, if it is a known one.
    pub algorithm: Option<Algorithm>,
    /// `kid`, if it is not empty.
    pub key_id: Option<String>,
    /// The payload.
    pub claims: serde_json::Map<String, Value>,
    /// What the signature is over: header and payload as they came.
    pub message: &'a str,
    /// The signature, decoded.
    pub signature: Vec<u8>,
}

enum Signer {
    Ed25519(Ed25519KeyPair),
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
}

// === impl Encoder ===

impl Encoder {
    /// Prepares signing with `key`; the caller has checked that it fits `algorithm`.
    pub fn new(key: &PrivateKey, algorithm: Algorithm, key_id: &str) -> Result<Self, KeyError> {
        let header = serde_json::json!({ "alg": algorithm.name(), "kid": key_id, "typ": "JWT" });
        let signer = Signer::new(key, algorithm)?;
        Ok(Self {
            header: encode(header.to_string()),
            signer,
        })
    }

    /// Signs `claims`, a JSON object.
    pub fn encode(&self, claims: &str) -> Result<String, KeyError> {
        let message = format!("{}.{}", self.header, encode(claims));
        let signature = self.signer.sign(message.as_bytes())?;
        Ok(format!("{message}.{}", encode(signature)))
    }
}

// === impl Signer ===

impl Signer {
    fn new(key: &PrivateKey, algorithm: Algorithm) -> Result<Self, KeyError> {
        let encoding = key.to_pkcs8()?;
        let encoding = encoding.secret_pkcs8_der();
        let pair = match key.kind() {
            KeyKind::Ed25519 => Ed25519KeyPair::from_pkcs8(encoding).map(Self::Ed25519),
            KeyKind::Ecdsa(curve) => {
                let form = match curve {
                    Curve::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
                    Curve::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
                    Curve::P521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
                };
                EcdsaKeyPair::from_pkcs8(form, encoding).map(Self::Ecdsa)
            }
            KeyKind::Rsa => RsaKeyPair::from_pkcs8(encoding).map(|pair| Self::Rsa(pair, algorithm.padding())),
        };
        pair.map_err(|reason| KeyError::Rejected(reason.to_string()))
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        let signature = match self {
            Self::Ed25519(pair) => pair
                .try_sign(message)
                .map(|signature| signature.as_ref().to_vec()),
            Self::Ecdsa(pair) => pair
                .sign(&random, message)
                .map(|signature| signature.as_ref().to_vec()),
            Self::Rsa(pair, padding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*padding, &random, message, &mut signature)
                    .map(|()| signature)
            }
        };
        signature.map_err(|_| KeyError::Failed)
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer")
    }
}

// === impl Compact ===

impl<'a> Compact<'a> {
    /// Takes a token apart; nothing if it is not three parts with JSON objects in the first two.
    pub fn parse(token: &'a str) -> Option<Self> {
        let (message, signature) = token.trim_ascii().rsplit_once('.')?;
        let (header, payload) = message.split_once('.')?;
        let header: serde_json::Map<String, Value> = serde_json::from_slice(&decode(header)?).ok()?;
        // No extension is understood, so none may be critical (RFC 7515 4.1.11).
        if header.contains_key("crit") {
            return None;
        }
        let text = |name| header.get(name).and_then(Value::as_str);
        Some(Self {
            algorithm: text("alg").and_then(Algorithm::from_name),
            key_id: text("kid").filter(|key_id| !key_id.is_empty()).map(str::to_owned),
            claims: serde_json::from_slice(&decode(payload)?).ok()?,
            message,
            signature: decode(signature)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, proptest};

    #[test]
    fn a_token_is_taken_apart_without_being_believed() {
        let token = format!(
            "{}.{}.{}",
            encode(r#"{"alg":"RS256","kid":"k"}"#),
            encode(r#"{"sub":"s"}"#),
            encode("x")
        );
        let parts = Compact::parse(&token).unwrap();
        assert_eq!(
            (parts.algorithm, parts.key_id.as_deref()),
            (Some(Algorithm::Rs256), Some("k"))
        );
        assert_eq!(
            (parts.claims["sub"].as_str(), parts.signature.as_slice()),
            (Some("s"), b"x".as_slice())
        );
        assert_eq!(format!("{}.{}", parts.message, encode("x")), token);
    }

    #[test]
    fn what_is_no_token_or_asks_for_the_unknown_is_refused() {
        let (header, claims) = (encode(r#"{"alg":"RS256"}"#), encode("{}"));
        let critical = encode(r#"{"alg":"RS256","crit":["b64"],"b64":false}"#);
        for token in [
            String::new(),
            "a.b.c".to_owned(),
            format!("{header}.{claims}"),
            format!("{header}.{claims}.x.y"),
            format!("{header}.{}.", encode("[]")),
            format!("{critical}.{claims}."),
        ] {
            assert!(Compact::parse(&token).is_none(), "{token}");
        }
        let none = format!("{}.{claims}.", encode(r#"{"alg":"none"}"#));
        assert_eq!(Compact::parse(&none).unwrap().algorithm, None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in any::<String>()) {
            Compact::parse(&text);
        }
    }
}
