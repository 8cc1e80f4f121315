//! Documents with keys that servers publish.

use std::time::Duration;

use bytes::Bytes;
use http::header::CACHE_CONTROL;
use http::{HeaderMap, StatusCode};
use outrigger_component::{FetchError, HttpClient};
use outrigger_svc::{Body, BoxError};
use tokio::time::Instant;

/// Most bytes of a document.
const MAX_DOCUMENT: usize = 1 << 20;
/// The longest time that a document is kept without asking again.
const AT_MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// Fetches a document; the result is its bytes and its headers.
///
/// # Errors
/// If the server does not answer until `deadline`, or otherwise than with 200.
pub(crate) async fn fetch(
    http: &HttpClient,
    url: &str,
    deadline: Instant,
) -> Result<(Bytes, HeaderMap), BoxError> {
    let request = http::Request::get(url).body(Body::empty())?;
    let response = http.fetch(request, MAX_DOCUMENT, deadline).await;
    let response = response.map_err(|error| match error {
        FetchError::Deadline => format!("Get \"{url}\": context deadline exceeded").into(),
        other => BoxError::from(other),
    })?;
    if response.status() != StatusCode::OK {
        return Err(format!("invalid response status code: {}", response.status().as_u16()).into());
    }
    let (head, body) = response.into_parts();
    Ok((body, head.headers))
}

/// How long a document may be kept: as its server says, within limits.
pub(crate) fn pause(headers: &HeaderMap, at_least: Duration) -> Duration {
    let directives = headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok());
    let max_age = directives.and_then(|directives| {
        let mut ages = directives.split(',').filter_map(|directive| {
            let seconds = directive.trim().strip_prefix("max-age=")?;
            seconds.parse().ok()
        });
        ages.next()
    });
    let kept = max_age.map_or(at_least, Duration::from_secs);
    kept.min(AT_MOST).max(at_least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_kept_as_long_as_its_server_says_within_limits() {
        let at_least = Duration::from_secs(600);
        for (header, seconds) in [
            ("no-cache", 600),
            ("public, max-age=5", 600),
            ("max-age=7200, must-revalidate", 7200),
            ("max-age=99999999", 86400),
            ("max-age=x", 600),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, header.parse().unwrap());
            assert_eq!(pause(&headers, at_least).as_secs(), seconds, "{header}");
        }
        assert_eq!(pause(&HeaderMap::new(), at_least), at_least);
    }
}
