//! Ways around the rules that have been found in the past, or that somebody will think of.

use http::HeaderMap;
use outrigger_api::common::InvokeRequest;
use outrigger_api::common::http_extension::Verb;
use outrigger_api::runtime::InvokeServiceRequest;
use outrigger_test_kit::grpc::metadata;
use outrigger_test_kit::{Daprd, GrpcApp, HttpApp, HttpRequest, Sentry, isolated};
use prost::Message as _;

use super::{INVOKE_SERVICE, Peer, callee, denial, http_app, only};

const MYAPP: &str = "spiffe://public/ns/default/myapp";

/// The certificate authority, the app, its sidecar with one public operation, and the sidecar of the caller.
async fn guarded() -> outrigger_test_kit::Result<(Sentry, HttpApp, Daprd, Daprd)> {
    let (sentry, app) = (Sentry::start().await?, http_app().await?);
    let callee = callee(&sentry, &only("/public"))?.app("http", app.port());
    let (callee, caller) = crate::suite::invoke::both(callee, Daprd::builder("myapp")?.mtls(&sentry)).await?;
    app.wait_for_requests("/dapr/config", 1).await?;
    app.clear();
    Ok((sentry, app, callee, caller))
}

#[test]
fn no_spelling_of_a_path_over_http_reaches_what_is_closed() {
    isolated!(async {
        let (_sentry, app, _callee, caller) = guarded().await?;
        let open = [
            ("public", "/public"),
            ("admin%2F..%2Fpublic", "/public"),
            ("..%2Fpublic", "/public"),
            ("a%2Fb%2Fc%2F..%2F..%2F..%2Fpublic", "/public"),
            ("public///extra", "/public/extra"),
            ("PUBLIC", "/PUBLIC"),
            ("public/", "/public"),
            ("public/x", "/public/x"),
        ];
        for (path, seen) in open {
            let reply = caller.invoke("callee", path).await?;
            assert_eq!((reply.status, reply.text().as_str()), (200, seen), "{path}");
        }
        app.clear();
        let closed = [
            "admin",
            "public%2F..%2Fadmin",
            "public%23../../admin",
            "public%23%2F..%2Fadmin",
            "public%3F%2F..%2Fadmin",
            "public%23%00%2F..%2Fadmin",
            "public%25%2F..%2Fadmin",
            "public%0D/../unauthorized",
            "admin%25stream",
            "admin%22stream",
            "admin%2Astream",
            "admin%5C..%5Cpublic",
            "admin%2F..%5C..%2Fpublic",
            "admin?bypass",
            "publicx",
            "public%252f..%252fadmin",
            "",
        ];
        for path in closed {
            let reply = caller.invoke("callee", path).await?;
            assert_eq!(reply.status, 403, "{path}: {}", reply.text());
            assert_eq!(reply.json()?["errorCode"], "ERR_DIRECT_INVOKE", "{path}");
        }
        for path in ["admin%3Fignored", "admin%00public", "admin%23%3F%25bypass"] {
            let reply = caller.invoke("callee", path).await?;
            assert_eq!(reply.status, 500, "{path}: {}", reply.text());
            assert!(
                reply
                    .text()
                    .contains("code = InvalidArgument desc = invalid method: method contains"),
                "{path}: {}",
                reply.text()
            );
        }
        assert!(
            app.requests().is_empty(),
            "nothing of this came through: {:?}",
            app.requests()
        );
        Ok(())
    });
}

#[test]
fn no_spelling_of_a_method_over_grpc_reaches_what_is_closed() {
    isolated!(async {
        let (_sentry, app, _callee, caller) = guarded().await?;
        let client = caller.grpc().await?;
        let invoke = async |method: &str| {
            let request = InvokeServiceRequest {
                id: "callee".to_owned(),
                message: Some(InvokeRequest {
                    method: method.to_owned(),
                    http_extension: Some(outrigger_api::common::HttpExtension {
                        verb: Verb::Get.into(),
                        querystring: String::new(),
                    }),
                    ..InvokeRequest::default()
                }),
            };
            client
                .call(INVOKE_SERVICE, HeaderMap::new(), [request.encode_to_vec()])
                .await
        };
        for method in [
            "admin/../public",
            "admin/../../public",
            "/admin%09/../public",
            "admin%2Fsecret/../public",
            "//public//",
            "../../public",
        ] {
            let reply = invoke(method).await?;
            assert_eq!((reply.status, reply.message.as_str()), (0, ""), "{method}");
        }
        let paths: Vec<_> = app
            .requests()
            .iter()
            .map(|request| request.path().to_owned())
            .collect();
        assert_eq!(paths, ["/public"; 6]);
        app.clear();
        for method in [
            "admin%2F..%2Fpublic",
            "admin\\..\\public",
            "/public;../../admin",
            "admin%stream",
            "admin",
            "public/../admin",
            "",
        ] {
            let reply = invoke(method).await?;
            assert_eq!(reply.status, 13, "{method}");
            let start = "failed to invoke, id: callee, err: rpc error: code = PermissionDenied desc = \
                         access control policy has denied access to id: spiffe://public/ns/default/myapp operation: ";
            assert!(reply.message.starts_with(start), "{method}: {}", reply.message);
        }
        for end in ["#x", "?x", "\0x", "\tx", "\rx", "\nx"] {
            let reply = invoke(&format!("public{end}")).await?;
            assert_eq!(reply.status, 13, "{end:?}");
            assert!(
                reply
                    .message
                    .contains("code = InvalidArgument desc = invalid method: "),
                "{}",
                reply.message
            );
        }
        assert!(app.requests().is_empty());
        Ok(())
    });
}

#[test]
fn a_peer_that_cleans_nothing_is_judged_by_what_the_app_would_see() {
    isolated!(async {
        let (sentry, app, callee, _caller) = guarded().await?;
        let peer = Peer::connect(&sentry, &callee, MYAPP).await?;
        let known = [("x", "y")];
        for method in [
            "public",
            "/public",
            "PUBLIC",
            "public/x",
            "public/",
            "//public//",
            "admin/../public",
            "../../public",
        ] {
            assert_eq!(peer.call(Verb::Get, method, &known).await?.status, 0, "{method}");
        }
        app.clear();
        for method in ["publicx", "admin", "public/../admin", "public%2f..%2fadmin", ""] {
            assert_eq!(peer.call(Verb::Get, method, &known).await?.status, 7, "{method}");
        }
        for method in ["public#x", "public?x", "public\tx", "public\0"] {
            let reply = peer.call(Verb::Get, method, &known).await?;
            assert_eq!(reply.status, 3, "{method:?}");
            assert!(
                reply.message.starts_with("invalid method: method contains "),
                "{}",
                reply.message
            );
        }
        // A verb counts only in a call with metadata.
        let reply = peer.call(Verb::None, "public", &known).await?;
        assert_eq!(
            (reply.status, reply.message),
            (7, denial(MYAPP, "public", "NONE"))
        );
        let reply = peer.call(Verb::Get, "public", &[]).await?;
        assert_eq!(
            (reply.status, reply.message),
            (7, denial(MYAPP, "public", "NONE"))
        );
        assert!(app.requests().is_empty());
        Ok(())
    });
}

#[test]
fn headers_that_name_a_caller_convince_nobody() {
    isolated!(async {
        let (sentry, app, callee, _caller) = guarded().await?;
        let stranger = "spiffe://public/ns/default/stranger";
        let peer = Peer::connect(&sentry, &callee, stranger).await?;
        let spoofed = [
            ("dapr-caller-app-id", "myapp"),
            ("dapr-caller-namespace", "default"),
            ("Dapr-Caller-App-Id", "myapp"),
        ];
        let reply = peer.call(Verb::Get, "public", &spoofed).await?;
        assert_eq!(
            (reply.status, reply.message),
            (7, denial(stranger, "public", "GET"))
        );
        for (id, text) in [
            (
                "spiffe://public/myapp",
                "malformed SPIFFE ID: spiffe://public/myapp".to_owned(),
            ),
            (
                "spiffe://othertd/ns/default/myapp",
                denial("spiffe://othertd/ns/default/myapp", "public", "GET"),
            ),
        ] {
            let reply = Peer::connect(&sentry, &callee, id)
                .await?
                .call(Verb::Get, "public", &spoofed)
                .await?;
            assert_eq!((reply.status, reply.message), (7, text));
        }
        let fourth = "spiffe://public/ns/default/myapp/extra";
        let reply = Peer::connect(&sentry, &callee, fourth)
            .await?
            .call(Verb::Get, "public", &spoofed)
            .await?;
        assert_eq!(
            reply.status, 0,
            "the fourth segment is the app: {}",
            reply.message
        );
        assert_eq!(app.requests().len(), 1);
        Ok(())
    });
}

#[test]
fn a_proxied_method_is_judged_whole_and_the_identity_of_a_sidecar_is_not_lent() {
    isolated!(async {
        let (sentry, app) = (Sentry::start().await?, GrpcApp::echo().await?);
        let callee = callee(&sentry, &only("/mine.Service/Open"))?.app("grpc", app.port());
        let (callee, caller) =
            crate::suite::invoke::both(callee, Daprd::builder("myapp")?.mtls(&sentry)).await?;
        let peer = Peer::connect(&sentry, &callee, MYAPP).await?;
        let to = |app_id: &str| metadata([("dapr-app-id", app_id)]);
        for (path, status) in [
            ("/mine.Service/Open", 0),
            ("//mine.Service//Open", 0),
            ("/mine.Service/Closed/../Open", 0),
            ("/mine.Service/Closed", 7),
            ("/mine.Service/Open/../Closed", 7),
            ("/mine.Service/open", 7),
            ("/Mine.Service/Open", 7),
            ("/mine.Service/Open?x", 3),
            ("/mine.Service%2FOpen", 7),
        ] {
            let reply = peer.0.call(path, to("callee"), ["x"]).await?;
            assert_eq!(reply.status, status, "{path}: {}", reply.message);
        }
        assert_eq!(app.calls("/mine.Service/Open").len(), 3);
        assert!(app.calls("/mine.Service/Closed").is_empty());

        // `stranger` may not call the app; by way of the sidecar of `myapp`, which may, it may not either.
        let stranger = Peer::connect(&sentry, &caller, "spiffe://public/ns/default/stranger").await?;
        let reply = stranger.0.call("/mine.Service/Open", to("callee"), ["x"]).await?;
        assert_eq!(
            (reply.status, reply.message.as_str()),
            (7, "a call for app callee came to the sidecar of app myapp")
        );
        assert_eq!(app.calls("/mine.Service/Open").len(), 3);
        Ok(())
    });
}

#[test]
fn a_health_check_opens_nothing_else_of_the_api() {
    isolated!(async {
        let sidecar = Daprd::builder("safe")?
            .env("DAPR_API_TOKEN", "secret")
            .start()
            .await?;
        for (method, path) in [
            ("POST", "/v1.0/healthz"),
            ("HEAD", "/v1.0/healthz"),
            ("GET", "/v1.0/healthz/x"),
            ("GET", "/v1.0/metadata?x=/v1.0/healthz"),
            ("GET", "/v1.0/invoke/safe/method/v1.0/healthz"),
            ("GET", "/v1.0/healthz/../metadata"),
            ("GET", "/v1.0/healthz%2F..%2Fmetadata"),
            ("GET", "/V1.0/healthz"),
        ] {
            let reply = sidecar.send(&HttpRequest::new(method, path)).await?;
            assert_eq!(reply.status, 401, "{method} {path}");
        }
        Ok(())
    });
}
