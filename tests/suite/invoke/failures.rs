//! What a caller is told when a call cannot be made.

use std::time::Duration;

use tokio::time::Instant;

use outrigger_test_kit::{Cluster, Daprd, HttpApp, free_port, isolated, until};

use super::{assert_failure, both};

#[test]
fn an_unknown_app_is_named() {
    isolated!(async {
        let caller = Daprd::builder("caller")?.start().await?;
        let reply = caller.invoke("nobody", "x").await?;
        assert_failure(&reply, "nobody", "couldn't find service: nobody");
        assert_eq!(reply.text().len(), 110);
        assert!(reply.header("date").is_some());
        Ok(())
    });
}

#[test]
fn an_app_that_is_not_there_is_told_apart_from_a_sidecar_without_app() {
    isolated!(async {
        let gone = free_port()?;
        let caller = Daprd::builder("caller")?;
        let callee = Daprd::builder("callee")?.app("http", gone);
        let (caller, bare) = (caller.spawn()?, Daprd::builder("bare")?.spawn()?);
        let callee = callee.spawn()?;
        caller.ready().await?;
        bare.process
            .wait_for_line("App channel is not initialized. Did you configure an app-port?")
            .await?;

        let reply = caller.invoke("bare", "x").await?;
        assert_failure(
            &reply,
            "bare",
            "rpc error: code = Internal desc = app channel is not initialized",
        );
        let reply = caller.invoke("caller", "x").await?;
        assert_failure(
            &reply,
            "caller",
            "cannot invoke local endpoint: app channel not initialized",
        );
        // The callee waits for its app before it serves anybody but sidecars.
        let _ = callee;
        Ok(())
    });
}

#[test]
fn an_app_that_went_away_refuses_the_connection_in_the_words_of_the_reference() {
    isolated!(async {
        let cluster = Cluster::start(["caller", "callee"]).await?;
        let caller = &cluster["caller"].daprd;
        let app = &cluster["callee"].app;
        assert_eq!(caller.invoke("callee", "x").await?.status, 200);
        app.stop();
        cluster["caller"].app.stop();
        let refused = |verb: &str, port: u16| {
            format!(
                "{verb} \"http://127.0.0.1:{port}/x?a=1\": dial tcp 127.0.0.1:{port}: connect: connection refused"
            )
        };
        let text = until("the app to be gone", async || {
            let reply = caller.invoke("callee", "x?a=1").await.ok()?;
            (reply.status == 500 && reply.text().contains("refused")).then_some(reply)
        })
        .await?;
        assert_failure(
            &text,
            "callee",
            &format!(
                "rpc error: code = Internal desc = error invoking app channel: {}",
                refused("Get", app.port())
            ),
        );
        let reply = until("the own app to be gone", async || {
            let reply = caller.post("/v1.0/invoke/caller/method/x?a=1", "b").await.ok()?;
            (reply.status == 500 && reply.text().contains("refused")).then_some(reply)
        })
        .await?;
        assert_failure(&reply, "caller", &refused("Post", cluster["caller"].app.port()));
        Ok(())
    });
}

#[test]
fn a_sidecar_that_is_down_is_tried_four_times_within_four_seconds() {
    isolated!(async {
        let mut cluster = Cluster::start(["caller", "callee"]).await?;
        assert_eq!(cluster["caller"].invoke("callee", "x").await?.status, 200);
        let callee = cluster.member_mut("callee").expect("it is there");
        callee
            .daprd
            .process
            .signal(outrigger_test_kit::Signal::Kill)
            .await?;
        callee.daprd.process.exit().await?;
        let port = callee.daprd.internal_port;

        let begin = Instant::now();
        let reply = cluster["caller"].invoke("callee", "x").await?;
        let took = begin.elapsed();
        let text = reply.text();
        let expected = "{\"errorCode\":\"ERR_DIRECT_INVOKE\",\"message\":\"failed to invoke, id: callee, err: \
             failed to invoke target callee after 3 retries. Error: rpc error: code = Unavailable desc = ";
        assert!(text.starts_with(expected), "{text}");
        let end = format!("{port}: connect: connection refused\\\"\"}}");
        assert!(text.ends_with(&end), "{text}");
        assert_eq!(reply.status, 500);
        assert!(
            (Duration::from_millis(2900)..Duration::from_secs(6)).contains(&took),
            "{took:?}"
        );
        // The call that succeeded, and four attempts.
        let labels = [("dst_app_id", "callee"), ("type", "unary")];
        let name = "dapr_runtime_service_invocation_req_sent_total";
        assert_eq!(cluster["caller"].daprd.metric(name, &labels).await?, Some(5.0));
        Ok(())
    });
}

#[test]
fn a_call_succeeds_after_the_other_sidecar_was_started_again() {
    isolated!(async {
        let app = HttpApp::echo().await?;
        let start = |port: u16| {
            Ok::<_, anyhow::Error>(
                Daprd::builder("callee")?
                    .app("http", app.port())
                    .flag("dapr-internal-grpc-port", port),
            )
        };
        let port = free_port()?;
        let (caller, mut callee) = both(Daprd::builder("caller")?, start(port)?).await?;
        assert_eq!(caller.invoke("callee", "x").await?.status, 200);
        callee.process.stop().await?;
        let callee = start(port)?.start().await?;
        let reply = caller.invoke("callee", "x").await?;
        assert_eq!(reply.status, 200, "{}", reply.text());
        drop(callee);
        Ok(())
    });
}

#[test]
fn a_refused_caller_is_told_so() {
    isolated!(async {
        let yaml = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\nspec:\n  \
             accessControl: {defaultAction: deny}\n";
        let cluster = Cluster::builder()
            .app("caller", HttpApp::echo().await?)
            .app("callee", HttpApp::echo().await?)
            .configuration(yaml)
            .start()
            .await?;
        let request = outrigger_test_kit::HttpRequest::new("PUT", "/v1.0/invoke/callee/method/x/y");
        let reply = cluster["caller"].daprd.send(&request).await?;
        assert_eq!(reply.status, 403);
        let denied = "rpc error: code = PermissionDenied desc = access control policy has denied access to id: \
             spiffe://public/ns/default/caller operation: x/y verb: PUT";
        assert_eq!(reply.text(), super::failure("callee", denied).to_string());
        assert!(cluster["callee"].app.requests_for("/x/y").is_empty());
        // The own app is asked without a policy.
        assert_eq!(cluster["caller"].invoke("caller", "x").await?.status, 200);
        Ok(())
    });
}
