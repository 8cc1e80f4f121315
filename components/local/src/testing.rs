//! Servers in the same process, for the tests of components that ask them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use outrigger_component::{Condition, HttpClient, Init, Properties, SendHttp};
use outrigger_svc::{Body, BoxError, BoxFuture, Request, Response, collect_limited};
use tokio::time::Instant;

/// All servers that can be reached: each URL has a document, or a function that answers.
#[derive(Default)]
pub(crate) struct Server {
    answers: Mutex<HashMap<String, Answer>>,
    asked: Mutex<Vec<Asked>>,
}

/// A request as a server got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) url: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: String,
}

type Answer = Arc<dyn Fn(&Asked) -> (u16, String) + Send + Sync>;

// === impl Server ===

impl Server {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Answers a URL with a document from now on.
    pub(crate) fn document(&self, url: &str, status: u16, body: &str) {
        let body = body.to_owned();
        self.answer(url, move |_| (status, body.clone()));
    }

    /// Answers a URL as a function says.
    pub(crate) fn answer(&self, url: &str, answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) {
        self.answers
            .lock()
            .unwrap()
            .insert(url.to_owned(), Arc::new(answer));
    }

    /// The requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How often a URL was asked for.
    pub(crate) fn count(&self, url: &str) -> usize {
        self.asked().iter().filter(|asked| asked.url == url).count()
    }

    async fn exchange(&self, request: Request) -> Result<Response, BoxError> {
        let (head, body) = request.into_parts();
        let body = collect_limited(body, 1 << 20).await?;
        let authorization = head.headers.get("authorization");
        let asked = Asked {
            url: head.uri.to_string(),
            authorization: authorization.map(|value| value.to_str().unwrap().to_owned()),
            body: String::from_utf8(body.to_vec())?,
        };
        let answer = self.answers.lock().unwrap().get(&asked.url).cloned();
        let (status, text) = answer.map_or((404, String::new()), |answer| answer(&asked));
        self.asked.lock().unwrap().push(asked);
        Ok(http::Response::builder().status(status).body(Body::from(text))?)
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

/// What a component is made from in a sidecar that reaches these servers.
pub(crate) fn init(server: &Arc<Server>, settings: &[(&str, &str)]) -> Init {
    let settings = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Init {
        name: "c".into(),
        log_name: "c (x/v1)".into(),
        app_id: "app1".into(),
        namespace: "default".into(),
        properties: Properties::new(settings),
        deadline: Instant::now() + Duration::from_secs(5),
        http: HttpClient::new(Arc::clone(server) as Arc<dyn SendHttp>),
        condition: Condition::default(),
    }
}
