//! The answers that handlers give by themselves.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use outrigger_error::code::reason_phrase;
use outrigger_svc::{Body, Response};

const PLAIN: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// An answer whose body is the phrase of its status; a status without a phrase becomes 500.
#[must_use]
pub fn answer(status: u16) -> Response {
    match (reason_phrase(status), StatusCode::from_u16(status)) {
        ("", _) | (_, Err(_)) => answer_text(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        (phrase, Ok(status)) => answer_text(status, phrase),
    }
}

/// An answer with a text of its own.
#[must_use]
pub fn answer_text(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, PLAIN);
    response
}

#[cfg(test)]
mod tests {
    use outrigger_svc::collect_limited;

    use super::*;

    #[tokio::test]
    async fn an_answer_is_the_phrase_of_its_status() {
        for (status, expected, phrase) in [
            (401, 401, "Unauthorized"),
            (429, 429, "Too Many Requests"),
            (413, 413, "Request Entity Too Large"),
            (799, 500, "Internal Server Error"),
            (42, 500, "Internal Server Error"),
        ] {
            let answer = answer(status);
            assert_eq!(answer.status().as_u16(), expected);
            assert_eq!(answer.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
            assert_eq!(collect_limited(answer.into_body(), 100).await.unwrap(), phrase);
        }
    }
}
