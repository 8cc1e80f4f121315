//! JWT SVIDs: tokens that name the own workload, for components to show to their back ends.
//!
//! The tokens come over the verified link to the certificate authority, so they are read without checking
//! their signature. Source: JWT-SVID, specification: identity 8.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::spiffe::{SpiffeId, SpiffeIdError};

/// Algorithms that a JWT SVID may be signed with. EdDSA is not among them.
const ALGORITHMS: [&str; 9] = [
    "RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512",
];

/// How far the clocks may differ when a token arrives.
const RECEIVE_LEEWAY: Duration = Duration::from_secs(5 * 60);

/// How far the clocks may differ when a token is taken for an identity.
const LEEWAY: Duration = Duration::from_secs(60);

/// A token that names the own workload. It does not show itself in logs.
#[derive(Clone)]
pub struct JwtSvid {
    id: SpiffeId,
    audience: Arc<[String]>,
    expires_at: SystemTime,
    token: Arc<str>,
}

/// The tokens that came with one certificate.
#[derive(Clone, Debug, Default)]
pub struct JwtSvids {
    base: Option<JwtSvid>,
    by_audience: BTreeMap<String, JwtSvid>,
}

/// Why there is no token to use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtSvidError {
    /// The text is no token.
    #[error("error parsing JWT: invalid JWT")]
    Malformed,
    /// A time in the token does not fit the clock.
    #[error("error parsing JWT: \"{0}\" not satisfied")]
    Time(&'static str),
    /// The token is for nobody.
    #[error("JWT audience is empty")]
    EmptyAudience,
    /// The token is signed in a way that identities may not be.
    #[error("jwtsvid: unable to parse JWT token: unexpected signature algorithm \"{0}\"")]
    Algorithm(String),
    /// The header names another type of token.
    #[error("jwtsvid: token header type not equal to either JWT or JOSE")]
    Type,
    /// The token does not end.
    #[error("jwtsvid: token missing exp claim")]
    NoExpiry,
    /// The token names nobody.
    #[error("jwtsvid: token missing subject claim")]
    NoSubject,
    /// The token names something that is no workload.
    #[error("jwtsvid: token has an invalid subject claim: {0}")]
    Subject(SpiffeIdError),
    /// The token has expired.
    #[error("jwtsvid: token has expired")]
    Expired,
    /// The token is not valid yet.
    #[error("jwtsvid: token is not valid yet")]
    NotYetValid,
    /// The token is not for the own trust domain.
    #[error("jwtsvid: expected audience in [\"{expected}\"] (audience={actual:?})")]
    TrustDomain {
        /// The own trust domain.
        expected: String,
        /// Whom the token is for.
        actual: Vec<String>,
    },
    /// A token for one audience is for another.
    #[error("JWT audience mismatch")]
    AudienceMismatch,
    /// A token was asked for without saying for whom.
    #[error("JWT audience is required")]
    AudienceRequired,
    /// The token at hand is not for the audience asked for.
    #[error("JWT SVID has different audiences than requested: expected {expected}, got {actual}")]
    OtherAudience {
        /// The audience asked for.
        expected: String,
        /// Whom the token is for.
        actual: String,
    },
    /// The authority issued no token.
    #[error("no JWT SVID available")]
    Unavailable,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    typ: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    #[serde(default)]
    aud: Audience,
    sub: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

// === impl JwtSvid ===

impl JwtSvid {
    /// Whom the token names.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// Whom the token is for.
    #[must_use]
    pub fn audience(&self) -> &[String] {
        &self.audience
    }

    /// When the token ends.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }

    /// The token as it is shown to others.
    #[must_use]
    pub fn token(&self) -> &Arc<str> {
        &self.token
    }

    fn receive(token: String, now: SystemTime) -> Result<Self, JwtSvidError> {
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(JwtSvidError::Malformed);
        };
        let header: Header = decode(header)?;
        let claims: Claims = decode(claims)?;
        claims.check_times(now, RECEIVE_LEEWAY)?;
        let audience = claims.audience();
        if audience.is_empty() {
            return Err(JwtSvidError::EmptyAudience);
        }
        header.check()?;
        let expires_at = claims.exp.and_then(moment).ok_or(JwtSvidError::NoExpiry)?;
        let subject = claims
            .sub
            .as_deref()
            .filter(|subject| !subject.is_empty())
            .ok_or(JwtSvidError::NoSubject)?;
        let id = SpiffeId::parse(subject).map_err(JwtSvidError::Subject)?;
        match claims.check_times(now, LEEWAY) {
            Err(JwtSvidError::Time("exp")) => return Err(JwtSvidError::Expired),
            Err(_) => return Err(JwtSvidError::NotYetValid),
            Ok(()) => {}
        }
        Ok(Self {
            id,
            audience: audience.into(),
            expires_at,
            token: token.into(),
        })
    }
}

impl fmt::Debug for JwtSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtSvid")
            .field("id", &self.id)
            .field("audience", &self.audience)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

// === impl JwtSvids ===

impl JwtSvids {
    /// Reads the tokens that came with a certificate of the given trust domain.
    ///
    /// # Errors
    /// When any of them cannot be used.
    pub(crate) fn receive(
        base: Option<String>,
        by_audience: HashMap<String, String>,
        trust_domain: &str,
        now: SystemTime,
    ) -> Result<Self, JwtSvidError> {
        let base = base
            .filter(|token| !token.is_empty())
            .map(|token| JwtSvid::receive(token, now))
            .transpose()?;
        if let Some(svid) = &base
            && !svid.audience.iter().any(|audience| audience == trust_domain)
        {
            return Err(JwtSvidError::TrustDomain {
                expected: trust_domain.to_owned(),
                actual: svid.audience.to_vec(),
            });
        }
        let by_audience = by_audience
            .into_iter()
            .map(|(audience, token)| {
                let svid = JwtSvid::receive(token, now)?;
                if *svid.audience != [audience.as_str()] {
                    return Err(JwtSvidError::AudienceMismatch);
                }
                Ok((audience, svid))
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { base, by_audience })
    }

    /// The token for all audiences.
    #[must_use]
    pub fn base(&self) -> Option<&JwtSvid> {
        self.base.as_ref()
    }

    /// The token to show to `audience`: the one made for it, else the base token if it is for it too.
    ///
    /// # Errors
    /// When no audience is given, or there is no token for it.
    pub fn fetch(&self, audience: &str) -> Result<JwtSvid, JwtSvidError> {
        if audience.is_empty() {
            return Err(JwtSvidError::AudienceRequired);
        }
        let svid = self
            .by_audience
            .get(audience)
            .or(self.base.as_ref())
            .ok_or(JwtSvidError::Unavailable)?;
        if svid.audience.iter().any(|known| known == audience) {
            Ok(svid.clone())
        } else {
            Err(JwtSvidError::OtherAudience {
                expected: audience.to_owned(),
                actual: format!("[{}]", svid.audience.join(" ")),
            })
        }
    }
}

// === impl JwtSvidError ===

impl JwtSvidError {
    /// Whether the audience is what is wrong with a token that came.
    pub(crate) fn is_about_audience(&self) -> bool {
        matches!(
            self,
            Self::EmptyAudience | Self::AudienceMismatch | Self::TrustDomain { .. }
        )
    }
}

// === impl Header ===

impl Header {
    fn check(&self) -> Result<(), JwtSvidError> {
        if !ALGORITHMS.contains(&self.alg.as_str()) {
            return Err(JwtSvidError::Algorithm(self.alg.clone()));
        }
        match self.typ.as_deref() {
            None | Some("JWT" | "JOSE") => Ok(()),
            Some(_) => Err(JwtSvidError::Type),
        }
    }
}

// === impl Claims ===

impl Claims {
    fn audience(&self) -> Vec<String> {
        match &self.aud {
            Audience::One(audience) => vec![audience.clone()],
            Audience::Many(audiences) => audiences.clone(),
        }
    }

    fn check_times(&self, now: SystemTime, leeway: Duration) -> Result<(), JwtSvidError> {
        let is_after = |claim: Option<f64>, limit: SystemTime| {
            claim.is_none_or(|seconds| moment(seconds).is_some_and(|moment| moment > limit))
        };
        if !is_after(self.exp, now - leeway) {
            return Err(JwtSvidError::Time("exp"));
        }
        for (name, claim) in [("iat", self.iat), ("nbf", self.nbf)] {
            if claim.is_some() && is_after(claim, now + leeway) {
                return Err(JwtSvidError::Time(name));
            }
        }
        Ok(())
    }
}

// === impl Audience ===

impl Default for Audience {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, JwtSvidError> {
    let json = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| JwtSvidError::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| JwtSvidError::Malformed)
}

/// The moment that a numeric date means, unless it is before 1970 or beyond reason.
fn moment(seconds: f64) -> Option<SystemTime> {
    let distance = Duration::try_from_secs_f64(seconds).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(distance)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::fixtures;

    fn token(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2lnbmF0dXJl", part(header), part(claims))
    }

    fn claims(audience: &Value) -> Value {
        json!({
            "aud": audience,
            "exp": fixtures::NOW + 86_400,
            "iat": fixtures::NOW,
            "nbf": fixtures::NOW - 900,
            "sub": "spiffe://public/ns/default/myapp",
        })
    }

    fn with(name: &str, value: &Value) -> String {
        let mut changed = claims(&json!(["public"]));
        match value {
            Value::Null => drop(changed.as_object_mut().unwrap().remove(name)),
            value => changed[name] = value.clone(),
        }
        token(&json!({"alg": "RS256", "typ": "JWT"}), &changed)
    }

    fn receive(token: String) -> Result<JwtSvids, String> {
        JwtSvids::receive(Some(token), HashMap::new(), "public", fixtures::now())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_token_of_the_authority_becomes_an_identity() {
        let token = token(
            &json!({"alg": "RS256", "kid": "k", "typ": "JWT"}),
            &claims(&json!(["public", "a1"])),
        );
        let svids = receive(token.clone()).unwrap();
        let svid = svids.fetch("a1").unwrap();
        assert_eq!(svid.id().as_str(), "spiffe://public/ns/default/myapp");
        assert_eq!(svid.expires_at(), fixtures::now() + Duration::from_secs(86_400));
        assert_eq!(&**svid.token(), token);
        assert!(!format!("{svid:?}").contains(&token));
    }

    #[test]
    fn every_algorithm_but_eddsa_is_taken() {
        for algorithm in ALGORITHMS {
            let token = token(&json!({"alg": algorithm}), &claims(&json!("public")));
            assert!(receive(token).is_ok(), "{algorithm}");
        }
        for algorithm in ["EdDSA", "HS256", "none"] {
            let token = token(&json!({"alg": algorithm}), &claims(&json!("public")));
            let expected =
                format!("jwtsvid: unable to parse JWT token: unexpected signature algorithm \"{algorithm}\"");
            assert_eq!(receive(token).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_token_that_breaks_a_rule_is_refused() {
        let now = fixtures::NOW;
        let rows = [
            ("x".to_owned(), "error parsing JWT: invalid JWT"),
            ("a.b.c".to_owned(), "error parsing JWT: invalid JWT"),
            (with("aud", &Value::Null), "JWT audience is empty"),
            (with("aud", &json!([])), "JWT audience is empty"),
            (
                with("aud", &json!(["other"])),
                "jwtsvid: expected audience in [\"public\"] (audience=[\"other\"])",
            ),
            (with("exp", &Value::Null), "jwtsvid: token missing exp claim"),
            (
                with("exp", &json!(now - 301)),
                "error parsing JWT: \"exp\" not satisfied",
            ),
            (with("exp", &json!(now - 61)), "jwtsvid: token has expired"),
            (
                with("nbf", &json!(now + 301)),
                "error parsing JWT: \"nbf\" not satisfied",
            ),
            (with("nbf", &json!(now + 61)), "jwtsvid: token is not valid yet"),
            (
                with("iat", &json!(now + 3600)),
                "error parsing JWT: \"iat\" not satisfied",
            ),
            (with("sub", &Value::Null), "jwtsvid: token missing subject claim"),
            (
                with("sub", &json!("me")),
                "jwtsvid: token has an invalid subject claim: scheme is missing or invalid",
            ),
            (
                token(
                    &json!({"alg": "RS256", "typ": "at+jwt"}),
                    &claims(&json!("public")),
                ),
                "jwtsvid: token header type not equal to either JWT or JOSE",
            ),
        ];
        for (token, expected) in rows {
            assert_eq!(receive(token).unwrap_err(), expected);
        }
        assert!(receive(with("exp", &json!(now - 59))).is_ok());
    }

    #[test]
    fn the_token_made_for_an_audience_goes_before_the_base_token() {
        let header = json!({"alg": "ES256"});
        let base = token(&header, &claims(&json!(["public", "a1"])));
        let own = token(&header, &claims(&json!(["a1"])));
        let svids = JwtSvids::receive(
            Some(base.clone()),
            [("a1".to_owned(), own.clone())].into(),
            "public",
            fixtures::now(),
        )
        .unwrap();
        assert_eq!(&**svids.fetch("a1").unwrap().token(), own);
        assert_eq!(&**svids.fetch("public").unwrap().token(), base);
        let error = |audience: &str| svids.fetch(audience).unwrap_err().to_string();
        assert_eq!(error(""), "JWT audience is required");
        assert_eq!(
            error("b"),
            "JWT SVID has different audiences than requested: expected b, got [public a1]"
        );
        assert_eq!(
            JwtSvids::default().fetch("a").unwrap_err().to_string(),
            "no JWT SVID available"
        );
    }

    #[test]
    fn a_token_for_one_audience_must_be_for_that_one_only() {
        for audiences in [json!(["a1", "a2"]), json!(["a2"])] {
            let token = token(&json!({"alg": "ES256"}), &claims(&audiences));
            let received =
                JwtSvids::receive(None, [("a1".to_owned(), token)].into(), "public", fixtures::now());
            assert_eq!(received.unwrap_err(), JwtSvidError::AudienceMismatch);
        }
    }

    #[test]
    fn an_empty_token_is_no_token() {
        let svids =
            JwtSvids::receive(Some(String::new()), HashMap::new(), "public", fixtures::now()).unwrap();
        assert!(svids.base().is_none());
    }
}
