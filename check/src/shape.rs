//! What documents may say: which fields there are and what they hold.

use outrigger_kit::duration::parse_go;
use outrigger_kit::quote::go_quote;

use crate::document::{Document, Node, Value};
use crate::finding::Findings;
use crate::suggest::did_you_mean;

/// What a value may be.
#[derive(Debug)]
pub(crate) enum Shape {
    /// Anything.
    Any,
    /// A text.
    Text,
    /// A text, or a number or boolean that is taken for one.
    Scalar,
    /// A boolean.
    Bool,
    /// A whole number.
    Integer,
    /// A Go duration such as `1m30s`.
    Duration,
    /// A whole number of milliseconds or a Go duration.
    Milliseconds,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of such values.
    List(&'static Self),
    /// Values by names that the user chooses.
    Map(&'static Self),
    /// These fields.
    Object(&'static [(&'static str, Self)]),
}

/// Holds a value against a shape; `path` names it in messages.
pub(crate) fn check(shape: &Shape, node: &Node, path: &str, document: &Document, findings: &mut Findings) {
    let mut complain = |message: String| findings.add(document.place(node.line), message);
    match (shape, &node.value) {
        (Shape::Any, _) | (_, Value::Null) => {}
        (Shape::Text | Shape::Scalar, Value::Text(_)) | (Shape::Bool, Value::Bool(_)) => {}
        (Shape::Scalar, Value::Number(_) | Value::Bool(_)) => {}
        (Shape::Integer, Value::Number(number)) if number.parse::<i64>().is_ok() => {}
        (Shape::Duration, Value::Text(text)) => {
            if let Err(error) = parse_go(text) {
                complain(format!("{path}: {error}"));
            }
        }
        (Shape::Milliseconds, Value::Text(text) | Value::Number(text)) => {
            if text.parse::<i64>().is_err()
                && let Err(error) = parse_go(text)
            {
                complain(format!("{path}: {error}"));
            }
        }
        (Shape::Word(words), Value::Text(text)) => {
            if !words.contains(&text.as_str()) {
                let meant = did_you_mean(text, words.iter().copied());
                let words: Vec<_> = words.iter().copied().filter(|word| !word.is_empty()).collect();
                let words = words.join(", ");
                complain(format!("{path}: {} is none of {words}{meant}", go_quote(text)));
            }
        }
        (Shape::List(shape), Value::List(items)) => {
            for (index, item) in items.iter().enumerate() {
                check(shape, item, &format!("{path}[{index}]"), document, findings);
            }
        }
        (Shape::Map(shape), Value::Map(entries)) => {
            for entry in entries {
                check(shape, &entry.value, &join(path, &entry.key), document, findings);
            }
        }
        (Shape::Object(fields), Value::Map(entries)) => {
            for entry in entries {
                let field = fields
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case(&entry.key));
                match field {
                    Some((name, shape)) => check(shape, &entry.value, &join(path, name), document, findings),
                    None => {
                        let meant = did_you_mean(&entry.key, fields.iter().map(|(name, _)| *name));
                        let path = join(path, &entry.key);
                        findings.add(document.place(entry.line), format!("unknown field {path}{meant}"));
                    }
                }
            }
        }
        (shape, value) => complain(wrong(shape, value, path)),
    }
}

fn wrong(shape: &Shape, value: &Value, path: &str) -> String {
    let given = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::Text(_) => "a text",
        Value::List(_) => "a list",
        Value::Map(_) => "a map",
    };
    let wanted = match shape {
        Shape::Any => "anything",
        Shape::Text | Shape::Scalar | Shape::Word(_) => "a text",
        Shape::Bool => "true or false",
        Shape::Integer => "a whole number",
        Shape::Duration => "a duration such as \"1m30s\"",
        Shape::Milliseconds => "a number of milliseconds or a duration",
        Shape::List(_) => "a list",
        Shape::Map(_) | Shape::Object(_) => "a map",
    };
    let quotes = match (shape, value) {
        (Shape::Text, Value::Bool(_) | Value::Number(_)) => ": put it in quotes",
        _ => "",
    };
    format!("{path} is {given}, not {wanted}{quotes}")
}

fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    }
}
