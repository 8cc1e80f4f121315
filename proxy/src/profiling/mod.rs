//! The profiling port: what the process does and what it holds, at the paths and in the form of Go's profiles.
//!
//! | Path under `/debug/pprof/` | Answer |
//! |---|---|
//! | `profile?seconds=30` | CPU profile |
//! | `heap`, `allocs` | resident memory by mapping |
//! | `goroutine` | running tasks, by the runtime that runs them |
//! | `threadcreate` | threads, by name |
//! | `cmdline`, `symbol` | as in Go |
//!
//! Profiles are gzipped protobuf; `?debug=1` gives the named ones as text. The port is off by default and has no token:
//! it listens where the APIs do, so it is for loopback addresses and for machines that are trusted.
//!
//! Source: specification, HTTP API 1.

mod cpu;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use outrigger_profile::memory::MemorySummary;
use outrigger_profile::{Profile, threads};
use outrigger_svc::{Body, DrainSignal, Request, Response, Service, stack};

use crate::http_api::query;
use crate::serve::HttpService;
use crate::worker::Workers;

/// Answers the requests of the profiling port.
#[derive(Clone, Debug)]
pub(crate) struct Profiling {
    workers: Arc<Workers>,
    control: tokio::runtime::Handle,
    drain: DrainSignal,
}

/// A profile that is asked for by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Named {
    name: &'static str,
    what: &'static str,
}

const GO_PPROF: HeaderName = HeaderName::from_static("x-go-pprof");
const PREFIX: &str = "/debug/pprof/";
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// Time of a CPU profile that says none.
const SECONDS: u64 = 30;
const LONGEST: u64 = 600;

const NAMED: [Named; 4] = [
    Named {
        name: "allocs",
        what: "the same as heap: the allocator does not record past allocations",
    },
    Named {
        name: "goroutine",
        what: "running tasks, by the runtime that runs them",
    },
    Named {
        name: "heap",
        what: "resident memory, by mapping",
    },
    Named {
        name: "threadcreate",
        what: "threads, by name",
    },
];

// === impl Profiling ===

impl Profiling {
    /// Looks at the tasks of these workers and of the current runtime; a profile that is being made ends with `drain`.
    pub(crate) fn new(workers: Arc<Workers>, drain: DrainSignal) -> Self {
        Self {
            workers,
            control: tokio::runtime::Handle::current(),
            drain,
        }
    }

    /// The server of one worker.
    pub(crate) fn into_service(self) -> HttpService {
        stack(self).boxed()
    }

    async fn answer(self, request: http::request::Parts) -> Response {
        let path = request.uri.path();
        let Some(name) = path.strip_prefix(PREFIX) else {
            return text(StatusCode::NOT_FOUND, "404 page not found\n");
        };
        let number = |name: &str| query::first(request.uri.query(), name)?.parse::<u64>().ok();
        match name {
            "" => index(),
            "profile" => {
                let seconds = number("seconds")
                    .filter(|seconds| *seconds > 0)
                    .unwrap_or(SECONDS);
                let duration = Duration::from_secs(seconds.min(LONGEST));
                match cpu::sample(duration, &self.drain).await {
                    Ok(profile) => attachment("profile", &profile),
                    Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error),
                }
            }
            "cmdline" => {
                let arguments: Vec<_> = std::env::args_os()
                    .map(|argument| argument.to_string_lossy().into_owned())
                    .collect();
                text(StatusCode::OK, arguments.join("\0"))
            }
            // Names are in the profiles already.
            "symbol" if request.method == Method::GET || request.method == Method::POST => {
                text(StatusCode::OK, "num_symbols: 0\n")
            }
            "trace" => failure(
                StatusCode::NOT_IMPLEMENTED,
                "execution traces exist for the Go runtime only; there is /debug/pprof/profile",
            ),
            _ => match NAMED.iter().find(|named| named.name == name) {
                Some(named) => self.named(*named, number("debug").unwrap_or(0) > 0),
                None => failure(StatusCode::NOT_FOUND, "Unknown profile"),
            },
        }
    }

    fn named(&self, named: Named, as_text: bool) -> Response {
        let outcome = match named.name {
            "goroutine" => Ok(self.tasks()),
            "threadcreate" => threads::count(),
            _ => {
                return match MemorySummary::read() {
                    Ok(summary) if as_text => text(StatusCode::OK, summary.to_text()),
                    Ok(summary) => attachment(named.name, &summary.to_profile()),
                    Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
                };
            }
        };
        match outcome {
            Ok(counts) if as_text => {
                let total: i64 = counts.values().sum();
                let mut lines = format!("{} profile: total {total}\n", named.name);
                for (name, count) in counts {
                    lines.push_str(&format!("{count} {name}\n"));
                }
                text(StatusCode::OK, lines)
            }
            Ok(counts) => attachment(named.name, &threads::to_profile(named.name, &counts)),
            Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }

    fn tasks(&self) -> BTreeMap<String, i64> {
        let count = |handle: &tokio::runtime::Handle| {
            i64::try_from(handle.metrics().num_alive_tasks()).unwrap_or(i64::MAX)
        };
        let workers = self.workers.handles().enumerate();
        let mut tasks: BTreeMap<_, _> = workers
            .map(|(index, handle)| (format!("worker-{index}"), count(handle)))
            .collect();
        tasks.insert("control".to_owned(), count(&self.control));
        tasks
    }
}

impl Service<Request> for Profiling {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let this = self.clone();
        let (head, _) = request.into_parts();
        Box::pin(async move { Ok(this.answer(head).await) })
    }
}

/// The page that lists the profiles.
fn index() -> Response {
    let mut page = String::from(
        "<html><head><title>/debug/pprof/</title></head><body>\n<h1>/debug/pprof/</h1>\n<table>\n",
    );
    let rows = NAMED.iter().map(|named| (named.name, named.what)).chain([
        ("cmdline", "the command line"),
        ("profile?seconds=10", "where the processor's time goes"),
        ("symbol", "names of addresses: none, they are in the profiles"),
    ]);
    for (name, what) in rows {
        page.push_str(&format!(
            "<tr><td><a href=\"{name}\">{name}</a></td><td>{what}</td></tr>\n"
        ));
    }
    page.push_str("</table>\n</body></html>\n");
    let mut response = text(StatusCode::OK, page);
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, html);
    response
}

fn text(status: StatusCode, body: impl Into<String>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, TEXT);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// An error as Go's profiles tell it.
fn failure(status: StatusCode, error: &str) -> Response {
    let mut response = text(status, format!("{error}\n"));
    response
        .headers_mut()
        .insert(GO_PPROF, HeaderValue::from_static("1"));
    response
}

/// A profile as a file to be saved.
fn attachment(name: &str, profile: &Profile) -> Response {
    let mut response = Response::new(Body::from(Bytes::from(profile.to_gzip())));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(disposition) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use outrigger_svc::{Drain, ServiceExt};

    use super::*;

    async fn get(path: &str) -> (StatusCode, String, Bytes) {
        let workers = Arc::new(Workers::start(1).unwrap());
        let service = Profiling::new(workers, Drain::new().signal()).into_service();
        let request = Request::new(Body::empty());
        let (mut head, body) = request.into_parts();
        head.uri = path.parse().unwrap();
        let Ok(response) = service.oneshot(Request::from_parts(head, body)).await;
        let (head, body) = response.into_parts();
        let kind = head.headers[CONTENT_TYPE].to_str().unwrap().to_owned();
        (head.status, kind, body.collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn named_profiles_are_gzip_or_text() {
        for name in ["heap", "allocs", "goroutine", "threadcreate"] {
            let (status, kind, body) = get(&format!("/debug/pprof/{name}")).await;
            assert_eq!((status, &*kind), (StatusCode::OK, "application/octet-stream"));
            assert!(body.starts_with(&[0x1f, 0x8b]), "{name}");
            let (status, kind, body) = get(&format!("/debug/pprof/{name}?debug=1")).await;
            assert_eq!((status, &*kind), (StatusCode::OK, "text/plain; charset=utf-8"));
            assert!(!body.is_empty() && body.is_ascii(), "{name}");
        }
    }

    #[tokio::test]
    async fn tasks_are_counted_by_runtime() {
        let (_, _, body) = get("/debug/pprof/goroutine?debug=1").await;
        let text = String::from_utf8_lossy(&body).into_owned();
        assert!(text.starts_with("goroutine profile: total "), "{text}");
        assert!(
            text.contains(" control\n") && text.contains(" worker-0\n"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn what_there_is_not_is_told_as_go_tells_it() {
        let (status, _, body) = get("/debug/pprof/nothing").await;
        assert_eq!(
            (status, &body[..]),
            (StatusCode::NOT_FOUND, &b"Unknown profile\n"[..])
        );
        let (status, ..) = get("/debug/pprof/trace").await;
        assert_eq!(status, StatusCode::NOT_IMPLEMENTED);
        let (status, ..) = get("/elsewhere").await;
        assert_eq!(status, StatusCode::NOT_FOUND);
        let (status, kind, body) = get("/debug/pprof/").await;
        assert_eq!((status, &*kind), (StatusCode::OK, "text/html; charset=utf-8"));
        assert!(String::from_utf8_lossy(&body).contains("href=\"heap\""));
        let (_, _, body) = get("/debug/pprof/symbol").await;
        assert_eq!(&body[..], b"num_symbols: 0\n");
        let (_, _, body) = get("/debug/pprof/cmdline").await;
        assert!(!body.is_empty());
    }
}
