//! Two sidecars with mTLS.

use outrigger_test_kit::{
    Authority, Cluster, Daprd, DaprdBuilder, HttpApp, HttpRequest, HttpResponse, Result, Sentry, isolated,
};

use super::authority::Lab;

/// Names resolve to one port of this machine, whatever they are.
fn towards(port: u16) -> String {
    format!(
        "spec: {{nameResolution: {{component: nameformat, configuration: {{format: \"{{appid}}.localhost:{port}\"}}}}}}"
    )
}

/// The message of an error of service invocation.
async fn failure(daprd: &Daprd, app_id: &str) -> Result<(u16, String)> {
    let reply = daprd.invoke(app_id, "x").await?;
    let text = reply.json()?["message"].as_str().unwrap_or_default().to_owned();
    Ok((reply.status, text))
}

#[test]
fn the_called_app_learns_who_called_and_no_token() {
    isolated!(async {
        let cluster = Cluster::start(["myapp", "callee"]).await?;
        let reply = cluster["myapp"].invoke("callee", "public").await?;
        assert_eq!(reply.status, 200);
        let received = cluster["callee"].app.requests_for("/public").remove(0);
        for (name, value) in [
            ("dapr-caller-app-id", "myapp"),
            ("dapr-caller-namespace", "default"),
            ("dapr-callee-app-id", "callee"),
        ] {
            assert_eq!(received.headers.get(name), Some(value), "{name}");
        }
        assert_eq!(received.headers.get("dapr-api-token"), None);
        Ok(())
    });
}

#[test]
fn a_caller_cannot_say_it_is_somebody_else() {
    isolated!(async {
        let cluster = Cluster::start(["myapp", "callee"]).await?;
        for (caller, id) in [("myapp", "myapp"), ("callee", "callee")] {
            let request = HttpRequest::new("GET", "/v1.0/invoke/callee/method/spoof")
                .header("dapr-caller-app-id", "admin")
                .header("dapr-caller-namespace", "kube-system")
                .header("dapr-callee-app-id", "other");
            assert_eq!(cluster[caller].daprd.send(&request).await?.status, 200);
            let received = cluster["callee"]
                .app
                .requests_for("/spoof")
                .pop()
                .unwrap_or_default();
            assert!(
                received
                    .headers
                    .all("dapr-caller-app-id")
                    .any(|value| value == id),
                "{received:?}"
            );
            if caller == "callee" {
                // On the way to itself every copy is taken away, on the way to others the lower-case one.
                let values: Vec<_> = received.headers.all("dapr-caller-app-id").collect();
                assert_eq!(values, ["callee"]);
            }
        }
        Ok(())
    });
}

#[test]
fn methods_are_cleaned_before_they_are_sent() {
    isolated!(async {
        let cluster = Cluster::start(["myapp", "callee"]).await?;
        for (method, path) in [
            ("public%2F..%2Fadmin", "/admin"),
            ("admin%2F..%2Fpublic", "/public"),
            ("..%2Fpublic", "/public"),
            ("a%2Fb%2F..%2F..%2Fpublic", "/public"),
        ] {
            cluster["callee"].app.clear();
            assert_eq!(
                cluster["myapp"].invoke("callee", method).await?.status,
                200,
                "{method}"
            );
            assert_eq!(cluster["callee"].app.requests_for(path).len(), 1, "{method}");
        }
        let reply = cluster["myapp"].invoke("callee", "admin%3Fx").await?;
        assert_eq!(reply.status, 500);
        let text = reply.json()?;
        assert_eq!(text["errorCode"], "ERR_DIRECT_INVOKE");
        let message = text["message"].as_str().unwrap_or_default();
        assert!(
            message.ends_with(
                "code = InvalidArgument desc = invalid method: method contains forbidden character: \"admin?x\""
            ),
            "{message}"
        );
        Ok(())
    });
}

#[test]
fn a_sidecar_with_another_app_id_is_not_talked_to() {
    isolated!(async {
        let sentry = Sentry::start().await?;
        let app = HttpApp::echo().await?;
        let callee = Daprd::builder("callee")?
            .app("http", app.port())
            .mtls(&sentry)
            .start()
            .await?;
        let caller = Daprd::builder("myapp")?
            .mtls(&sentry)
            .configuration(&towards(callee.internal_port))?
            .start()
            .await?;
        assert_eq!(caller.invoke("callee", "x").await?.status, 200);
        app.clear();
        for (target, id) in [("other", "other"), ("callee.elsewhere", "callee.elsewhere")] {
            let (status, text) = failure(&caller, target).await?;
            assert_eq!(status, 500);
            let target = id.split('.').next().unwrap_or_default();
            let begin = format!(
                "failed to invoke, id: {id}, err: failed to invoke target {target} after 3 retries. "
            );
            assert!(text.starts_with(&begin), "{text}");
            assert!(
                text.ends_with(
                    "rpc error: code = Unavailable desc = connection error: desc = \"transport: authentication handshake \
                     failed: unexpected SPIFFE ID: \\\"spiffe://public/ns/default/callee\\\"\""
                ),
                "{text}"
            );
        }
        assert_eq!(app.requests().len(), 0, "nothing was sent");
        Ok(())
    });
}

#[test]
fn namespaces_are_part_of_the_identity() {
    isolated!(async {
        let sentry = Sentry::start().await?;
        let app = HttpApp::echo().await?;
        let callee = Daprd::builder("callee")?
            .app("http", app.port())
            .mtls(&sentry)
            .env("NAMESPACE", "ns-b")
            .start()
            .await?;
        let caller = |namespace: &str| -> Result<DaprdBuilder> {
            Daprd::builder("myapp")?
                .mtls(&sentry)
                .env("NAMESPACE", namespace)
                .configuration(&towards(callee.internal_port))
        };
        let same = caller("ns-b")?.start().await?;
        assert_eq!(same.invoke("callee", "x").await?.status, 200);
        let other = caller("ns-a")?.start().await?;
        assert_eq!(other.invoke("callee.ns-b", "y").await?.status, 200);
        let received = app.requests_for("/y").remove(0);
        assert_eq!(received.headers.get("dapr-caller-namespace"), Some("ns-a"));
        let (status, text) = failure(&other, "callee").await?;
        assert_eq!(status, 500);
        assert!(
            text.contains("unexpected SPIFFE ID: \\\"spiffe://public/ns/ns-b/callee\\\""),
            "{text}"
        );
        Ok(())
    });
}

#[test]
fn sidecars_of_different_roots_do_not_believe_each_other() {
    isolated!(async {
        let (first, second) = (Sentry::start().await?, Sentry::start().await?);
        let app = HttpApp::echo().await?;
        let _callee = Daprd::builder("callee")?
            .app("http", app.port())
            .mtls(&first)
            .start()
            .await?;
        let caller = Daprd::builder("myapp")?.mtls(&second).start().await?;
        let (status, text) = failure(&caller, "callee").await?;
        assert_eq!(status, 500);
        assert!(
            text.contains(
                "transport: authentication handshake failed: x509svid: could not verify leaf certificate: "
            ),
            "{text}"
        );
        assert_eq!(app.requests_for("/x").len(), 0);
        Ok(())
    });
}

#[test]
fn sidecars_of_the_old_and_of_the_new_root_work_together_while_both_are_anchors() {
    isolated!(async {
        let (old, new) = (Authority::new()?, Authority::new()?);
        let labs = [Lab::new("{enabled: true}")?, Lab::new("{enabled: true}")?];
        let both = [old.anchors(), new.anchors()].concat();
        let app = HttpApp::start(async |_| HttpResponse::ok("hello")).await?;
        let mut sidecars = Vec::new();
        let mut sentries = Vec::new();
        for (lab, (authority, app_id)) in labs.iter().zip([(&old, "old"), (&new, "new")]) {
            authority.write(&lab.credentials())?;
            std::fs::write(lab.credentials().join("ca.crt"), &both)?;
            sentries.push(lab.start().await?);
            let daprd = Daprd::builder(app_id)?
                .app("http", app.port())
                .flag("enable-mtls", true)
                .flag("sentry-address", format_args!("127.0.0.1:{}", lab.port))
                .env("DAPR_TRUST_ANCHORS", &both)
                .start()
                .await?;
            sidecars.push(daprd);
        }
        for (caller, callee) in [(&sidecars[0], "new"), (&sidecars[1], "old")] {
            let reply = caller.invoke(callee, "x").await?;
            assert_eq!(
                (reply.status, reply.text().as_str()),
                (200, "hello"),
                "to {callee}"
            );
        }
        Ok(())
    });
}
