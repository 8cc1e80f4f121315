//! The one text of a JSON value: what Go writes for a value that it has decoded.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::{Map, Value};

use super::encode::write_go_string;
use super::read::{Kind, Raw, ReadError, Reader, unquote};
use crate::float;

/// The canonical form of a value: members sorted by the bytes of their names, of equal names the last one; no
/// spaces; numbers as 64-bit floats in their shortest form; `<`, `>`, `&`, U+2028 and U+2029 escaped.
///
/// # Errors
/// A number that no float holds.
pub fn canonical(raw: Raw<'_>) -> Result<Cow<'_, [u8]>, ReadError> {
    if raw.is_canonical {
        return Ok(Cow::Borrowed(raw.text));
    }
    let mut writer = Writer {
        out: Vec::with_capacity(raw.text.len()),
        members: Vec::new(),
        scratch: Vec::new(),
    };
    writer.value(&mut Reader::new(raw.text))?;
    Ok(Cow::Owned(writer.out))
}

/// The decoded value of a sound text: whole numbers of up to 15 digits as such, all others as the float that is
/// nearest.
#[must_use]
pub fn to_value(raw: Raw<'_>) -> Value {
    value(&mut Reader::new(raw.text)).unwrap_or_default()
}

/// Appends a text that is one JSON value without its spaces, with `<`, `>`, `&`, U+2028 and U+2029 escaped. Order
/// and numbers stay.
///
/// # Errors
/// It is no JSON; nothing is appended then.
pub fn compact(out: &mut Vec<u8>, text: &[u8]) -> Result<(), ReadError> {
    let raw = super::read::whole(text)?;
    if raw.is_canonical {
        out.extend_from_slice(raw.text);
        return Ok(());
    }
    let (mut in_string, mut is_escaped) = (false, false);
    let mut rest = raw.text;
    while let Some((&byte, behind)) = rest.split_first() {
        let (escape, length): (&[u8], _) = match rest {
            [b'<', ..] => (b"\\u003c", 1),
            [b'>', ..] => (b"\\u003e", 1),
            [b'&', ..] => (b"\\u0026", 1),
            [0xe2, 0x80, 0xa8, ..] => (b"\\u2028", 3),
            [0xe2, 0x80, 0xa9, ..] => (b"\\u2029", 3),
            [b' ' | b'\t' | b'\r' | b'\n', ..] if !in_string => (b"", 1),
            _ => {
                out.push(byte);
                in_string ^= byte == b'"' && !is_escaped;
                is_escaped = byte == b'\\' && !is_escaped;
                rest = behind;
                continue;
            }
        };
        out.extend_from_slice(escape);
        is_escaped = false;
        rest = &rest[length..];
    }
    Ok(())
}

struct Writer<'a> {
    out: Vec<u8>,
    /// Of the objects that are open, outermost first.
    members: Vec<(Cow<'a, str>, Range<usize>)>,
    scratch: Vec<u8>,
}

// === impl Writer ===

impl<'a> Writer<'a> {
    fn value(&mut self, reader: &mut Reader<'a>) -> Result<(), ReadError> {
        match reader.kind()? {
            Kind::Null | Kind::Bool => self.out.extend_from_slice(reader.skip()?.text),
            Kind::Number => {
                let number = reader.number()?;
                if number.is_canonical {
                    self.out.extend_from_slice(number.text);
                } else {
                    self.number(number.text)?;
                }
            }
            Kind::String => {
                let string = reader.string()?;
                if string.is_canonical {
                    self.out.push(b'"');
                    self.out.extend_from_slice(string.text);
                    self.out.push(b'"');
                } else {
                    write_go_string(&mut self.out, &unquote(string));
                }
            }
            Kind::Array => {
                self.out.push(b'[');
                let start = self.out.len();
                reader.items(|reader| {
                    if self.out.len() > start {
                        self.out.push(b',');
                    }
                    self.value(reader)
                })?;
                self.out.push(b']');
            }
            Kind::Object => self.object(reader)?,
        }
        Ok(())
    }

    fn object(&mut self, reader: &mut Reader<'a>) -> Result<(), ReadError> {
        self.out.push(b'{');
        let (start, base) = (self.out.len(), self.members.len());
        let mut is_sorted = true;
        reader.members(|reader, name| {
            let last = self.members.get(base..).and_then(<[_]>::last);
            is_sorted &= last.is_none_or(|(last, _)| *last < name);
            if self.out.len() > start {
                self.out.push(b',');
            }
            let begin = self.out.len();
            write_go_string(&mut self.out, &name);
            self.out.push(b':');
            self.value(reader)?;
            self.members.push((name, begin..self.out.len()));
            Ok::<_, ReadError>(())
        })?;
        if !is_sorted {
            self.sort(start, base);
        }
        self.members.truncate(base);
        self.out.push(b'}');
        Ok(())
    }

    /// Puts the members from `base` on, which are written from `start` on, into their order.
    fn sort(&mut self, start: usize, base: usize) {
        let members = &mut self.members[base..];
        members.sort_by(|(left, _), (right, _)| left.cmp(right));
        self.scratch.clear();
        for (index, (name, text)) in members.iter().enumerate() {
            // Equal names stand in the order in which they came.
            if members.get(index + 1).is_some_and(|(next, _)| next == name) {
                continue;
            }
            if !self.scratch.is_empty() {
                self.scratch.push(b',');
            }
            self.scratch.extend_from_slice(&self.out[text.clone()]);
        }
        self.out.truncate(start);
        self.out.extend_from_slice(&self.scratch);
    }

    fn number(&mut self, text: &[u8]) -> Result<(), ReadError> {
        let text = std::str::from_utf8(text).unwrap_or_default();
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => {
                self.out.extend_from_slice(float::format_json(value).as_bytes());
                Ok(())
            }
            _ => Err(ReadError::Mismatch {
                found: format!("number {text}").into(),
                place: "Go value of type float64".into(),
            }),
        }
    }
}

fn value(reader: &mut Reader<'_>) -> Result<Value, ReadError> {
    Ok(match reader.kind()? {
        Kind::Null => reader.skip().map(|_| Value::Null)?,
        Kind::Bool => Value::Bool(reader.skip()?.text == b"true"),
        Kind::Number => {
            let text = std::str::from_utf8(reader.skip()?.text).unwrap_or_default();
            match text.parse::<i64>() {
                Ok(number) if text.len() <= 15 => number.into(),
                _ => text.parse::<f64>().unwrap_or_default().into(),
            }
        }
        Kind::String => Value::String(unquote(reader.string()?).into_owned()),
        Kind::Array => {
            let mut items = Vec::new();
            reader.items(|reader| {
                items.push(value(reader)?);
                Ok::<_, ReadError>(())
            })?;
            Value::Array(items)
        }
        Kind::Object => {
            let mut members = Map::new();
            reader.members(|reader, name| {
                members.insert(name.into_owned(), value(reader)?);
                Ok::<_, ReadError>(())
            })?;
            Value::Object(members)
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::{sorted, to_go_string, whole};

    fn form(text: &str) -> String {
        let form = canonical(whole(text.as_bytes()).unwrap()).unwrap();
        String::from_utf8(form.into_owned()).unwrap()
    }

    fn compacted(text: &[u8]) -> Result<String, String> {
        let mut out = Vec::new();
        compact(&mut out, text).map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn every_value_has_one_text() {
        let table = [
            (" null ", "null"),
            ("[ true , false ]", "[true,false]"),
            ("123456789012345", "123456789012345"),
            ("12345678901234567890", "12345678901234567000"),
            ("9007199254740993", "9007199254740992"),
            ("-0", "-0"),
            ("2.50", "2.5"),
            ("1E21", "1e+21"),
            ("0.0000001", "1e-7"),
            ("1e2", "100"),
            (r#""<é>""#, r#""\u003cé\u003e""#),
            (r#""a\/b\u0041\ud83d\ude00\ud800x""#, "\"a/bA😀\u{fffd}x\""),
            (r#""\u2028\n\u0001""#, r#""\u2028\n\u0001""#),
            ("\"\u{2028}\"", r#""\u2028""#),
            (
                r#"{ "b" : 1, "a" : { "d": [], "c": {} } }"#,
                r#"{"a":{"c":{},"d":[]},"b":1}"#,
            ),
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            // `<` is escaped, but counts as what it is.
            (r#"{"Z":1,"<":2}"#, r#"{"\u003c":2,"Z":1}"#),
            (r#"{"":1}"#, r#"{"":1}"#),
            (r#"{"b":1,"\u0061":2}"#, r#"{"a":2,"b":1}"#),
        ];
        for (text, expected) in table {
            assert_eq!(form(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_canonical_is_not_copied() {
        for text in [
            "null",
            "\"a é\"",
            "-17",
            r#"{"":0,"a":[1,{"b":"x","c":true}],"b":""}"#,
        ] {
            let raw = whole(text.as_bytes()).unwrap();
            assert!(raw.is_canonical, "{text}");
            assert!(matches!(canonical(raw), Ok(Cow::Borrowed(_))));
        }
        for text in [
            "\"\\n\"",
            "1.5",
            "[1, 2]",
            r#"{"b":1,"a":2}"#,
            r#"{"a":1,"a":2}"#,
            "\"&\"",
            "{ }",
        ] {
            assert!(!whole(text.as_bytes()).unwrap().is_canonical, "{text}");
        }
    }

    #[test]
    fn decoded_numbers_are_those_of_the_text() {
        let decoded =
            to_value(whole(br#"{"a":[17,-0,0.1,1e2,9007199254740993,true,null,"\u00e9"]}"#).unwrap());
        let numbers = &decoded["a"];
        assert_eq!(numbers[0].as_i64(), Some(17));
        assert_eq!(numbers[2].as_f64(), Some(0.1));
        assert_eq!(numbers[3].as_f64(), Some(100.0));
        assert_eq!(numbers[4].as_f64(), Some(9_007_199_254_740_992.0));
        assert_eq!(
            (&numbers[5], &numbers[7]),
            (&Value::Bool(true), &Value::from("é"))
        );
        // Not what a reader makes of it that takes the nearest float but one.
        let text = "1.2345678901234567e-5";
        let exact: f64 = text.parse().unwrap();
        assert_eq!(to_value(whole(text.as_bytes()).unwrap()).as_f64(), Some(exact));
    }

    #[test]
    fn a_number_that_no_float_holds_is_refused() {
        let error = canonical(whole(b"[1e400]").unwrap()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "json: cannot unmarshal number 1e400 into Go value of type float64"
        );
    }

    #[test]
    fn texts_are_compacted_as_go_does() {
        let table: [(&[u8], _); 6] = [
            (
                b" { \"b\" : 1.50 , \"a\" : \"x \\\" <y\" } ",
                Ok(r#"{"b":1.50,"a":"x \" \u003cy"}"#),
            ),
            ("\"\u{2029}\"".as_bytes(), Ok(r#""\u2029""#)),
            (b"[1,2]", Ok("[1,2]")),
            (
                b"hello",
                Err("invalid character 'h' looking for beginning of value"),
            ),
            (b"1 2", Err("invalid character '2' after top-level value")),
            (b"[1,", Err("unexpected end of JSON input")),
        ];
        for (text, expected) in table {
            assert_eq!(
                compacted(text),
                expected.map(str::to_owned).map_err(str::to_owned)
            );
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..8)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_form_is_that_of_a_decoded_value(value in any_json()) {
            let expected = to_go_string(&sorted(value.clone()));
            for text in [serde_json::to_string(&value).unwrap(), serde_json::to_string_pretty(&value).unwrap()] {
                prop_assert_eq!(form(&text), &*expected);
            }
            prop_assert_eq!(form(&expected), &*expected);
        }
    }
}
