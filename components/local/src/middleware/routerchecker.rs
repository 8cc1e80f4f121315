//! `middleware.http.routerchecker`: requests whose target does not match a rule are refused.

use std::sync::Arc;

use http::{StatusCode, Uri};
use outrigger_component::{HttpMiddleware, Init, Next, answer_text};
use outrigger_svc::{BoxError, BoxFuture, Request, Response};
use regex_lite::Regex;

/// Lets requests pass whose escaped path and query match a regular expression.
#[derive(Debug)]
pub struct RouterChecker {
    rule: Regex,
}

// === impl RouterChecker ===

impl RouterChecker {
    pub(super) async fn make(init: Init) -> Result<Arc<dyn HttpMiddleware>, BoxError> {
        let rule = init.properties.fields()?.text("rule").unwrap_or_default();
        Ok(Arc::new(Self::new(rule)?))
    }

    fn new(rule: &str) -> Result<Self, BoxError> {
        let rule = Regex::new(rule).map_err(|error| format!("failed to compile rule regexp: {error}"))?;
        Ok(Self { rule })
    }

    fn permits(&self, uri: &Uri) -> bool {
        match uri.path_and_query().map(|target| target.as_str()) {
            None | Some("") => self.rule.is_match("/"),
            Some(target) => self.rule.is_match(target),
        }
    }
}

impl HttpMiddleware for RouterChecker {
    fn call<'a>(&'a self, request: Request, next: Next<'a>) -> BoxFuture<'a, Result<Response, BoxError>> {
        if self.permits(request.uri()) {
            next.run(request)
        } else {
            let refusal = answer_text(StatusCode::BAD_REQUEST, "invalid router");
            Box::pin(std::future::ready(Ok(refusal)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_must_match_the_rule_somewhere() {
        let table = [
            ("", "/anything", true),
            ("^[A-Za-z0-9/._-]+$", "/v1.0/invoke/a/method/b-c", true),
            ("^[A-Za-z0-9/._-]+$", "/v1.0/invoke/a/method/b%20c", false),
            ("^[A-Za-z0-9/._-]+$", "/v1.0/invoke/a?b", false),
            ("method", "/v1.0/invoke/a/method/b", true),
            ("b=[0-9]", "/a?b=7", true),
            ("^/$", "/", true),
            ("(?i)^/A$", "/a", true),
        ];
        for (rule, target, expected) in table {
            let checker = RouterChecker::new(rule).unwrap();
            assert_eq!(
                checker.permits(&target.parse().unwrap()),
                expected,
                "{rule} {target}"
            );
        }
    }

    #[test]
    fn a_bad_rule_is_told() {
        let error = RouterChecker::new("a(").unwrap_err().to_string();
        assert!(error.starts_with("failed to compile rule regexp: "), "{error}");
    }
}
