//! Query strings as the API reads them: form-encoded pairs, malformed ones skipped.

use std::borrow::Cow;
use std::collections::BTreeMap;

use outrigger_kit::percent::decode_form_text;

/// Prefix of the parameters that become request metadata.
const METADATA: &str = "metadata.";

/// The first value of a parameter.
pub(crate) fn first<'a>(query: Option<&'a str>, name: &str) -> Option<Cow<'a, str>> {
    pairs(query).find(|(key, _)| key == name).map(|(_, value)| value)
}

/// All values of a parameter, in order.
pub(crate) fn all(query: Option<&str>, name: &str) -> Vec<String> {
    let values = pairs(query).filter(|(key, _)| key == name);
    values.map(|(_, value)| value.into_owned()).collect()
}

/// Every parameter whose key starts with `metadata.`, without that prefix; the first value of a key counts.
pub(crate) fn metadata(query: Option<&str>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (key, value) in pairs(query) {
        if let Some(name) = key.strip_prefix(METADATA) {
            found.entry(name.to_owned()).or_insert_with(|| value.into_owned());
        }
    }
    found
}

fn pairs(query: Option<&str>) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let parts = query
        .unwrap_or_default()
        .split('&')
        .filter(|part| !part.is_empty() && !part.contains(';'));
    parts.filter_map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        Some((decode_form_text(key).ok()?, decode_form_text(value).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_counts() {
        let query =
            Some("a=1&b=%20x+y&a=2&%zz=1&c&metadata.k=v&metadata.k=w&Metadata.k=u&metadata.ttl%20s=5");
        assert_eq!(first(query, "a").as_deref(), Some("1"));
        assert_eq!(first(query, "b").as_deref(), Some(" x y"));
        assert_eq!(first(query, "c").as_deref(), Some(""));
        assert_eq!(first(query, "d"), None);
        assert_eq!(first(None, "a"), None);
        assert_eq!(all(query, "a"), ["1", "2"]);
        assert_eq!(all(None, "a"), [""; 0]);
        let pairs: Vec<_> = metadata(query).into_iter().collect();
        let expected = [("k", "v"), ("ttl s", "5")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(pairs, expected);
    }
}
