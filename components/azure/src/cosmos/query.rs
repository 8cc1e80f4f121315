//! Queries in the language of the service.
//!
//! Source: specification, state stores 9.

use outrigger_component::state::{Direction, Filter, Query, Sort, StateError};
use serde_json::{Value, json};

/// A query in the making: its text is built while its values are put aside as parameters.
#[derive(Debug, Default)]
struct Translation {
    parameters: Vec<Value>,
}

/// The query as the service reads it: `{"query":"SELECT …","parameters":[…]}`.
///
/// # Errors
/// A value of a kind that the operator does not compare.
pub(super) fn translate(query: &Query) -> Result<Value, StateError> {
    let mut translation = Translation::default();
    let mut text = "SELECT * FROM c".to_owned();
    if let Some(filter) = &query.filter {
        text.push_str(" WHERE ");
        text.push_str(&translation.filter(filter)?);
    }
    if !query.sort.is_empty() {
        let keys: Vec<_> = query.sort.iter().map(order).collect();
        text.push_str(" ORDER BY ");
        text.push_str(&keys.join(", "));
    }
    Ok(json!({ "query": text, "parameters": translation.parameters }))
}

/// The documents that have one of these keys.
pub(super) fn of_keys<'a>(keys: impl Iterator<Item = &'a str>) -> Value {
    let keys: Vec<_> = keys.collect();
    json!({
        "query": "SELECT * FROM r WHERE ARRAY_CONTAINS(@keys, r.id)",
        "parameters": [{ "name": "@keys", "value": keys }],
    })
}

// === impl Translation ===

impl Translation {
    fn filter(&mut self, filter: &Filter) -> Result<String, StateError> {
        match filter {
            Filter::Eq(key, value) => self.compare(key, "=", value, Value::is_string, "string"),
            Filter::Neq(key, value) => self.compare(key, "!=", value, Value::is_string, "string"),
            Filter::Gt(key, value) => self.compare(key, ">", value, Value::is_number, "number"),
            Filter::Gte(key, value) => self.compare(key, ">=", value, Value::is_number, "number"),
            Filter::Lt(key, value) => self.compare(key, "<", value, Value::is_number, "number"),
            Filter::Lte(key, value) => self.compare(key, "<=", value, Value::is_number, "number"),
            Filter::In(key, values) => {
                let names: Result<Vec<_>, _> = values
                    .iter()
                    .map(|value| self.parameter(value, Value::is_string, "string"))
                    .collect();
                Ok(format!("{} IN ({})", path(key), names?.join(", ")))
            }
            Filter::And(filters) => self.join(filters, " AND "),
            Filter::Or(filters) => self.join(filters, " OR "),
        }
    }

    fn compare(
        &mut self,
        key: &str,
        operator: &str,
        value: &Value,
        is_right: fn(&Value) -> bool,
        kind: &str,
    ) -> Result<String, StateError> {
        let name = self.parameter(value, is_right, kind)?;
        Ok(format!("{} {operator} {name}", path(key)))
    }

    /// Compound filters within others stand in parentheses.
    fn join(&mut self, filters: &[Filter], word: &str) -> Result<String, StateError> {
        let mut parts = Vec::with_capacity(filters.len());
        for filter in filters {
            let text = self.filter(filter)?;
            parts.push(match filter {
                Filter::And(_) | Filter::Or(_) => format!("({text})"),
                _ => text,
            });
        }
        Ok(parts.join(word))
    }

    fn parameter(
        &mut self,
        value: &Value,
        is_right: fn(&Value) -> bool,
        kind: &str,
    ) -> Result<String, StateError> {
        if !is_right(value) {
            let text = format!("unsupported type of value {value}; expected {kind}");
            return Err(StateError::other(text));
        }
        let name = format!("@__param__{}__", self.parameters.len());
        self.parameters.push(json!({ "name": name, "value": value }));
        Ok(name)
    }
}

fn order(sort: &Sort) -> String {
    let direction = match sort.order {
        None => "",
        Some(Direction::Ascending) => " ASC",
        Some(Direction::Descending) => " DESC",
    };
    format!("{}{direction}", path(&sort.key))
}

/// A path within the stored value. `value` is a word of the language, so it stands in brackets; so does whatever is
/// no plain name, which a query must not be able to break out of.
fn path(key: &str) -> String {
    let mut text = r#"c["value"]"#.to_owned();
    for name in key.split('.') {
        let is_plain = !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name
                .chars()
                .all(|character| character.is_ascii_alphanumeric() || character == '_');
        if is_plain && name != "value" {
            text.push('.');
            text.push_str(name);
        } else {
            text.push('[');
            text.push_str(&Value::from(name).to_string());
            text.push(']');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use outrigger_component::state::Page;

    use super::*;

    fn text(filter: Filter) -> String {
        let query = Query {
            filter: Some(filter),
            ..Query::default()
        };
        translate(&query).unwrap()["query"].as_str().unwrap().to_owned()
    }

    fn eq(key: &str) -> Filter {
        Filter::Eq(key.to_owned(), json!("v"))
    }

    #[test]
    fn filters_are_conditions_on_the_value() {
        let start = "SELECT * FROM c WHERE ";
        let number = |make: fn(String, Value) -> Filter| make("a.b".to_owned(), json!(1));
        for (filter, expected) in [
            (eq("a"), r#"c["value"].a = @__param__0__"#),
            (eq("value.x"), r#"c["value"]["value"].x = @__param__0__"#),
            (eq("a b"), r#"c["value"]["a b"] = @__param__0__"#),
            (eq("a\"]; --"), r#"c["value"]["a\"]; --"] = @__param__0__"#),
            (
                Filter::Neq("a".to_owned(), json!("v")),
                r#"c["value"].a != @__param__0__"#,
            ),
            (number(Filter::Gt), r#"c["value"].a.b > @__param__0__"#),
            (number(Filter::Gte), r#"c["value"].a.b >= @__param__0__"#),
            (number(Filter::Lt), r#"c["value"].a.b < @__param__0__"#),
            (number(Filter::Lte), r#"c["value"].a.b <= @__param__0__"#),
            (
                Filter::In("a".to_owned(), vec![json!("x"), json!("y")]),
                r#"c["value"].a IN (@__param__0__, @__param__1__)"#,
            ),
            (
                Filter::And(vec![eq("a"), Filter::Or(vec![eq("b"), eq("c")])]),
                r#"c["value"].a = @__param__0__ AND (c["value"].b = @__param__1__ OR c["value"].c = @__param__2__)"#,
            ),
        ] {
            assert_eq!(text(filter), format!("{start}{expected}"));
        }
    }

    #[test]
    fn an_order_and_no_filter_are_all_documents_in_order() {
        let sort = |key: &str, order| Sort {
            key: key.to_owned(),
            order,
        };
        let query = Query {
            sort: vec![sort("a", Some(Direction::Descending)), sort("b.c", None)],
            page: Page::default(),
            ..Query::default()
        };
        let translated = translate(&query).unwrap();
        let expected = r#"SELECT * FROM c ORDER BY c["value"].a DESC, c["value"].b.c"#;
        assert_eq!(translated, json!({ "query": expected, "parameters": [] }));
    }

    #[test]
    fn operators_compare_what_they_can() {
        for filter in [
            Filter::Eq("a".to_owned(), json!(1)),
            Filter::Gt("a".to_owned(), json!("x")),
            Filter::In("a".to_owned(), vec![json!("x"), json!(true)]),
        ] {
            let query = Query {
                filter: Some(filter),
                ..Query::default()
            };
            let error = translate(&query).unwrap_err().to_string();
            assert!(error.starts_with("unsupported type of value "), "{error}");
        }
    }
}
