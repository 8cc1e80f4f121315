//! Queries in the language of RediSearch.
//!
//! Source: specification, state stores 2.5.

use outrigger_component::state::{Direction, Filter, Query};
use outrigger_kit::quote::go_quote;
use redis::Cmd;
use serde_json::Value;

use super::indexes::Index;

/// A query that can be sent.
#[derive(Debug)]
pub(super) struct Search {
    filter: String,
    sort: Option<(String, Direction)>,
    offset: u64,
    limit: u32,
}

/// Why a query cannot be put in the language of the servers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SearchError {
    #[error("JSON path {} is not indexed", go_quote(.0))]
    NotIndexed(String),
    #[error("unsupported type of value {0}; string type not permitted")]
    Text(String),
    #[error("too few values in IN operator for key {}", go_quote(.0))]
    TooFew(String),
    #[error("multiple SORTBY steps are not allowed. Sort multiple fields in a single step")]
    Sorts,
    #[error("strconv.ParseInt: parsing {}: invalid syntax", go_quote(.0))]
    Token(String),
}

/// A range of numbers.
#[derive(Clone, Copy)]
enum Range {
    Above,
    From,
    Below,
    UpTo,
}

// === impl Search ===

impl Search {
    /// Puts a query in the language of the servers.
    ///
    /// # Errors
    /// What it cannot say.
    pub(super) fn new(query: &Query, index: &Index) -> Result<Self, SearchError> {
        let filter = match &query.filter {
            Some(filter) => unit(filter, index)?,
            None => "*".to_owned(),
        };
        let sort = match query.sort.as_slice() {
            [] => None,
            [sort] => {
                let direction = sort.order.unwrap_or(Direction::Ascending);
                Some((variable(index, &sort.key)?, direction))
            }
            _ => return Err(SearchError::Sorts),
        };
        let offset = match query.page.token.as_deref() {
            None | Some("") => 0,
            Some(token) => token.parse().map_err(|_| SearchError::Token(token.to_owned()))?,
        };
        Ok(Self {
            filter,
            sort,
            offset,
            limit: query.page.limit,
        })
    }

    /// The command.
    pub(super) fn command(&self, index: &Index) -> Cmd {
        let mut command = Cmd::new();
        command.arg("FT.SEARCH").arg(&index.name).arg(&self.filter);
        if let Some((variable, direction)) = &self.sort {
            command.arg("SORTBY").arg(variable);
            if *direction == Direction::Descending {
                command.arg("DESC");
            }
        }
        if self.limit > 0 {
            command.arg("LIMIT").arg(self.offset).arg(self.limit);
        }
        command.arg("RETURN").arg(2).arg("$.data").arg("$.version");
        command
    }

    /// Where the next page begins, if one may follow.
    pub(super) fn token(&self, found: usize) -> Option<String> {
        let found = u64::try_from(found).unwrap_or(u64::MAX);
        (self.limit > 0 && found > 0).then(|| self.offset.saturating_add(found).to_string())
    }
}

fn unit(filter: &Filter, index: &Index) -> Result<String, SearchError> {
    match filter {
        // By itself it is not turned around; only within others it is.
        Filter::Eq(path, value) | Filter::Neq(path, value) => Ok(equal(&variable(index, path)?, value)),
        Filter::Gt(path, value) => range(index, path, value, Range::Above),
        Filter::Gte(path, value) => range(index, path, value, Range::From),
        Filter::Lt(path, value) => range(index, path, value, Range::Below),
        Filter::Lte(path, value) => range(index, path, value, Range::UpTo),
        Filter::In(path, values) => {
            let variable = variable(index, path)?;
            match values.as_slice() {
                [] | [_] => Err(SearchError::TooFew(path.clone())),
                [Value::String(_), ..] => {
                    let texts: Vec<_> = values.iter().map(text).collect();
                    Ok(format!("@{variable}:({})", texts.join("|")))
                }
                numbers => {
                    let each: Vec<_> = numbers.iter().map(|number| equal(&variable, number)).collect();
                    Ok(each.join("|"))
                }
            }
        }
        Filter::And(filters) => joined(filters, index, " "),
        Filter::Or(filters) => joined(filters, index, "|"),
    }
}

fn joined(filters: &[Filter], index: &Index, separator: &str) -> Result<String, SearchError> {
    let operands = filters.iter().map(|filter| {
        let operand = unit(filter, index)?;
        Ok(match filter {
            Filter::Neq(..) => format!("-({operand})"),
            _ => format!("({operand})"),
        })
    });
    Ok(operands.collect::<Result<Vec<_>, _>>()?.join(separator))
}

fn equal(variable: &str, value: &Value) -> String {
    match value {
        Value::String(text) => format!("@{variable}:({text})"),
        other => {
            let number = number(other);
            format!("@{variable}:[{number} {number}]")
        }
    }
}

fn range(index: &Index, path: &str, value: &Value, range: Range) -> Result<String, SearchError> {
    let variable = variable(index, path)?;
    if let Value::String(text) = value {
        return Err(SearchError::Text(text.clone()));
    }
    let number = number(value);
    Ok(match range {
        Range::Above => format!("@{variable}:[({number} +inf]"),
        Range::From => format!("@{variable}:[{number} +inf]"),
        Range::Below => format!("@{variable}:[-inf ({number}]"),
        Range::UpTo => format!("@{variable}:[-inf {number}]"),
    })
}

fn variable(index: &Index, path: &str) -> Result<String, SearchError> {
    let found = index.variable(path);
    found.ok_or_else(|| SearchError::NotIndexed(path.to_owned()))
}

/// A number with six decimals; what is none as it is.
fn number(value: &Value) -> String {
    match value.as_f64() {
        Some(number) => format!("{number:.6}"),
        None => text(value),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use outrigger_component::state::{Page, Sort};
    use serde_json::json;

    use super::super::indexes::Indexes;
    use super::*;

    fn indexes() -> Indexes {
        let text =
            r#"[{"name":"i","indexes":[{"key":"city","type":"TEXT"},{"key":"person.id","type":"NUMERIC"}]}]"#;
        Indexes::parse(text).unwrap()
    }

    fn search(filter: Filter) -> Result<String, String> {
        words(&Query {
            filter: Some(filter),
            ..Query::default()
        })
    }

    fn city(operator: fn(String, Value) -> Filter, value: Value) -> Filter {
        operator("city".to_owned(), value)
    }

    fn id(operator: fn(String, Value) -> Filter, value: Value) -> Filter {
        operator("person.id".to_owned(), value)
    }

    fn by(key: &str, order: Direction) -> Sort {
        Sort {
            key: key.to_owned(),
            order: Some(order),
        }
    }

    fn words(query: &Query) -> Result<String, String> {
        let indexes = indexes();
        let index = indexes.find("i").unwrap();
        let search = Search::new(query, index).map_err(|error| error.to_string())?;
        let packed = search.command(index).get_packed_command();
        let redis::Value::Array(words) = redis::parse_redis_value(&packed).unwrap() else {
            panic!("a command is an array");
        };
        let words: Vec<_> = words
            .iter()
            .map(|word| crate::value::text(word).unwrap())
            .collect();
        Ok(words.join(" "))
    }

    #[test]
    fn filters_become_expressions() {
        let within = |key: &str, values| Filter::In(key.to_owned(), values);
        let both = Filter::And(vec![city(Filter::Eq, json!("a")), city(Filter::Eq, json!("b"))]);
        let table = [
            (city(Filter::Eq, json!("Rome")), "@var0:(Rome)"),
            (id(Filter::Eq, json!(5)), "@var1:[5.000000 5.000000]"),
            (city(Filter::Neq, json!("Rome")), "@var0:(Rome)"),
            (id(Filter::Gt, json!(1.5)), "@var1:[(1.500000 +inf]"),
            (id(Filter::Gte, json!(1)), "@var1:[1.000000 +inf]"),
            (id(Filter::Lt, json!(-1)), "@var1:[-inf (-1.000000]"),
            (id(Filter::Lte, json!(1)), "@var1:[-inf 1.000000]"),
            (
                within("city", vec![json!("Rome"), json!("Oslo")]),
                "@var0:(Rome|Oslo)",
            ),
            (
                within("person.id", vec![json!(1), json!(2)]),
                "@var1:[1.000000 1.000000]|@var1:[2.000000 2.000000]",
            ),
            (
                Filter::And(vec![city(Filter::Eq, json!("Rome")), id(Filter::Neq, json!(1))]),
                "(@var0:(Rome)) -(@var1:[1.000000 1.000000])",
            ),
            (
                Filter::Or(vec![city(Filter::Eq, json!("Rome")), both]),
                "(@var0:(Rome))|((@var0:(a)) (@var0:(b)))",
            ),
        ];
        for (filter, expected) in table {
            let expected = format!("FT.SEARCH i {expected} RETURN 2 $.data $.version");
            assert_eq!(search(filter.clone()), Ok(expected), "{filter:?}");
        }
        let all = "FT.SEARCH i * RETURN 2 $.data $.version";
        assert_eq!(words(&Query::default()), Ok(all.to_owned()));
    }

    #[test]
    fn an_order_and_a_page_are_asked_for() {
        let query = Query {
            sort: vec![by("city", Direction::Descending)],
            page: Page {
                limit: 3,
                token: Some("6".to_owned()),
            },
            ..Query::default()
        };
        let expected = "FT.SEARCH i * SORTBY var0 DESC LIMIT 6 3 RETURN 2 $.data $.version";
        assert_eq!(words(&query), Ok(expected.to_owned()));
        let indexes = indexes();
        let search = Search::new(&query, indexes.find("i").unwrap()).unwrap();
        assert_eq!((search.token(3).as_deref(), search.token(0)), (Some("9"), None));
    }

    #[test]
    fn what_cannot_be_said_is_an_error() {
        let one = Filter::In("city".to_owned(), vec![json!("a")]);
        let table = [
            (
                Filter::Eq("other".to_owned(), json!(1)),
                "JSON path \"other\" is not indexed",
            ),
            (
                city(Filter::Gt, json!("a")),
                "unsupported type of value a; string type not permitted",
            ),
            (one, "too few values in IN operator for key \"city\""),
        ];
        for (filter, expected) in table {
            assert_eq!(search(filter), Err(expected.to_owned()));
        }
        let sorted = Query {
            sort: ["city", "person.id"]
                .map(|key| by(key, Direction::Ascending))
                .into(),
            ..Query::default()
        };
        let expected = "multiple SORTBY steps are not allowed. Sort multiple fields in a single step";
        assert_eq!(words(&sorted), Err(expected.to_owned()));
        let mut paged = Query::default();
        paged.page.token = Some("x".to_owned());
        let expected = "strconv.ParseInt: parsing \"x\": invalid syntax";
        assert_eq!(words(&paged), Err(expected.to_owned()));
    }
}
