use outrigger_component::Chain;

use super::*;

fn opa(settings: &[(&str, &str)]) -> Result<Arc<Opa>, String> {
    let settings = settings
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Opa::new(&Properties::new(settings), "o".into())
        .map(Arc::new)
        .map_err(|error| error.to_string())
}

/// Status, the headers that the next handler or the client sees, the body; the app echoes.
async fn ask(opa: &Arc<Opa>, request: Request) -> (u16, HeaderMap, String) {
    let chain = Chain::new(vec![Arc::clone(opa) as Arc<dyn HttpMiddleware>]);
    let echo = async |request: Request| {
        let (head, body) = request.into_parts();
        let mut response = Response::new(body);
        *response.headers_mut() = head.headers;
        Ok(response)
    };
    let (head, body) = chain.run(request, echo).await.unwrap().into_parts();
    let body = collect_limited(body, 1000).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    (head.status.as_u16(), head.headers, body)
}

fn get(target: &str, headers: &[(&'static str, &'static str)]) -> Request {
    let mut request = Request::new(Body::from("the body"));
    *request.uri_mut() = target.parse().unwrap();
    for (name, value) in headers {
        request
            .headers_mut()
            .append(*name, HeaderValue::from_static(value));
    }
    request
}

#[tokio::test]
async fn what_the_policy_says_happens() {
    let denied = (403, "Forbidden", false);
    let table = [
        ("allow = true", 200, "the body", false),
        ("allow = false", denied.0, denied.1, denied.2),
        ("default allow = false", denied.0, denied.1, denied.2),
        (
            "allow = {\"allow\": true, \"status_code\": 401}",
            200,
            "the body",
            false,
        ),
        (
            "allow = {\"allow\": false, \"status_code\": 401}",
            401,
            "Unauthorized",
            false,
        ),
        ("allow = {\"status_code\": 301}", 301, "Moved Permanently", false),
        (
            "allow = {\"status_code\": 999}",
            500,
            "Internal Server Error",
            false,
        ),
        ("allow = {\"allow\": \"yes\"}", 403, "Forbidden", true),
        ("allow = {\"status_code\": \"no\"}", 403, "Forbidden", true),
        ("allow = 1", 403, "Forbidden", true),
        ("allow = \"true\"", 403, "Forbidden", true),
        ("allow { false }", 403, "Forbidden", true),
        ("other = true", 403, "Forbidden", true),
        (
            "allow if { input.request.method == \"GET\" }",
            200,
            "the body",
            false,
        ),
        (
            "allow { input.request.method == \"GET\" }",
            200,
            "the body",
            false,
        ),
    ];
    for (rule, status, body, is_error) in table {
        let opa = opa(&[("rego", &format!("package http\n{rule}\n"))]).unwrap();
        let answer = ask(&opa, get("/a", &[])).await;
        assert_eq!((answer.0, answer.2.as_str()), (status, body), "{rule}");
        assert_eq!(answer.1.get("x-dapr-opa-error").is_some(), is_error, "{rule}");
    }
}

#[tokio::test]
async fn headers_go_to_the_request_or_to_the_refusal() {
    for allow in [true, false] {
        let rego = format!(
            "package http\nallow = {{\"allow\": {allow}, \"additional_headers\": {{\"X-Own\": \"new\", \"x-number\": 7}}}}"
        );
        let opa = opa(&[("rego", &rego), ("defaultStatus", "418")]).unwrap();
        let (status, headers, _) = ask(&opa, get("/a", &[("x-own", "old")])).await;
        assert_eq!(status, if allow { 200 } else { 418 });
        assert_eq!(headers["x-own"], "new");
        assert_eq!(headers["x-number"], "7");
    }
}

#[tokio::test]
async fn a_policy_knows_the_request() {
    let conditions = [
        "input.request.method == \"GET\"",
        "input.request.path == \"/v1.0/a b/\"",
        "input.request.path_parts == [\"v1.0\", \"a b\"]",
        "input.request.raw_query == \"x=1&x=%202&y\"",
        "input.request.query == {\"x\": [\"1\", \" 2\"], \"y\": [\"\"]}",
        "input.request.headers == {\"X-Jwt\": \"a, b\"}",
        "input.request.scheme == \"\"",
        "input.request.body == \"\"",
        "startswith(input.request.path, \"/v1.0/\")",
        "regex.match(\"a b\", input.request.path)",
        "time.now_ns() > 0",
    ];
    let request = || {
        get(
            "/v1.0/a%20b/?x=1&x=%202&y",
            &[("x-jwt", "a"), ("x-jwt", "b"), ("x-other", "hidden")],
        )
    };
    for condition in conditions {
        let rego = format!("package http\nallow {{ {condition} }}");
        let opa = opa(&[("rego", &rego), ("includedHeaders", "x-JWT, ,not there")]).unwrap();
        assert_eq!(ask(&opa, request()).await.0, 200, "{condition}");
    }
    let rego = "package http\nallow { input.request.body == \"the body\" }";
    let opa = opa(&[("rego", rego), ("readBody", "true")]).unwrap();
    let (status, _, body) = ask(&opa, request()).await;
    assert_eq!((status, body.as_str()), (200, "the body"));
}

#[tokio::test]
async fn a_policy_reads_tokens() {
    let rego = "package http
default allow = false
allow = true { input.request.method == \"GET\"; token.payload.role == \"admin\" }
token = {\"payload\": payload} {
    [_, encoded] := split(input.request.headers[\"Authorization\"], \" \")
    [_, payload, _] := io.jwt.decode(encoded)
}";
    let opa = opa(&[("rego", rego), ("includedHeaders", "authorization")]).unwrap();
    let token = "Bearer eyJhbGciOiJub25lIn0.eyJyb2xlIjoiYWRtaW4ifQ.c2ln";
    assert_eq!(ask(&opa, get("/", &[("authorization", token)])).await.0, 200);
    for other in [
        "Bearer eyJhbGciOiJub25lIn0.eyJyb2xlIjoidXNlciJ9.",
        "Bearer x",
        "none",
    ] {
        assert_eq!(
            ask(&opa, get("/", &[("authorization", other)])).await.0,
            403,
            "{other}"
        );
    }
}

#[tokio::test]
async fn requests_at_once_do_not_meet() {
    let rego =
        "package http\nallow = {\"allow\": false, \"additional_headers\": {\"x-path\": input.request.path}}";
    let opa = opa(&[("rego", rego)]).unwrap();
    for target in ["/a", "/b", "/a"] {
        assert_eq!(ask(&opa, get(target, &[])).await.1["x-path"], target);
    }
}

#[test]
fn settings_that_cannot_be_used_are_told() {
    let error = |settings: &[(&str, &str)]| opa(settings).unwrap_err();
    let rego = ("rego", "package http\nallow = true");
    for status in ["600", "99", "-1", "70000"] {
        assert_eq!(
            error(&[rego, ("defaultStatus", status)]),
            format!("invalid status value {status} expected in range [100-599]")
        );
    }
    assert!(error(&[rego, ("defaultStatus", "x")]).starts_with("invalid status value: "));
    assert!(!error(&[("rego", "package http\nallow = {")]).is_empty());
    assert!(!error(&[]).is_empty());
}
