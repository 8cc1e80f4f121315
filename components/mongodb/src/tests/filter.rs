//! What the double of a server knows of filters, orders and expressions.

use std::cmp::Ordering;

use mongodb::bson::{Bson, DateTime, Document, doc};

/// The value of an expression.
pub(super) fn computed(value: &Bson) -> Bson {
    let Some(expression) = value.as_document() else {
        return value.clone();
    };
    if let Some(literal) = expression.get("$literal") {
        return literal.clone();
    }
    let parts = expression
        .get_array("$add")
        .expect("an expression is a literal or a sum");
    let milliseconds = parts[1].as_i64().expect("the second part is a number");
    assert_eq!(parts[0].as_str(), Some("$$NOW"));
    DateTime::from_millis(DateTime::now().timestamp_millis() + milliseconds).into()
}

/// Whether a document is what a filter wants.
pub(super) fn matches(document: &Document, filter: &Document) -> bool {
    filter.iter().all(|(name, condition)| {
        let all = |list: &Bson| -> Vec<Document> {
            let parts = list.as_array().expect("a list of filters").iter();
            parts
                .map(|part| part.as_document().expect("a filter").clone())
                .collect()
        };
        match name.as_str() {
            "$and" => all(condition).iter().all(|part| matches(document, part)),
            "$or" => all(condition).iter().any(|part| matches(document, part)),
            "$expr" => {
                assert_eq!(*condition, Bson::Document(doc! { "$gt": ["$_ttl", "$$NOW"] }));
                document
                    .get_datetime("_ttl")
                    .is_ok_and(|expiry| *expiry > DateTime::now())
            }
            path => holds(at(document, path), condition),
        }
    })
}

fn holds(value: Option<&Bson>, condition: &Bson) -> bool {
    let operators = condition
        .as_document()
        .filter(|operators| operators.keys().any(|name| name.starts_with('$')));
    let Some(operators) = operators else {
        return value.unwrap_or(&Bson::Null) == condition;
    };
    operators.iter().all(|(operator, operand)| {
        let compared = || compare(value?, operand);
        match operator.as_str() {
            "$eq" => value.unwrap_or(&Bson::Null) == operand,
            "$ne" => value.unwrap_or(&Bson::Null) != operand,
            "$gt" => compared() == Some(Ordering::Greater),
            "$gte" => matches!(compared(), Some(Ordering::Greater | Ordering::Equal)),
            "$lt" => compared() == Some(Ordering::Less),
            "$lte" => matches!(compared(), Some(Ordering::Less | Ordering::Equal)),
            "$in" => operand
                .as_array()
                .expect("a list")
                .iter()
                .any(|one| Some(one) == value),
            "$exists" => value.is_some() == (*operand == Bson::Boolean(true)),
            "$regex" => {
                let expression = format!("(?s){}", operand.as_str().expect("an expression"));
                let expression = regex_lite::Regex::new(&expression).expect("the expression is one");
                value
                    .and_then(Bson::as_str)
                    .is_some_and(|text| expression.is_match(text))
            }
            "$options" => true,
            other => panic!("no operator {other}"),
        }
    })
}

/// The value at a path with dots.
fn at<'a>(document: &'a Document, path: &str) -> Option<&'a Bson> {
    match path.split_once('.') {
        Some((name, rest)) => at(document.get_document(name).ok()?, rest),
        None => document.get(path),
    }
}

/// The order of two documents.
pub(super) fn order(a: &Document, b: &Document, sort: &Document) -> Ordering {
    for (path, direction) in sort {
        let (a, b) = (at(a, path), at(b, path));
        let order = match (a, b) {
            (Some(a), Some(b)) => compare(a, b).unwrap_or(Ordering::Equal),
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
        let order = if *direction == Bson::Int32(-1) {
            order.reverse()
        } else {
            order
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    Ordering::Equal
}

/// The order of two values of one kind.
fn compare(a: &Bson, b: &Bson) -> Option<Ordering> {
    match (a, b) {
        (Bson::String(a), Bson::String(b)) => Some(a.cmp(b)),
        (Bson::Double(a), Bson::Double(b)) => a.partial_cmp(b),
        _ => None,
    }
}
