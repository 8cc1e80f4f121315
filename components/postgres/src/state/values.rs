//! Tags and values as the tables hold them.

use std::error::Error;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut as _, Bytes, BytesMut};
use outrigger_component::state::{StateError, Value};
use outrigger_kit::quote::go_quote;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::layout::TagKind;

/// The tag of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// The transaction that wrote it (`xmin`).
    Transaction(u32),
    /// How often it was written.
    Counter(i64),
    /// A random one each time.
    Uuid([u8; 16]),
}

/// A JSON text on its way into or out of a `jsonb` column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonText(pub(crate) Bytes);

/// Bytes on their way into or out of a `bytea` column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawBytes(pub(crate) Bytes);

/// A value as a table holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// A JSON text, and whether it is a string that holds bytes in base64.
    Json(JsonText, bool),
    /// The bytes themselves.
    Raw(RawBytes),
}

/// A value of a row that nobody could have written.
#[derive(Debug, thiserror::Error)]
#[error("failed to decode binary data: {0}")]
pub(crate) struct DecodeError(String);

type Failure = Box<dyn Error + Sync + Send>;

const DIGITS: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
];

// === impl Tag ===

impl Tag {
    /// Reads the tag that a request names.
    pub(crate) fn parse(kind: TagKind, text: &str) -> Result<Self, StateError> {
        let number = |function: &str, most: u64| {
            let refuse = |cause: &str| {
                let text = go_quote(text);
                StateError::invalid(format!("strconv.{function}: parsing {text}: {cause}"))
            };
            if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(refuse("invalid syntax"));
            }
            let number = text.parse().ok().filter(|&number: &u64| number <= most);
            number.ok_or_else(|| refuse("value out of range"))
        };
        match kind {
            TagKind::Transaction => {
                let number = number("ParseUint", u32::MAX.into())?;
                Ok(Self::Transaction(u32::try_from(number).unwrap_or(u32::MAX)))
            }
            TagKind::Counter => {
                let number = number("ParseInt", i64::MAX.unsigned_abs())?;
                Ok(Self::Counter(i64::try_from(number).unwrap_or(i64::MAX)))
            }
            // A text that is none cannot be the one that is stored.
            TagKind::Uuid => uuid(text).map(Self::Uuid).ok_or(StateError::EtagMismatch(None)),
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transaction(number) => number.fmt(f),
            Self::Counter(number) => number.fmt(f),
            Self::Uuid(bytes) => {
                let mut text = String::with_capacity(36);
                for (index, byte) in bytes.iter().enumerate() {
                    if matches!(index, 4 | 6 | 8 | 10) {
                        text.push('-');
                    }
                    text.push(DIGITS[usize::from(byte >> 4)]);
                    text.push(DIGITS[usize::from(byte & 15)]);
                }
                f.write_str(&text)
            }
        }
    }
}

impl<'a> FromSql<'a> for Tag {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        Ok(match *kind {
            Type::XID => Self::Transaction(u32::from_be_bytes(raw.try_into()?)),
            Type::INT4 => Self::Counter(i32::from_be_bytes(raw.try_into()?).into()),
            Type::INT8 => Self::Counter(i64::from_be_bytes(raw.try_into()?)),
            _ => Self::Uuid(raw.try_into()?),
        })
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::XID | Type::INT4 | Type::INT8 | Type::UUID)
    }
}

impl ToSql for Tag {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        match self {
            Self::Transaction(number) => out.put_u32(*number),
            Self::Counter(number) => out.put_i64(*number),
            Self::Uuid(bytes) => out.put_slice(bytes),
        }
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        matches!(*kind, Type::XID | Type::INT8 | Type::UUID)
    }

    to_sql_checked!();
}

// === impl JsonText ===

/// Version of the binary form of `jsonb`, which comes before the text.
const JSONB: u8 = 1;

impl<'a> FromSql<'a> for JsonText {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        match raw.split_first() {
            Some((&JSONB, text)) => Ok(Self(Bytes::copy_from_slice(text))),
            _ => Err("unknown version of jsonb".into()),
        }
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::JSONB
    }
}

impl ToSql for JsonText {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        out.put_u8(JSONB);
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::JSONB
    }

    to_sql_checked!();
}

// === impl RawBytes ===

impl<'a> FromSql<'a> for RawBytes {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        Ok(Self(Bytes::copy_from_slice(raw)))
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::BYTEA
    }
}

impl ToSql for RawBytes {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::BYTEA
    }

    to_sql_checked!();
}

// === impl Stored ===

impl Stored {
    /// The value as a `jsonb` column holds it: bytes become a string of base64.
    pub(crate) fn json(value: &Value) -> Self {
        match value {
            Value::Json(json) => Self::Json(JsonText(json.text().clone()), false),
            Value::Bytes(bytes) => {
                let text = format!("\"{}\"", STANDARD.encode(bytes));
                Self::Json(JsonText(text.into()), true)
            }
        }
    }

    /// The value as a `bytea` column holds it: as it is.
    pub(crate) fn raw(value: &Value) -> Self {
        Self::Raw(RawBytes(value.as_bytes().clone()))
    }

    /// The value as it was given.
    pub(crate) fn into_bytes(self) -> Result<Bytes, DecodeError> {
        match self {
            Self::Raw(RawBytes(bytes)) | Self::Json(JsonText(bytes), false) => Ok(bytes),
            Self::Json(JsonText(text), true) => {
                let text: String =
                    serde_json::from_slice(&text).map_err(|error| DecodeError(error.to_string()))?;
                let bytes = STANDARD
                    .decode(text)
                    .map_err(|error| DecodeError(error.to_string()))?;
                Ok(bytes.into())
            }
        }
    }
}

/// Reads 32 hexadecimal digits, with or without hyphens.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let mut digits = text.bytes().filter(|&byte| byte != b'-');
    let mut bytes = [0; 16];
    for byte in &mut bytes {
        let mut digit = || char::from(digits.next()?).to_digit(16);
        let (high, low) = (digit()?, digit()?);
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    digits.next().is_none().then_some(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tags_are_numbers_or_uuids() {
        let parse = |kind, text: &str| Tag::parse(kind, text).map_err(|error| error.to_string());
        assert_eq!(
            parse(TagKind::Transaction, "4294967295"),
            Ok(Tag::Transaction(u32::MAX))
        );
        let number = |text: &str, cause: &str| {
            Err(format!(
                "invalid etag value: strconv.ParseUint: parsing \"{text}\": {cause}"
            ))
        };
        assert_eq!(
            parse(TagKind::Transaction, "4294967296"),
            number("4294967296", "value out of range")
        );
        assert_eq!(parse(TagKind::Transaction, "-1"), number("-1", "invalid syntax"));
        assert_eq!(parse(TagKind::Counter, "12"), Ok(Tag::Counter(12)));
        let text = "0123abcd-4567-89ab-cdef-00112233ffff";
        let tag = parse(TagKind::Uuid, text).unwrap();
        assert_eq!(tag.to_string(), text);
        assert_eq!(
            parse(TagKind::Uuid, &text.replace('-', "").to_uppercase()),
            Ok(tag)
        );
        for text in ["x", "0123", "0123abcd-4567-89ab-cdef-00112233ffff0"] {
            assert_eq!(
                parse(TagKind::Uuid, text),
                Err("possible etag mismatch. error from state store".to_owned())
            );
        }
    }

    #[test]
    fn bytes_in_a_json_column_are_base64() {
        let bytes = Value::from(Bytes::from_static(b"\0\xff"));
        let stored = Stored::json(&bytes);
        let text = JsonText(Bytes::from_static(b"\"AP8=\""));
        assert_eq!(stored, Stored::Json(text, true));
        assert_eq!(stored.into_bytes().unwrap(), &b"\0\xff"[..]);
        let stored = Stored::json(&Value::from(json!({ "a": 1 })));
        assert_eq!(stored.into_bytes().unwrap(), "{\"a\":1}");
        let broken = Stored::Json(JsonText(Bytes::from_static(b"\"*\"")), true);
        assert!(broken.into_bytes().is_err());
    }
}
