//! The headers that apps and callers see.

use std::collections::BTreeMap;

use outrigger_test_kit::http::Headers;
use outrigger_test_kit::{Cluster, Daprd, HttpApp, HttpRequest, HttpResponse, isolated};

use super::{both, pair};

/// Names in lower case with all their values.
fn sorted(headers: &Headers) -> BTreeMap<String, Vec<String>> {
    let mut sorted = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in headers.iter() {
        sorted
            .entry(name.to_ascii_lowercase())
            .or_default()
            .push(value.to_owned());
    }
    sorted
}

fn map<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [&'a str])>) -> BTreeMap<String, Vec<String>> {
    headers
        .into_iter()
        .map(|(name, values)| {
            (
                name.to_owned(),
                values.iter().map(|&value| value.to_owned()).collect(),
            )
        })
        .collect()
}

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

#[test]
fn an_app_receives_what_the_client_sent_and_where_it_came_from() {
    isolated!(async {
        let cluster = Cluster::start(["caller", "callee"]).await?;
        let (caller, app) = (&cluster["caller"].daprd, &cluster["callee"].app);
        let request = HttpRequest::new("GET", "/v1.0/invoke/callee/method/hello?a=1&b=%20x")
            .header("User-Agent", "curl/7.88.1")
            .header("Accept", "*/*")
            .header("Cookie", "c=1")
            .header("X-Mine", "v")
            .header("x-mine", "w")
            .header("X-Empty", "")
            .header("x-raw-bin", "AAE=")
            .header("traceparent", TRACEPARENT);
        assert_eq!(caller.send(&request).await?.status, 200);
        let mut received = sorted(&app.requests_for("/hello")[0].headers);

        let forwarded = received
            .remove("x-forwarded-for")
            .expect("the address of the host");
        let host = received.remove("x-forwarded-host").expect("the name of the host");
        let (address, name) = (&forwarded[0], &host[0]);
        assert!(address.parse::<std::net::IpAddr>().is_ok(), "{address}");
        let shown = match address.contains(':') {
            true => format!("\"[{address}]\""),
            false => address.clone(),
        };
        assert_eq!(
            received.remove("forwarded"),
            Some(vec![format!("for={shown};by={shown};host={name}")])
        );
        let trace = received.remove("traceparent").expect("a trace").remove(0);
        assert_eq!(trace[..36], TRACEPARENT[..36], "the same trace");
        let app_address = format!("127.0.0.1:{}", app.port());
        assert_eq!(
            received,
            map([
                ("host", &[app_address.as_str()][..]),
                ("user-agent", &["curl/7.88.1"]),
                ("accept", &["*/*"]),
                ("cookie", &["c=1"]),
                ("x-mine", &["v", "w"]),
                ("x-empty", &[""]),
                ("dapr-callee-app-id", &["callee"]),
                ("dapr-caller-app-id", &["caller"]),
                ("dapr-caller-namespace", &["default"]),
            ])
        );

        // An app that keeps its own list of hops finds it before what the sidecar knows.
        let request = HttpRequest::new("GET", "/v1.0/invoke/callee/method/hops")
            .header("X-Forwarded-For", "203.0.113.7")
            .header("X-Forwarded-Host", "edge")
            .header("Forwarded", "for=203.0.113.7");
        caller.send(&request).await?;
        let received = sorted(&app.requests_for("/hops")[0].headers);
        assert_eq!(received["x-forwarded-for"], ["203.0.113.7", address]);
        assert_eq!(received["x-forwarded-host"], ["edge", name]);
        assert_eq!(received["forwarded"][0], "for=203.0.113.7");
        assert_eq!(received["forwarded"].len(), 2);
        Ok(())
    });
}

#[test]
fn nobody_can_pretend_to_be_another_app() {
    isolated!(async {
        let cluster = pair(HttpApp::echo().await?).await?;
        let caller = &cluster["caller"].daprd;
        let own = cluster["caller"].app.port();
        for (target, spelling) in [
            ("caller", "dapr-caller-app-id"),
            ("caller", "Dapr-Caller-App-Id"),
            ("callee", "dapr-caller-app-id"),
        ] {
            let app = &cluster[target].app;
            let request = HttpRequest::new("GET", format!("/v1.0/invoke/{target}/method/who"))
                .header(spelling, "admin")
                .header(spelling.replace("r-app-id", "r-namespace"), "kube-system")
                .header("dapr-callee-app-id", "other")
                .header("destination-app-id", "other");
            assert_eq!(caller.send(&request).await?.status, 200);
            let received = sorted(&app.requests_for("/who")[0].headers);
            assert_eq!(received.get("destination-app-id"), None);
            // The last value is the sidecar's; between sidecars one in canonical form stays beside it.
            for (name, value) in [
                ("dapr-caller-app-id", "caller"),
                ("dapr-caller-namespace", "default"),
                ("dapr-callee-app-id", target),
            ] {
                assert!(
                    received[name].iter().any(|given| given == value),
                    "{target} {name}"
                );
                if target == "caller" {
                    assert_eq!(received[name], [value]);
                }
            }
            app.clear();
        }

        // A call to the own app has no hop to tell about.
        caller.invoke("caller", "plain").await?;
        let received = sorted(&cluster["caller"].app.requests_for("/plain")[0].headers);
        let names: Vec<_> = received.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "dapr-callee-app-id",
                "dapr-caller-app-id",
                "dapr-caller-namespace",
                "host",
                "traceparent"
            ]
        );
        assert_eq!(received["host"], [format!("127.0.0.1:{own}")]);
        Ok(())
    });
}

#[test]
fn headers_of_one_hop_stay_on_it_in_both_directions() {
    isolated!(async {
        let app = super::app(async |_| {
            HttpResponse::ok("x")
                .header("Keep-Alive", "timeout=5")
                .header("Connection", "X-Secret, keep-alive")
                .header("X-Secret", "1")
                .header("Proxy-Authenticate", "Basic")
                .header("Trailer", "X-T")
                .header("Upgrade", "websocket")
                .header("TE", "trailers")
                .header("Content-Type", "text/plain")
                .header("X-Kept", "1")
                .header("x-kept", "2")
                .header("X-Some-Bin", "AAE=")
                .header("Date", "Mon, 23 Nov 2026 07:12:17 GMT")
                .header("Server", "mine")
        })
        .await?;
        let cluster = pair(app).await?;
        let caller = &cluster["caller"].daprd;
        for target in ["callee", "caller"] {
            let request = HttpRequest::new("POST", format!("/v1.0/invoke/{target}/method/hop"))
                .header("Connection", "x-Named, keep-alive")
                .header("X-Named", "1")
                .header("Keep-Alive", "timeout=5")
                .header("Proxy-Connection", "keep-alive")
                .header("Proxy-Authorization", "Basic x")
                .header("TE", "trailers")
                .header("Upgrade", "websocket")
                .header("X-Kept", "1")
                .header("Content-Type", "text/plain")
                .body("body");
            let reply = caller.send(&request).await?;
            assert_eq!(reply.status, 200, "{}", reply.text());
            let received = sorted(&cluster[target].app.requests_for("/hop")[0].headers);
            for name in [
                "connection",
                "x-named",
                "keep-alive",
                "proxy-connection",
                "proxy-authorization",
                "te",
                "upgrade",
                "transfer-encoding",
            ] {
                assert_eq!(received.get(name), None, "{target} {name}");
            }
            assert_eq!(received["x-kept"], ["1"]);
            assert_eq!(received["content-length"], ["4"]);
            assert_eq!(received["content-type"], ["text/plain"]);
            if target == "callee" {
                let mut got = sorted(&reply.headers);
                got.remove("traceparent");
                assert_eq!(
                    got,
                    map([
                        ("content-type", &["text/plain"][..]),
                        ("date", &["Mon, 23 Nov 2026 07:12:17 GMT"]),
                        ("server", &["mine"]),
                        ("transfer-encoding", &["chunked"]),
                        ("x-kept", &["1", "2"]),
                    ])
                );
            }
        }
        Ok(())
    });
}

#[test]
fn header_names_are_canonical_as_the_reference_writes_them() {
    isolated!(async {
        let app = super::app(async |_| HttpResponse::ok("x").header("x-APP-header", "one")).await?;
        let cluster = pair(app).await?;
        let request = HttpRequest::new("GET", "/v1.0/invoke/callee/method/c").header("x-my-HEADER", "1");
        let reply = cluster["caller"].daprd.send(&request).await?;
        assert!(reply.headers.names().contains(&"X-App-Header"));
        let received = &cluster["callee"].app.requests_for("/c")[0];
        let names = received.headers.names();
        for name in [
            "Host",
            "X-My-Header",
            "Dapr-Callee-App-Id",
            "Dapr-Caller-App-Id",
            "Dapr-Caller-Namespace",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "Forwarded",
            "Traceparent",
        ] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
        Ok(())
    });
}

#[test]
fn only_the_first_baggage_and_no_client_token_reach_an_app_that_has_its_own() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let caller = Daprd::builder("caller")?.env("DAPR_API_TOKEN", "in");
        let callee = Daprd::builder("callee")?
            .app("http", app.port())
            .env("APP_API_TOKEN", "out");
        let (caller, _callee) = both(caller, callee).await?;
        let request = HttpRequest::new("GET", "/v1.0/invoke/callee/method/t")
            .header("dapr-api-token", "in")
            .header("baggage", "a=1")
            .header("baggage", "b=2");
        assert_eq!(caller.send(&request).await?.status, 200);
        let received = sorted(&app.requests_for("/t")[0].headers);
        assert_eq!(received["dapr-api-token"], ["out"]);
        assert_eq!(received["baggage"], ["a=1"]);
        Ok(())
    });
}

#[test]
fn content_types_reach_both_sides() {
    isolated!(async {
        let app = super::app(async |request: HttpRequest| match request.path() {
            "/none" => HttpResponse::ok("x"),
            _ => HttpResponse::ok("{}").header("Content-Type", "application/vnd.mine+json; charset=utf-8"),
        })
        .await?;
        let cluster = pair(app).await?;
        let (caller, app) = (&cluster["caller"].daprd, &cluster["callee"].app);
        let request = HttpRequest::new("POST", "/v1.0/invoke/callee/method/typed")
            .header("content-type", "application/xml; a=b")
            .body("<x/>");
        let reply = caller.send(&request).await?;
        assert_eq!(
            reply.header("content-type"),
            Some("application/vnd.mine+json; charset=utf-8")
        );
        let received = &app.requests_for("/typed")[0].headers;
        assert_eq!(
            received.all("content-type").collect::<Vec<_>>(),
            ["application/xml; a=b"]
        );

        caller.post("/v1.0/invoke/callee/method/none", "x").await?;
        assert_eq!(app.requests_for("/none")[0].headers.get("content-type"), None);
        Ok(())
    });
}
