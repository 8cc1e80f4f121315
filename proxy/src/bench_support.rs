//! What the benches measure of the inside of this crate; it exists only with the feature `bench`, and no
//! program may rest on it.

use std::borrow::Cow;

use http::{HeaderMap, Method};

use crate::http_api::{ApiRules, Port, Router};
use crate::invoke::Target;

/// The routes of the HTTP API, all allowed.
#[derive(Debug)]
pub struct ApiRouter(Router);

// === impl ApiRouter ===

impl ApiRouter {
    /// Builds the tree of routes.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "nobody wants the default of a bench")]
    pub fn new() -> Self {
        Self(Router::new(&ApiRules::default(), Port::Api))
    }

    /// Whether a request of this method and cleaned path has a route.
    #[must_use]
    pub fn finds(&self, method: &Method, path: &str) -> bool {
        self.0.find(method, path).is_ok()
    }
}

/// The id and the method that a request names, from its escaped path and its headers.
#[must_use]
pub fn target<'a>(escaped_path: &'a str, headers: &HeaderMap) -> Option<(Cow<'a, str>, Cow<'a, str>)> {
    let target = Target::of(escaped_path, headers).ok().flatten()?;
    Some((target.id, target.method))
}
