//! Reading: field names in any case, `null` as "not set", numbers and booleans where a text is asked for.

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde_json::{Map, Number, Value};

use super::DecodeError;
use crate::float;

/// Decodes a JSON value into a type as Go's decoders do.
///
/// - A field takes the member with exactly its name, else one whose name differs in ASCII case only.
/// - Unknown members are ignored. `null` counts as not set: put `#[serde(default)]` on structs.
/// - Where a text is wanted, numbers and booleans become their text (YAML files rely on it).
///
/// Types may use derived `Deserialize`, but not `flatten`.
///
/// # Errors
/// The first member with a wrong shape, by its path.
pub fn from_value_ignoring_case<'de, T: Deserialize<'de>>(value: &'de Value) -> Result<T, DecodeError> {
    T::deserialize(GoValue(value))
}

/// Reads a JSON text and decodes it as [`from_value_ignoring_case`] does.
///
/// # Errors
/// A text that is not JSON, or a member with a wrong shape.
pub fn from_str_ignoring_case<T: de::DeserializeOwned>(json: &str) -> Result<T, DecodeError> {
    let value: Value = serde_json::from_str(json).map_err(de::Error::custom)?;
    from_value_ignoring_case(&value)
}

/// The member of an object with exactly this name, else the last one whose name differs in ASCII case only.
#[must_use]
pub fn get_ignoring_case<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    members.get(name).or_else(|| {
        members
            .iter()
            .rev()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, member)| member)
    })
}

/// A value seen through Go's rules.
#[derive(Clone, Copy)]
struct GoValue<'de>(&'de Value);

/// The items of a list, with their index for errors.
struct Items<'de> {
    items: std::iter::Enumerate<std::slice::Iter<'de, Value>>,
}

/// Members of an object, each under the name the target knows it by.
struct Members<'de, I> {
    members: I,
    current: Option<(&'de str, &'de Value)>,
}

// === impl GoValue ===

impl<'de> GoValue<'de> {
    fn visit_integer<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Null => visitor.visit_i64(0),
            Value::Number(number) => match integer_of(number) {
                Some(Integer::Signed(value)) => visitor.visit_i64(value),
                Some(Integer::Unsigned(value)) => visitor.visit_u64(value),
                None => Err(DecodeError::mismatch("a whole number", self.0)),
            },
            other => Err(DecodeError::mismatch("a whole number", other)),
        }
    }

    fn visit_float<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Null => visitor.visit_f64(0.0),
            Value::Number(number) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            other => Err(DecodeError::mismatch("a number", other)),
        }
    }

    fn visit_text<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Null => visitor.visit_borrowed_str(""),
            Value::Bool(true) => visitor.visit_borrowed_str("true"),
            Value::Bool(false) => visitor.visit_borrowed_str("false"),
            Value::Number(number) => visitor.visit_string(number_text(number)),
            Value::String(text) => visitor.visit_borrowed_str(text),
            other => Err(DecodeError::mismatch("a text", other)),
        }
    }

    fn visit_members<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Null => visitor.visit_map(Members {
                members: std::iter::empty(),
                current: None,
            }),
            Value::Object(members) => {
                let members = members.iter().map(|(name, member)| (name.as_str(), member));
                visitor.visit_map(Members {
                    members,
                    current: None,
                })
            }
            other => Err(DecodeError::mismatch("an object", other)),
        }
    }
}

macro_rules! forward {
    ($($method:ident => $visit:ident),* $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            self.$visit(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for GoValue<'de> {
    type Error = DecodeError;

    forward! {
        deserialize_i8 => visit_integer,
        deserialize_i16 => visit_integer,
        deserialize_i32 => visit_integer,
        deserialize_i64 => visit_integer,
        deserialize_u8 => visit_integer,
        deserialize_u16 => visit_integer,
        deserialize_u32 => visit_integer,
        deserialize_u64 => visit_integer,
        deserialize_f32 => visit_float,
        deserialize_f64 => visit_float,
        deserialize_char => visit_text,
        deserialize_str => visit_text,
        deserialize_string => visit_text,
        deserialize_bytes => visit_text,
        deserialize_byte_buf => visit_text,
        deserialize_identifier => visit_text,
        deserialize_map => visit_members,
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match integer_of(number) {
                Some(_) => self.visit_integer(visitor),
                None => self.visit_float(visitor),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(_) => self.deserialize_seq(visitor),
            Value::Object(_) => self.visit_members(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Null => visitor.visit_bool(false),
            Value::Bool(value) => visitor.visit_bool(*value),
            other => Err(DecodeError::mismatch("a boolean", other)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let items: &[Value] = match self.0 {
            Value::Null => &[],
            Value::Array(items) => items,
            other => return Err(DecodeError::mismatch("a list", other)),
        };
        visitor.visit_seq(Items {
            items: items.iter().enumerate(),
        })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let Value::Object(members) = self.0 else {
            return self.visit_members(visitor);
        };
        let members = fields
            .iter()
            .filter_map(|field| match get_ignoring_case(members, field) {
                None | Some(Value::Null) => None,
                Some(member) => Some((*field, member)),
            });
        visitor.visit_map(Members {
            members,
            current: None,
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::String(text) => {
                let variant: StrDeserializer<'_, DecodeError> = text.as_str().into_deserializer();
                visitor.visit_enum(variant)
            }
            other => Err(DecodeError::mismatch("a text", other)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }
}

// === impl Items ===

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        let Some((index, item)) = self.items.next() else {
            return Ok(None);
        };
        seed.deserialize(GoValue(item))
            .map(Some)
            .map_err(|error| error.at_index(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

// === impl Members ===

impl<'de, I: Iterator<Item = (&'de str, &'de Value)>> MapAccess<'de> for Members<'de, I> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        self.current = self.members.next();
        match self.current {
            Some((name, _)) => seed.deserialize(BorrowedStrDeserializer::new(name)).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        let (name, member) = self.current.expect("serde asks for a value only after its name");
        seed.deserialize(GoValue(member))
            .map_err(|error| error.inside(name))
    }
}

/// A whole number of either sign.
enum Integer {
    Signed(i64),
    Unsigned(u64),
}

fn integer_of(number: &Number) -> Option<Integer> {
    if let Some(value) = number.as_i64() {
        return Some(Integer::Signed(value));
    }
    number.as_u64().map(Integer::Unsigned)
}

fn number_text(number: &Number) -> String {
    match (integer_of(number), number.as_f64()) {
        (None, Some(value)) => float::format_shortest(value),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Spec {
        app_id: String,
        enabled: bool,
        max_retries: Option<i32>,
        size: u16,
        rate: f64,
        items: Vec<Item>,
        labels: BTreeMap<String, String>,
        value: Option<Value>,
        kind: Kind,
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(default)]
    struct Item {
        name: String,
    }

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    enum Kind {
        #[default]
        Plain,
        Fancy,
    }

    fn decode(value: &Value) -> Result<Spec, DecodeError> {
        from_value_ignoring_case(value)
    }

    #[test]
    fn names_match_exactly_first_then_in_any_case() {
        assert_eq!(decode(&json!({"APPID": "x"})).unwrap().app_id, "x");
        assert_eq!(
            decode(&json!({"appid": "x", "appId": "y", "AppID": "z"}))
                .unwrap()
                .app_id,
            "y"
        );
        assert_eq!(
            decode(&json!({"app_id": "x", "other": {}})).unwrap(),
            Spec::default()
        );
    }

    #[test]
    fn null_counts_as_not_set() {
        let value = json!({"appId": null, "enabled": null, "maxRetries": null, "items": null, "labels": null,
            "value": null, "kind": null, "rate": null});
        assert_eq!(decode(&value).unwrap(), Spec::default());
        assert_eq!(decode(&Value::Null).unwrap(), Spec::default());
        assert_eq!(
            decode(&json!({"items": [null]})).unwrap().items,
            [Item::default()]
        );
    }

    #[test]
    fn scalars_become_texts_where_texts_are_wanted() {
        let value = json!({"items": [{"name": 123}, {"name": true}, {"name": 1.5}, {"name": 2.5e7}],
            "labels": {"a": 1, "b": false}});
        let spec = decode(&value).unwrap();
        let names: Vec<_> = spec.items.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names, ["123", "true", "1.5", "2.5e+07"]);
        assert_eq!(spec.labels["a"], "1");
        assert_eq!(spec.labels["b"], "false");
    }

    #[test]
    fn values_of_any_kind_are_kept() {
        let value =
            json!({"value": {"b": [1, -1, 1.5, "x", null, true], "a": 18_446_744_073_709_551_615_u64}});
        assert_eq!(decode(&value).unwrap().value.as_ref(), value.get("value"));
    }

    #[test]
    fn errors_name_the_member_and_what_was_found() {
        let table = [
            (
                json!({"items": [{"name": "a"}, {"Name": []}]}),
                "items[1].name: expected a text, found a list",
            ),
            (
                json!({"enabled": "yes"}),
                "enabled: expected a boolean, found the text \"yes\"",
            ),
            (
                json!({"maxRetries": "3"}),
                "maxRetries: expected a whole number, found the text \"3\"",
            ),
            (
                json!({"maxRetries": 1.5}),
                "maxRetries: expected a whole number, found the number 1.5",
            ),
            (
                json!({"size": 70000}),
                "size: invalid value: integer `70000`, expected u16",
            ),
            (
                json!({"size": -1}),
                "size: invalid value: integer `-1`, expected u16",
            ),
            (json!({"items": {}}), "items: expected a list, found an object"),
            (
                json!({"items": [[]]}),
                "items[0]: expected an object, found a list",
            ),
            (
                json!({"labels": {"x": {}}}),
                "labels.x: expected a text, found an object",
            ),
            (
                json!({"kind": "odd"}),
                "kind: unknown variant `odd`, expected `plain` or `fancy`",
            ),
            (json!([]), "expected an object, found a list"),
        ];
        for (value, expected) in table {
            assert_eq!(decode(&value).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn a_broken_text_is_an_error() {
        assert!(from_str_ignoring_case::<Spec>("{").is_err());
        let spec: Spec = from_str_ignoring_case(r#"{"ENABLED":true}"#).unwrap();
        assert!(spec.enabled);
    }
}
