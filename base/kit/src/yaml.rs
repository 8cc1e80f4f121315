//! YAML as the Go programs read it: YAML 1.1 scalars, turned into JSON first.

use serde_json::{Map, Number, Value};
use serde_saphyr::options::DuplicateKeyPolicy;

/// Why a text is not YAML, or YAML that has no JSON form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error converting YAML to JSON: yaml: {message}")]
pub struct YamlError {
    message: String,
}

/// Keys, values and brackets that aliases and merges may add to a document: a few lines of aliases to aliases would
/// otherwise fill the memory.
pub const MAX_REPEATED: usize = 10_000;

/// The documents of a file, cut at lines that start with `---`.
///
/// The rest of such a line is dropped. A marker on the first line belongs to the first document.
/// Documents may be empty.
pub fn documents(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let current = rest?;
        let (document, after) = match current.split_once("\n---") {
            Some((document, after)) => (
                document,
                Some(after.split_once('\n').map_or("", |(_, next)| next)),
            ),
            None => (current, None),
        };
        // A separator on the last line ends the last document; it does not start another.
        rest = after.filter(|next| !next.is_empty());
        Some(document)
    })
}

/// The first document of a file that holds more than blanks and comments, else an empty text.
#[must_use]
pub fn first_document(text: &str) -> &str {
    documents(text)
        .find(|document| !is_blank(document))
        .unwrap_or_default()
}

/// Whether a document holds nothing but blanks and comments.
#[must_use]
pub fn is_blank(document: &str) -> bool {
    document
        .lines()
        .map(str::trim_start)
        .all(|line| line.is_empty() || line.starts_with('#'))
}

/// Turns one YAML document into JSON.
///
/// `yes`, `no`, `on`, `off` are booleans, `0777` is octal, `1.0` is a whole number, the last of equal
/// keys wins, merge keys are merged, members are sorted by name. An empty document is `null`.
///
/// # Errors
/// Text that is not YAML, several documents, or numbers that JSON cannot hold.
pub fn to_json(document: &str) -> Result<Value, YamlError> {
    if is_blank(document) {
        return Ok(Value::Null);
    }
    let options = serde_saphyr::options! {
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        legacy_octal_numbers: true,
        with_snippet: false,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_REPEATED },
    };
    match serde_saphyr::from_str_with_options::<Value>(document, options) {
        Ok(value) => Ok(normalised(value)),
        Err(error) => Err(YamlError {
            message: one_line(&error.to_string()),
        }),
    }
}

/// Sorts members and turns integral floating-point numbers into whole ones.
fn normalised(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(whole(number)),
        Value::Array(items) => Value::Array(items.into_iter().map(normalised).collect()),
        Value::Object(members) => {
            let mut members: Vec<_> = members.into_iter().collect();
            members.sort_by(|(left, _), (right, _)| left.cmp(right));
            Value::Object(
                members
                    .into_iter()
                    .map(|(name, member)| (name, normalised(member)))
                    .collect::<Map<_, _>>(),
            )
        }
        scalar => scalar,
    }
}

fn whole(number: Number) -> Number {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match number.as_f64() {
        Some(value) if number.is_f64() && value.fract() == 0.0 && value.abs() <= EXACT => {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the value is integral and in range"
            )]
            let whole = value as i64;
            Number::from(whole)
        }
        _ => number,
    }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::json::to_go_string;

    #[test]
    fn scalars_are_those_of_the_go_programs() {
        let table = [
            ("v: yes", json!(true)),
            ("v: on", json!(true)),
            ("v: y", json!(true)),
            ("v: off", json!(false)),
            ("v: 0777", json!(511)),
            ("v: 0o777", json!(511)),
            ("v: 08", json!(8)),
            ("v: 1_000", json!(1000)),
            ("v: 0x10", json!(16)),
            ("v: 0b11", json!(3)),
            ("v: 1.0", json!(1)),
            ("v: 1.50", json!(1.5)),
            ("v: 1e3", json!(1000)),
            ("v: -0", json!(0)),
            ("v: 18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
            ("v: -9223372036854775808", json!(i64::MIN)),
            ("v: 1:30", json!("1:30")),
            ("v: 2024-01-01", json!("2024-01-01")),
            ("v: ~", Value::Null),
            ("v:", Value::Null),
            ("v: \"5\"", json!("5")),
            ("v: 'yes'", json!("yes")),
            ("v: 5m", json!("5m")),
            ("v: [1, a]", json!([1, "a"])),
        ];
        for (text, expected) in table {
            assert_eq!(to_json(text), Ok(json!({"v": expected})), "{text}");
        }
    }

    #[test]
    fn the_last_of_equal_keys_wins_and_merge_keys_merge() {
        assert_eq!(to_json("a: 1\na: 2"), Ok(json!({"a": 2})));
        assert_eq!(
            to_json("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3").unwrap()["y"],
            json!({"a": 1, "b": 3})
        );
    }

    #[test]
    fn keys_become_texts_in_byte_order() {
        let value = to_json("b: 1\nB: 2\n5: 3\ntrue: 4\na: {d: 1, c: 2}").unwrap();
        assert_eq!(
            to_go_string(&value),
            r#"{"5":3,"B":2,"a":{"c":2,"d":1},"b":1,"true":4}"#
        );
    }

    #[test]
    fn an_empty_document_is_null() {
        for text in ["", "\n", "# nothing\n", "---", "---\n# nothing\n", "null"] {
            assert_eq!(to_json(text), Ok(Value::Null), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_yaml_is_an_error_of_one_line() {
        for text in ["a: [", "a:\n\tb: 1", "a: b: c", "a: *nowhere", "a: .inf", "{"] {
            let error = to_json(text).unwrap_err().to_string();
            assert!(
                error.starts_with("error converting YAML to JSON: yaml: "),
                "{error}"
            );
            assert!(!error.contains('\n'), "{error}");
        }
        assert!(
            to_json("a: [\nb: 1").unwrap_err().to_string().contains("line"),
            "errors name the line"
        );
    }

    #[test]
    fn aliases_may_repeat_only_so_much() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..8 {
            let items = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        let error = to_json(&bomb).unwrap_err().to_string();
        assert!(error.contains("alias"), "{error}");
        let mut merges = String::from("m0: &m0 {a: 1, b: 2, c: 3, d: 4}\n");
        for level in 1..4000 {
            merges.push_str(&format!("m{level}: {{<<: *m0, k{level}: 1}}\n"));
        }
        let error = to_json(&merges).unwrap_err().to_string();
        assert!(error.contains("alias"), "{error}");
        let few = "x: &x {a: 1}\ny: [*x, *x]\nz: {<<: *x}";
        assert_eq!(to_json(few).unwrap()["z"], json!({"a": 1}));
    }

    #[test]
    fn json_is_yaml() {
        assert_eq!(
            to_json(r#"{"a": {"b": [1, "x", null]}}"#),
            Ok(json!({"a": {"b": [1, "x", null]}}))
        );
    }

    #[test]
    fn files_are_cut_at_marker_lines() {
        let cut = |text| documents(text).collect::<Vec<_>>();
        assert_eq!(cut(""), [""]);
        assert_eq!(cut("a: 1\n"), ["a: 1\n"]);
        assert_eq!(cut("a: 1\n---\nb: 2"), ["a: 1", "b: 2"]);
        assert_eq!(cut("a: 1\n--- # note\nb: 2"), ["a: 1", "b: 2"]);
        assert_eq!(cut("---\na: 1\n---\nb: 2\n---\n"), ["---\na: 1", "b: 2"]);
        assert_eq!(cut("a: 1\n---"), ["a: 1"]);
        assert_eq!(cut("a: 1\n---\n---\nb: 2"), ["a: 1", "---\nb: 2"]);
        assert_eq!(cut("a: '\n ---'\n"), ["a: '\n ---'\n"]);
    }

    #[test]
    fn the_first_document_is_the_first_with_content() {
        assert_eq!(first_document("# licence\n---\na: 1\n---\nb: 2"), "a: 1");
        assert_eq!(first_document("---\n---\na: 1"), "---");
        assert_eq!(first_document(""), "");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "[a:\\-\\n \\[\\]{}&*!'\"#0-9.|>?,%@`]{0,60}") {
            let first = to_json(&text);
            prop_assert_eq!(first, to_json(&text));
        }

        #[test]
        fn cutting_loses_nothing_but_markers(lines in proptest::collection::vec("[a-z: ]{0,6}", 0..8)) {
            let text = lines.join("\n");
            prop_assert_eq!(documents(&text).collect::<String>(), text);
        }
    }
}
