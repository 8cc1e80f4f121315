//! Conditions on the item that is there.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::item::now;

/// What must be true of an item for it to be written, in the parts of a request.
///
/// The service removes an item days after its end; until then an expired one counts as none.
#[derive(Debug, Default)]
pub(super) struct Condition {
    pub(super) expression: Option<String>,
    pub(super) names: Option<HashMap<String, String>>,
    pub(super) values: Option<HashMap<String, AttributeValue>>,
}

// === impl Condition ===

impl Condition {
    /// The condition of a write with a tag, or of a first write; `ttl` is the attribute of the end, if there is one.
    pub(super) fn new(etag: Option<&str>, is_first_write: bool, ttl: Option<&str>) -> Self {
        let expression = match (etag, is_first_write, ttl) {
            (None, false, _) => return Self::default(),
            (Some(_), _, None) => "etag = :etag",
            (Some(_), _, Some(_)) => "etag = :etag AND (attribute_not_exists(#ttl) OR #ttl > :now)",
            (None, true, None) => "attribute_not_exists(etag)",
            (None, true, Some(_)) => "attribute_not_exists(etag) OR #ttl <= :now",
        };
        let text = |name: &str, text: &str| (name.to_owned(), AttributeValue::S(text.to_owned()));
        let etag = etag.map(|etag| text(":etag", etag));
        let now = ttl.map(|_| (":now".to_owned(), AttributeValue::N(now().to_string())));
        let values: HashMap<_, _> = etag.into_iter().chain(now).collect();
        Self {
            expression: Some(expression.to_owned()),
            names: ttl.map(|name| HashMap::from([("#ttl".to_owned(), name.to_owned())])),
            values: (!values.is_empty()).then_some(values),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_that_has_expired_counts_as_none() {
        let plain = Condition::new(Some("1f"), true, None);
        assert_eq!(plain.expression.as_deref(), Some("etag = :etag"));
        assert_eq!(plain.values.unwrap()[":etag"], AttributeValue::S("1f".to_owned()));
        assert!(plain.names.is_none());
        let first = Condition::new(None, true, None);
        assert_eq!(first.expression.as_deref(), Some("attribute_not_exists(etag)"));
        assert!(first.names.is_none() && first.values.is_none());
        let expiring = Condition::new(None, true, Some("end"));
        assert_eq!(
            expiring.expression.as_deref(),
            Some("attribute_not_exists(etag) OR #ttl <= :now")
        );
        assert_eq!(expiring.names.unwrap()["#ttl"], "end");
        assert!(expiring.values.unwrap()[":now"].is_n());
        assert!(Condition::new(None, false, Some("end")).expression.is_none());
    }
}
