//! The address that calls to an app, an endpoint or a URL are made to.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use outrigger_kit::percent::decode_path_text;
use outrigger_kit::quote::go_quote;

use super::dial::Origin;

/// A URL in front of which nothing is put and behind which a method follows.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    /// Where to connect to.
    pub(crate) origin: Origin,
    /// Value of the `Host` header.
    pub(crate) host: HeaderValue,
    /// Path in front of the method; empty or with a leading slash.
    pub(crate) path: Box<str>,
    /// Basic credentials of the URL, as the header carries them.
    pub(crate) credentials: Option<HeaderValue>,
    /// The URL as it was given, for error texts.
    pub(crate) text: Box<str>,
}

/// Why a text is no base URL; the text is that of Go's URL parser.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parse {}: {reason}", go_quote(.url))]
pub(crate) struct BaseError {
    url: String,
    reason: String,
}

// === impl Base ===

impl Base {
    /// The address of an app: `http://127.0.0.1:3000`.
    pub(crate) fn of_app(host: &str, port: u16, tls: bool) -> Result<Self, BaseError> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let origin = Origin {
            host: host.into(),
            port,
            tls,
        };
        Self::parse(&origin.url())
    }

    /// Reads a URL with the scheme `http` or `https`.
    pub(crate) fn parse(url: &str) -> Result<Self, BaseError> {
        let failed = |reason: String| BaseError {
            url: url.to_owned(),
            reason,
        };
        let (scheme, rest) = url
            .split_once("://")
            .ok_or_else(|| failed("missing protocol scheme".to_owned()))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            other => return Err(failed(format!("unsupported protocol scheme {}", go_quote(other)))),
        };
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let (user, host) = authority
            .rsplit_once('@')
            .map_or((None, authority), |(user, host)| (Some(user), host));
        let (name, port) = split_port(host).map_err(&failed)?;
        if name.is_empty() {
            return Err(failed("no Host in request URL".to_owned()));
        }
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        let name: Arc<str> = name.trim_start_matches('[').trim_end_matches(']').into();
        let header =
            HeaderValue::from_str(host).map_err(|_| failed("invalid character in host name".to_owned()))?;
        Ok(Self {
            origin: Origin {
                host: name,
                port,
                tls,
            },
            host: header,
            path: path.into(),
            credentials: user.and_then(basic),
            text: url.into(),
        })
    }
}

/// Splits `host:port` where the port may be missing or empty.
fn split_port(host: &str) -> Result<(&str, Option<u16>), String> {
    let after_name = host.rfind(']').map_or(0, |end| end + 1);
    let Some(colon) = host.get(after_name..).and_then(|rest| rest.rfind(':')) else {
        return Ok((host, None));
    };
    let (name, port) = host.split_at(after_name + colon);
    match port.get(1..).unwrap_or_default() {
        "" => Ok((name, None)),
        digits => match digits.parse() {
            Ok(port) => Ok((name, Some(port))),
            Err(_) => Err(format!("invalid port {} after host", go_quote(port))),
        },
    }
}

fn basic(user: &str) -> Option<HeaderValue> {
    let user = decode_path_text(user).ok()?;
    let credentials = if user.contains(':') {
        user.into_owned()
    } else {
        format!("{user}:")
    };
    let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(credentials))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let table = [
            (
                "http://127.0.0.1:3000",
                "127.0.0.1",
                3000,
                false,
                "127.0.0.1:3000",
                "",
            ),
            (
                "https://api.example.com",
                "api.example.com",
                443,
                true,
                "api.example.com",
                "",
            ),
            (
                "https://api.example.com:/v1/",
                "api.example.com",
                443,
                true,
                "api.example.com:",
                "/v1/",
            ),
            ("http://[::1]:81/x", "::1", 81, false, "[::1]:81", "/x"),
            ("http://[::1]", "::1", 80, false, "[::1]", ""),
        ];
        for (url, host, port, tls, header, path) in table {
            let base = Base::parse(url).unwrap();
            assert_eq!(
                base.origin,
                Origin {
                    host: host.into(),
                    port,
                    tls
                },
                "{url}"
            );
            assert_eq!(
                (base.host.to_str().unwrap(), &*base.path, &*base.text),
                (header, path, url)
            );
        }
    }

    #[test]
    fn credentials_become_a_header() {
        let base = Base::parse("http://user:p%40ss@host/x").unwrap();
        assert_eq!(
            base.credentials.unwrap(),
            format!("Basic {}", STANDARD.encode("user:p@ss"))
        );
        assert_eq!(base.host, "host");
    }

    #[test]
    fn what_is_no_url_is_refused() {
        let table = [
            ("host", "parse \"host\": missing protocol scheme"),
            (
                "ftp://host",
                "parse \"ftp://host\": unsupported protocol scheme \"ftp\"",
            ),
            ("http://", "parse \"http://\": no Host in request URL"),
            (
                "http://host:x",
                "parse \"http://host:x\": invalid port \":x\" after host",
            ),
            (
                "http://host:99999",
                "parse \"http://host:99999\": invalid port \":99999\" after host",
            ),
        ];
        for (url, expected) in table {
            assert_eq!(Base::parse(url).unwrap_err().to_string(), expected);
        }
    }
}
