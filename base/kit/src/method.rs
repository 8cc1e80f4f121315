//! Normalising the method of a service invocation, and checking names.
//!
//! One function serves every edge, so that the text that access control judges is the text that is
//! sent on (specification: service invocation 3.2, access control 2).

use std::borrow::Cow;

use crate::path;
use crate::quote::go_quote;

/// Why a method cannot be invoked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    /// It holds `#`, `?` or NUL.
    #[error("method contains forbidden character: {}", go_quote(.0))]
    ForbiddenCharacter(String),
    /// It holds a byte below 0x20, or 0x7f, at this byte position.
    #[error("method contains control character at position {position}: {}", go_quote(.method))]
    ControlCharacter {
        /// Byte offset of the first such byte.
        position: usize,
        /// The whole method.
        method: String,
    },
}

/// Why a name of an actor type, actor, timer or reminder is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It holds `#`, `?`, NUL, `/` or `\`.
    #[error("name contains forbidden character: {}", go_quote(.0))]
    ForbiddenCharacter(String),
    /// It holds a byte below 0x20, or 0x7f, at this byte position.
    #[error("name contains control character at position {position}: {}", go_quote(.name))]
    ControlCharacter {
        /// Byte offset of the first such byte.
        position: usize,
        /// The whole name.
        name: String,
    },
    /// It is `.` or `..`.
    #[error("name is a path traversal sequence: {}", go_quote(.0))]
    Traversal(String),
}

/// The form of a method that is judged and sent: cleaned, not climbing out, free of control characters.
///
/// Percent sequences are ordinary text here. Borrows when nothing changes, the usual case.
///
/// # Errors
/// A forbidden or control character; the texts are part of the protocol.
pub fn normalise(method: &str) -> Result<Cow<'_, str>, MethodError> {
    if method.bytes().any(|byte| matches!(byte, b'#' | b'?' | 0)) {
        return Err(MethodError::ForbiddenCharacter(method.to_owned()));
    }
    if let Some(position) = first_control(method) {
        return Err(MethodError::ControlCharacter {
            position,
            method: method.to_owned(),
        });
    }
    Ok(match path::clean(method) {
        Cow::Borrowed(cleaned) => Cow::Borrowed(without_climbing(cleaned)),
        Cow::Owned(cleaned) => match without_climbing(&cleaned) {
            kept if kept.len() == cleaned.len() => Cow::Owned(cleaned),
            kept => Cow::Owned(kept.to_owned()),
        },
    })
}

/// Refuses names that could change the path they are put into.
///
/// # Errors
/// A forbidden or control character, `.` or `..`; the texts are part of the protocol.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name
        .bytes()
        .any(|byte| matches!(byte, b'#' | b'?' | 0 | b'/' | b'\\'))
    {
        return Err(NameError::ForbiddenCharacter(name.to_owned()));
    }
    if let Some(position) = first_control(name) {
        return Err(NameError::ControlCharacter {
            position,
            name: name.to_owned(),
        });
    }
    match name {
        "." | ".." => Err(NameError::Traversal(name.to_owned())),
        _ => Ok(()),
    }
}

fn first_control(text: &str) -> Option<usize> {
    text.bytes().position(|byte| byte < 0x20 || byte == 0x7f)
}

fn without_climbing(mut cleaned: &str) -> &str {
    while let Some(rest) = cleaned.strip_prefix("../") {
        cleaned = rest;
    }
    match cleaned {
        ".." | "." => "",
        kept => kept,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn methods_are_cleaned_lexically() {
        let table = [
            ("foo", "foo"),
            ("/foo", "/foo"),
            ("x/y", "x/y"),
            ("", ""),
            (".", ""),
            ("..", ""),
            ("../../public", "public"),
            ("../..", ""),
            ("admin/../public", "public"),
            ("//public//", "/public"),
            ("public/", "public"),
            ("/../x", "/x"),
            ("admin%2F..%2Fpublic", "admin%2F..%2Fpublic"),
            ("a\"b*c\\d%", "a\"b*c\\d%"),
            ("admin\\..\\public", "admin\\..\\public"),
            ("/admin%09/../public", "/public"),
        ];
        for (method, expected) in table {
            assert_eq!(normalise(method).unwrap(), expected, "{method}");
        }
    }

    #[test]
    fn refusals_have_the_texts_of_the_protocol() {
        let text = |method| normalise(method).unwrap_err().to_string();
        assert_eq!(
            text("admin?x"),
            r#"method contains forbidden character: "admin?x""#
        );
        assert_eq!(text("a#b"), r#"method contains forbidden character: "a#b""#);
        assert_eq!(text("a\0b"), r#"method contains forbidden character: "a\x00b""#);
        assert_eq!(
            text("ab\tc"),
            r#"method contains control character at position 2: "ab\tc""#
        );
        assert_eq!(
            text("é\x7f"),
            r#"method contains control character at position 2: "é\x7f""#
        );
        // The forbidden characters are looked for first, wherever the control character stands.
        assert_eq!(text("\r?"), r#"method contains forbidden character: "\r?""#);
    }

    #[test]
    fn names_may_not_touch_the_path() {
        let text = |name| check_name(name).unwrap_err().to_string();
        assert_eq!(text("a/b"), r#"name contains forbidden character: "a/b""#);
        assert_eq!(text("a\\b"), r#"name contains forbidden character: "a\\b""#);
        assert_eq!(
            text("a\n"),
            r#"name contains control character at position 1: "a\n""#
        );
        assert_eq!(text(".."), r#"name is a path traversal sequence: "..""#);
        assert_eq!(check_name("a.b c"), Ok(()));
    }

    proptest! {
        #[test]
        fn a_normal_method_never_climbs_and_is_stable(method in "[a./%]{0,24}") {
            let normal = normalise(&method).unwrap().into_owned();
            prop_assert!(!normal.split('/').any(|segment| segment == ".."), "{}", normal);
            let again = normalise(&normal).unwrap().into_owned();
            prop_assert_eq!(again, normal);
        }
    }
}
