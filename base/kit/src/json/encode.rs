//! Writing.

use std::borrow::Cow;
use std::io;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::Formatter;

use crate::float;

/// Writes a value as compact JSON in Go's form: `<`, `>`, `&`, U+2028 and U+2029 escaped, numbers as Go prints them.
///
/// Members keep the order they are given in: use structs or sorted maps, or [`sorted`] for a [`Value`].
///
/// # Panics
/// If the value's own `Serialize` fails, for example for a map whose keys are not texts.
#[must_use]
pub fn to_go_string<T: Serialize + ?Sized>(value: &T) -> String {
    String::from_utf8(to_go_vec(value)).expect("the encoder writes UTF-8")
}

/// Writes a value as [`to_go_string`] does, as bytes.
///
/// # Panics
/// As [`to_go_string`].
#[must_use]
pub fn to_go_vec<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(128);
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, GoFormatter);
    value
        .serialize(&mut serializer)
        .expect("the value has a JSON form");
    bytes
}

/// Appends `text` to `out` as a JSON string in Go's form, quotes included.
pub fn write_go_string(out: &mut Vec<u8>, text: &str) {
    let mut serializer = serde_json::Serializer::with_formatter(out, GoFormatter);
    text.serialize(&mut serializer)
        .expect("writing to a vector cannot fail");
}

/// Escapes `<`, `>`, `&`, U+2028 and U+2029 in a JSON text, as Go's encoder does by default.
#[must_use]
pub fn escape_html(json: &str) -> Cow<'_, str> {
    if !json.contains(needs_escape) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        match html_escape(character) {
            Some(escape) => escaped.push_str(escape),
            None => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

/// The same value with the members of every object in byte order of their names, as Go writes a map.
#[must_use]
pub fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().collect();
            members.sort_by(|(left, _), (right, _)| left.cmp(right));
            Value::Object(
                members
                    .into_iter()
                    .map(|(name, member)| (name, sorted(member)))
                    .collect(),
            )
        }
        scalar => scalar,
    }
}

/// Go's escapes and numbers in otherwise compact JSON.
struct GoFormatter;

// === impl GoFormatter ===

impl Formatter for GoFormatter {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(float::format_json(value).as_bytes())
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        writer.write_all(escape_html(fragment).as_bytes())
    }
}

const fn needs_escape(character: char) -> bool {
    html_escape(character).is_some()
}

const fn html_escape(character: char) -> Option<&'static str> {
    match character {
        '<' => Some("\\u003c"),
        '>' => Some("\\u003e"),
        '&' => Some("\\u0026"),
        '\u{2028}' => Some("\\u2028"),
        '\u{2029}' => Some("\\u2029"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_escaped_as_go_does() {
        let table = [
            ("a<b>&c", r#""a\u003cb\u003e\u0026c""#),
            ("\u{2028}\u{2029}", r#""\u2028\u2029""#),
            ("\"\\\n\r\t\u{8}\u{c}\u{1}", r#""\"\\\n\r\t\b\f\u0001""#),
            ("/\u{7f}é☺", "\"/\u{7f}é☺\""),
        ];
        for (text, expected) in table {
            assert_eq!(to_go_string(text), expected);
            let mut written = Vec::new();
            write_go_string(&mut written, text);
            assert_eq!(written, expected.as_bytes());
        }
    }

    #[test]
    fn names_of_members_are_escaped_too() {
        assert_eq!(to_go_string(&json!({"a&b": 1})), r#"{"a\u0026b":1}"#);
    }

    #[test]
    fn numbers_are_written_as_go_does() {
        assert_eq!(
            to_go_string(&json!([1, -2, 1.0, 1.5, 1e21, 1e-7, u64::MAX])),
            "[1,-2,1,1.5,1e+21,1e-7,18446744073709551615]"
        );
    }

    #[test]
    fn sorting_reaches_every_object() {
        let value = json!({"b": [{"z": 1, "a": 2}], "B": null, "a": {"y": 0, "x": 0}});
        assert_eq!(
            to_go_string(&sorted(value)),
            r#"{"B":null,"a":{"x":0,"y":0},"b":[{"a":2,"z":1}]}"#
        );
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(text: String) {
            let written = to_go_string(&text);
            prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
        }

        #[test]
        fn escaping_a_json_text_keeps_its_meaning(text: String) {
            let plain = serde_json::to_string(&text).unwrap();
            let escaped = escape_html(&plain);
            prop_assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), text);
        }
    }
}
