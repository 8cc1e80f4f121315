use std::sync::atomic::{AtomicUsize, Ordering};

use http::Response;
use outrigger_identity::tls::provider;
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;

use super::*;
use crate::health::Health;
use crate::http_server::{self, Answer};
use crate::scratch::Scratch;

const EMPTY: &str = r#"{"keys":[]}"#;
const ONE: &str = r#"{"keys":[{"kty":"oct","kid":"a"}]}"#;

fn source(options: &[(&str, &str)]) -> Result<KeySource, KeySourceError> {
    let options = options
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    KeySource::new(&options, &provider())
}

/// Runs the source until `done`, and on until it has noticed that it is to stop.
async fn run_until(source: &KeySource, done: impl Fn(&JwkSet) -> bool) -> Result<(), KeySourceError> {
    let stop = CancellationToken::new();
    let work = source.run(Health::default().target("keys"), stop.clone());
    let watch = async {
        while !source.current().is_some_and(|keys| done(&keys)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
        std::future::pending().await
    };
    tokio::select! {
        ended = work => ended,
        () = watch => Ok(()),
    }
}

/// Serves an empty set first, and then one with a key.
async fn key_server(tls: Option<Arc<ServerConfig>>) -> (String, CancellationToken, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let uri = format!(
        "{scheme}://localhost:{}/keys",
        listener.local_addr().unwrap().port()
    );
    let (stop, asked) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
    let count = asked.clone();
    let handler =
        move |request: &Request<_>| match (request.uri().path(), count.fetch_add(1, Ordering::SeqCst)) {
            ("/keys", 0) => Response::new(Answer::from(EMPTY)),
            ("/keys", _) => Response::new(Answer::from(ONE)),
            _ => http_server::not_found(),
        };
    tokio::spawn(http_server::serve(
        listener,
        Arc::new(move || tls.clone()),
        handler,
        stop.clone(),
    ));
    (uri, stop, asked)
}

#[test]
fn options_that_make_no_sense_are_refused() {
    for (options, text) in [
        (&[][..], "property 'location' must not be empty"),
        (
            &[("source", "nonsense!")],
            "failed to parse property 'location': not a URL, path to local file, or JSON value (optionally base64-encoded)",
        ),
        (
            &[("source", "http://h"), ("minRefreshInterval", "1x")],
            "failed to parse property 'minRefreshInterval': time: unknown unit \"x\" in duration \"1x\"",
        ),
        (
            &[("source", "https://h"), ("caCertificate", "x")],
            "failed to load CA certificate: no certificate found",
        ),
    ] {
        assert_eq!(source(options).unwrap_err().to_string(), text);
    }
}

#[tokio::test]
async fn keys_may_be_written_down_plainly_or_in_base64() {
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
    for text in [ONE.to_owned(), STANDARD.encode(ONE), STANDARD_NO_PAD.encode(ONE)] {
        let source = source(&[("SOURCE", &text)]).unwrap();
        run_until(&source, |keys| keys.keys().len() == 1).await.unwrap();
    }
    assert!(matches!(
        run_until(&source(&[("source", "[]")]).unwrap(), |_| true).await,
        Err(KeySourceError::Keys(_))
    ));
}

#[tokio::test]
async fn a_file_is_read_again_when_it_changes_and_a_bad_one_is_passed_over() {
    let scratch = Scratch::new();
    let path = scratch.path().join("keys.json");
    std::fs::write(&path, EMPTY).unwrap();
    let source = source(&[("source", path.to_str().unwrap())]).unwrap();
    let (bad, good) = (AtomicUsize::new(0), AtomicUsize::new(0));
    run_until(&source, |keys| {
        if bad.fetch_add(1, Ordering::SeqCst) == 0 {
            std::fs::write(&path, "not JSON").unwrap();
        } else if good.fetch_add(1, Ordering::SeqCst) == 5 {
            std::fs::write(&path, ONE).unwrap();
        }
        keys.keys().len() == 1
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_key_server_is_asked_again_after_a_while() {
    let (uri, stop, asked) = key_server(None).await;
    let source = source(&[("source", &uri), ("minRefreshInterval", "1100ms")]).unwrap();
    run_until(&source, |keys| keys.keys().len() == 1).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    stop.cancel();
}

#[tokio::test]
async fn a_key_server_is_trusted_by_the_given_authority_only() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let (uri, stop, _) = key_server(Some(Arc::new(config))).await;
    let trusting = source(&[("source", &uri), ("caCertificate", &made.cert.pem())]).unwrap();
    run_until(&trusting, |_| true).await.unwrap();
    let error = run_until(&source(&[("source", &uri)]).unwrap(), |_| true)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("failed to fetch JWKS from https://localhost"),
        "{error}"
    );
    stop.cancel();
}

#[tokio::test]
async fn a_failing_key_server_ends_the_first_load() {
    let (uri, stop, _) = key_server(None).await;
    let missing = source(&[("source", &uri.replace("/keys", "/none"))]).unwrap();
    let error = run_until(&missing, |_| true).await.unwrap_err().to_string();
    assert!(error.ends_with("/none: status 404 Not Found"), "{error}");
    stop.cancel();
}

#[test]
fn the_server_decides_how_long_keys_are_kept_within_limits() {
    let options = [("source", "http://h"), ("minRefreshInterval", "60")];
    let options = options
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let server = Server::new(Options(&options), &provider()).unwrap();
    for (directives, seconds) in [
        ("", 60),
        ("max-age=10", 60),
        ("public, max-age=3600", 3600),
        ("max-age=99999999", 86_400),
        ("max-age=x", 60),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, directives.parse().unwrap());
        assert_eq!(
            server.pause(&headers),
            Duration::from_secs(seconds),
            "{directives}"
        );
    }
}
