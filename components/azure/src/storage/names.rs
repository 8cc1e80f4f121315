//! Where a key is in a storage account.

use outrigger_component::state::StateError;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::service::Answer;

/// What stands in a path as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Between the parts of a key.
const SEPARATOR: &str = "||";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    #[serde(rename = "odata.error")]
    error: Inner,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Inner {
    code: String,
}

/// The two parts of a key; of other keys the first part only.
pub(super) fn parts(key: &str) -> (&str, Option<&str>) {
    let mut parts = key.split(SEPARATOR);
    let first = parts.next().unwrap_or_default();
    match (parts.next(), parts.next()) {
        (Some(second), None) => (first, Some(second)),
        _ => (first, None),
    }
}

/// A text as a segment of a path.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// What an answer that is an error says.
pub(super) fn told(answer: &Answer) -> String {
    let header = answer.headers().get("x-ms-error-code");
    let header = header.and_then(|code| code.to_str().ok()).map(str::to_owned);
    let code = header.unwrap_or_else(|| {
        let told: Told = serde_json::from_slice(answer.body()).unwrap_or_default();
        told.error.code
    });
    let separator = if code.is_empty() { "" } else { ": " };
    format!("{}{separator}{code}", answer.status())
}

pub(super) fn failed(answer: &Answer) -> StateError {
    StateError::other(told(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_of_two_parts_have_two() {
        assert_eq!(parts("app||k"), ("app", Some("k")));
        assert_eq!(parts("k"), ("k", None));
        assert_eq!(parts("a||b||c"), ("a", None));
        assert_eq!(parts("a||"), ("a", Some("")));
    }
}
