//! The request target of a call to an app, as Go's URL parser and writer make it of a method.
//!
//! A method is put into the URL as it is; the URL is then read and written again. So characters that a
//! path cannot hold are escaped, a valid escape stays one, and a `%` that starts none is an error.
//!
//! Source: specification, service invocation 3.3.

use std::borrow::Cow;

use outrigger_kit::percent::{EscapeError, decode_path, encode_path, is_plain_in_path};

/// The path and query with which `method` is asked for; always starts with `/`.
///
/// # Errors
/// A broken percent escape in the method.
pub(crate) fn request_target(base_path: &str, method: &str, query: &str) -> Result<String, EscapeError> {
    let escaped = escape_path(method)?;
    let is_relative = !escaped.is_empty() && !escaped.starts_with('/');
    let slash = if is_relative || (base_path.is_empty() && escaped.is_empty()) {
        "/"
    } else {
        ""
    };
    let mark = if query.is_empty() { "" } else { "?" };
    // Exactly as much room as is needed: the text then becomes a URI without another allocation.
    let parts = [base_path, slash, &escaped, mark, query];
    let mut target = String::with_capacity(parts.iter().map(|part| part.len()).sum());
    parts.iter().for_each(|part| target.push_str(part));
    Ok(target)
}

/// The URL as error texts show it.
pub(crate) fn full_url(base: &str, method: &str, query: &str) -> String {
    let slash = if method.is_empty() || method.starts_with('/') {
        ""
    } else {
        "/"
    };
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{base}{slash}{method}{mark}{query}")
}

fn escape_path(path: &str) -> Result<Cow<'_, str>, EscapeError> {
    if path.bytes().all(|byte| byte != b'%' && is_allowed(byte)) {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = decode_path(path.as_bytes())?;
    if path.bytes().all(is_allowed) {
        return Ok(Cow::Borrowed(path));
    }
    Ok(Cow::Owned(encode_path(&decoded)))
}

/// What a path may hold as it was given.
fn is_allowed(byte: u8) -> bool {
    is_plain_in_path(byte) || matches!(byte, b'!' | b'\'' | b'(' | b')' | b'*' | b'[' | b']' | b'%')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn methods_become_request_targets_as_go_makes_them() {
        let table = [
            ("", "", "/"),
            ("x", "", "/x"),
            ("/x", "a=1&b=%20x", "/x?a=1&b=%20x"),
            ("x/y z", "", "/x/y%20z"),
            ("test\"stream", "", "/test%22stream"),
            ("test\\stream", "", "/test%5Cstream"),
            ("test*stream", "", "/test*stream"),
            ("a%41", "", "/a%41"),
            ("a%41\"", "", "/aA%22"),
            ("a%2Fb", "", "/a%2Fb"),
            ("a%2Fb c", "", "/a/b%20c"),
            ("é", "", "/%C3%A9"),
            ("a;b=c,d:e@f$g&h+i!j(k)'", "", "/a;b=c,d:e@f$g&h+i!j(k)'"),
            ("*\"", "", "/%2A%22"),
            ("x", "q=\"'<>", "/x?q=\"'<>"),
        ];
        for (method, query, expected) in table {
            assert_eq!(request_target("", method, query).unwrap(), expected, "{method}");
        }
        assert_eq!(request_target("/base", "", "").unwrap(), "/base");
        assert_eq!(request_target("/base", "x", "").unwrap(), "/base/x");
        assert_eq!(request_target("/base/", "x", "").unwrap(), "/base//x");
    }

    #[test]
    fn a_percent_sign_without_digits_is_an_error() {
        let error = request_target("", "test%stream", "").unwrap_err();
        assert_eq!(error.to_string(), "invalid URL escape \"%st\"");
    }

    proptest! {
        #[test]
        fn every_path_that_is_made_is_a_valid_uri(method in "[^#?\\x00-\\x1f\\x7f]{0,32}") {
            if let Ok(target) = request_target("", &method, "") {
                prop_assert!(target.parse::<http::uri::PathAndQuery>().is_ok(), "{}", target);
            }
        }
    }
}
