//! Claims that every reader of tokens checks alike (RFC 7519 4.1).

use serde_json::{Map, Value};

/// Checks that a token is in force at `now`, in seconds since 1970, give or take `skew` seconds.
///
/// A claim that is missing is no reason to refuse.
///
/// # Errors
/// `"iat" not satisfied` and the like, or `invalid JWT` for a claim that is no time.
pub fn check_times(claims: &Map<String, Value>, now: f64, skew: f64) -> Result<(), String> {
    let unsatisfied = |name: &str| format!("\"{name}\" not satisfied");
    if time_of(claims, "iat")?.is_some_and(|issued| now < issued - skew) {
        return Err(unsatisfied("iat"));
    }
    if time_of(claims, "exp")?.is_some_and(|expires| now >= expires + skew) {
        return Err(unsatisfied("exp"));
    }
    if time_of(claims, "nbf")?.is_some_and(|begins| now < begins - skew) {
        return Err(unsatisfied("nbf"));
    }
    Ok(())
}

/// Whether a token is meant for `audience`, its only one or one of several.
///
/// # Errors
/// A token that names none, or not by a text.
pub fn is_for(claims: &Map<String, Value>, audience: &str) -> Result<bool, String> {
    match claims.get("aud") {
        None => Err("claim \"aud\" not found".to_owned()),
        Some(Value::String(one)) => Ok(one == audience),
        Some(Value::Array(many)) => Ok(many.iter().any(|one| one == audience)),
        Some(_) => Err("invalid JWT".to_owned()),
    }
}

/// A numeric date in seconds; it may be written as a text.
fn time_of(claims: &Map<String, Value>, name: &str) -> Result<Option<f64>, &'static str> {
    let seconds = match claims.get(name) {
        None => return Ok(None),
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_f64(),
    };
    match seconds {
        Some(seconds) if seconds.is_finite() => Ok(Some(seconds)),
        _ => Err("invalid JWT"),
    }
}
