//! Bodies of requests, as the reference reads them.

use std::fmt::Display;

use outrigger_error::Error;
use outrigger_kit::json::{self, Reader};
use outrigger_svc::Request;
use serde_json::{Map, Value};

use crate::http_api::reply::read;

/// The members of a protojson body; an empty body is an empty message.
pub(super) async fn protojson(request: Request) -> Result<Map<String, Value>, Error> {
    let body = read(request.into_body()).await.map_err(Error::BodyRead)?;
    if body.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(&body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(Error::MalformedBody(
            "proto: syntax error (line 1:1): unexpected token".to_owned(),
        )),
        Err(error) => Err(Error::MalformedBody(format!(
            "proto: syntax error {}",
            position(&error)
        ))),
    }
}

/// A text of a protojson body; empty if it is absent.
pub(super) fn text(members: &Map<String, Value>, names: &[&str]) -> Result<String, Error> {
    match member(members, names) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(misfit("string", names, other)),
    }
}

/// A number of a protojson body, which may be written as a text; zero if it is absent.
pub(super) fn integer(members: &Map<String, Value>, names: &[&str]) -> Result<i32, Error> {
    let Some(value) = member(members, names) else {
        return Ok(0);
    };
    let whole = |number: f64| (number.fract() == 0.0).then_some(number as i64);
    let number = match value {
        Value::Null => return Ok(0),
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) => text.parse().ok().or_else(|| text.parse().ok().and_then(whole)),
        _ => None,
    };
    let number = number.and_then(|number| i32::try_from(number).ok());
    number.ok_or_else(|| misfit("int32", names, value))
}

fn misfit(kind: &str, names: &[&str], value: &Value) -> Error {
    let name = names.first().copied().unwrap_or_default();
    Error::MalformedBody(format!("proto: invalid value for {kind} field {name}: {value}"))
}

/// The member under one of its names.
pub(super) fn member<'a>(members: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|name| members.get(*name))
}

fn position(error: &serde_json::Error) -> impl Display {
    format!("(line {}:{}): {error}", error.line(), error.column())
}

/// The first JSON value of a body, as Go's stream decoder takes it: what follows is ignored.
pub(super) fn first_json_value(body: &[u8]) -> Result<Value, String> {
    let raw = json::first(body, Reader::skip).map_err(|error| error.to_string())?;
    Ok(json::to_value(raw))
}

/// The members of an object, or what it is instead in the words of Go; `null` has none.
pub(super) fn members<'a>(value: &'a Value, go_type: &str) -> Result<Option<&'a Map<String, Value>>, String> {
    let kind = match value {
        Value::Object(members) => return Ok(Some(members)),
        Value::Null => return Ok(None),
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
    };
    Err(format!(
        "json: cannot unmarshal {kind} into Go value of type {go_type}"
    ))
}
