//! Path and query of a request: read decoded, changed, put back.

use std::borrow::Cow;

use http::Uri;
use http::uri::PathAndQuery;
use outrigger_kit::percent::{decode_form_text, decode_path_text, encode_form, encode_path};

/// The decoded path; one with a broken escape is taken as it is.
pub(super) fn decoded_path(uri: &Uri) -> Cow<'_, str> {
    let path = uri.path();
    decode_path_text(path).unwrap_or(Cow::Borrowed(path))
}

/// Name and value of each parameter of a query, decoded; those with a broken escape are left out.
pub(super) fn parameters(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let pairs = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.contains(';'));
    pairs.filter_map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        decode_form_text(name).ok().zip(decode_form_text(value).ok())
    })
}

/// A query with these parameters, sorted by name; those of one name stay in order.
pub(super) fn query<'a>(parameters: impl IntoIterator<Item = (Cow<'a, str>, Cow<'a, str>)>) -> String {
    let mut parameters: Vec<_> = parameters.into_iter().collect();
    parameters.sort_by(|(a, _), (b, _)| a.cmp(b));
    let pairs: Vec<_> = parameters
        .iter()
        .map(|(name, value)| format!("{}={}", encode_form(name), encode_form(value)))
        .collect();
    pairs.join("&")
}

/// Gives a request another path, decoded, and another query; none if that is no request target.
pub(super) fn with_target(uri: &Uri, path: &str, query: &str) -> Option<Uri> {
    let mark = if query.is_empty() { "" } else { "?" };
    let slash = if path.starts_with('/') { "" } else { "/" };
    let target = format!("{slash}{}{mark}{query}", encode_path(path.as_bytes()));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read_and_written_sorted() {
        let read: Vec<_> = parameters("b=2&a=x+y&a=%21&broken=%zz&c&d;e=1&&").collect();
        assert_eq!(read.len(), 4);
        assert_eq!(query(read), "a=x+y&a=%21&b=2&c=");
    }

    #[test]
    fn a_target_is_escaped() {
        let uri: Uri = "http://h:1/a?b=c".parse().unwrap();
        let changed = with_target(&uri, "/x y/?z", "q=1").unwrap();
        assert_eq!(changed.to_string(), "http://h:1/x%20y/%3Fz?q=1");
        assert_eq!(with_target(&"/a".parse().unwrap(), "x", "").unwrap(), "/x");
        assert_eq!(with_target(&uri, &"x".repeat(70_000), ""), None);
    }
}
