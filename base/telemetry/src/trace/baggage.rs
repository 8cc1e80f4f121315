//! Baggage: key/value pairs that an application sends along with a trace (W3C Baggage).
//!
//! HTTP forwards the text as it came once it is valid; gRPC forwards it written again.

use std::collections::HashMap;
use std::fmt;

use outrigger_kit::{percent, quote};

/// Longest list, in bytes.
const MAX_BYTES: usize = 8192;

/// Most members of a list.
const MAX_MEMBERS: usize = 180;

/// Longest member, in bytes.
const MAX_MEMBER_BYTES: usize = 4096;

/// Why a baggage list is not valid; the text follows `invalid baggage header: `.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaggageError {
    /// A member has no `=`.
    #[error("invalid baggage list-member: {}", quote::go_quote(.0))]
    Member(String),
    /// A key holds characters other than those of a token.
    #[error("invalid key: {}", quote::go_quote(.0))]
    Key(String),
    /// A value holds characters that must be percent-encoded, or a broken escape.
    #[error("invalid value: {}", quote::go_quote(.0))]
    Value(String),
    /// A property after the value is malformed.
    #[error("invalid baggage list-member property: {}", quote::go_quote(.0))]
    Property(String),
    /// The list is too long.
    #[error("baggage too large: {0}")]
    Bytes(usize),
    /// A member is too long.
    #[error("baggage list-member too large: {0}")]
    MemberBytes(usize),
    /// The list has too many members.
    #[error("too many list-members in baggage")]
    Members,
}

/// One member, as parts of the text it was read from.
#[derive(Clone, Copy, Debug)]
struct Member<'a> {
    key: &'a str,
    value: &'a str,
    /// What follows the first semicolon.
    properties: Option<&'a str>,
}

/// A value, percent-encoded where baggage asks for it.
struct Encoded<'a>(&'a [u8]);

/// Checks a list; an empty one is valid.
///
/// # Errors
/// If any member is malformed or a limit is exceeded: 8192 bytes, 180 members, 4096 bytes a member.
pub fn validate(list: &str) -> Result<(), BaggageError> {
    members(list).map(drop)
}

/// Checks a list and writes it again in normal form: no blanks, of a repeated key the last value.
///
/// # Errors
/// As [`validate`].
pub fn rewrite(list: &str) -> Result<String, BaggageError> {
    let all = members(list)?;
    let last = last_places(&all);
    let mut normal = String::with_capacity(list.len());
    for (place, member) in all.iter().enumerate() {
        if last[member.key] != place {
            continue;
        }
        if !normal.is_empty() {
            normal.push(',');
        }
        member
            .write(&mut normal)
            .expect("writing to a string cannot fail");
    }
    Ok(normal)
}

fn members(list: &str) -> Result<Vec<Member<'_>>, BaggageError> {
    if list.is_empty() {
        return Ok(Vec::new());
    }
    if list.len() > MAX_BYTES {
        return Err(BaggageError::Bytes(list.len()));
    }
    let all = list
        .split(',')
        .map(Member::parse)
        .collect::<Result<Vec<_>, _>>()?;
    // Repeated keys are one member; the count of the text alone decides for nearly all lists.
    if all.len() > MAX_MEMBERS && last_places(&all).len() > MAX_MEMBERS {
        return Err(BaggageError::Members);
    }
    Ok(all)
}

/// Where each key stands last.
fn last_places<'a>(members: &[Member<'a>]) -> HashMap<&'a str, usize> {
    (0..)
        .zip(members)
        .map(|(place, member)| (member.key, place))
        .collect()
}

// === impl Member ===

impl<'a> Member<'a> {
    fn parse(text: &'a str) -> Result<Self, BaggageError> {
        if text.len() > MAX_MEMBER_BYTES {
            return Err(BaggageError::MemberBytes(text.len()));
        }
        let (pair, properties) = match text.split_once(';') {
            Some((pair, properties)) => (pair, Some(properties)),
            None => (text, None),
        };
        for property in properties.into_iter().flat_map(|all| all.split(';')) {
            check_property(property)?;
        }
        let (key, value) = pair
            .split_once('=')
            .ok_or_else(|| BaggageError::Member(text.to_owned()))?;
        let (key, value) = (key.trim(), value.trim());
        if !is_token(key) {
            return Err(BaggageError::Key(key.to_owned()));
        }
        if !is_value(value) {
            return Err(BaggageError::Value(value.to_owned()));
        }
        Ok(Self {
            key,
            value,
            properties,
        })
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        use fmt::Write;
        write!(out, "{}={}", self.key, Encoded(&decoded(self.value)))?;
        for property in self.properties.into_iter().flat_map(|all| all.split(';')) {
            match property.split_once('=') {
                Some((key, value)) => write!(out, ";{}={}", key.trim(), Encoded(&decoded(value.trim())))?,
                None if property.trim().is_empty() => {}
                None => write!(out, ";{}", property.trim())?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        self.0.iter().try_for_each(|byte| match byte {
            b'%' => f.write_str("%25"),
            byte if is_octet(*byte) => f.write_char(char::from(*byte)),
            byte => write!(f, "%{byte:02X}"),
        })
    }
}

fn check_property(property: &str) -> Result<(), BaggageError> {
    let sound = match property.split_once('=') {
        Some((key, value)) => is_token(key.trim()) && is_value(value.trim()),
        None => property.trim().is_empty() || is_token(property.trim()),
    };
    if sound {
        Ok(())
    } else {
        Err(BaggageError::Property(property.to_owned()))
    }
}

/// A value's bytes; escapes have been checked, and bytes that are not UTF-8 become the replacement character.
fn decoded(value: &str) -> Vec<u8> {
    percent::decode_path_text(value).map_or_else(|_| value.into(), |text| text.into_owned().into())
}

/// A token of HTTP.
fn is_token(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(inner)
}

fn is_value(text: &str) -> bool {
    text.bytes().all(is_octet) && percent::decode_path(text.as_bytes()).is_ok()
}

/// A `baggage-octet`: printable ASCII without blank, quote, comma, semicolon and backslash.
fn is_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_that_follow_the_grammar_are_valid() {
        for list in [
            "",
            "a=1",
            "a=1,b=2",
            " a = 1 , b=2;p;q=3 ",
            "a=",
            "a=b=c",
            "a=%20",
            "a=1,a=2",
            "key1=value1;property1;property2, key2 = value2",
        ] {
            assert_eq!(validate(list), Ok(()), "{list}");
        }
    }

    #[test]
    fn the_first_mistake_is_named() {
        let table = [
            (
                "invalid-baggage",
                r#"invalid baggage list-member: "invalid-baggage""#,
            ),
            ("a=1,b", r#"invalid baggage list-member: "b""#),
            ("a=1,", r#"invalid baggage list-member: """#),
            ("=1", r#"invalid key: """#),
            ("a b=1", r#"invalid key: "a b""#),
            ("a=1 2", r#"invalid value: "1 2""#),
            ("a=é", r#"invalid value: "é""#),
            ("a=%zz", r#"invalid value: "%zz""#),
            ("a=1;b c", r#"invalid baggage list-member property: "b c""#),
        ];
        for (list, text) in table {
            assert_eq!(validate(list).unwrap_err().to_string(), text);
        }
    }

    #[test]
    fn limits_hold() {
        let members = |count: usize| {
            (0..count)
                .map(|number| format!("k{number}=v"))
                .collect::<Vec<_>>()
                .join(",")
        };
        assert_eq!(validate(&members(180)), Ok(()));
        assert_eq!(validate(&members(181)), Err(BaggageError::Members));
        assert_eq!(validate(&vec!["k=v"; 181].join(",")), Ok(()));
        assert_eq!(
            validate(&format!("k={}", "v".repeat(4095))),
            Err(BaggageError::MemberBytes(4097))
        );
        assert_eq!(validate(&"k=v,".repeat(2049)), Err(BaggageError::Bytes(8196)));
    }

    #[test]
    fn a_list_is_written_again_in_normal_form() {
        let table = [
            ("", ""),
            ("a=1,b=2", "a=1,b=2"),
            (" a = 1 , b=2;p ; q = 3 ", "a=1,b=2;p;q=3"),
            ("a=1,b=2,a=3", "b=2,a=3"),
            ("a=%20%2C%e2%82%ac", "a=%20%2C%E2%82%AC"),
            ("a=%41", "a=A"),
        ];
        for (list, expected) in table {
            assert_eq!(rewrite(list).unwrap(), expected);
        }
    }

    proptest! {
        #[test]
        fn a_rewritten_list_is_valid_and_stays_as_it_is(list in "[a-c =;,%0-9\\PC]{0,40}") {
            if let Ok(once) = rewrite(&list) {
                let twice = rewrite(&once);
                prop_assert_eq!(twice.as_ref(), Ok(&once));
            }
        }
    }
}
