//! One suite a family that every implementation passes, whatever its vendor. For tests only.
//!
//! ```text
//! a vendor's test ──▶ init(settings) ──▶ maker ──▶ component ──▶ conformance::state::run(component, &traits)
//!                     of a real server's address                  the traits: where it may be its own way
//! ```
//!
//! A suite runs all its cases and then fails once, with the name of every case that failed and why. Cases have
//! names of their own in the store, so many suites can run on one server at the same time.

pub mod configuration;
pub mod lock;
mod report;
pub mod secrets;
pub mod state;

use std::sync::Arc;
use std::time::Duration;

use outrigger_svc::{BoxError, BoxFuture, Request, Response};
use tokio::time::Instant;

use crate::condition::Condition;
use crate::http_client::{HttpClient, SendHttp};
use crate::init::Init;
use crate::properties::Properties;

pub use report::{Failure, Outcome};

/// No way to any server.
#[derive(Debug)]
struct NoWay;

/// What a component is made from in a test: app `app1`, namespace `default`, half a minute of time.
#[must_use]
pub fn init<'a>(settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> Init {
    let settings = settings
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    Init {
        name: "tested".into(),
        log_name: "tested (x/v1)".into(),
        app_id: "app1".into(),
        namespace: "default".into(),
        properties: Properties::new(settings),
        deadline: Instant::now() + Duration::from_secs(30),
        http: HttpClient::new(Arc::new(NoWay)),
        condition: Condition::default(),
    }
}

// === impl NoWay ===

impl SendHttp for NoWay {
    fn send(&self, _: Request) -> BoxFuture<'_, Result<Response, BoxError>> {
        Box::pin(std::future::ready(Err("no server is reached from here".into())))
    }
}
