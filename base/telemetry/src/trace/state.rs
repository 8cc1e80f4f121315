//! The vendor list of the `tracestate` header (W3C Trace Context, section 3.3).

use std::sync::Arc;

/// Most members that a list may have.
const MAX_MEMBERS: usize = 32;

/// Reads a list into its normal form: members joined by commas, no blanks around them.
///
/// None if the list is empty or if any member is malformed or named twice.
pub(super) fn parse(value: &str) -> Option<Arc<str>> {
    let mut members: Vec<(&str, &str)> = Vec::new();
    for member in value.split(',').filter(|member| !member.is_empty()) {
        let (key, content) = member.split_once('=')?;
        let (key, content) = (key.trim_start_matches(BLANKS), content.trim_end_matches(BLANKS));
        let known = members.iter().any(|(name, _)| *name == key);
        if known || members.len() == MAX_MEMBERS || !is_key(key) || !is_content(content) {
            return None;
        }
        members.push((key, content));
    }
    let length = members
        .iter()
        .map(|(key, content)| key.len() + content.len() + 2)
        .sum();
    let mut normal = String::with_capacity(length);
    for (key, content) in members {
        if !normal.is_empty() {
            normal.push(',');
        }
        normal.push_str(key);
        normal.push('=');
        normal.push_str(content);
    }
    (!normal.is_empty()).then(|| normal.into())
}

const BLANKS: [char; 2] = [' ', '\t'];

/// A simple key, or `tenant@system`.
fn is_key(key: &str) -> bool {
    match key.split_once('@') {
        None => is_name(key, 256, u8::is_ascii_lowercase),
        Some((tenant, system)) => {
            let first = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            is_name(tenant, 241, first) && is_name(system, 14, u8::is_ascii_lowercase)
        }
    }
}

fn is_name(name: &str, longest: usize, first: impl Fn(&u8) -> bool) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/".contains(&byte);
    name.len() <= longest && name.as_bytes().first().is_some_and(first) && name.bytes().all(inner)
}

fn is_content(content: &str) -> bool {
    let inner = |byte: u8| (b' '..=b'~').contains(&byte) && byte != b',' && byte != b'=';
    (1..=256).contains(&content.len()) && content.bytes().all(inner) && !content.ends_with(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_brought_into_normal_form() {
        let table = [
            ("a=1", Some("a=1")),
            ("a=1,b=2", Some("a=1,b=2")),
            (" a=1 ,\tb=2\t", Some("a=1,b=2")),
            ("a=1,,b=2,", Some("a=1,b=2")),
            ("a= 1", Some("a= 1")),
            ("1t@s=v,a*/_-9=v", Some("1t@s=v,a*/_-9=v")),
            ("", None),
            (",", None),
        ];
        for (value, expected) in table {
            assert_eq!(parse(value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn a_malformed_member_empties_the_list() {
        let many: Vec<String> = (0..33).map(|number| format!("k{number}=v")).collect();
        let long_key = format!("{}=v", "k".repeat(257));
        let long_value = format!("k={}", "v".repeat(257));
        let many = many.join(",");
        let table = [
            "a",
            "a=",
            "=1",
            "A=1",
            "1=1",
            "a=1,a=2",
            "a=b=c",
            "a=é",
            "a@=1",
            "@s=1",
            "a@1s=1",
            " ",
            &many,
            &long_key,
            &long_value,
        ];
        for value in table {
            assert_eq!(parse(value), None, "{value}");
        }
    }
}
