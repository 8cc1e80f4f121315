//! Callers prove who they are by a token that is signed with a key of a known set.

use std::sync::Arc;
use std::time::SystemTime;

use outrigger_api::sentry::SignCertificateRequest;
use outrigger_identity::spiffe::SpiffeId;
use outrigger_svc::BoxFuture;
use serde_json::{Map, Value};

use super::{KeySource, Refusal, Validated, Validator, check};
use outrigger_identity::jose::{check_times, is_for};

/// How far the clocks of the issuer and of sentry may differ, in seconds.
const SKEW: f64 = 5.0 * 60.0;

/// Checks tokens against a set of keys.
#[derive(Debug)]
pub(crate) struct Jwks {
    keys: Arc<KeySource>,
    /// The SPIFFE id of sentry, which tokens must be for.
    audience: SpiffeId,
}

// === impl Jwks ===

impl Jwks {
    /// Accepts tokens for `audience` that are signed with one of `keys`.
    pub(crate) fn new(keys: Arc<KeySource>, audience: SpiffeId) -> Self {
        Self { keys, audience }
    }

    fn decide(&self, request: &SignCertificateRequest, now: f64) -> Result<Validated, Refusal> {
        if request.token.is_empty() {
            return Err(Refusal::NoToken);
        }
        let keys = self.keys.current().ok_or(Refusal::NotReady)?;
        let trust_domain = check(request)?;
        let subject = SpiffeId::workload(&trust_domain, &request.namespace, &request.id)?;
        keys.verify(&request.token)
            .and_then(|claims| check_claims(&claims, self.audience.as_str(), subject.as_str(), now))
            .map_err(Refusal::Token)?;
        Ok(Validated {
            trust_domain,
            container_images: String::new(),
        })
    }
}

impl Validator for Jwks {
    fn validate<'a>(
        &'a self,
        request: &'a SignCertificateRequest,
    ) -> BoxFuture<'a, Result<Validated, Refusal>> {
        Box::pin(std::future::ready(self.decide(request, now())))
    }
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

fn check_claims(claims: &Map<String, Value>, audience: &str, subject: &str, now: f64) -> Result<(), String> {
    let unsatisfied = |name: &str| format!("\"{name}\" not satisfied");
    check_times(claims, now, SKEW)?;
    if !is_for(claims, audience)? {
        return Err(unsatisfied("aud"));
    }
    match claims.get("sub") {
        None => Err(format!("{}: claim \"sub\" does not exist", unsatisfied("sub"))),
        Some(found) if found == subject => Ok(()),
        Some(_) => Err(format!("{}: values do not match", unsatisfied("sub"))),
    }
}

#[cfg(test)]
mod tests {
    use outrigger_identity::key::{KeyType, PrivateKey};
    use serde_json::json;

    use super::super::tests::request;
    use super::*;
    use outrigger_identity::jose::{Algorithm, Encoder, Jwk, JwkSet};

    const NOW: f64 = 1_800_000_000.0;
    const US: &str = "spiffe://localhost/ns/default/dapr-sentry";
    const THEM: &str = "spiffe://public/ns/default/myapp";
    const WRONG_SIGNATURE: &str = "could not verify message using any of the signatures or keys";

    struct Issuer(PrivateKey);

    impl Issuer {
        fn new() -> Self {
            Self(PrivateKey::generate(KeyType::Ed25519).unwrap())
        }

        fn keys(&self) -> JwkSet {
            JwkSet::single(Jwk::of(&self.0, Algorithm::EdDsa).unwrap().with_key_id("k"))
        }

        fn token(&self, key_id: &str, claims: &Value) -> String {
            Encoder::new(&self.0, Algorithm::EdDsa, key_id)
                .unwrap()
                .encode(&claims.to_string())
                .unwrap()
        }
    }

    fn outcome(token: &str, keys: &JwkSet) -> String {
        let checked = keys
            .verify(token)
            .and_then(|claims| check_claims(&claims, US, THEM, NOW));
        checked.err().unwrap_or_default()
    }

    #[test]
    fn claims_are_judged_with_five_minutes_of_grace() {
        let hour = 3600.0;
        let good = json!({ "aud": [US], "sub": THEM, "exp": NOW + hour, "iat": NOW, "nbf": NOW });
        let with = |name: &str, value: Value| {
            let mut claims = good.clone();
            claims[name] = value;
            claims
        };
        let without = |name: &str| {
            let mut claims = good.clone();
            claims.as_object_mut().unwrap().shift_remove(name);
            claims
        };
        let issuer = Issuer::new();
        for (claims, text) in [
            (good.clone(), ""),
            (with("exp", (NOW - 240.0).into()), ""),
            (without("exp"), ""),
            (with("aud", US.into()), ""),
            (with("aud", json!(["other", US])), ""),
            (with("exp", json!("1800003600")), ""),
            (with("exp", (NOW - hour).into()), "\"exp\" not satisfied"),
            (with("exp", (NOW - 300.0).into()), "\"exp\" not satisfied"),
            (with("nbf", (NOW + hour).into()), "\"nbf\" not satisfied"),
            (with("iat", (NOW + hour).into()), "\"iat\" not satisfied"),
            (with("aud", json!(["other"])), "\"aud\" not satisfied"),
            (without("aud"), "claim \"aud\" not found"),
            (
                with("sub", "other".into()),
                "\"sub\" not satisfied: values do not match",
            ),
            (
                without("sub"),
                "\"sub\" not satisfied: claim \"sub\" does not exist",
            ),
            (with("exp", json!({})), "invalid JWT"),
            (with("aud", json!(1)), "invalid JWT"),
        ] {
            assert_eq!(
                outcome(&issuer.token("k", &claims), &issuer.keys()),
                text,
                "{claims}"
            );
        }
    }

    #[test]
    fn the_key_is_found_by_its_id_and_nothing_else() {
        let issuer = Issuer::new();
        let claims = json!({ "aud": US, "sub": THEM });
        let no_id =
            "key provider 0 failed: failed to find matching key: no key ID (\"kid\") specified in token";
        let unknown = "key provider 0 failed: failed to find key with key ID \"other\" in key set";
        assert_eq!(outcome(&issuer.token("k", &claims), &issuer.keys()), "");
        assert_eq!(outcome(&issuer.token("", &claims), &issuer.keys()), no_id);
        assert_eq!(outcome(&issuer.token("other", &claims), &issuer.keys()), unknown);
        assert_eq!(
            outcome(&Issuer::new().token("k", &claims), &issuer.keys()),
            WRONG_SIGNATURE
        );
        assert_eq!(outcome("nonsense", &issuer.keys()), "invalid JWT");
    }

    #[test]
    fn the_algorithm_of_the_key_counts_and_not_that_of_the_token() {
        let issuer = Issuer::new();
        let token = issuer.token("k", &json!({ "aud": US, "sub": THEM }));
        let (_, rest) = token.split_once('.').unwrap();
        for algorithm in ["RS256", "none", "HS256"] {
            let header =
                outrigger_identity::jose::encode(json!({ "alg": algorithm, "kid": "k" }).to_string());
            assert_eq!(
                outcome(&format!("{header}.{rest}"), &issuer.keys()),
                WRONG_SIGNATURE
            );
        }
    }

    #[tokio::test]
    async fn a_request_is_judged_in_the_order_token_keys_rules_signature() {
        let issuer = Issuer::new();
        let text = issuer.keys().to_json();
        let options = [("source".to_owned(), text)].into();
        let source = Arc::new(KeySource::new(&options, &outrigger_identity::tls::provider()).unwrap());
        let validator = Jwks::new(source.clone(), SpiffeId::parse(US).unwrap());
        let decide = |request: &SignCertificateRequest| {
            validator.decide(request, NOW).map_err(|error| error.to_string())
        };

        let mut asked = request();
        assert_eq!(
            decide(&asked).unwrap_err(),
            "the request does not contain a token"
        );
        asked.token = issuer.token("k", &json!({ "aud": US, "sub": THEM }));
        assert_eq!(decide(&asked).unwrap_err(), "jwks validator not ready");

        let stop = tokio_util::sync::CancellationToken::new();
        let health = crate::health::Health::default();
        let target = health.target("keys");
        tokio::join!(source.run(target, stop.clone()), async {
            while !health.is_ready() {
                tokio::task::yield_now().await;
            }
            stop.cancel();
        })
        .0
        .unwrap();
        assert_eq!(decide(&asked).unwrap().trust_domain.as_str(), "public");
        asked.namespace = String::new();
        assert_eq!(
            decide(&asked).unwrap_err(),
            "invalid request: namespace is required"
        );
        asked.namespace = "other".to_owned();
        assert_eq!(
            decide(&asked).unwrap_err(),
            "token validation failed: \"sub\" not satisfied: values do not match"
        );
    }
}
