//! Requests to a service: sent until they are answered.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use outrigger_component::HttpClient;
use outrigger_svc::{Body, BoxError};
use tokio::time::Instant;

/// A request that can be made again.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// The whole address, encoded.
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// How often and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// The most attempts after the first.
    pub(crate) retries: u32,
    /// Pause before the first of them, twice as long before each further one.
    pub(crate) pause: Duration,
    /// The longest pause.
    pub(crate) max_pause: Duration,
    /// Time for the whole.
    pub(crate) limit: Duration,
}

pub(crate) type Answer = http::Response<Bytes>;

/// Most bytes of an answer.
const MAX_ANSWER: usize = 64 << 20;

// === impl Ask ===

impl Ask {
    pub(crate) fn new(method: Method, url: impl Into<String>) -> Self {
        Self {
            method,
            url: url.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// Sends the request, anew for each attempt as `sign` leaves it, until an answer comes that is not about the
    /// service being busy.
    ///
    /// # Errors
    /// If no answer comes in time.
    pub(crate) async fn send(
        &self,
        http: &HttpClient,
        patience: Patience,
        mut sign: impl FnMut(&mut Self) -> Result<(), BoxError>,
    ) -> Result<Answer, BoxError> {
        let deadline = Instant::now() + patience.limit;
        let mut attempt = 0;
        loop {
            let mut signed = self.clone();
            sign(&mut signed)?;
            let answer = http.fetch(signed.request()?, MAX_ANSWER, deadline).await;
            let pause = match &answer {
                Ok(answer) if is_busy(answer.status()) => told_pause(answer.headers()),
                Ok(_) => return Ok(answer?),
                // What has perhaps been done is not done again.
                Err(_) if self.method != Method::GET => return Ok(answer?),
                Err(_) => None,
            };
            let pause = pause.unwrap_or_else(|| patience.pause.saturating_mul(1 << attempt.min(10)));
            let pause = pause.min(patience.max_pause);
            if attempt >= patience.retries || Instant::now() + pause >= deadline {
                return Ok(answer?);
            }
            attempt += 1;
            tokio::time::sleep(pause).await;
        }
    }

    fn request(mut self) -> Result<http::Request<Body>, BoxError> {
        // The services ask for a length even where there is no body.
        if self.body.is_empty() && matches!(self.method, Method::POST | Method::PUT) {
            self.headers.insert(CONTENT_LENGTH, HeaderValue::from(0));
        }
        let mut request = http::Request::builder()
            .method(self.method)
            .uri(self.url)
            .body(Body::from(self.body))?;
        *request.headers_mut() = self.headers;
        Ok(request)
    }
}

// === impl Patience ===

impl Default for Patience {
    fn default() -> Self {
        Self {
            retries: 3,
            pause: Duration::from_millis(800),
            max_pause: Duration::from_secs(60),
            limit: Duration::from_secs(20),
        }
    }
}

/// Whether a request was not looked at, so that it may be made again whatever it does.
fn is_busy(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    )
}

/// How long the service asks to wait.
fn told_pause(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
    let milliseconds = number("x-ms-retry-after-ms").or_else(|| number("retry-after-ms"));
    milliseconds
        .map(Duration::from_millis)
        .or_else(|| number(RETRY_AFTER.as_str()).map(Duration::from_secs))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use outrigger_component::testing::Server;

    fn ask(server: &Arc<Server>, method: Method) -> impl Future<Output = Result<Answer, BoxError>> {
        let http = server.client();
        async move {
            let ask = Ask::new(method, "https://service/x");
            ask.send(&http, Patience::default(), |_| Ok(())).await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_service_is_asked_again_when_it_says() {
        let server = Server::new(|_, count| match count {
            1 => (429, vec![("x-ms-retry-after-ms", "5000")], String::new()),
            2 => (503, vec![], String::new()),
            _ => (200, vec![], "done".to_owned()),
        });
        let begin = Instant::now();
        let answer = ask(&server, Method::POST).await.unwrap();
        assert_eq!(answer.body(), "done");
        assert_eq!(begin.elapsed().as_millis(), 5000 + 1600);
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_have_been_done_is_not_done_again() {
        let server = Server::broken();
        assert!(ask(&server, Method::POST).await.is_err());
        assert_eq!(server.asked().len(), 1);
        assert!(ask(&server, Method::GET).await.is_err());
        assert_eq!(server.asked().len(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn other_answers_are_answers() {
        let server = Server::new(|_, _| (500, vec![], String::new()));
        assert_eq!(ask(&server, Method::GET).await.unwrap().status(), 500);
        assert_eq!(server.asked().len(), 1);
    }
}
