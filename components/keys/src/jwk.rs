//! JSON web keys.
//!
//! Source: RFC 7517, RFC 7518 6.

use std::collections::BTreeMap;
use std::fmt;

use outrigger_identity::der;
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, de::IgnoredAny};
use zeroize::Zeroizing;

use crate::error::ParseError;
use crate::key::{Key, Material, Usage};
use crate::parse;

/// The members of a key that are looked at.
#[derive(Deserialize)]
struct Members {
    kty: String,
    kid: Option<String>,
    key_ops: Option<Vec<String>>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    k: Option<Encoded>,
    n: Option<Encoded>,
    e: Option<Encoded>,
    d: Option<Encoded>,
    p: Option<Encoded>,
    q: Option<Encoded>,
    dp: Option<Encoded>,
    dq: Option<Encoded>,
    qi: Option<Encoded>,
    crv: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Members>,
}

/// Bytes in base64, decoded as they are read so that no text of them stays behind.
struct Encoded(Zeroizing<Vec<u8>>);

/// Reads one key.
pub(crate) fn parse(text: &[u8]) -> Result<Key, ParseError> {
    let members: Members =
        serde_json::from_slice(text).map_err(|_| ParseError::Jwk("invalid JSON or missing 'kty'"))?;
    Ok(key(members)?.1)
}

/// Reads a set of keys, or one key; those without an id cannot be named and are left out.
///
/// # Errors
/// A text that is no set, or a key in it that lacks what its type needs.
pub fn parse_set(text: &[u8]) -> Result<BTreeMap<String, Key>, ParseError> {
    let invalid = |_| ParseError::Jwk("invalid key set");
    let keys = match serde_json::from_slice::<Set>(text) {
        Ok(set) => set.keys,
        Err(_) => vec![serde_json::from_slice(text).map_err(invalid)?],
    };
    let keys = keys.into_iter().map(key).collect::<Result<Vec<_>, _>>()?;
    let named = keys.into_iter().filter_map(|(id, key)| Some((id?, key)));
    Ok(named.collect())
}

fn key(members: Members) -> Result<(Option<String>, Key), ParseError> {
    let missing = ParseError::Jwk("a member is missing or invalid");
    let material = match members.kty.as_str() {
        "oct" => members.k.map(|key| Material::Symmetric(key.0)).ok_or(missing)?,
        "RSA" if members.d.is_some() => private(&members).ok_or(missing)?,
        "RSA" => public(&members).ok_or(missing)?,
        "EC" | "OKP" if members.crv.is_some() => Material::Curve,
        "EC" | "OKP" => return Err(missing),
        _ => return Err(ParseError::Jwk("unsupported 'kty'")),
    };
    let usage = Usage {
        operations: members.key_ops,
        purpose: members.purpose.filter(|purpose| !purpose.is_empty()),
        algorithm: members.alg.filter(|algorithm| !algorithm.is_empty()),
    };
    Ok((members.kid, Key { material, usage }))
}

fn private(members: &Members) -> Option<Material> {
    let numbers = [
        &members.n,
        &members.e,
        &members.d,
        &members.p,
        &members.q,
        &members.dp,
        &members.dq,
        &members.qi,
    ];
    let mut encoding = Zeroizing::new(der::unsigned_integer(&[0]));
    for number in numbers {
        encoding.extend_from_slice(&Zeroizing::new(der::unsigned_integer(&number.as_ref()?.0)));
    }
    parse::rsa_private(&Zeroizing::new(der::sequence(&[&encoding])))
}

fn public(members: &Members) -> Option<Material> {
    let [modulus, exponent] = [&members.n, &members.e].map(|number| {
        let number = number.as_ref()?;
        Some(der::unsigned_integer(&number.0))
    });
    parse::rsa_public(&der::sequence(&[&modulus?, &exponent?]))
}

// === impl Encoded ===

impl<'de> Deserialize<'de> for Encoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = Encoded;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_str<E: de::Error>(self, digits: &str) -> Result<Encoded, E> {
                let bytes = parse::member(digits);
                bytes.map(Encoded).ok_or_else(|| E::custom("invalid base64"))
            }
        }
        deserializer.deserialize_str(Digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::KeyError;
    use crate::testing::key_use;

    #[test]
    fn a_key_does_what_its_owner_lets_it_do() {
        let table = [
            ("", Ok(()), Ok(())),
            (r#","use":"enc""#, Ok(()), Ok(())),
            (r#","use":"""#, Ok(()), Ok(())),
            (
                r#","use":"sig""#,
                Err("key cannot perform the 'wrapKey' operation"),
                Err("key cannot perform the 'unwrapKey' operation"),
            ),
            (r#","key_ops":["wrapKey","unwrapKey"]"#, Ok(()), Ok(())),
            (
                r#","key_ops":["wrapKey"]"#,
                Ok(()),
                Err("key cannot perform the 'unwrapKey' operation"),
            ),
            (
                r#","key_ops":["encrypt"]"#,
                Err("key cannot perform the 'wrapKey' operation"),
                Err("key cannot perform the 'unwrapKey' operation"),
            ),
            (r#","alg":"A128KW""#, Ok(()), Ok(())),
            (
                r#","alg":"A256KW""#,
                Err("key cannot be used with algorithm 'A128KW'"),
                Err("key cannot be used with algorithm 'A128KW'"),
            ),
        ];
        let free = parse(br#"{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAA"}"#).unwrap();
        let with = key_use("A128KW");
        let wrapped = free.wrap(&[1; 16], with).unwrap().bytes;
        let text = |error: KeyError| error.to_string();
        for (members, wraps, unwraps) in table {
            let json = format!(r#"{{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAA=="{members}}}"#);
            let key = parse(json.as_bytes()).unwrap();
            let wrap = key.wrap(&[1; 16], with).map(|_| ()).map_err(text);
            assert_eq!(wrap, wraps.map_err(str::to_owned), "{members}");
            let unwrap = key.unwrap(&wrapped, with).map(|_| ()).map_err(text);
            assert_eq!(unwrap, unwraps.map_err(str::to_owned), "{members}");
        }
    }

    #[test]
    fn keys_that_lack_something_are_refused_without_being_quoted() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"kty":"oct"}"#,
            r#"{"kty":"oct","k":"?secret?"}"#,
            r#"{"kty":"RSA","n":"AQAB"}"#,
            r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#,
            r#"{"kty":"RSA","n":"AQAB","e":"AQAB","d":"AQAB"}"#,
            r#"{"kty":"EC"}"#,
            r#"{"kty":"wood"}"#,
        ] {
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("failed to parse JSON Web Key: "), "{error}");
            assert!(!error.contains("secret"));
        }
    }

    #[test]
    fn a_set_names_its_keys_by_their_ids() {
        let set = br#"{"keys":[{"kty":"oct","k":"AA","kid":"a"},{"kty":"oct","k":"AA"},{"kty":"EC","crv":"P-256","kid":"b"}]}"#;
        let set = parse_set(set).unwrap();
        assert_eq!(set.keys().collect::<Vec<_>>(), ["a", "b"]);
        let refused = set["b"].wrap(&[0; 16], key_use("RSA-OAEP-256")).unwrap_err();
        assert_eq!(refused, KeyError::KeyType);
        let single = parse_set(br#"{"kty":"oct","k":"AA","kid":"a"}"#).unwrap();
        assert_eq!(single.len(), 1);
        assert!(parse_set(b"[]").is_err());
        assert!(parse_set(br#"{"keys":[{}]}"#).is_err());
    }
}
