//! Whom a request is for, and which method of it.
//!
//! Source: specification, service invocation 2 and 3.1.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, header};
use outrigger_kit::path;
use outrigger_kit::percent::{EscapeError, decode_form_text, decode_path_text};

/// The target and the method that an HTTP request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// Id as written: an app, an app in a namespace, a URL or the name of an endpoint.
    pub(crate) id: Cow<'a, str>,
    /// Cleaned path, not yet checked for forbidden characters.
    pub(crate) method: Cow<'a, str>,
}

/// What kind of target an id names, before the name resolver is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetId<'a> {
    /// An app, or an endpoint of the same name.
    App {
        /// Id of the app.
        app_id: &'a str,
        /// Its namespace; none is the caller's own.
        namespace: Option<&'a str>,
    },
    /// The base URL of a server outside.
    Url(&'a str),
}

/// An id that names nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetIdError {
    /// The id is empty.
    #[error("app id is empty")]
    Empty,
    /// The id has more than one dot.
    #[error("invalid app id {0}")]
    Invalid(String),
}

/// Name of the header that names the target of a request to any path.
pub(crate) const APP_ID_HEADER: HeaderName = HeaderName::from_static("dapr-app-id");

const METHOD_MARK: &str = "/method/";

// === impl Target ===

impl<'a> Target<'a> {
    /// Reads the target from the headers or from the escaped path; none if neither names one.
    ///
    /// The header `dapr-app-id` is to be removed by the caller of this function.
    ///
    /// # Errors
    /// A broken percent escape in the path.
    pub(crate) fn of(escaped_path: &'a str, headers: &HeaderMap) -> Result<Option<Self>, EscapeError> {
        Ok(match decode_path_text(escaped_path)? {
            Cow::Borrowed(path) => Self::of_decoded(path, headers),
            Cow::Owned(path) => Target::of_decoded(&path, headers).map(Target::into_owned),
        })
    }

    fn of_decoded(path: &'a str, headers: &HeaderMap) -> Option<Self> {
        if let Some(id) = named_by_headers(headers) {
            return Some(Self {
                id: Cow::Owned(id),
                method: without_slash(clean(path)),
            });
        }
        let (id, method) = split(path)?;
        Some(Self {
            id: decode_again(id),
            method: clean(method),
        })
    }

    fn into_owned(self) -> Target<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Target {
            id: owned(self.id),
            method: owned(self.method),
        }
    }
}

/// Splits `/v1.0/invoke/<id>/method/<method>`, with any number of slashes where one stands before the id.
fn split(path: &str) -> Option<(&str, &str)> {
    let after = |text: &'static str, path: &str| -> Option<usize> {
        let trimmed = path.trim_start_matches('/');
        trimmed.strip_prefix(text).map(|rest| path.len() - rest.len())
    };
    let (_, rest) = path.split_at_checked(after("v1.0/", path)?)?;
    let (_, rest) = rest.split_at_checked(after("invoke/", rest)?)?;
    let rest = rest.trim_start_matches('/');
    // An id is never empty, so a mark at the very beginning is part of the id.
    let first = rest.char_indices().nth(1).map_or(rest.len(), |(index, _)| index);
    let mark = first + rest.get(first..)?.find(METHOD_MARK)?;
    Some((rest.get(..mark)?, rest.get(mark + METHOD_MARK.len()..)?))
}

fn named_by_headers(headers: &HeaderMap) -> Option<String> {
    if let Some(id) = headers.get(&APP_ID_HEADER)
        && !id.is_empty()
    {
        return Some(String::from_utf8_lossy(id.as_bytes()).into_owned());
    }
    named_by_basic_auth(headers)
}

/// `Authorization: Basic` with the user `dapr-app-id` and the id as the password.
fn named_by_basic_auth(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let credentials = STANDARD.decode(value.strip_prefix("Basic ")?).ok()?;
    let credentials = String::from_utf8(credentials).ok()?;
    let (user, id) = credentials.split_once(':')?;
    let is_ours = user.eq_ignore_ascii_case("dapr-app-id") && !id.contains(':');
    is_ours.then(|| id.to_owned())
}

/// An id is form-decoded once more, if that leaves anything.
fn decode_again(id: &str) -> Cow<'_, str> {
    match decode_form_text(id) {
        Ok(decoded) if !decoded.is_empty() => decoded,
        _ => Cow::Borrowed(id),
    }
}

fn clean(path: &str) -> Cow<'_, str> {
    match path::clean(path) {
        cleaned if cleaned == "." => Cow::Borrowed(""),
        cleaned => cleaned,
    }
}

fn without_slash(path: Cow<'_, str>) -> Cow<'_, str> {
    match path {
        Cow::Borrowed(path) => Cow::Borrowed(path.strip_prefix('/').unwrap_or(path)),
        Cow::Owned(path) => Cow::Owned(path.strip_prefix('/').map_or_else(|| path.clone(), str::to_owned)),
    }
}

// === impl TargetId ===

impl<'a> TargetId<'a> {
    /// Reads the form of an id.
    ///
    /// # Errors
    /// [`TargetIdError`] for an empty id and for one with two or more dots.
    pub(crate) fn parse(id: &'a str) -> Result<Self, TargetIdError> {
        if id.is_empty() {
            return Err(TargetIdError::Empty);
        }
        if id.starts_with("http://") || id.starts_with("https://") {
            return Ok(Self::Url(id));
        }
        match id.split_once('.') {
            None => Ok(Self::App {
                app_id: id,
                namespace: None,
            }),
            Some((app_id, namespace)) if !namespace.contains('.') => Ok(Self::App {
                app_id,
                namespace: Some(namespace),
            }),
            Some(_) => Err(TargetIdError::Invalid(id.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn target(path: &str, headers: &[(HeaderName, &str)]) -> Option<(String, String)> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        let found = Target::of(path, &headers.collect()).unwrap()?;
        Some((found.id.into_owned(), found.method.into_owned()))
    }

    #[test]
    fn the_path_names_target_and_method() {
        let table = [
            ("/v1.0/invoke/a/method/foo", Some(("a", "foo"))),
            ("/v1.0////invoke/a/method/foo", Some(("a", "foo"))),
            ("/v1.0//invoke//a/method//foo", Some(("a", "/foo"))),
            ("//v1.0/invoke/a/method/x/y", Some(("a", "x/y"))),
            ("/v1.0/invoke/a/method/", Some(("a", ""))),
            ("/v1.0/invoke/a/method", None),
            ("/v1.0/invoke/a", None),
            ("/v1.0/invoke/", None),
            ("/v1.0/Invoke/a/method/x", None),
            ("/v1.1/invoke/a/method/x", None),
            ("/v1.0/invokes/a/method/x", None),
            (
                "/v1.0/invoke/http://host:80/method/x",
                Some(("http://host:80", "x")),
            ),
            (
                "/v1.0/invoke/http%3A%2F%2Fhost:80/method/x",
                Some(("http://host:80", "x")),
            ),
            (
                "/v1.0/invoke/http%253A%252F%252Fhost:80/method/x",
                Some(("http://host:80", "x")),
            ),
            ("/v1.0/invoke/a.ns/method/x", Some(("a.ns", "x"))),
            ("/v1.0/invoke/a+b/method/x+y", Some(("a b", "x+y"))),
            ("/v1.0/invoke/a/method/x/method/y", Some(("a", "x/method/y"))),
            ("/v1.0/invoke/a/method/x/../y/", Some(("a", "y"))),
            (
                "/v1.0/invoke/a/method/public%23%2F..%2Fadmin",
                Some(("a", "admin")),
            ),
            ("/v1.0/invoke/a/method/..%2Fpublic", Some(("a", "../public"))),
            ("/v1.0/invoke/a/method/test%22stream", Some(("a", "test\"stream"))),
            ("/v1.0/invoke/%C3%A9/method/%C3%A9", Some(("é", "é"))),
            ("/nothing/here", None),
        ];
        for (path, expected) in table {
            let expected = expected.map(|(id, method)| (id.to_owned(), method.to_owned()));
            assert_eq!(target(path, &[]), expected, "{path}");
        }
    }

    #[test]
    fn a_header_names_the_target_of_any_path() {
        let id = [(APP_ID_HEADER, "a")];
        let table = [
            ("///foo", "foo"),
            ("/", ""),
            ("/x/../y/", "y"),
            ("/v1.0/invoke/b/method/m", "v1.0/invoke/b/method/m"),
        ];
        for (path, method) in table {
            assert_eq!(
                target(path, &id),
                Some(("a".to_owned(), method.to_owned())),
                "{path}"
            );
        }
        assert_eq!(target("/x", &[(APP_ID_HEADER, "")]), None);
    }

    #[test]
    fn basic_credentials_name_the_target_of_any_path() {
        let named = |credentials: &str| {
            let value = format!("Basic {}", STANDARD.encode(credentials));
            target("/x/y", &[(header::AUTHORIZATION, value.as_str())])
        };
        assert_eq!(named("dapr-app-id:a"), Some(("a".to_owned(), "x/y".to_owned())));
        assert_eq!(
            named("Dapr-App-Id:a.ns"),
            Some(("a.ns".to_owned(), "x/y".to_owned()))
        );
        assert_eq!(named("dapr-app-id:a:b"), None);
        assert_eq!(named("someone:a"), None);
        assert_eq!(target("/x", &[(header::AUTHORIZATION, "Basic ???")]), None);
        assert_eq!(target("/x", &[(header::AUTHORIZATION, "Bearer x")]), None);
    }

    #[test]
    fn a_broken_escape_is_an_error() {
        assert!(Target::of("/v1.0/invoke/a/method/%zz", &HeaderMap::new()).is_err());
    }

    #[test]
    fn the_usual_path_is_not_copied() {
        let found = Target::of("/v1.0/invoke/app/method/orders/1", &HeaderMap::new())
            .unwrap()
            .unwrap();
        assert!(matches!(
            (found.id, found.method),
            (Cow::Borrowed("app"), Cow::Borrowed("orders/1"))
        ));
    }

    #[test]
    fn ids_have_three_forms() {
        let app = |app_id, namespace| Ok(TargetId::App { app_id, namespace });
        assert_eq!(TargetId::parse("a"), app("a", None));
        assert_eq!(TargetId::parse("a.ns"), app("a", Some("ns")));
        assert_eq!(
            TargetId::parse("http://a.b.c:80"),
            Ok(TargetId::Url("http://a.b.c:80"))
        );
        assert_eq!(TargetId::parse("HTTP://a"), app("HTTP://a", None));
        assert_eq!(
            TargetId::parse("a.b.c").unwrap_err().to_string(),
            "invalid app id a.b.c"
        );
        assert_eq!(TargetId::parse("").unwrap_err().to_string(), "app id is empty");
    }
}
