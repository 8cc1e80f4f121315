//! Queries on the documents of a store.

use outrigger_kit::json::{self, Kind, ReadError, get_ignoring_case};
use serde_json::{Map, Value};

/// A query: what documents must have, their order, and which part of them.
///
/// Source: specification, state API 6.6.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// What documents must have; none is all documents.
    pub filter: Option<Filter>,
    /// The filter as the caller wrote it, for stores in other processes.
    pub filter_members: Map<String, Value>,
    /// By what they are sorted, the most important first.
    pub sort: Vec<Sort>,
    /// Which part of them.
    pub page: Page,
}

/// What a document must have. Paths are names within the stored value, with dots between.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// The value at a path is this.
    Eq(String, Value),
    /// It is another.
    Neq(String, Value),
    /// It is greater.
    Gt(String, Value),
    /// It is greater or the same.
    Gte(String, Value),
    /// It is less.
    Lt(String, Value),
    /// It is less or the same.
    Lte(String, Value),
    /// It is one of these.
    In(String, Vec<Value>),
    /// All of these hold, two at least.
    And(Vec<Self>),
    /// One of these holds, two at least.
    Or(Vec<Self>),
}

/// One sort key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort {
    /// Path of the value that counts.
    pub key: String,
    /// Which end comes first; none is the store's own way.
    pub order: Option<Direction>,
}

/// Which end of an order comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The least.
    Ascending,
    /// The greatest.
    Descending,
}

/// A part of the documents found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The most documents; 0 is no limit.
    pub limit: u32,
    /// Where the part before ended.
    pub token: Option<String>,
}

/// What a query found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryAnswer {
    /// The documents in their order.
    pub items: Vec<QueryItem>,
    /// Where the next part begins.
    pub token: Option<String>,
    /// What the store says of the answer.
    pub metadata: super::Metadata,
}

/// A document that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryItem {
    /// Key as it is stored.
    pub key: String,
    /// The stored bytes.
    pub data: bytes::Bytes,
    /// The tag, where a store has one.
    pub etag: Option<String>,
    /// Why the document could not be read.
    pub error: Option<String>,
    /// Media type, where a store keeps one.
    pub content_type: Option<String>,
}

/// A query that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct QueryError(pub(super) String);

// === impl Query ===

impl Query {
    /// Reads a query as callers write it.
    ///
    /// # Errors
    /// What is wrong with the text or its filter.
    pub fn parse(text: &[u8]) -> Result<Self, QueryError> {
        json::whole(text)?;
        let document: Value = serde_json::from_slice(text).map_err(|error| QueryError(error.to_string()))?;
        let members = match document {
            Value::Object(members) => members,
            Value::Null => Map::new(),
            other => return Err(mismatch(&other, "Go value of type query.Query")),
        };
        let filter_members = match get_ignoring_case(&members, "filter") {
            Some(Value::Object(filter)) => filter.clone(),
            None | Some(Value::Null) => Map::new(),
            Some(other) => {
                return Err(mismatch(
                    other,
                    "Go struct field Query.filter of type map[string]interface {}",
                ));
            }
        };
        let filter = if filter_members.is_empty() {
            None
        } else {
            Some(Filter::of_unit(&filter_members)?)
        };
        let sort = match get_ignoring_case(&members, "sort") {
            Some(Value::Array(keys)) => keys.iter().map(Sort::parse).collect::<Result<_, _>>()?,
            None | Some(Value::Null) => Vec::new(),
            Some(other) => {
                return Err(mismatch(
                    other,
                    "Go struct field Query.sort of type []query.Sorting",
                ));
            }
        };
        let page = match get_ignoring_case(&members, "page") {
            Some(Value::Object(page)) => Page::parse(page)?,
            None | Some(Value::Null) => Page::default(),
            Some(other) => {
                return Err(mismatch(
                    other,
                    "Go struct field Query.page of type query.Pagination",
                ));
            }
        };
        Ok(Self {
            filter,
            filter_members,
            sort,
            page,
        })
    }
}

// === impl Filter ===

impl Filter {
    fn parse(unit: &Value) -> Result<Self, QueryError> {
        match unit {
            Value::Object(unit) => Self::of_unit(unit),
            _ => Err(wrong("filter unit must be a map")),
        }
    }

    fn of_unit(unit: &Map<String, Value>) -> Result<Self, QueryError> {
        let Some((operator, argument)) = single(unit) else {
            return Err(wrong("filter unit must have a single element"));
        };
        let make: fn(String, Value) -> Self = match operator {
            "EQ" => Self::Eq,
            "NEQ" => Self::Neq,
            "GT" => Self::Gt,
            "GTE" => Self::Gte,
            "LT" => Self::Lt,
            "LTE" => Self::Lte,
            "IN" => {
                let (path, value) = pair(operator, argument)?;
                return match value {
                    Value::Array(values) => Ok(Self::In(path.to_owned(), values.clone())),
                    _ => Err(wrong("IN filter value must be an array")),
                };
            }
            "AND" => return Ok(Self::And(units(operator, argument)?)),
            "OR" => return Ok(Self::Or(units(operator, argument)?)),
            other => return Err(wrong(format!("unsupported filter \"{other}\""))),
        };
        let (path, value) = pair(operator, argument)?;
        Ok(make(path.to_owned(), value.clone()))
    }
}

// === impl Sort ===

impl Sort {
    fn parse(sorting: &Value) -> Result<Self, QueryError> {
        let nothing = Map::new();
        let members = match sorting {
            Value::Object(members) => members,
            Value::Null => &nothing,
            other => {
                return Err(mismatch(
                    other,
                    "Go struct field Query.sort of type query.Sorting",
                ));
            }
        };
        let order = text(
            members,
            "order",
            "Go struct field Sorting.sort.order of type string",
        )?;
        Ok(Self {
            key: text(members, "key", "Go struct field Sorting.sort.key of type string")?.to_owned(),
            order: match order {
                "ASC" => Some(Direction::Ascending),
                "DESC" => Some(Direction::Descending),
                _ => None,
            },
        })
    }
}

// === impl Page ===

impl Page {
    fn parse(members: &Map<String, Value>) -> Result<Self, QueryError> {
        let limit = match get_ignoring_case(members, "limit") {
            None | Some(Value::Null) => 0,
            Some(limit) => limit
                .as_i64()
                .ok_or_else(|| mismatch(limit, "Go struct field Pagination.page.limit of type int"))?,
        };
        let token = text(
            members,
            "token",
            "Go struct field Pagination.page.token of type string",
        )?;
        Ok(Self {
            limit: limit.clamp(0, i64::from(u32::MAX)).try_into().unwrap_or_default(),
            token: Some(token.to_owned()).filter(|token| !token.is_empty()),
        })
    }
}

// === impl QueryError ===

impl From<ReadError> for QueryError {
    fn from(error: ReadError) -> Self {
        Self(error.to_string())
    }
}

/// The path and the value of a comparison.
fn pair<'a>(operator: &str, argument: &'a Value) -> Result<(&'a str, &'a Value), QueryError> {
    let Value::Object(argument) = argument else {
        return Err(wrong(format!("{operator} filter must be a map")));
    };
    single(argument).ok_or_else(|| wrong(format!("{operator} filter must contain a single key/value pair")))
}

/// The parts of a combination.
fn units(operator: &str, argument: &Value) -> Result<Vec<Filter>, QueryError> {
    let Value::Array(units) = argument else {
        return Err(wrong(format!("{operator} filter must be an array")));
    };
    if units.len() < 2 {
        return Err(wrong(format!(
            "{operator} filter must contain at least two entries"
        )));
    }
    units.iter().map(Filter::parse).collect()
}

fn single(members: &Map<String, Value>) -> Option<(&str, &Value)> {
    let mut members = members.iter();
    let (name, value) = members.next()?;
    members.next().is_none().then_some((name.as_str(), value))
}

fn text<'a>(members: &'a Map<String, Value>, name: &str, place: &'static str) -> Result<&'a str, QueryError> {
    match get_ignoring_case(members, name) {
        Some(Value::String(text)) => Ok(text),
        None | Some(Value::Null) => Ok(""),
        Some(other) => Err(mismatch(other, place)),
    }
}

fn mismatch(found: &Value, place: &'static str) -> QueryError {
    let found = match found {
        Value::Null => Kind::Null,
        Value::Bool(_) => Kind::Bool,
        Value::Number(_) => Kind::Number,
        Value::String(_) => Kind::String,
        Value::Array(_) => Kind::Array,
        Value::Object(_) => Kind::Object,
    };
    ReadError::Mismatch {
        found: found.as_str().into(),
        place: place.into(),
    }
    .into()
}

fn wrong(text: impl Into<String>) -> QueryError {
    QueryError(text.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(text: &str) -> String {
        Query::parse(text.as_bytes()).unwrap_err().to_string()
    }

    fn filter(text: &str) -> String {
        error(&format!(r#"{{"filter":{text}}}"#))
    }

    #[test]
    fn a_query_is_read_with_all_its_parts() {
        let text = r#"{
            "filter": {"OR": [
                {"EQ": {"person.org": "Dev Ops"}},
                {"AND": [{"GT": {"person.id": 10}}, {"IN": {"state": ["CA", "WA"]}}]}
            ]},
            "sort": [{"key": "state", "order": "DESC"}, {"key": "person.id"}],
            "page": {"limit": 3, "token": "7"}
        }"#;
        let query = Query::parse(text.as_bytes()).unwrap();
        let eq = Filter::Eq("person.org".to_owned(), json!("Dev Ops"));
        let gt = Filter::Gt("person.id".to_owned(), json!(10));
        let is_in = Filter::In("state".to_owned(), vec![json!("CA"), json!("WA")]);
        assert_eq!(
            query.filter,
            Some(Filter::Or(vec![eq, Filter::And(vec![gt, is_in])]))
        );
        assert_eq!(query.filter_members.keys().collect::<Vec<_>>(), ["OR"]);
        let sort = |key: &str, order| Sort {
            key: key.to_owned(),
            order,
        };
        assert_eq!(
            query.sort,
            [
                sort("state", Some(Direction::Descending)),
                sort("person.id", None)
            ]
        );
        assert_eq!(
            query.page,
            Page {
                limit: 3,
                token: Some("7".to_owned())
            }
        );
    }

    #[test]
    fn no_filter_is_all_documents() {
        for text in [
            "{}",
            "null",
            r#"{"filter":{}}"#,
            r#"{"FILTER":null,"sort":null,"page":null}"#,
        ] {
            assert_eq!(Query::parse(text.as_bytes()), Ok(Query::default()), "{text}");
        }
    }

    #[test]
    fn filters_that_make_no_sense_are_refused_in_the_words_of_the_specification() {
        let table = [
            (r#"{"AND":[1,2]}"#, "filter unit must be a map"),
            (
                r#"{"EQ":{"a":1},"NEQ":{"a":1}}"#,
                "filter unit must have a single element",
            ),
            (r#"{"OR":[{},{}]}"#, "filter unit must have a single element"),
            (r#"{"LIKE":{"a":1}}"#, "unsupported filter \"LIKE\""),
            (r#"{"eq":{"a":1}}"#, "unsupported filter \"eq\""),
            (r#"{"IN":{"a":1}}"#, "IN filter value must be an array"),
        ];
        for (text, expected) in table {
            assert_eq!(filter(text), expected, "{text}");
        }
        for operator in ["EQ", "NEQ", "GT", "GTE", "LT", "LTE", "IN"] {
            assert_eq!(
                filter(&format!(r#"{{"{operator}":[]}}"#)),
                format!("{operator} filter must be a map")
            );
            for argument in ["{}", r#"{"a":1,"b":2}"#] {
                assert_eq!(
                    filter(&format!(r#"{{"{operator}":{argument}}}"#)),
                    format!("{operator} filter must contain a single key/value pair")
                );
            }
        }
        for operator in ["AND", "OR"] {
            assert_eq!(
                filter(&format!(r#"{{"{operator}":{{}}}}"#)),
                format!("{operator} filter must be an array")
            );
            assert_eq!(
                filter(&format!(r#"{{"{operator}":[{{"EQ":{{"a":1}}}}]}}"#)),
                format!("{operator} filter must contain at least two entries")
            );
        }
    }

    #[test]
    fn texts_that_are_no_query_are_refused_in_the_words_of_go() {
        let table = [
            ("", "unexpected end of JSON input"),
            ("{", "unexpected end of JSON input"),
            ("{} x", "invalid character 'x' after top-level value"),
            (
                "[]",
                "json: cannot unmarshal array into Go value of type query.Query",
            ),
            (
                r#"{"page":{"limit":"3"}}"#,
                "json: cannot unmarshal string into Go struct field Pagination.page.limit of type int",
            ),
            (
                r#"{"sort":[{"key":1}]}"#,
                "json: cannot unmarshal number into Go struct field Sorting.sort.key of type string",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(error(text), expected, "{text}");
        }
        let page = |limit: i64| Query::parse(format!(r#"{{"page":{{"limit":{limit}}}}}"#).as_bytes());
        assert_eq!(page(-1).unwrap().page.limit, 0);
        assert_eq!(page(i64::MAX).unwrap().page.limit, u32::MAX);
    }
}
