use std::time::Duration;

use http::Method;
use http_body_util::BodyExt;
use outrigger_component::{Chain, Condition, HttpClient, Properties, SendHttp};
use outrigger_svc::{Surface, collect_limited};
use tokio::time::Instant;

use super::*;

/// The imports and the memory of all modules here, with texts at known places.
const HEAD: &str = r#"
  (import "http_handler" "enable_features" (func $enable_features (param i32) (result i32)))
  (import "http_handler" "get_config" (func $get_config (param i32 i32) (result i32)))
  (import "http_handler" "log" (func $log (param i32 i32 i32)))
  (import "http_handler" "get_uri" (func $get_uri (param i32 i32) (result i32)))
  (import "http_handler" "set_uri" (func $set_uri (param i32 i32)))
  (import "http_handler" "get_method" (func $get_method (param i32 i32) (result i32)))
  (import "http_handler" "set_method" (func $set_method (param i32 i32)))
  (import "http_handler" "get_protocol_version" (func $get_protocol_version (param i32 i32) (result i32)))
  (import "http_handler" "get_source_addr" (func $get_source_addr (param i32 i32) (result i32)))
  (import "http_handler" "get_header_names" (func $get_header_names (param i32 i32 i32) (result i64)))
  (import "http_handler" "get_header_values" (func $get_header_values (param i32 i32 i32 i32 i32) (result i64)))
  (import "http_handler" "set_header_value" (func $set_header_value (param i32 i32 i32 i32 i32)))
  (import "http_handler" "add_header_value" (func $add_header_value (param i32 i32 i32 i32 i32)))
  (import "http_handler" "remove_header" (func $remove_header (param i32 i32 i32)))
  (import "http_handler" "read_body" (func $read_body (param i32 i32 i32) (result i64)))
  (import "http_handler" "write_body" (func $write_body (param i32 i32 i32)))
  (import "http_handler" "get_status_code" (func $get_status_code (result i32)))
  (import "http_handler" "set_status_code" (func $set_status_code (param i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "x-name")
  (data (i32.const 16) "value")
  (data (i32.const 32) "/new?q=1")
  (data (i32.const 48) "PUT")
"#;

fn module(request: &str, response: &str) -> Vec<u8> {
    let text = format!(
        "(module {HEAD}
           (func (export \"handle_request\") (result i64) {request})
           (func (export \"handle_response\") (param i32 i32) {response}))"
    );
    wat::parse_str(text).unwrap()
}

fn settings(is_confined: bool) -> Settings {
    Settings {
        guest_config: "config".into(),
        is_confined,
        log_name: "w".into(),
    }
}

fn chain(request: &str, response: &str) -> Chain {
    let wasm = Wasm::new(&module(request, response), settings(false)).unwrap();
    Chain::new(vec![Arc::new(wasm)])
}

fn get(body: &'static str) -> Request {
    let mut request = Request::new(Body::from(body));
    *request.uri_mut() = "/old?p=1".parse().unwrap();
    request
        .headers_mut()
        .insert("x-name", HeaderValue::from_static("old"));
    request.extensions_mut().insert(CallContext {
        surface: Surface::Api,
        remote: Some("192.0.2.1:99".parse().unwrap()),
        peer: None,
    });
    request
}

/// Status, the header `x-name`, the body. The next handler answers with what it got.
async fn run(chain: &Chain, request: Request) -> Result<(u16, String, String), String> {
    let echo = async |request: Request| {
        let (head, body) = request.into_parts();
        let body = collect_limited(body, 1000).await?;
        let text = format!("{} {} {}", head.method, head.uri, String::from_utf8_lossy(&body));
        let mut response = Response::new(Body::from(text));
        if let Some(value) = head.headers.get("x-name") {
            response.headers_mut().insert("x-name", value.clone());
        }
        Ok(response)
    };
    let response = chain
        .run(request, echo)
        .await
        .map_err(|error| error.to_string())?;
    let (head, body) = response.into_parts();
    let value = head
        .headers
        .get("x-name")
        .map(|value| value.to_str().unwrap().to_owned());
    let body = collect_limited(body, 10_000)
        .await
        .map_err(|error| error.to_string())?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok((head.status.as_u16(), value.unwrap_or_default(), body))
}

const GO_ON: &str = "(i64.const 1)";
const STOP: &str = "(i64.const 0)";

#[tokio::test]
async fn a_module_that_does_nothing_changes_nothing() {
    let answer = run(&chain(GO_ON, ""), get("body")).await;
    assert_eq!(
        answer,
        Ok((200, "old".to_owned(), "GET /old?p=1 body".to_owned()))
    );
}

#[tokio::test]
async fn a_module_changes_the_request() {
    let request = format!(
        "(call $set_uri (i32.const 32) (i32.const 8))
         (call $set_method (i32.const 48) (i32.const 3))
         (call $set_header_value (i32.const 0) (i32.const 0) (i32.const 6) (i32.const 16) (i32.const 5))
         (call $write_body (i32.const 0) (i32.const 16) (i32.const 3))
         (call $write_body (i32.const 0) (i32.const 19) (i32.const 2)) {GO_ON}"
    );
    let answer = run(&chain(&request, ""), get("body")).await;
    assert_eq!(
        answer,
        Ok((200, "value".to_owned(), "PUT /new?q=1 value".to_owned()))
    );
}

#[tokio::test]
async fn a_module_that_stops_answers_itself() {
    let request = format!(
        "(call $set_status_code (i32.const 401))
         (call $add_header_value (i32.const 1) (i32.const 0) (i32.const 6) (i32.const 16) (i32.const 5))
         (call $write_body (i32.const 1) (i32.const 16) (i32.const 5)) {STOP}"
    );
    let answer = run(&chain(&request, "unreachable"), get("body")).await;
    assert_eq!(answer, Ok((401, "value".to_owned(), "value".to_owned())));
    assert_eq!(
        run(&chain(STOP, ""), get("body")).await,
        Ok((200, String::new(), String::new()))
    );
}

#[tokio::test]
async fn a_module_changes_the_answer() {
    let response = "(call $set_status_code (i32.add (call $get_status_code) (i32.const 1)))
         (call $remove_header (i32.const 1) (i32.const 0) (i32.const 6))
         (call $write_body (i32.const 1) (i32.const 16) (i32.const 5))";
    let answer = run(&chain(GO_ON, response), get("body")).await;
    assert_eq!(answer, Ok((201, String::new(), "value".to_owned())));
}

/// Writes what a function puts into memory as the answer.
fn echo_of(function: &str) -> String {
    format!("(call $write_body (i32.const 1) (i32.const 1000) {function}) {STOP}")
}

#[tokio::test]
async fn a_module_knows_the_request() {
    let at = "(i32.const 1000) (i32.const 1000)";
    let table = [
        (format!("(call $get_uri {at})"), "/old?p=1"),
        (format!("(call $get_method {at})"), "GET"),
        (format!("(call $get_protocol_version {at})"), "HTTP/1.1"),
        (format!("(call $get_source_addr {at})"), "192.0.2.1:99"),
        (format!("(call $get_config {at})"), "config"),
        (
            format!("(i32.wrap_i64 (call $get_header_names (i32.const 0) {at}))"),
            "x-name\0",
        ),
        (
            format!(
                "(i32.wrap_i64 (call $get_header_values (i32.const 0) (i32.const 0) (i32.const 6) {at}))"
            ),
            "old\0",
        ),
        // What does not fit is not written, but its length is told.
        (
            "(call $get_uri (i32.const 1000) (i32.const 3))".to_owned(),
            "\0\0\0\0\0\0\0\0",
        ),
    ];
    for (function, expected) in table {
        let answer = run(&chain(&echo_of(&function), ""), get("")).await.unwrap();
        assert_eq!(answer.2, expected, "{function}");
    }
}

#[tokio::test]
async fn bodies_are_read_piece_by_piece_and_kept_if_asked_for() {
    // Reads 3 bytes of the body and writes them into the header.
    let read = "(drop (call $read_body (i32.const 0) (i32.const 1000) (i32.const 3)))
         (call $set_header_value (i32.const 0) (i32.const 0) (i32.const 6) (i32.const 1000) (i32.const 3))";
    let consumed = run(&chain(&format!("{read} {GO_ON}"), ""), get("one two"))
        .await
        .unwrap();
    assert_eq!(
        (consumed.1.as_str(), consumed.2.as_str()),
        ("one", "GET /old?p=1  two")
    );
    let keeps = format!("(drop (call $enable_features (i32.const 1))) {read} {GO_ON}");
    let chain = chain(&keeps, "");
    // The feature is on from the first request that could ask for it.
    run(&chain, get("one two")).await.unwrap();
    let kept = run(&chain, get("one two")).await.unwrap();
    assert_eq!(
        (kept.1.as_str(), kept.2.as_str()),
        ("one", "GET /old?p=1 one two")
    );
}

#[tokio::test]
async fn an_answer_that_is_not_looked_at_streams() {
    let chain = chain(GO_ON, "");
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(1);
    let stream = async move |_| {
        let mut receiver = receiver;
        let body = http_body_util::StreamBody::new(futures_stream(move |cx| receiver.poll_recv(cx)));
        Ok(Response::new(Body::new(body)))
    };
    let mut response = chain.run(get(""), stream).await.unwrap();
    sender.send(Bytes::from_static(b"now")).await.unwrap();
    let frame = response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "now");
}

/// A stream of frames from a function that polls.
fn futures_stream(
    mut poll: impl FnMut(&mut std::task::Context<'_>) -> std::task::Poll<Option<Bytes>> + Unpin,
) -> impl futures_util::Stream<Item = Result<http_body::Frame<Bytes>, BoxError>> {
    futures_util::stream::poll_fn(move |cx| {
        poll(cx).map(|piece| piece.map(|piece| Ok(http_body::Frame::data(piece))))
    })
}

#[tokio::test]
async fn a_module_that_fails_fails_its_request_only() {
    let request = format!(
        "(if (i32.eq (call $get_method (i32.const 1000) (i32.const 100)) (i32.const 4)) (then unreachable)) {GO_ON}"
    );
    let careful = chain(&request, "");
    let mut post = get("");
    *post.method_mut() = Method::POST;
    assert!(run(&careful, post).await.unwrap_err().starts_with("wasm: "));
    assert_eq!(run(&careful, get("")).await.unwrap().0, 200);
    let wild = chain(
        "(call $log (i32.const 0) (i32.const -1) (i32.const 9)) (i64.const 1)",
        "",
    );
    assert_eq!(
        run(&wild, get("")).await.unwrap_err(),
        "wasm: out of memory range"
    );
    let endless = chain("(loop (br 0)) (i64.const 1)", "");
    assert!(run(&endless, get("")).await.is_err());
}

#[tokio::test]
async fn a_confined_module_finds_the_same_clock_and_dice_each_time() {
    let request = format!(
        "(drop (call $clock (i32.const 0) (i64.const 0) (i32.const 1000)))
         (drop (call $random (i32.const 1008) (i32.const 8)))
         (call $write_body (i32.const 1) (i32.const 1000) (i32.const 16)) {STOP}"
    );
    let bytes = module(&request, "");
    let answer = async |is_confined| {
        let wasm = Wasm::new(&bytes, settings(is_confined)).unwrap();
        run(&Chain::new(vec![Arc::new(wasm)]), get("")).await.unwrap().2
    };
    assert_eq!(answer(true).await, answer(true).await);
    assert_ne!(answer(false).await, answer(false).await);
}

#[tokio::test]
async fn files_are_not_there() {
    let nine = "(i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0) (i64.const 0) (i64.const 0) \
                (i32.const 0) (i32.const 100)";
    let request =
        format!("(call $set_status_code (i32.add (i32.const 200) (call $path_open {nine}))) {STOP}");
    assert_eq!(run(&chain(&request, ""), get("")).await.unwrap().0, 252);
}

/// A server that has one module.
#[derive(Debug)]
struct OneModule(Vec<u8>);

impl SendHttp for OneModule {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, BoxError>> {
        let found = request.uri() == "http://modules.test/good.wasm";
        Box::pin(async move {
            let status = if found { 200 } else { 404 };
            Ok(http::Response::builder()
                .status(status)
                .body(Body::from(Bytes::from(self.0.clone())))?)
        })
    }
}

#[tokio::test]
async fn a_module_is_found_where_the_url_says() {
    let make = async |url: &str| {
        let settings = if url.is_empty() {
            Properties::default()
        } else {
            Properties::from([("url", url)])
        };
        let init = Init {
            name: "w".into(),
            log_name: "w".into(),
            app_id: "a".into(),
            namespace: "n".into(),
            properties: settings,
            deadline: Instant::now() + Duration::from_secs(5),
            http: HttpClient::new(Arc::new(OneModule(module(GO_ON, "")))),
            condition: Condition::default(),
        };
        Wasm::make(init)
            .await
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    let file = std::env::temp_dir().join(format!("outrigger-{}.wasm", std::process::id()));
    std::fs::write(&file, module(GO_ON, "")).unwrap();
    assert_eq!(make(&format!("file://{}", file.display())).await, Ok(()));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(make("http://modules.test/good.wasm").await, Ok(()));
    for (url, error) in [
        ("", "missing url"),
        ("module", "invalid URL: module"),
        ("oci://x", "TODO oci"),
        ("ftp://x", "unsupported URL scheme: ftp"),
        (
            "http://modules.test/bad.wasm",
            "received 404 status code from http://modules.test/bad.wasm",
        ),
    ] {
        assert_eq!(make(url).await, Err(error.to_owned()));
    }
    assert!(
        make("file:///nowhere.wasm")
            .await
            .unwrap_err()
            .starts_with("open /nowhere.wasm: ")
    );
}

#[test]
fn what_is_no_handler_is_refused() {
    let error = |bytes: &[u8]| Wasm::new(bytes, settings(false)).unwrap_err().to_string();
    assert!(error(b"no module").starts_with("wasm: "));
    let empty = wat::parse_str("(module)").unwrap();
    assert_eq!(error(&empty), "wasm: the module does not export memory");
    let half = wat::parse_str(
        "(module (memory (export \"memory\") 1) (func (export \"handle_request\") (result i64) (i64.const 0)))",
    )
    .unwrap();
    assert_eq!(error(&half), "wasm: the module does not export handle_response");
    let foreign = wat::parse_str("(module (import \"other\" \"f\" (func)))").unwrap();
    assert!(error(&foreign).starts_with("wasm: "));
}
