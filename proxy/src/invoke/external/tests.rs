use std::net::SocketAddr;

use http::Response;
use outrigger_svc::Body;
use outrigger_telemetry::metrics::Metrics;

use super::*;
use crate::app::testing::{echo, network, start_app, start_secure};
use crate::http_api::testing::Api;
use crate::invoke::testing::invoker;

fn api(endpoints: &[EndpointSettings]) -> Api {
    Api::new(Some(invoker(None, &[], endpoints, &Metrics::disabled())))
}

fn endpoint(name: &str, base_url: String) -> EndpointSettings {
    EndpointSettings {
        name: name.to_owned(),
        base_url,
        ..EndpointSettings::default()
    }
}

/// An app that redirects `/<status>/<path>` to `/<path>`, or to another host.
async fn redirecting() -> SocketAddr {
    start_app(|request| {
        let path = request.uri().path().to_owned();
        let Some((status, rest)) = path.trim_start_matches('/').split_once('/') else {
            return echo(request);
        };
        let location = match rest {
            "loop" => path.clone(),
            other => format!("/{other}"),
        };
        let response = Response::builder()
            .status(status.parse::<u16>().unwrap())
            .header("location", location);
        Box::pin(std::future::ready(response.body(Body::from("moved")).unwrap()))
    })
    .await
}

#[tokio::test]
async fn a_url_is_called_without_headers_of_the_mesh() {
    let address = start_app(echo).await;
    let headers = [("x-mine", "v"), ("content-type", "text/plain")];
    let path = format!("/v1.0/invoke/http://{address}/method/a/b?q=1");
    let answer = api(&[]).call("POST", &path, &headers, "abc").await;
    let zero = "00-00000000000000000000000000000000-0000000000000000-00";
    let expected = format!(
        "POST /a/b?q=1\ncontent-length: 3\ncontent-type: text/plain\nhost: {address}\ntraceparent: {zero}\nx-mine: v\n\n3 bytes"
    );
    assert_eq!(answer.short(), (200, expected.as_str()));
    assert_eq!(answer.header("x-app"), Some("yes"));
}

#[tokio::test]
async fn an_endpoint_is_called_by_its_name_with_its_headers() {
    let address = start_app(echo).await;
    let settings = EndpointSettings {
        headers: vec![("X-Key".to_owned(), "secret".to_owned())],
        ..endpoint("outside", format!("http://{address}/base"))
    };
    let api = api(&[settings]);
    for path in [
        "/v1.0/invoke/outside/method/m",
        "/v1.0/invoke/outside.other/method/m",
    ] {
        let answer = api.call("GET", path, &[("x-key", "mine")], "").await;
        assert!(answer.body.starts_with("GET /base/m\n"), "{}", answer.body);
        assert!(
            answer.body.contains("x-key: secret\n") && !answer.body.contains("mine"),
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn endpoints_follow_redirects_and_urls_do_not() {
    let address = redirecting().await;
    let api = api(&[endpoint("outside", format!("http://{address}"))]);
    let answer = api
        .get(&format!("/v1.0/invoke/http://{address}/method/302/x"))
        .await;
    assert_eq!(
        (answer.short(), answer.header("location")),
        ((302, "moved"), Some("/x"))
    );
    for (status, verb) in [(301, "GET"), (302, "GET"), (303, "GET")] {
        let path = format!("/v1.0/invoke/outside/method/{status}/x");
        let answer = api.call("POST", &path, &[], "abc").await;
        assert!(
            answer.body.starts_with(&format!("{verb} /x\n")),
            "{status}: {}",
            answer.body
        );
        assert!(answer.body.ends_with("\n0 bytes"), "{}", answer.body);
        let referer = format!("referer: http://{address}/{status}/x\n");
        assert!(answer.body.contains(&referer), "{}", answer.body);
    }
    for status in [307, 308] {
        let path = format!("/v1.0/invoke/outside/method/{status}/x");
        assert!(
            api.call("DELETE", &path, &[], "")
                .await
                .body
                .starts_with("DELETE /x\n")
        );
        // What was streamed cannot be sent again: the redirect is the answer.
        assert_eq!(
            api.call("POST", &path, &[], "abc").await.short(),
            (status, "moved")
        );
    }
    let endless = api.get("/v1.0/invoke/outside/method/302/loop").await;
    let expected = format!(
        r#"{{"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke, id: outside, err: Get \"http://{address}/302/loop\": stopped after 10 redirects"}}"#
    );
    assert_eq!(endless.short(), (500, expected.as_str()));
}

#[tokio::test]
async fn failures_are_worded_as_go_words_them() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let answer = api(&[])
        .get(&format!("/v1.0/invoke/http://{closed}/method/x"))
        .await;
    let expected = format!(
        r#"{{"errorCode":"ERR_DIRECT_INVOKE","message":"failed to invoke, id: http://{closed}, err: Get \"http://{closed}/x\": dial tcp {closed}: connect: connection refused"}}"#
    );
    assert_eq!(answer.short(), (500, expected.as_str()));
    let unknown = api(&[]).get("/v1.0/invoke/http://nobody.invalid/method/x").await;
    assert!(
        unknown
            .body
            .contains("dial tcp: lookup nobody.invalid: no such host"),
        "{}",
        unknown.body
    );
}

#[tokio::test]
async fn a_server_that_nobody_vouches_for_is_not_trusted() {
    let (address, root) = start_secure("127.0.0.1").await;
    let trusting = EndpointSettings {
        root_ca: Some(root),
        ..endpoint("trusted", format!("https://{address}"))
    };
    let distrusting = EndpointSettings {
        root_ca: Some(
            rcgen::generate_simple_self_signed(["x".to_owned()])
                .unwrap()
                .cert
                .pem(),
        ),
        ..endpoint("other", format!("https://{address}"))
    };
    let api = api(&[trusting, distrusting]);
    let answer = api.get("/v1.0/invoke/trusted/method/x").await;
    assert!(answer.body.starts_with("GET /x\n"), "{}", answer.body);
    let refused = api.get("/v1.0/invoke/other/method/x").await;
    assert_eq!(refused.status, 500);
    assert!(
        refused.body.contains("tls: failed to verify certificate: x509: "),
        "{}",
        refused.body
    );
}

#[tokio::test]
async fn endpoints_that_cannot_be_used_are_named() {
    let network = network(Metrics::disabled());
    let reason = |settings: EndpointSettings| Endpoints::new(&[settings], &network).unwrap_err().to_string();
    assert_eq!(
        reason(endpoint("e", "host".to_owned())),
        "HTTPEndpoint e: parse \"host\": missing protocol scheme"
    );
    let header = EndpointSettings {
        headers: vec![("a b".to_owned(), "c".to_owned())],
        ..endpoint("e", "http://host".to_owned())
    };
    assert_eq!(reason(header), "HTTPEndpoint e: the header a b cannot be sent");
    let roots = EndpointSettings {
        root_ca: Some("none".to_owned()),
        ..endpoint("e", "http://host".to_owned())
    };
    assert_eq!(
        reason(roots),
        "HTTPEndpoint e: no certificate found in the PEM text"
    );
}
