//! Which app and which method a path names, and what the app sees of it.

use outrigger_test_kit::{HttpApp, HttpRequest, isolated};
use serde_json::json;

use super::{assert_failure, pair};

/// Path on the wire towards the sidecar, and path and query on the wire towards the app.
const METHODS: [(&str, &str); 27] = [
    ("/v1.0/invoke/callee/method/foo", "/foo"),
    ("/v1.0////invoke/callee/method/foo", "/foo"),
    ("/v1.0/invoke////callee/method/foo", "/foo"),
    ("/v1.0//invoke//callee/method//foo", "/foo"),
    ("/v1.0/invoke/callee/method/x/y", "/x/y"),
    ("/v1.0/invoke/callee/method/x//y/", "/x/y"),
    ("/v1.0/invoke/callee/method/", "/"),
    ("/v1.0/invoke/callee/method/.", "/"),
    ("/v1.0/invoke/callee/method/x/method/y", "/x/method/y"),
    ("/v1.0/invoke/callee.default/method/x", "/x"),
    ("/v1.0/invoke/call%65e/method/x", "/x"),
    ("/v1.0/invoke/call%2565e/method/x", "/x"),
    ("/v1.0%2Finvoke%2Fcallee%2Fmethod%2Fx", "/x"),
    ("/v1.0/invoke/callee/method/a%2Fb", "/a/b"),
    ("/v1.0/invoke/callee/method/a%2Bb+c", "/a+b+c"),
    ("/v1.0/invoke/callee/method/test%22stream", "/test%22stream"),
    ("/v1.0/invoke/callee/method/test%20stream", "/test%20stream"),
    ("/v1.0/invoke/callee/method/test%5Cstream", "/test%5Cstream"),
    ("/v1.0/invoke/callee/method/test%2Astream", "/test*stream"),
    ("/v1.0/invoke/callee/method/a%2541", "/a%41"),
    ("/v1.0/invoke/callee/method/%C3%BC", "/%C3%BC"),
    ("/v1.0/invoke/callee/method/admin%2F..%2Fpublic", "/public"),
    ("/v1.0/invoke/callee/method/admin%2F%2E%2E%2Fpublic", "/public"),
    ("/v1.0/invoke/callee/method/..%2F..%2F..%2Fpublic", "/public"),
    ("/v1.0/invoke/callee/method/public%23%2F..%2Fadmin", "/admin"),
    ("/v1.0/invoke/callee/method/test?stream", "/test?stream"),
    ("/v1.0/invoke/callee/method/test?", "/test"),
];

#[test]
fn apps_see_the_path_that_was_meant() {
    isolated!(async {
        let cluster = pair(HttpApp::echo().await?).await?;
        let (caller, app) = (&cluster["caller"].daprd, &cluster["callee"].app);
        for (target, seen) in METHODS {
            let reply = caller.get(target).await?;
            let received = app.requests();
            let received: Vec<_> = received.iter().map(|request| request.target.as_str()).collect();
            assert_eq!((reply.status, &received[..]), (200, &[seen][..]), "{target}");
            app.clear();
        }
        Ok(())
    });
}

#[test]
fn headers_name_the_app_where_the_path_does_not() {
    isolated!(async {
        let cluster = pair(HttpApp::echo().await?).await?;
        let (caller, app) = (&cluster["caller"].daprd, &cluster["callee"].app);
        for (path, seen) in [
            ("/hello", "/hello"),
            ("///hello", "/hello"),
            ("/", "/"),
            ("/a%2F..%2Fb?x=%20y", "/b?x=%20y"),
            // The header is asked first, so the path is a path of the app.
            ("/v1.0/invoke/nobody/method/x", "/v1.0/invoke/nobody/method/x"),
            // A route that does not know the verb.
            ("/v1.0/state/store/key/more", "/v1.0/state/store/key/more"),
        ] {
            let request = HttpRequest::new("GET", path).header("dapr-app-id", "callee");
            assert_eq!(caller.send(&request).await?.status, 200, "{path}");
            let received = app.requests().remove(0);
            assert_eq!(received.target, seen);
            assert_eq!(received.headers.get("dapr-app-id"), None);
            app.clear();

            // `dapr-app-id:callee` and `Dapr-App-Id:callee`.
            for credentials in ["ZGFwci1hcHAtaWQ6Y2FsbGVl", "RGFwci1BcHAtSWQ6Y2FsbGVl"] {
                let credentials = format!("Basic {credentials}");
                let request = HttpRequest::new("GET", path).header("Authorization", &credentials);
                assert_eq!(caller.send(&request).await?.status, 200, "{path}");
                let received = app.requests().remove(0);
                assert_eq!(received.target, seen);
                assert_eq!(received.headers.get("authorization"), Some(credentials.as_str()));
                app.clear();
            }
        }

        // A route of the API keeps its requests.
        let request = HttpRequest::new("GET", "/v1.0/healthz").header("dapr-app-id", "callee");
        assert_eq!(caller.send(&request).await?.status, 204);
        let request = HttpRequest::new("DELETE", "/v1.0/healthz").header("dapr-app-id", "callee");
        assert_eq!(caller.send(&request).await?.status, 200);
        assert_eq!(app.requests().remove(0).target, "/v1.0/healthz");
        Ok(())
    });
}

#[test]
fn paths_without_a_target_are_not_found_and_methods_that_are_none_are_refused() {
    isolated!(async {
        let cluster = pair(HttpApp::echo().await?).await?;
        let (caller, app) = (&cluster["caller"].daprd, &cluster["callee"].app);
        let nowhere = json!({
            "errorCode": "ERR_DIRECT_INVOKE",
            "message": "failed getting app id either from the URL path or the header dapr-app-id",
        });
        for path in [
            "/",
            "/nothing/here",
            "/v1.0/invoke/callee/method",
            "/v1.0/invoke/callee",
            "/v1.0/invoke/method/x",
            "/v1.0/Invoke/callee/method/x",
            "/V1.0/invoke/callee/method/x",
        ] {
            for verb in ["GET", "POST", "OPTIONS", "FROBNICATE"] {
                let reply = caller.send(&HttpRequest::new(verb, path)).await?;
                assert_eq!((reply.status, reply.text()), (404, nowhere.to_string()), "{path}");
                assert_eq!(reply.header("content-type"), Some("application/json"));
            }
        }
        // `someone:callee`, `dapr-app-id:callee:x`, and what is no base64.
        for credentials in ["c29tZW9uZTpjYWxsZWU=", "ZGFwci1hcHAtaWQ6Y2FsbGVlOng=", "!"] {
            let request =
                HttpRequest::new("GET", "/x").header("Authorization", format!("Basic {credentials}"));
            assert_eq!(caller.send(&request).await?.status, 404);
        }

        let invalid = "rpc error: code = InvalidArgument desc = invalid method: method contains";
        for (method, cause) in [
            ("test%23stream", r#"forbidden character: "test#stream""#),
            ("test%3Fstream", r#"forbidden character: "test?stream""#),
            ("test%00stream", r#"forbidden character: "test\x00stream""#),
            (
                "test%0Dstream",
                r#"control character at position 4: "test\rstream""#,
            ),
            ("a%7F", r#"control character at position 1: "a\x7f""#),
        ] {
            for target in ["callee", "caller"] {
                let reply = caller.invoke(target, method).await?;
                assert_failure(&reply, target, &format!("{invalid} {cause}"));
            }
        }
        assert_failure(
            &caller.invoke("a.b.c", "x").await?,
            "a.b.c",
            "invalid app id a.b.c",
        );

        let reply = caller.invoke("callee", "test%25stream").await?;
        let url = format!("http://127.0.0.1:{}/test%stream", app.port());
        assert_failure(
            &reply,
            "callee",
            &format!(
                "rpc error: code = Internal desc = error invoking app channel: parse \"{url}\": \
                 invalid URL escape \"%st\""
            ),
        );
        assert!(app.requests().is_empty());
        Ok(())
    });
}

#[test]
fn queries_arrive_byte_for_byte() {
    isolated!(async {
        let cluster = pair(HttpApp::echo().await?).await?;
        let (caller, app) = (&cluster["caller"].daprd, &cluster["callee"].app);
        for query in [
            "a=1&b=%20x",
            "a=1;b=2&&=&c",
            "x=%zz&y=%",
            "plus=+&slash=a/b?c",
            "u=%C3%BC&v=%c3%bc",
            "brackets=[0]&braces={}&pipe=|&caret=^",
        ] {
            let reply = caller.invoke("callee", &format!("q?{query}")).await?;
            assert_eq!(reply.status, 200, "{query}: {}", reply.text());
            assert_eq!(app.requests().remove(0).target, format!("/q?{query}"));
            app.clear();
        }
        Ok(())
    });
}

#[test]
fn verbs_arrive_and_unknown_ones_arrive_as_post() {
    isolated!(async {
        let cluster = pair(HttpApp::echo().await?).await?;
        let caller = &cluster["caller"].daprd;
        for target in ["callee", "caller"] {
            let app = &cluster[target].app;
            for (verb, seen) in [
                ("GET", "GET"),
                ("HEAD", "HEAD"),
                ("POST", "POST"),
                ("PUT", "PUT"),
                ("DELETE", "DELETE"),
                ("OPTIONS", "OPTIONS"),
                ("TRACE", "TRACE"),
                ("PATCH", "PATCH"),
                ("PROPFIND", "POST"),
                ("QUERY", "POST"),
            ] {
                let request = HttpRequest::new(verb, format!("/v1.0/invoke/{target}/method/v"));
                let reply = caller.send(&request).await?;
                assert_eq!(reply.status, 200, "{verb}: {}", reply.text());
                assert_eq!(
                    app.requests().pop().map(|last| last.method).as_deref(),
                    Some(seen)
                );
            }
            let request = HttpRequest::new("NONE", format!("/v1.0/invoke/{target}/method/v"));
            let reply = caller.send(&request).await?;
            let wrapping = match target {
                "callee" => "rpc error: code = Internal desc = error invoking app channel: ",
                _ => "",
            };
            let refused = "rpc error: code = InvalidArgument desc = invalid HTTP verb";
            assert_failure(&reply, target, &format!("{wrapping}{refused}"));
        }
        Ok(())
    });
}
