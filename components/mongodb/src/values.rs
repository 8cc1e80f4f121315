//! Values as documents hold them.

use bytes::Bytes;
use mongodb::bson::{Bson, Document};
use outrigger_component::state::{Json, SetRequest, Value};
use serde_json::{Map, Number, Value as JsonValue};

/// Media type of JSON.
const JSON: &str = "application/json";

/// A value as a document holds it: bytes and texts as text, everything else as what it is.
///
/// Bytes that are no text lose what is none. A JSON text keeps its quotes, so that it reads as JSON again.
pub(crate) fn to_bson(value: &Value) -> Bson {
    match value {
        Value::Bytes(bytes) => Bson::String(String::from_utf8_lossy(bytes).into_owned()),
        Value::Json(json) => decoded(json),
    }
}

/// A value of a transaction: bytes that are said to be JSON are decoded.
///
/// # Errors
/// Bytes that are not.
pub(crate) fn to_bson_by_type(request: &SetRequest) -> Result<Bson, serde_json::Error> {
    let own = request.content_type.as_deref();
    let kind = own.or_else(|| request.metadata.get("contentType").map(String::as_str));
    match &request.value {
        Value::Bytes(bytes) if kind == Some(JSON) => Ok(decoded(&Json::new(serde_json::from_slice(bytes)?))),
        value => Ok(to_bson(value)),
    }
}

/// A value as callers read it.
pub(crate) fn to_bytes(value: &Bson) -> Bytes {
    match value {
        Bson::String(text) => Bytes::copy_from_slice(text.as_bytes()),
        other => Json::new(to_json(other)).text().clone(),
    }
}

/// A JSON value that is compared with a stored one.
pub(crate) fn operand(value: &JsonValue) -> Bson {
    match value {
        JsonValue::Null => Bson::Null,
        JsonValue::Bool(value) => Bson::Boolean(*value),
        JsonValue::Number(number) => Bson::Double(number.as_f64().unwrap_or(f64::NAN)),
        JsonValue::String(text) => Bson::String(text.clone()),
        JsonValue::Array(items) => Bson::Array(items.iter().map(operand).collect()),
        JsonValue::Object(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), operand(value)));
            Bson::Document(members.collect::<Document>())
        }
    }
}

fn decoded(json: &Json) -> Bson {
    match json.decode() {
        JsonValue::String(_) => Bson::String(String::from_utf8_lossy(json.text()).into_owned()),
        other => operand(&other),
    }
}

fn to_json(value: &Bson) -> JsonValue {
    match value {
        Bson::Null | Bson::Undefined => JsonValue::Null,
        Bson::Boolean(value) => JsonValue::Bool(*value),
        Bson::Int32(number) => (*number).into(),
        Bson::Int64(number) => (*number).into(),
        Bson::Double(number) => Number::from_f64(*number).map_or(JsonValue::Null, JsonValue::Number),
        Bson::String(text) => JsonValue::String(text.clone()),
        Bson::Array(items) => items.iter().map(to_json).collect(),
        Bson::Document(document) => {
            let members = document
                .iter()
                .map(|(name, value)| (name.clone(), to_json(value)));
            JsonValue::Object(members.collect::<Map<_, _>>())
        }
        // Nothing that this sidecar or its kin writes.
        other => JsonValue::String(other.to_string()),
    }
}

#[cfg(test)]
mod units {
    use mongodb::bson::doc;
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_what_they_are_and_read_as_they_were_given() {
        let table = [
            (
                Value::from(Bytes::from_static(b"text")),
                Bson::String("text".to_owned()),
                "text",
            ),
            (
                json!("a\"b").into(),
                Bson::String(r#""a\"b""#.to_owned()),
                r#""a\"b""#,
            ),
            (json!(3).into(), Bson::Double(3.0), "3"),
            (json!(null).into(), Bson::Null, "null"),
            (
                json!({ "b": [1.5, true], "a": { "x": "y" } }).into(),
                Bson::Document(doc! { "a": { "x": "y" }, "b": [1.5, true] }),
                r#"{"a":{"x":"y"},"b":[1.5,true]}"#,
            ),
        ];
        for (value, bson, text) in table {
            assert_eq!(to_bson(&value), bson);
            assert_eq!(to_bytes(&bson), text);
        }
        let mut request = SetRequest::new("k", Bytes::from_static(b"{\"a\":1}"));
        assert_eq!(
            to_bson_by_type(&request).unwrap(),
            Bson::String("{\"a\":1}".to_owned())
        );
        request.content_type = Some(JSON.to_owned());
        assert_eq!(
            to_bson_by_type(&request).unwrap(),
            Bson::Document(doc! { "a": 1.0 })
        );
        request.value = Value::from(Bytes::from_static(b"{"));
        assert!(to_bson_by_type(&request).is_err());
    }
}
