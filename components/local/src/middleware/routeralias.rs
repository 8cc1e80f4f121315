//! `middleware.http.routeralias`: paths that stand for other paths.

use std::borrow::Cow;
use std::sync::Arc;

use http::Uri;
use outrigger_component::{HttpMiddleware, Init, Next, Properties};
use outrigger_kit::yaml;
use outrigger_svc::{BoxError, BoxFuture, Request, Response};
use regex_lite::Regex;
use serde_json::Value;

use super::target::{decoded_path, parameters, query, with_target};

/// Gives requests another path; the first pattern that matches the whole path wins.
///
/// The route of a request to the sidecar is chosen before, so an alias can lead to service invocation only.
#[derive(Debug)]
pub struct RouterAlias {
    routes: Vec<Route>,
}

#[derive(Debug)]
struct Route {
    pattern: Pattern,
    target: String,
}

/// A path with variables: `{name}` stands for one segment, `{name:expression}` for what the expression matches.
///
/// Texts between them are literal.
#[derive(Clone, Debug)]
pub struct Pattern {
    expression: Regex,
    variables: Vec<String>,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It does not begin with a slash.
    #[error("path must start with a slash")]
    NoSlash,
    /// Braces do not belong together.
    #[error("unbalanced braces")]
    Braces,
    /// A variable has no name, or no expression behind its colon.
    #[error("missing name or pattern")]
    NoName,
    /// An expression cannot be compiled.
    #[error("{0}")]
    Expression(String),
}

const SCOPE: &str = "dapr.contrib";

// === impl RouterAlias ===

impl RouterAlias {
    pub(super) async fn make(init: Init) -> Result<Arc<dyn HttpMiddleware>, BoxError> {
        Ok(Arc::new(Self::new(&init.properties, &init.log_name)?))
    }

    fn new(properties: &Properties, log_name: &str) -> Result<Self, BoxError> {
        let mut routes = Vec::new();
        for (pattern, target) in pairs(properties, log_name)? {
            match Pattern::parse(&pattern) {
                Ok(pattern) => routes.push(Route { pattern, target }),
                Err(error) => tracing::warn!(
                    target: SCOPE,
                    component = log_name,
                    "the route {pattern} matches nothing: {error}"
                ),
            }
        }
        Ok(Self { routes })
    }

    /// What a request is turned to; none if no pattern matches.
    fn alias(&self, uri: &Uri) -> Option<Uri> {
        let path = decoded_path(uri);
        let (target, found) = self.routes.iter().find_map(|route| {
            let found = route.pattern.variables(&path)?;
            Some((&route.target, found))
        })?;
        let old = uri.query().unwrap_or_default();
        let query = if found.is_empty() {
            Cow::Borrowed(old)
        } else {
            let found = found
                .iter()
                .map(|(name, value)| (Cow::Borrowed(*name), Cow::Borrowed(*value)));
            Cow::Owned(query(parameters(old).chain(found)))
        };
        with_target(uri, target, &query)
    }
}

impl HttpMiddleware for RouterAlias {
    fn call<'a>(&'a self, mut request: Request, next: Next<'a>) -> BoxFuture<'a, Result<Response, BoxError>> {
        if let Some(uri) = self.alias(request.uri()) {
            *request.uri_mut() = uri;
        }
        next.run(request)
    }
}

/// Patterns and targets: of the setting `routes`, or of all settings.
fn pairs(properties: &Properties, log_name: &str) -> Result<Vec<(String, String)>, BoxError> {
    let mut all = properties.iter();
    match (all.next(), all.next()) {
        (None, _) => return Ok(Vec::new()),
        (Some((name, routes)), None) if name.eq_ignore_ascii_case("routes") => return decode(routes),
        _ => {}
    }
    tracing::warn!(
        target: SCOPE,
        component = log_name,
        "Listing routes as key-value pairs is deprecated. Please use the \"routes\" property instead."
    );
    let pair = |(pattern, target): (&str, &str)| {
        if pattern.is_empty() || target.is_empty() {
            Err("invalid key/value pair in metadata: must not be empty".into())
        } else {
            Ok((pattern.to_owned(), target.to_owned()))
        }
    };
    properties.iter().map(pair).collect()
}

/// Reads a map of texts. JSON goes first: it may hold tabs, which YAML refuses.
fn decode(text: &str) -> Result<Vec<(String, String)>, BoxError> {
    let failed = |reason: String| format!("failed to decode 'routes' property as JSON or YAML: {reason}");
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(_) => yaml::to_json(text).map_err(|error| failed(error.to_string()))?,
    };
    let members = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Object(members) => members,
        _ => return Err(failed("expected a map of texts".to_owned()).into()),
    };
    let pair = |(pattern, target): (String, Value)| match target {
        Value::String(target) => Ok((pattern, target)),
        Value::Number(number) => Ok((pattern, number.to_string())),
        Value::Bool(word) => Ok((pattern, word.to_string())),
        _ => Err(failed(format!("the target of {pattern} is no text")).into()),
    };
    members.into_iter().map(pair).collect()
}

// === impl Pattern ===

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`]
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if !text.starts_with('/') {
            return Err(PatternError::NoSlash);
        }
        let mut expression = "^".to_owned();
        let mut variables = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let (literal, braced) = rest.split_at(open);
            expression.push_str(&regex_lite::escape(literal));
            let inside = variable(braced).ok_or(PatternError::Braces)?;
            let (name, own) = match inside.split_once(':') {
                Some((name, own)) => (name, own),
                None => (inside, "[^/]+"),
            };
            if name.is_empty() || own.is_empty() {
                return Err(PatternError::NoName);
            }
            expression.push_str(&format!("(?P<v{}>{own})", variables.len()));
            variables.push(name.to_owned());
            rest = braced.get(inside.len() + 2..).unwrap_or_default();
        }
        expression.push_str(&regex_lite::escape(rest));
        expression.push('$');
        let expression =
            Regex::new(&expression).map_err(|error| PatternError::Expression(error.to_string()))?;
        Ok(Self {
            expression,
            variables,
        })
    }

    /// Name and value of each variable if the pattern matches a whole path, decoded.
    #[must_use]
    pub fn variables<'a>(&'a self, path: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
        let found = self.expression.captures(path)?;
        let values = self.variables.iter().enumerate().map(|(index, name)| {
            let value = found
                .name(&format!("v{index}"))
                .map_or("", |value| value.as_str());
            (name.as_str(), value)
        });
        Some(values.collect())
    }
}

/// What stands between the brace at the beginning and its counterpart.
fn variable(braced: &str) -> Option<&str> {
    let mut depth = 0_usize;
    for (place, letter) in braced.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return braced.get(1..place);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = r#"{
	"/v1.0/mall/activity/info": "/v1.0/invoke/srv.default/method/mall/activity/info",
	"/v1.0/hello/{activity}/{id}": "/v1.0/invoke/srv.default/method/mall/hello",
	"/num/{n:[0-9]{2,3}}": "/number",
	"/rest/{all:.*}": "/all here",
	"/all/{x}/tail": "/x?y"
}"#;

    fn alias(properties: &Properties) -> RouterAlias {
        RouterAlias::new(properties, "alias").unwrap()
    }

    #[test]
    fn paths_that_match_as_a_whole_are_replaced() {
        let alias = alias(&Properties::from([("Routes", ROUTES)]));
        let table = [
            (
                "/v1.0/mall/activity/info",
                Some("/v1.0/invoke/srv.default/method/mall/activity/info"),
            ),
            (
                "/v1.0/mall/activity/info?a=b%20c&",
                Some("/v1.0/invoke/srv.default/method/mall/activity/info?a=b%20c&"),
            ),
            (
                "/v1.0/mall%2Factivity/info",
                Some("/v1.0/invoke/srv.default/method/mall/activity/info"),
            ),
            ("/v1.0/mall/activity/info/more", None),
            ("/x/v1.0/mall/activity/info", None),
            (
                "/v1.0/hello/go/7",
                Some("/v1.0/invoke/srv.default/method/mall/hello?activity=go&id=7"),
            ),
            (
                "/v1.0/hello/a%20b/7?z=1&id=6",
                Some("/v1.0/invoke/srv.default/method/mall/hello?activity=a+b&id=6&id=7&z=1"),
            ),
            ("/v1.0/hello/go", None),
            ("/v1.0/hello//7", None),
            ("/num/42", Some("/number?n=42")),
            ("/num/4", None),
            ("/num/4242", None),
            ("/rest/a/b", Some("/all%20here?all=a%2Fb")),
            ("/rest/", Some("/all%20here?all=")),
            ("/all/q/tail", Some("/x%3Fy?x=q")),
            ("/V1.0/mall/activity/info", None),
            ("/", None),
        ];
        for (path, expected) in table {
            let changed = alias.alias(&path.parse().unwrap()).map(|uri| uri.to_string());
            assert_eq!(changed.as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn routes_are_json_or_yaml_or_all_settings() {
        let yaml = "/a: /b\n/n: 7\n\"/{x}\": /c\n";
        for (properties, path, expected) in [
            (Properties::from([("routes", yaml)]), "/a", Some("/b")),
            (Properties::from([("routes", yaml)]), "/n", Some("/7")),
            (Properties::from([("routes", "")]), "/a", None),
            (Properties::default(), "/a", None),
            (Properties::from([("/a", "/b")]), "/a", Some("/b")),
            (
                Properties::from([("routes", "/c"), ("/a", "/b")]),
                "/a",
                Some("/b"),
            ),
            (Properties::from([("no slash", "/b")]), "/a", None),
            (Properties::from([("/a{", "/b"), ("/a", "/c")]), "/a", Some("/c")),
        ] {
            let changed = alias(&properties)
                .alias(&path.parse().unwrap())
                .map(|uri| uri.to_string());
            assert_eq!(changed.as_deref(), expected, "{properties:?}");
        }
    }

    #[test]
    fn settings_that_are_no_routes_are_refused() {
        let error = |properties| RouterAlias::new(&properties, "").unwrap_err().to_string();
        assert_eq!(
            error(Properties::from([("/a", "")])),
            "invalid key/value pair in metadata: must not be empty"
        );
        let text = error(Properties::from([("routes", "a: [")]));
        assert!(
            text.starts_with("failed to decode 'routes' property as JSON or YAML: "),
            "{text}"
        );
        assert_eq!(
            error(Properties::from([("routes", "[1]")])),
            "failed to decode 'routes' property as JSON or YAML: expected a map of texts"
        );
    }

    #[test]
    fn patterns_that_cannot_match_are_told() {
        for (text, expected) in [
            ("a", PatternError::NoSlash),
            ("/{a", PatternError::Braces),
            ("/a}", PatternError::Braces),
            ("/{}", PatternError::NoName),
            ("/{:x}", PatternError::NoName),
            ("/{a:}", PatternError::NoName),
        ] {
            assert_eq!(Pattern::parse(text).unwrap_err(), expected, "{text}");
        }
        assert!(matches!(
            Pattern::parse("/{a:(}"),
            Err(PatternError::Expression(_))
        ));
    }
}
