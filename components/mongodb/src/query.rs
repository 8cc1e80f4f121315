//! Queries as filters of the server, and patterns of keys as its expressions.

use mongodb::bson::{Bson, Document, doc};
use outrigger_component::state::{Direction, Filter, Like, LikePart, Query, StateError};
use outrigger_kit::number;

use crate::values::operand;

/// What documents must have.
pub(crate) fn filter(filter: &Filter) -> Document {
    let on = |path: &str, condition: Bson| Document::from_iter([(format!("value.{path}"), condition)]);
    let compare = |path: &str, operator: &str, value| {
        let condition = Document::from_iter([(operator.to_owned(), operand(value))]);
        on(path, Bson::Document(condition))
    };
    match filter {
        Filter::Eq(path, value) => compare(path, "$eq", value),
        Filter::Neq(path, value) => compare(path, "$ne", value),
        Filter::Gt(path, value) => compare(path, "$gt", value),
        Filter::Gte(path, value) => compare(path, "$gte", value),
        Filter::Lt(path, value) => compare(path, "$lt", value),
        Filter::Lte(path, value) => compare(path, "$lte", value),
        Filter::In(path, values) => {
            let values: Vec<_> = values.iter().map(operand).collect();
            on(path, Bson::Document(doc! { "$in": values }))
        }
        Filter::And(parts) => doc! { "$and": parts.iter().map(self::filter).collect::<Vec<_>>() },
        Filter::Or(parts) => doc! { "$or": parts.iter().map(self::filter).collect::<Vec<_>>() },
    }
}

/// By what documents are sorted; none if by nothing.
pub(crate) fn sort(query: &Query) -> Option<Document> {
    let keys = query.sort.iter().map(|sort| {
        let order = match sort.order {
            Some(Direction::Descending) => -1,
            Some(Direction::Ascending) | None => 1,
        };
        (format!("value.{}", sort.key), Bson::Int32(order))
    });
    let keys: Document = keys.collect();
    (!keys.is_empty()).then_some(keys)
}

/// How many documents come before the part that is asked for.
///
/// # Errors
/// A token that is no number.
pub(crate) fn skip(query: &Query) -> Result<u64, StateError> {
    match query.page.token.as_deref().filter(|token| !token.is_empty()) {
        Some(token) => {
            let skip = number::atoi(token).map_err(StateError::other)?;
            u64::try_from(skip).map_err(|_| StateError::other(format!("invalid token {token}")))
        }
        None => Ok(0),
    }
}

/// The regular expression of whole keys that an SQL pattern means.
///
/// # Errors
/// An empty pattern.
pub(crate) fn expression(pattern: &str) -> Result<String, StateError> {
    let like = Like::parse(pattern)?;
    let mut out = String::from("^");
    for part in like.parts() {
        match part {
            LikePart::AnyText => out.push_str(".*"),
            LikePart::AnyOne => out.push('.'),
            LikePart::Literal(character) => {
                if !character.is_alphanumeric() && character.is_ascii_graphic() {
                    out.push('\\');
                }
                out.push(*character);
            }
        }
    }
    out.push('$');
    Ok(out)
}

#[cfg(test)]
mod units {
    use outrigger_component::state::{Page, Sort};
    use serde_json::json;

    use super::*;

    #[test]
    fn filters_are_those_of_the_server() {
        let path = || "a.b".to_owned();
        let parts = vec![
            Filter::Eq(path(), json!("x")),
            Filter::Or(vec![
                Filter::Gt(path(), json!(1)),
                Filter::In(path(), vec![json!(true)]),
            ]),
        ];
        assert_eq!(
            filter(&Filter::And(parts)),
            doc! { "$and": [
                { "value.a.b": { "$eq": "x" } },
                { "$or": [{ "value.a.b": { "$gt": 1.0 } }, { "value.a.b": { "$in": [true] } }] },
            ] }
        );
    }

    #[test]
    fn order_and_place_are_read() {
        let sorted = |key: &str, order| Sort {
            key: key.to_owned(),
            order,
        };
        let query = Query {
            sort: vec![sorted("a", Some(Direction::Descending)), sorted("b.c", None)],
            page: Page {
                limit: 2,
                token: Some("4".to_owned()),
            },
            ..Query::default()
        };
        assert_eq!(sort(&query), Some(doc! { "value.a": -1, "value.b.c": 1 }));
        assert_eq!(skip(&query).unwrap(), 4);
        assert_eq!(sort(&Query::default()), None);
    }

    #[test]
    fn patterns_are_expressions() {
        assert_eq!(expression("app||a%_\\%").unwrap(), r"^app\|\|a.*.\%$");
        assert_eq!(
            expression("").unwrap_err().to_string(),
            "keys like pattern cannot be empty"
        );
    }
}
