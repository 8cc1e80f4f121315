use std::sync::{Arc, Mutex};

use http::HeaderValue;
use outrigger_component::{Chain, HttpMiddleware, Next};
use outrigger_svc::{Body, BoxError, BoxFuture, Request, Response};
use outrigger_telemetry::log::{LogSettings, Logger};
use outrigger_telemetry::metrics::{Metrics, MetricsSettings};
use outrigger_telemetry::trace::Tracer;

use super::rules::ApiRule;
use super::testing::Api;
use super::{ApiLogging, ApiRules, Port, ShutdownKind};
use crate::app::testing::streamed;
use crate::invoke::testing::invoker;

const ZERO: &str = "00-00000000000000000000000000000000-0000000000000000-00";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const NO_TARGET: &str = r#"{"errorCode":"ERR_DIRECT_INVOKE","message":"failed getting app id either from the URL path or the header dapr-app-id"}"#;

fn api() -> Api {
    Api::new(Some(invoker(None, &[], &[], &Metrics::disabled())))
}

fn recording() -> Metrics {
    Metrics::new(&MetricsSettings {
        app_id: "caller".into(),
        record_error_codes: true,
        ..MetricsSettings::default()
    })
    .unwrap()
}

fn shown(metrics: &Metrics, name: &str) -> Vec<String> {
    let text = String::from_utf8(metrics.encode().to_vec()).unwrap();
    let lines = text
        .lines()
        .filter(|line| line.starts_with(name) && !line.contains("_bucket"));
    lines.map(str::to_owned).collect()
}

#[tokio::test]
async fn paths_and_methods_that_no_route_takes_belong_to_invocation() {
    let api = api();
    for (method, path) in [
        ("GET", "/nothing/here"),
        ("GET", "/"),
        ("DELETE", "/v1.0/healthz"),
        ("OPTIONS", "/v1.0/metadata"),
        ("GET", "/v1.0/invoke/a"),
        ("GET", "/v1.0/invoke/a/method"),
    ] {
        let answer = api.call(method, path, &[], "").await;
        assert_eq!(answer.short(), (404, NO_TARGET), "{method} {path}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn parameters_are_form_decoded() {
    let answer = api().call("PUT", "/v1.0/metadata/a%2Fb+c", &[], "value").await;
    assert_eq!(answer.short(), (204, ""));
    let api = api();
    api.call("PUT", "/v1.0/metadata/a%2Fb+c", &[], "<value>").await;
    let shown = api.get("/v1.0/metadata").await.body;
    assert!(
        shown.contains(r#""extended":{"a/b c":"\u003cvalue\u003e","daprRuntimeVersion":"edge"}"#),
        "{shown}"
    );
}

#[tokio::test]
async fn broken_escapes_are_refused() {
    let api = api();
    let parameter = "failed to unescape request parameter \"key\". Error: invalid URL escape \"%zz\"\n";
    assert_eq!(
        api.call("PUT", "/v1.0/metadata/%zz", &[], "").await.short(),
        (400, parameter)
    );
    let topic = "failed to unescape request parameter \"*\". Error: invalid URL escape \"%1\"\n";
    assert_eq!(
        api.call("POST", "/v1.0/publish/p/a/%1", &[], "").await.short(),
        (400, topic)
    );
    for path in ["/v1.0/invoke/a/method/%zz", "/%zz"] {
        assert_eq!(api.get(path).await.short(), (400, "400 Bad Request\n"));
    }
}

#[tokio::test]
async fn metadata_is_plain_json_with_a_newline() {
    let answer = api().get("/v1.0/metadata").await;
    let expected =
        "{\"id\":\"caller\",\"runtimeVersion\":\"edge\",\"extended\":{\"daprRuntimeVersion\":\"edge\"}}\n";
    assert_eq!(answer.short(), (200, expected));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn health_is_that_of_the_targets_and_of_the_gate() {
    let api = api();
    let not_ready = |targets| {
        format!(r#"{{"errorCode":"ERR_HEALTH_NOT_READY","message":"dapr is not ready: {targets}"}}"#)
    };
    assert_eq!(
        api.get("/v1.0/healthz").await.short(),
        (500, not_ready("[]").as_str())
    );
    let target = api.health.target("runtime");
    assert_eq!(
        api.get("/v1.0/healthz").await.short(),
        (500, not_ready("[runtime]").as_str())
    );
    target.ready();
    let answer = api.get("/v1.0/healthz").await;
    assert_eq!((answer.short(), answer.headers.len()), ((204, ""), 0));
    assert_eq!(api.get("/v1.0/healthz?appid=caller").await.status, 204);
    let mismatch = r#"{"errorCode":"ERR_HEALTH_APPID_NOT_MATCH","message":"dapr app-id does not match"}"#;
    assert_eq!(api.get("/v1.0/healthz?appid=zzz").await.short(), (500, mismatch));
    let closed = r#"{"errorCode":"ERR_OUTBOUND_HEALTH_NOT_READY","message":"dapr outbound is not ready"}"#;
    assert_eq!(api.get("/v1.0/healthz/outbound").await.short(), (500, closed));
    api.health.open_outbound();
    assert_eq!(api.get("/v1.0/healthz/outbound").await.status, 204);
}

#[tokio::test]
async fn a_shutdown_is_answered_before_it_begins() {
    let api = api();
    assert_eq!(
        api.call("POST", "/v1.0/shutdown", &[], "").await.short(),
        (204, "")
    );
    api.call("POST", "/v1.0/shutdown", &[("dapr-force-shutdown", "TRUE")], "")
        .await;
    assert_eq!(api.get("/v1.0/shutdown").await.status, 404);
    assert_eq!(
        *api.shutdowns.lock().unwrap(),
        [ShutdownKind::Graceful, ShutdownKind::Forced]
    );
}

#[tokio::test]
async fn the_public_port_says_404_and_405() {
    let api = Api {
        port: Port::Public,
        ..api()
    };
    assert_eq!(api.get("/v1.0/metadata").await.status, 200);
    let missing = api.get("/v1.0/state/s/k").await;
    assert_eq!(missing.short(), (404, "404 page not found\n"));
    assert_eq!(missing.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(
        api.call("DELETE", "/v1.0/healthz", &[], "").await.short(),
        (405, "")
    );
    assert_eq!(
        api.call("GET", "/x", &[("dapr-app-id", "a")], "").await.status,
        404
    );
}

#[tokio::test]
async fn without_the_invoke_api_there_is_no_fallback() {
    let denied = ApiRule {
        name: "invoke",
        version: "v1",
        protocol: "http",
    };
    let api = Api {
        rules: ApiRules::new([], [denied]),
        ..api()
    };
    assert_eq!(
        api.get("/v1.0/invoke/a/method/m").await.short(),
        (404, "404 page not found\n")
    );
    assert_eq!(
        api.call("DELETE", "/v1.0/healthz", &[], "").await.short(),
        (405, "")
    );
}

#[tokio::test]
async fn a_wrong_token_is_refused_but_for_health_checks() {
    let api = Api {
        token: Some("t0p"),
        ..api()
    };
    for headers in [&[][..], &[("dapr-api-token", "wrong")]] {
        let refused = api.call("GET", "/v1.0/metadata", headers, "").await;
        assert_eq!(refused.short(), (401, "invalid api token\n"));
        assert_eq!(refused.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(refused.header("x-content-type-options"), Some("nosniff"));
    }
    assert_eq!(
        api.call("GET", "/v1.0/metadata", &[("dapr-api-token", "t0p")], "")
            .await
            .status,
        200
    );
    assert_eq!(api.get("/v1.0/healthz").await.status, 500);
    assert_eq!(api.get("//v1.0/healthz/outbound/").await.status, 500);
    assert_eq!(api.call("POST", "/v1.0/healthz", &[], "").await.status, 401);
}

#[tokio::test]
async fn preflights_are_answered_before_the_token_is_asked_for() {
    let api = Api {
        token: Some("t0p"),
        origins: "https://a.example, http://*.example",
        ..api()
    };
    let preflight = |origin: &'static str, method: &'static str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", "x-a, x-b"),
        ];
        let api = &api;
        async move { api.call("OPTIONS", "/v1.0/metadata", &headers, "").await }
    };
    let allowed = preflight("https://A.example", "PUT").await;
    assert_eq!(allowed.short(), (200, ""));
    assert_eq!(
        allowed.header("access-control-allow-origin"),
        Some("https://A.example")
    );
    assert_eq!(allowed.header("access-control-allow-methods"), Some("PUT"));
    assert_eq!(allowed.header("access-control-allow-headers"), Some("x-a, x-b"));
    let vary: Vec<_> = allowed
        .headers
        .iter()
        .filter(|(name, _)| name == "vary")
        .map(|(_, value)| &**value)
        .collect();
    assert_eq!(
        vary,
        [
            "Access-Control-Request-Headers",
            "Access-Control-Request-Method",
            "Origin"
        ]
    );
    for refused in [
        preflight("https://b.example.org", "PUT").await,
        preflight("https://a.example", "TRACE").await,
    ] {
        assert_eq!(
            (refused.status, refused.header("access-control-allow-origin")),
            (200, None)
        );
    }
    assert_eq!(
        preflight("http://sub.example", "GET")
            .await
            .header("access-control-allow-methods"),
        Some("GET")
    );
}

#[tokio::test]
async fn answers_are_marked_for_browsers() {
    let any = Api {
        origins: "*",
        ..api()
    };
    let answer = any
        .call("GET", "/v1.0/metadata", &[("origin", "https://x")], "")
        .await;
    assert_eq!(
        (
            answer.header("vary"),
            answer.header("access-control-allow-origin")
        ),
        (Some("Origin"), Some("*"))
    );
    let listed = Api {
        origins: "https://a",
        ..api()
    };
    let answer = listed
        .call("GET", "/v1.0/metadata", &[("origin", "https://x")], "")
        .await;
    assert_eq!(
        (
            answer.header("vary"),
            answer.header("access-control-allow-origin")
        ),
        (Some("Origin"), None)
    );
    // Without the setting nothing is said, and OPTIONS is no preflight.
    let off = api();
    let options = [("origin", "https://a"), ("access-control-request-method", "GET")];
    let answer = off.call("OPTIONS", "/v1.0/metadata", &options, "").await;
    assert_eq!((answer.status, answer.header("vary")), (404, None));
}

#[tokio::test]
async fn bodies_beyond_the_limit_fail_while_they_are_read() {
    let api = Api {
        limit: Some(4),
        ..api()
    };
    let too_large =
        r#"{"errorCode":"ERR_BODY_READ","message":"failed to read request body: stream too large"}"#;
    assert_eq!(api.call("PUT", "/v1.0/metadata/k", &[], "1234").await.status, 204);
    assert_eq!(
        api.call("PUT", "/v1.0/metadata/k", &[], "12345").await.short(),
        (400, too_large)
    );
    let request = http::Request::put("/v1.0/metadata/k")
        .body(streamed(&["12", "34", "5"]))
        .unwrap();
    assert_eq!(api.send(request).await.short(), (400, too_large));
    let binding = r#"{"errorCode":"ERR_MALFORMED_REQUEST","message":"failed deserializing HTTP body: stream too large"}"#;
    assert_eq!(
        api.call("POST", "/v1.0/bindings/b", &[], "12345").await.short(),
        (400, binding)
    );
}

#[tokio::test]
async fn answers_carry_the_trace_but_those_of_health_checks() {
    let api = api();
    assert_eq!(api.get("/v1.0/metadata").await.header("traceparent"), Some(ZERO));
    assert_eq!(api.get("/nothing").await.header("traceparent"), Some(ZERO));
    assert_eq!(api.get("/v1.0/healthz").await.header("traceparent"), None);
    let given = [("traceparent", PARENT), ("tracestate", "a=b")];
    let answer = api.call("GET", "/v1.0/metadata", &given, "").await;
    assert_eq!(
        (answer.header("traceparent"), answer.header("tracestate")),
        (Some(PARENT), Some("a=b"))
    );
    let off = Api {
        tracer: Tracer::off(),
        ..api
    };
    assert_eq!(
        off.call("GET", "/v1.0/metadata", &given, "")
            .await
            .header("traceparent"),
        None
    );
}

#[tokio::test]
async fn baggage_must_be_valid_while_tracing_is_on() {
    let api = api();
    let answer = api
        .call(
            "GET",
            "/v1.0/metadata",
            &[("baggage", "a=1"), ("baggage", "b=2")],
            "",
        )
        .await;
    assert_eq!((answer.status, answer.header("baggage")), (200, Some("a=1,b=2")));
    let refused = api
        .call("GET", "/v1.0/metadata", &[("baggage", "invalid-baggage")], "")
        .await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.body.starts_with("invalid baggage header: ") && refused.body.ends_with('\n'),
        "{}",
        refused.body
    );
    let off = Api {
        tracer: Tracer::off(),
        ..api
    };
    assert_eq!(
        off.call("GET", "/v1.0/metadata", &[("baggage", "invalid-baggage")], "")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn each_request_counts_once_with_its_final_status() {
    let api = Api {
        metrics: recording(),
        token: Some("t"),
        ..api()
    };
    let token = [("dapr-api-token", "t")];
    api.call("GET", "/v1.0/metadata", &token, "").await;
    api.call("PUT", "/v1.0/metadata/k", &token, "12345").await;
    api.call("GET", "/v1.0//metadata", &[], "").await;
    api.call("GET", "/nothing/here", &token, "").await;
    api.get("/v1.0/healthz").await;
    let counted = |method, path, status| {
        format!(
            r#"dapr_http_server_request_count{{app_id="caller",method="{method}",path="{path}",status="{status}"}} 1"#
        )
    };
    let mut expected = [
        counted("GET", "/v1.0/metadata", 200),
        counted("PUT", "/v1.0/metadata/k", 204),
        counted("GET", "/v1.0/metadata", 401),
        counted("GET", "/nothing/here", 404),
        counted("GET", "/v1.0/healthz", 500),
    ];
    expected.sort();
    let mut found = shown(&api.metrics, "dapr_http_server_request_count");
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(
        shown(&api.metrics, "dapr_http_server_request_bytes"),
        [
            r#"dapr_http_server_request_bytes_sum{app_id="caller"} 5"#,
            r#"dapr_http_server_request_bytes_count{app_id="caller"} 5"#,
        ]
    );
    let mut codes = shown(&api.metrics, "dapr_error_code_total");
    codes.sort();
    assert_eq!(
        codes,
        [
            r#"dapr_error_code_total{app_id="caller",category="health",error_code="ERR_HEALTH_NOT_READY"} 1"#,
            r#"dapr_error_code_total{app_id="caller",category="service-invocation",error_code="ERR_DIRECT_INVOKE"} 1"#,
        ]
    );
}

#[tokio::test]
async fn calls_are_logged_as_the_settings_say() {
    let (logger, lines) = Logger::in_memory(&LogSettings::default());
    let _guard = tracing::subscriber::set_default(logger);
    let agent = [("user-agent", "curl/8")];
    let plain = Api {
        logging: Some(ApiLogging::default()),
        ..api()
    };
    plain.call("GET", "/v1.0/metadata", &agent, "").await;
    plain.get("/v1.0/healthz").await;
    let hidden = ApiLogging {
        obfuscate_urls: true,
        omit_health_checks: true,
    };
    let hidden = Api {
        logging: Some(hidden),
        ..api()
    };
    hidden.get("/v1.0/state/s/k").await;
    hidden.get("/v1.0/invoke/nobody/method/x").await;
    hidden.get("/v1.0/actors/T/1/method/m").await;
    hidden.get("/v1.0/healthz").await;
    let text = lines.lines().join("\n");
    let logged: Vec<_> = text.lines().filter(|line| line.contains("http-info")).collect();
    let expected = [
        r#"code=200 duration="#,
        r#"code=500 duration="#,
        r#"method=GetState "#,
        r#"method=InvokeService/nobody "#,
        r#"method=InvokeActor/T.1 "#,
    ];
    assert_eq!(logged.len(), expected.len(), "{text}");
    for (line, expected) in logged.iter().zip(expected) {
        assert!(
            line.contains(expected) && line.contains(r#"msg="HTTP API Called""#),
            "{line}"
        );
    }
    assert!(
        logged[0].contains(r#"method="GET /v1.0/metadata""#),
        "{}",
        logged[0]
    );
    assert!(
        logged[0].contains("size=81") && logged[0].contains("useragent=curl/8"),
        "{}",
        logged[0]
    );
    assert!(!logged[1].contains("useragent"), "{}", logged[1]);
}

/// Marks requests and answers, and notes the order of both.
#[derive(Debug)]
struct Mark(&'static str, Arc<Mutex<Vec<String>>>);

impl HttpMiddleware for Mark {
    fn call<'a>(&'a self, mut request: Request, next: Next<'a>) -> BoxFuture<'a, Result<Response, BoxError>> {
        Box::pin(async move {
            self.1
                .lock()
                .unwrap()
                .push(format!("> {} {}", self.0, request.uri().path()));
            assert!(!request.headers().contains_key("dapr-api-token"));
            *request.uri_mut() = "/v1.0/invoke/nobody/method/x".parse().unwrap();
            let mut response = next.run(request).await?;
            response
                .headers_mut()
                .append("x-mark", HeaderValue::from_static(self.0));
            self.1.lock().unwrap().push(format!("< {}", self.0));
            Ok(response)
        })
    }
}

#[tokio::test]
async fn the_users_chain_runs_first_to_last_and_cannot_change_the_route() {
    let api = Api {
        token: Some("t"),
        ..api()
    };
    let order = Arc::new(Mutex::new(Vec::new()));
    let handlers: [&'static str; 2] = ["a", "b"];
    let handler = |name| Arc::new(Mark(name, Arc::clone(&order))) as Arc<dyn HttpMiddleware>;
    api.handlers.replace(Chain::new(handlers.map(handler).to_vec()));
    let token = [("dapr-api-token", "t")];
    let answer = api.call("GET", "/v1.0/metadata", &token, "").await;
    assert_eq!((answer.status, answer.header("x-mark")), (200, Some("a")));
    let expected = [
        "> a /v1.0/metadata",
        "> b /v1.0/invoke/nobody/method/x",
        "< b",
        "< a",
    ];
    assert_eq!(*order.lock().unwrap(), expected);
    // Invocation, which the fallback leads to, looks at the changed path.
    let fallen = api.call("GET", "/nothing", &token, "").await;
    assert!(
        fallen
            .body
            .contains("failed to invoke, id: nobody, err: couldn't find service: nobody"),
        "{}",
        fallen.body
    );
    assert_eq!(api.get("/v1.0/metadata").await.header("x-mark"), None);
}

#[tokio::test]
async fn a_layer_that_answers_leaves_what_is_inside_alone() {
    let api = api();
    api.handlers.replace(Chain::new(vec![Arc::new(Refuse)]));
    assert_eq!(api.get("/v1.0/healthz").await.short(), (418, "no"));
}

#[derive(Debug)]
struct Refuse;

impl HttpMiddleware for Refuse {
    fn call<'a>(&'a self, _: Request, _: Next<'a>) -> BoxFuture<'a, Result<Response, BoxError>> {
        Box::pin(async {
            let mut response = Response::new(Body::from("no"));
            *response.status_mut() = http::StatusCode::IM_A_TEAPOT;
            Ok(response)
        })
    }
}
