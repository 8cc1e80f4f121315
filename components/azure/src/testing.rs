//! Servers in the same process, for tests.

use std::fmt;
use std::sync::{Arc, Mutex};

use outrigger_component::{HttpClient, SendHttp};
use outrigger_svc::{Body, BoxError, BoxFuture, Request, Response, collect_limited};

/// All servers that can be reached: a function that answers each request.
pub(crate) struct Server {
    answer: Option<Box<Reply>>,
    asked: Mutex<Vec<Asked>>,
}

/// A request as a server got it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: String,
}

/// Status, headers and body.
pub(crate) type Told = (u16, Vec<(&'static str, &'static str)>, String);

type Reply = dyn Fn(&Asked, usize) -> Told + Send + Sync;

// === impl Server ===

impl Server {
    /// A server that answers as a function says, which is told the number of the request too.
    pub(crate) fn new(answer: impl Fn(&Asked, usize) -> Told + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            answer: Some(Box::new(answer)),
            asked: Mutex::default(),
        })
    }

    /// A server whose connections break.
    pub(crate) fn broken() -> Arc<Self> {
        Arc::new(Self {
            answer: None,
            asked: Mutex::default(),
        })
    }

    /// The way to it.
    pub(crate) fn client(self: &Arc<Self>) -> HttpClient {
        HttpClient::new(Arc::clone(self) as Arc<dyn SendHttp>)
    }

    /// The requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    async fn exchange(&self, request: Request) -> Result<Response, BoxError> {
        let (head, body) = request.into_parts();
        let body = collect_limited(body, 1 << 20).await?;
        let asked = Asked {
            method: head.method.to_string(),
            url: head.uri.to_string(),
            headers: head.headers,
            body: String::from_utf8(body.to_vec())?,
        };
        let count = {
            let mut all = self.asked.lock().unwrap();
            all.push(asked.clone());
            all.len()
        };
        let answer = self.answer.as_ref().ok_or("connection reset by peer")?;
        let (status, headers, body) = answer(&asked, count);
        let response = http::Response::builder().status(status);
        let response = headers
            .into_iter()
            .fold(response, |response, (name, value)| response.header(name, value));
        Ok(response.body(Body::from(body))?)
    }
}

impl SendHttp for Server {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, BoxError>> {
        Box::pin(self.exchange(request))
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}
