//! JSON read in place: it takes what other readers take, and the canonical form is one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_kit::json::{self, ReadError, Reader};

fuzz_target!(|text: &[u8]| {
    let other = serde_json::from_slice::<serde_json::Value>(text);
    let raw = match json::whole(text) {
        Ok(raw) => raw,
        Err(error) => {
            assert!(other.is_err(), "refused: {error}");
            assert!(json::compact(&mut Vec::new(), text).is_err());
            return;
        }
    };
    assert_eq!(json::first(text, Reader::skip), Ok(raw));
    let mut compact = Vec::new();
    json::compact(&mut compact, text).expect("the text is sound");
    json::whole(&compact).expect("so is its compact form");
    let form = match json::canonical(raw) {
        Ok(form) => form,
        // A number that no float holds, which the other reader refuses, too.
        Err(error) => {
            assert!(matches!(error, ReadError::Mismatch { .. }) && other.is_err());
            return;
        }
    };
    let again = json::whole(&form).expect("the form is sound");
    assert_eq!(json::canonical(again).expect("its numbers are floats"), form);
    let decoded: serde_json::Value = serde_json::from_slice(&form).expect("the form is UTF-8");
    if let Ok(other) = other {
        assert_eq!(shape(decoded), shape(other));
    }
});

/// The same without numbers, of which the other reader takes some but nearly.
fn shape(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Number(_) => Value::Null,
        Value::Array(items) => items.into_iter().map(shape).collect(),
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| (name, shape(value)));
            Value::Object(members.collect())
        }
        other => other,
    }
}
