//! Answers of servers as values.

use bytes::Bytes;
use redis::Value;

use crate::error::Error;

/// The answer itself, or the error that it is.
pub(crate) fn answer(value: Value) -> Result<Value, Error> {
    match value {
        Value::ServerError(error) => Err(Error::of_server(&error)),
        value => Ok(value),
    }
}

/// The bytes of an answer.
pub(crate) fn bytes(value: Value) -> Result<Bytes, Error> {
    match value {
        Value::BulkString(bytes) => Ok(bytes.into()),
        Value::SimpleString(text) => Ok(text.into_bytes().into()),
        Value::VerbatimString { text, .. } => Ok(text.into_bytes().into()),
        Value::Int(number) => Ok(number.to_string().into_bytes().into()),
        Value::Okay => Ok(Bytes::from_static(b"OK")),
        other => Err(Error::unexpected(&other)),
    }
}

/// The text of an answer.
pub(crate) fn text(value: &Value) -> Result<String, Error> {
    match value {
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Ok(text.clone()),
        Value::Int(number) => Ok(number.to_string()),
        Value::Okay => Ok("OK".to_owned()),
        other => Err(Error::unexpected(other)),
    }
}

/// The elements of an answer of several.
pub(crate) fn elements(value: Value) -> Result<Vec<Value>, Error> {
    match value {
        Value::Array(elements) | Value::Set(elements) => Ok(elements),
        other => Err(Error::unexpected(&other)),
    }
}

/// The texts of an answer of several.
pub(crate) fn texts(value: Value) -> Result<Vec<String>, Error> {
    elements(value)?.iter().map(text).collect()
}
