//! The table of the API as a tree of path segments.
//!
//! Routing runs on the escaped, cleaned path. A static segment wins over a parameter; if what follows it,
//! or the method, does not fit, the parameter is tried. No route is ever answered with 405: a path or
//! method that the table does not know belongs to service invocation.
//!
//! Source: specification, HTTP API 2 and 5.

use http::Method;

use super::rules::ApiRules;
use super::table::{Route, TABLE, Verbs};

/// Most parameters of a route.
const MAX_PARAMETERS: usize = 4;

/// The routes that the rules have left, as a tree.
#[derive(Debug, Default)]
pub(crate) struct Router {
    root: Node,
}

/// The ports that have routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// The whole API.
    Api,
    /// Health and metadata only.
    Public,
}

/// A route and the escaped text of its parameters, in the order of the path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matched<'a> {
    /// The row of the table.
    pub(crate) route: &'static Route,
    values: Values<'a>,
}

/// Whether a path that fits no route would fit one with another method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Miss {
    /// The path is not in the table.
    Path,
    /// The path is, the method is not.
    Method,
}

/// Parameters found so far; a short array, so that a match allocates nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Values<'a> {
    texts: [&'a str; MAX_PARAMETERS],
    count: usize,
}

#[derive(Debug, Default)]
struct Node {
    statics: Vec<(&'static str, Self)>,
    parameter: Option<Box<Self>>,
    rest: Vec<&'static Route>,
    routes: Vec<&'static Route>,
}

// === impl Router ===

impl Router {
    /// The routes of a port that `rules` allow.
    #[must_use]
    pub(crate) fn new(rules: &ApiRules, port: Port) -> Self {
        let mut router = Self::default();
        for route in TABLE
            .iter()
            .filter(|route| port == Port::Api || route.operation.is_public())
        {
            for version in route
                .versions
                .iter()
                .filter(|version| rules.allow(route, **version))
            {
                let segments = std::iter::once(version.prefix()).chain(route.path.split('/'));
                router.root.insert(route, segments);
            }
        }
        router
    }

    /// Finds the route of a cleaned path.
    ///
    /// # Errors
    /// What was missing.
    pub(crate) fn find<'a>(&self, method: &Method, path: &'a str) -> Result<Matched<'a>, Miss> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let mut miss = Miss::Path;
        self.root
            .find(method, Some(path), Values::default(), &mut miss)
            .ok_or(miss)
    }

    /// Whether service invocation is among the routes, and with it the fallback.
    pub(crate) fn has_invocation(&self) -> bool {
        self.find(&Method::GET, "/v1.0/invoke/x").is_ok()
    }
}

// === impl Matched ===

impl<'a> Matched<'a> {
    /// The escaped text of the parameter at `index`, counted from 0 in the order of the path.
    pub(crate) fn value(&self, index: usize) -> &'a str {
        self.values.texts[index]
    }

    /// Name and escaped text of each parameter.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = (&'static str, &'a str)> {
        self.route.parameters().zip(self.values.texts)
    }
}

// === impl Node ===

impl Node {
    fn insert(&mut self, route: &'static Route, mut segments: impl Iterator<Item = &'static str>) {
        match segments.next() {
            None => self.routes.push(route),
            Some("*") => self.rest.push(route),
            Some(segment) if segment.starts_with('{') => {
                self.parameter.get_or_insert_default().insert(route, segments);
            }
            Some(segment) => {
                let position = self.statics.iter().position(|(name, _)| *name == segment);
                let position = position.unwrap_or_else(|| {
                    self.statics.push((segment, Self::default()));
                    self.statics.len() - 1
                });
                self.statics[position].1.insert(route, segments);
            }
        }
    }

    /// `path` is what follows this node, none at the end of the path.
    fn find<'a>(
        &self,
        method: &Method,
        path: Option<&'a str>,
        values: Values<'a>,
        miss: &mut Miss,
    ) -> Option<Matched<'a>> {
        let Some(path) = path else {
            return pick(&self.routes, method, values, miss);
        };
        let (segment, following) = match path.split_once('/') {
            Some((segment, following)) => (segment, Some(following)),
            None => (path, None),
        };
        let static_child = self.statics.iter().find(|(name, _)| *name == segment);
        if let Some((_, child)) = static_child
            && let Some(found) = child.find(method, following, values, miss)
        {
            return Some(found);
        }
        if let Some(child) = &self.parameter
            && !segment.is_empty()
            && let Some(found) = child.find(method, following, values.with(segment), miss)
        {
            return Some(found);
        }
        pick(&self.rest, method, values.with(path), miss)
    }
}

fn pick<'a>(
    routes: &[&'static Route],
    method: &Method,
    values: Values<'a>,
    miss: &mut Miss,
) -> Option<Matched<'a>> {
    let found = routes.iter().find(|route| route.verbs.include(method));
    if found.is_none() && !routes.is_empty() {
        *miss = Miss::Method;
    }
    found.map(|&route| Matched { route, values })
}

// === impl Values ===

impl<'a> Values<'a> {
    fn with(mut self, text: &'a str) -> Self {
        self.texts[self.count] = text;
        self.count += 1;
        self
    }
}

// === impl Verbs ===

impl Verbs {
    /// Whether a route with these verbs takes requests of this method.
    pub(crate) fn include(self, method: &Method) -> bool {
        match self {
            Self::Any => true,
            Self::These(methods) => methods.iter().any(|known| *known == method.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http_api::rules::ApiRule;
    use crate::http_api::table::Operation;

    fn router() -> Router {
        Router::new(&ApiRules::default(), Port::Api)
    }

    fn found(router: &Router, method: &str, path: &str) -> Result<(Operation, Vec<String>), Miss> {
        let matched = router.find(&method.parse().unwrap(), path)?;
        Ok((
            matched.route.operation,
            matched.parameters().map(|(_, value)| value.to_owned()).collect(),
        ))
    }

    #[test]
    fn paths_lead_to_their_operations() {
        use Operation as O;
        let table: [(&str, &str, O, &[&str]); 24] = [
            ("GET", "/v1.0/state/s/k", O::GetState, &["s", "k"]),
            ("GET", "/v1.0/state/s/bulk", O::GetState, &["s", "bulk"]),
            ("DELETE", "/v1.0/state/s/bulk", O::DeleteState, &["s", "bulk"]),
            ("POST", "/v1.0/state/s/bulk", O::GetBulkState, &["s"]),
            (
                "PUT",
                "/v1.0/state/s/transaction",
                O::ExecuteStateTransaction,
                &["s"],
            ),
            ("GET", "/v1.0/secrets/s/bulk", O::GetBulkSecret, &["s"]),
            ("GET", "/v1.0/secrets/s/a%2Fb", O::GetSecret, &["s", "a%2Fb"]),
            ("POST", "/v1.0/publish/p/a/b/c", O::PublishEvent, &["p", "a/b/c"]),
            ("POST", "/v1.0/publish/bulk/p/t", O::BulkPublishEvent, &["p", "t"]),
            (
                "POST",
                "/v1.0-alpha1/publish/bulk/p/t/u",
                O::BulkPublishEvent,
                &["p", "t/u"],
            ),
            ("POST", "/v1.0/publish/bulk/p", O::PublishEvent, &["bulk", "p"]),
            (
                "GET",
                "/v1.0/configuration/s/subscribe",
                O::SubscribeConfiguration,
                &["s"],
            ),
            (
                "GET",
                "/v1.0/configuration/s/i/unsubscribe",
                O::UnsubscribeConfiguration,
                &["s", "i"],
            ),
            (
                "DELETE",
                "/v1.0/actors/T/1/method/m",
                O::InvokeActor,
                &["T", "1", "m"],
            ),
            (
                "GET",
                "/v1.0/actors/T/1/reminders/r",
                O::GetActorReminder,
                &["T", "1", "r"],
            ),
            (
                "POST",
                "/v1.0/workflows/dapr/w/start",
                O::StartWorkflow,
                &["dapr", "w"],
            ),
            (
                "POST",
                "/v1.0-beta1/workflows/dapr/i/raiseEvent/e",
                O::RaiseEventWorkflow,
                &["dapr", "i", "e"],
            ),
            (
                "POST",
                "/v1.0-alpha2/conversation/c/converse",
                O::ConverseAlpha2,
                &["c"],
            ),
            ("GET", "/v1.0-alpha1/jobs/j", O::GetJob, &["j"]),
            (
                "PROPFIND",
                "/v1.0/invoke/a/method/m",
                O::InvokeService,
                &["a/method/m"],
            ),
            ("GET", "/v1.0/healthz", O::Healthz, &[]),
            ("GET", "/v1.0/healthz/outbound", O::HealthzOutbound, &[]),
            ("PUT", "/v1.0/metadata/k", O::PutMetadata, &["k"]),
            ("POST", "/v1.0/shutdown", O::Shutdown, &[]),
        ];
        let router = router();
        for (method, path, operation, values) in table {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            assert_eq!(
                found(&router, method, path),
                Ok((operation, values)),
                "{method} {path}"
            );
        }
    }

    #[test]
    fn what_the_table_does_not_know_is_missed() {
        let table = [
            ("GET", "/", Miss::Path),
            ("GET", "/nothing/here", Miss::Path),
            ("GET", "/v1.0", Miss::Path),
            ("GET", "/v1.0/invoke", Miss::Path),
            ("POST", "/v1.0/publish/p", Miss::Path),
            ("GET", "/v1.0-beta1/state/s/k", Miss::Path),
            ("DELETE", "/v1.0/healthz", Miss::Method),
            ("HEAD", "/v1.0/healthz", Miss::Method),
            ("OPTIONS", "/v1.0/metadata", Miss::Method),
            ("PATCH", "/v1.0/state/s/bulk", Miss::Method),
        ];
        let router = router();
        for (method, path, miss) in table {
            assert_eq!(found(&router, method, path), Err(miss), "{method} {path}");
        }
    }

    #[test]
    fn the_public_port_has_health_and_metadata_only() {
        let router = Router::new(&ApiRules::default(), Port::Public);
        assert!(found(&router, "GET", "/v1.0/metadata").is_ok());
        assert!(found(&router, "GET", "/v1.0/healthz").is_ok());
        assert_eq!(found(&router, "GET", "/v1.0/state/s/k"), Err(Miss::Path));
        assert!(!router.has_invocation());
    }

    #[test]
    fn a_removed_route_does_not_exist() {
        let denied = ApiRule {
            name: "invoke",
            version: "v1",
            protocol: "http",
        };
        let router = Router::new(&ApiRules::new([], [denied]), Port::Api);
        assert_eq!(found(&router, "GET", "/v1.0/invoke/a/method/m"), Err(Miss::Path));
        assert!(!router.has_invocation());
        assert!(found(&router, "GET", "/v1.0/state/s/k").is_ok());
    }
}
