//! `middleware.http.ratelimit`: so many requests a second for each client and path.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use outrigger_component::{HttpMiddleware, Init, Next, answer_text};
use outrigger_svc::{BoxError, BoxFuture, CallContext, Request, Response};
use tokio::time::Instant;

use super::target::decoded_path;

/// Refuses requests beyond a rate that one client has for one path. The whole sidecar counts together.
#[derive(Debug)]
pub struct RateLimit {
    /// Requests a second.
    rate: f64,
    buckets: Mutex<Buckets>,
}

/// A bucket of tokens for each client and path: full at first, filled at the rate, a token a request.
#[derive(Debug)]
struct Buckets {
    by_key: HashMap<String, Bucket>,
    /// When as many buckets are there, those that have filled up again are dropped: they say nothing.
    sweep_at: usize,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const NO_ADDRESS: HeaderValue = HeaderValue::from_static("0.0.0.0");
const FIRST_SWEEP: usize = 1024;

// === impl RateLimit ===

impl RateLimit {
    pub(super) async fn make(init: Init) -> Result<Arc<dyn HttpMiddleware>, BoxError> {
        let rate = init.properties.fields()?.float("maxRequestsPerSecond")?;
        Ok(Arc::new(Self::new(rate.unwrap_or(100.0))?))
    }

    fn new(rate: f64) -> Result<Self, BoxError> {
        if !(rate.is_finite() && rate > 0.0) {
            return Err("metadata property maxRequestsPerSecond must be a positive value".into());
        }
        Ok(Self {
            rate,
            buckets: Mutex::new(Buckets {
                by_key: HashMap::new(),
                sweep_at: FIRST_SWEEP,
            }),
        })
    }

    /// Takes a token if there is one, and tells how many whole ones are left.
    fn take(&self, key: String) -> Option<u64> {
        let burst = self.rate.floor().max(1.0);
        let now = Instant::now();
        let level = |bucket: &Bucket| {
            let earned = now.duration_since(bucket.filled).as_secs_f64() * self.rate;
            (bucket.tokens + earned).min(burst)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.by_key.len() >= buckets.sweep_at {
            buckets.by_key.retain(|_, bucket| level(bucket) < burst);
            buckets.sweep_at = (buckets.by_key.len() * 2).max(FIRST_SWEEP);
        }
        let bucket = buckets.by_key.entry(key).or_insert(Bucket {
            tokens: burst,
            filled: now,
        });
        let tokens = level(bucket);
        let taken = (tokens >= 1.0).then_some(tokens - 1.0);
        *bucket = Bucket {
            tokens: taken.unwrap_or(tokens),
            filled: now,
        };
        // Truncation is meant: only whole tokens can be taken.
        taken.map(|left| left as u64)
    }

    fn headers(&self, request: &Request, remaining: u64) -> Vec<(HeaderName, HeaderValue)> {
        let text = |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""));
        let remote = peer(request).map(|address| address.to_string());
        let mut headers = vec![
            (
                HeaderName::from_static("x-rate-limit-limit"),
                text(format!("{:.2}", self.rate)),
            ),
            (
                HeaderName::from_static("x-rate-limit-duration"),
                HeaderValue::from_static("1"),
            ),
            (
                HeaderName::from_static("x-rate-limit-request-remote-addr"),
                text(remote.unwrap_or_default()),
            ),
            (
                HeaderName::from_static("ratelimit-limit"),
                text(format!("{}", self.rate.round())),
            ),
            (
                HeaderName::from_static("ratelimit-reset"),
                HeaderValue::from_static("1"),
            ),
            (
                HeaderName::from_static("ratelimit-remaining"),
                HeaderValue::from(remaining),
            ),
        ];
        if let Some(forwarded) = request.headers().get(FORWARDED_FOR) {
            headers.push((
                HeaderName::from_static("x-rate-limit-request-forwarded-for"),
                forwarded.clone(),
            ));
        }
        headers
    }
}

impl HttpMiddleware for RateLimit {
    fn call<'a>(&'a self, mut request: Request, next: Next<'a>) -> BoxFuture<'a, Result<Response, BoxError>> {
        let client = match client(&request) {
            Some(client) => client,
            None => {
                request.headers_mut().insert(FORWARDED_FOR, NO_ADDRESS);
                "0.0.0.0".to_owned()
            }
        };
        let taken = self.take(format!("{client} {}", decoded_path(request.uri())));
        let headers = self.headers(&request, taken.unwrap_or(0));
        Box::pin(async move {
            let mut response = match taken {
                Some(_) => next.run(request).await?,
                None => answer_text(
                    StatusCode::TOO_MANY_REQUESTS,
                    "You have reached maximum request limit.",
                ),
            };
            response.headers_mut().extend(headers);
            Ok(response)
        })
    }
}

fn peer(request: &Request) -> Option<std::net::SocketAddr> {
    request.extensions().get::<CallContext>()?.remote
}

/// The address that stands for the client; that of IPv6 is its network of 64 bits.
fn client(request: &Request) -> Option<String> {
    let forwarded = text(request.headers(), &FORWARDED_FOR);
    let last = forwarded.and_then(|list| list.rsplit(',').next().map(str::trim));
    let given = last.filter(|address| !address.is_empty());
    let given = given.or_else(|| text(request.headers(), &REAL_IP));
    let address = match given {
        Some(address) => Cow::Borrowed(address),
        None => Cow::Owned(peer(request)?.ip().to_string()),
    };
    Some(match address.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => network(address).to_string(),
        _ => address.into_owned(),
    })
}

fn network(address: Ipv6Addr) -> Ipv6Addr {
    match address.to_ipv4_mapped() {
        Some(_) => address,
        None => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use outrigger_component::Chain;
    use outrigger_svc::{Body, Surface, collect_limited};

    use super::*;

    fn request(path: &str, remote: Option<&str>, headers: &[(&'static str, &'static str)]) -> Request {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = path.parse().unwrap();
        for (name, value) in headers {
            request
                .headers_mut()
                .append(*name, HeaderValue::from_static(value));
        }
        request.extensions_mut().insert(CallContext {
            surface: Surface::Api,
            remote: remote.map(|remote| remote.parse().unwrap()),
            peer: None,
        });
        request
    }

    #[test]
    fn clients_are_told_apart_by_their_address() {
        let peer = Some("192.0.2.1:4000");
        type Row = (
            &'static [(&'static str, &'static str)],
            Option<&'static str>,
            Option<&'static str>,
        );
        let table: [Row; 8] = [
            (&[], peer, Some("192.0.2.1")),
            (
                &[("x-forwarded-for", "10.0.0.1, 10.0.0.2")],
                peer,
                Some("10.0.0.2"),
            ),
            (&[("x-real-ip", "10.0.0.3")], peer, Some("10.0.0.3")),
            (
                &[("x-real-ip", "10.0.0.3"), ("x-forwarded-for", "10.0.0.1")],
                peer,
                Some("10.0.0.1"),
            ),
            (
                &[("x-forwarded-for", "2001:db8:1:2:3::4")],
                None,
                Some("2001:db8:1:2::"),
            ),
            (&[], Some("[2001:db8:1:2:5::6]:9"), Some("2001:db8:1:2::")),
            (&[("x-forwarded-for", "unknown")], None, Some("unknown")),
            (&[], None, None),
        ];
        for (headers, remote, expected) in table {
            assert_eq!(
                client(&request("/", remote, headers)).as_deref(),
                expected,
                "{headers:?}"
            );
        }
    }

    #[test]
    fn the_rate_must_be_positive() {
        for rate in [0.0, -1.0, f64::NAN] {
            assert_eq!(
                RateLimit::new(rate).unwrap_err().to_string(),
                "metadata property maxRequestsPerSecond must be a positive value"
            );
        }
    }

    async fn ask(limit: &Arc<RateLimit>, request: Request) -> (u16, Vec<(String, String)>, String) {
        let chain = Chain::new(vec![Arc::clone(limit) as Arc<dyn HttpMiddleware>]);
        let inside = async |request: Request| {
            let seen = text(request.headers(), &FORWARDED_FOR)
                .unwrap_or("none")
                .to_owned();
            Ok(Response::new(Body::from(seen)))
        };
        let response = chain.run(request, inside).await.unwrap();
        let (head, body) = response.into_parts();
        let mut headers: Vec<_> = head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        headers.sort();
        let body = collect_limited(body, 100).await.unwrap();
        (
            head.status.as_u16(),
            headers,
            String::from_utf8(body.to_vec()).unwrap(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn requests_beyond_the_rate_are_refused_until_time_has_passed() {
        let limit = Arc::new(RateLimit::new(2.5).unwrap());
        let get = |path| request(path, Some("192.0.2.1:4000"), &[]);
        let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
            pairs
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let expected = |remaining| {
            [
                ("ratelimit-limit", "3"),
                ("ratelimit-remaining", remaining),
                ("ratelimit-reset", "1"),
                ("x-rate-limit-duration", "1"),
                ("x-rate-limit-limit", "2.50"),
                ("x-rate-limit-request-remote-addr", "192.0.2.1:4000"),
            ]
        };
        assert_eq!(
            ask(&limit, get("/a")).await,
            (200, owned(&expected("1")), "none".to_owned())
        );
        assert_eq!(ask(&limit, get("/%61?x=y")).await.1, owned(&expected("0")));
        let (status, mut headers, body) = ask(&limit, get("/a")).await;
        assert_eq!(
            (status, body.as_str()),
            (429, "You have reached maximum request limit.")
        );
        assert_eq!(
            headers.remove(0),
            ("content-type".to_owned(), "text/plain; charset=utf-8".to_owned())
        );
        assert_eq!(headers, owned(&expected("0")));
        // Another path, and another client, have their own.
        assert_eq!(ask(&limit, get("/b")).await.0, 200);
        let other = request("/a", Some("192.0.2.1:4000"), &[("x-forwarded-for", "10.0.0.9")]);
        let (status, headers, _) = ask(&limit, other).await;
        assert_eq!(status, 200);
        assert!(headers.contains(&(
            "x-rate-limit-request-forwarded-for".to_owned(),
            "10.0.0.9".to_owned()
        )));
        tokio::time::advance(Duration::from_millis(400)).await;
        assert_eq!(ask(&limit, get("/a")).await.0, 200);
        assert_eq!(ask(&limit, get("/a")).await.0, 429);
    }

    #[tokio::test]
    async fn a_client_without_an_address_gets_one() {
        let limit = Arc::new(RateLimit::new(0.5).unwrap());
        assert_eq!(ask(&limit, request("/a", None, &[])).await.2, "0.0.0.0");
        let (status, headers, _) = ask(&limit, request("/a", None, &[])).await;
        assert_eq!(status, 429);
        assert!(headers.contains(&("x-rate-limit-request-remote-addr".to_owned(), String::new())));
        assert!(headers.contains(&("ratelimit-limit".to_owned(), "1".to_owned())));
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_are_gone_are_forgotten() {
        let limit = RateLimit::new(1.0).unwrap();
        for number in 0..FIRST_SWEEP {
            limit.take(number.to_string());
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        limit.take("new".to_owned());
        assert_eq!(limit.buckets.lock().unwrap().by_key.len(), 1);
    }
}
