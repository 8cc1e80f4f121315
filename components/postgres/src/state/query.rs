//! Queries in SQL: paths become JSON operators, operands become parameters.
//!
//! Every operand is a text, and so are comparisons: `10` is less than `9`.
//!
//! Source: specification, state stores 3.4.

use std::fmt::Write as _;

use outrigger_component::state::{Direction, Filter, Query, StateError};
use outrigger_kit::number;
use serde_json::Value;

/// A query in SQL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Translated {
    /// The text behind `SELECT …`.
    pub(crate) text: String,
    /// The values of its parameters.
    pub(crate) values: Vec<String>,
    /// How many documents come before.
    pub(crate) offset: i64,
}

// === impl Translated ===

impl Translated {
    /// Translates a query on a table.
    ///
    /// # Errors
    /// A token that is no number, a range of texts, a path that cannot be written.
    pub(crate) fn new(query: &Query, columns: &str, table: &str) -> Result<Self, StateError> {
        let mut own = Self {
            text: format!("SELECT {columns} FROM {table}"),
            ..Self::default()
        };
        if let Some(filter) = &query.filter {
            own.text.push_str(" WHERE ");
            own.filter(filter)?;
        }
        for (number, sort) in query.sort.iter().enumerate() {
            own.text.push_str(if number == 0 { " ORDER BY " } else { ", " });
            own.path(&sort.key)?;
            own.text.push_str(match sort.order {
                Some(Direction::Ascending) => " ASC",
                Some(Direction::Descending) => " DESC",
                None => "",
            });
        }
        if query.page.limit > 0 {
            own.push(&format!(" LIMIT {}", query.page.limit));
        }
        if let Some(token) = query.page.token.as_deref().filter(|token| !token.is_empty()) {
            own.offset = number::atoi(token).map_err(StateError::other)?;
            if own.offset < 0 {
                return Err(StateError::other(format!("invalid token {token}")));
            }
            own.push(&format!(" OFFSET {}", own.offset));
        }
        Ok(own)
    }

    /// Where the next part begins, with so many documents found.
    pub(crate) fn next(&self, query: &Query, found: usize) -> Option<String> {
        let found = i64::try_from(found).unwrap_or(i64::MAX);
        (query.page.limit != 0).then(|| self.offset.saturating_add(found).to_string())
    }

    fn filter(&mut self, filter: &Filter) -> Result<(), StateError> {
        match filter {
            Filter::Eq(path, value) => self.equal(path, value),
            Filter::Neq(path, Value::Null) => {
                self.path(path)?;
                self.push(" IS NOT NULL");
                Ok(())
            }
            Filter::Neq(path, value) => self.compare(path, "!=", value),
            Filter::Gt(path, value) => self.range(path, ">", value),
            Filter::Gte(path, value) => self.range(path, ">=", value),
            Filter::Lt(path, value) => self.range(path, "<", value),
            Filter::Lte(path, value) => self.range(path, "<=", value),
            Filter::In(_, values) if values.is_empty() => Err(StateError::other(
                "empty IN operator: must have at least one value",
            )),
            Filter::In(path, values) => self.join(" OR ", values, |own, value| own.equal(path, value)),
            Filter::And(parts) => self.join(" AND ", parts, Self::filter),
            Filter::Or(parts) => self.join(" OR ", parts, Self::filter),
        }
    }

    fn join<T>(
        &mut self,
        separator: &str,
        parts: &[T],
        each: impl Fn(&mut Self, &T) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        self.push("(");
        for (number, part) in parts.iter().enumerate() {
            if number > 0 {
                self.push(separator);
            }
            each(self, part)?;
        }
        self.push(")");
        Ok(())
    }

    fn equal(&mut self, path: &str, value: &Value) -> Result<(), StateError> {
        if value.is_null() {
            self.path(path)?;
            self.push(" IS NULL");
            return Ok(());
        }
        self.compare(path, "=", value)
    }

    fn range(&mut self, path: &str, operator: &str, value: &Value) -> Result<(), StateError> {
        match value {
            Value::String(text) => Err(StateError::other(format!(
                "unsupported type of value {text}; string type not permitted"
            ))),
            value => self.compare(path, operator, value),
        }
    }

    fn compare(&mut self, path: &str, operator: &str, value: &Value) -> Result<(), StateError> {
        self.path(path)?;
        self.values.push(match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        let place = self.values.len();
        write!(self.text, "{operator}${place}").expect("writing to a string cannot fail");
        Ok(())
    }

    /// Writes `value->'a'->>'b'`; quotes in names are doubled.
    fn path(&mut self, path: &str) -> Result<(), StateError> {
        if path.is_empty() || path.contains('\0') {
            return Err(StateError::other(format!("invalid path {path:?}")));
        }
        self.push("value");
        let mut names = path.split('.').peekable();
        while let Some(name) = names.next() {
            let step = if names.peek().is_some() { "->" } else { "->>" };
            let name = name.replace('\'', "''");
            write!(self.text, "{step}'{name}'").expect("writing to a string cannot fail");
        }
        Ok(())
    }

    fn push(&mut self, text: &str) {
        self.text.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use outrigger_component::state::{Page, Sort};
    use serde_json::json;

    use super::*;

    fn translate(query: &Query) -> Result<Translated, String> {
        Translated::new(query, "key", "state").map_err(|error| error.to_string())
    }

    fn filtered(filter: Filter) -> Query {
        Query {
            filter: Some(filter),
            ..Query::default()
        }
    }

    fn paged(limit: u32, token: &str) -> Query {
        Query {
            page: Page {
                limit,
                token: Some(token.to_owned()),
            },
            ..Query::default()
        }
    }

    fn path(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn filters_become_comparisons_of_texts() {
        let table = [
            (
                Filter::Eq(path("a.b"), json!("x")),
                "value->'a'->>'b'=$1",
                vec!["x"],
            ),
            (
                Filter::And(vec![
                    Filter::Neq(path("a"), json!(1)),
                    Filter::In(path("b"), vec![json!(true), json!("y")]),
                ]),
                "(value->>'a'!=$1 AND (value->>'b'=$2 OR value->>'b'=$3))",
                vec!["1", "true", "y"],
            ),
            (
                Filter::Or(vec![
                    Filter::Gt(path("a"), json!(1.5)),
                    Filter::Lte(path("b"), json!(2)),
                    Filter::Eq(path("c"), json!(null)),
                ]),
                "(value->>'a'>$1 OR value->>'b'<=$2 OR value->>'c' IS NULL)",
                vec!["1.5", "2"],
            ),
            (
                Filter::Eq(path("a' OR '1'='1"), json!("x")),
                "value->>'a'' OR ''1''=''1'=$1",
                vec!["x"],
            ),
        ];
        for (filter, text, values) in table {
            let translated = translate(&filtered(filter)).unwrap();
            assert_eq!(translated.text, format!("SELECT key FROM state WHERE {text}"));
            assert_eq!(translated.values, values);
        }
    }

    #[test]
    fn order_and_part_follow_the_filter() {
        let sort = |key: &str, order| Sort {
            key: path(key),
            order,
        };
        let query = Query {
            sort: vec![sort("a.b", Some(Direction::Descending)), sort("c", None)],
            ..paged(2, "4")
        };
        assert_eq!(
            translate(&query).unwrap().text,
            "SELECT key FROM state ORDER BY value->'a'->>'b' DESC, value->>'c' LIMIT 2 OFFSET 4"
        );
        assert_eq!(
            translate(&Query::default()).unwrap().text,
            "SELECT key FROM state"
        );
    }

    #[test]
    fn what_has_no_translation_is_refused() {
        let error = translate(&filtered(Filter::Gt(path("a"), json!("x")))).unwrap_err();
        assert_eq!(error, "unsupported type of value x; string type not permitted");
        let error = translate(&paged(1, "x")).unwrap_err();
        assert_eq!(error, "strconv.Atoi: parsing \"x\": invalid syntax");
        assert!(translate(&paged(1, "-1")).is_err());
        assert!(translate(&filtered(Filter::Eq(path("a\0"), json!(1)))).is_err());
    }

    #[test]
    fn the_token_counts_what_was_found() {
        let query = paged(2, "4");
        let translated = translate(&query).unwrap();
        assert_eq!(translated.next(&query, 2).as_deref(), Some("6"));
        assert_eq!(translated.next(&query, 0).as_deref(), Some("4"));
        assert_eq!(translated.next(&Query::default(), 2), None);
    }
}
