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
    let header = token
        .split('.')
        .next()
        .and_then(outrigger_identity::jose::decode)
        .unwrap();
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
        let parts = outrigger_identity::jose::Compact::parse(&token).unwrap();
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
