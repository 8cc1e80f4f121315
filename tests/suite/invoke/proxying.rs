//! gRPC methods that the sidecar does not know, on their way to the app that does.

use http::HeaderMap;
use outrigger_test_kit::grpc::metadata;
use outrigger_test_kit::{Daprd, GrpcAnswer, GrpcApp, GrpcCall, Result, isolated};

use super::both;

const METHOD: &str = "/mine.Service/Echo";

/// Answers by the name of the method, else with what comes in.
async fn app() -> Result<GrpcApp> {
    GrpcApp::start(async |mut call: GrpcCall| match call.path.as_str() {
        "/mine.Service/Twenty" => {
            GrpcAnswer::status(20, "not a code").with_trailers(metadata([("x-trail", "t")]))
        }
        "/mine.Service/Details" => GrpcAnswer::status(9, "ü % <&>").with_trailers(metadata([
            ("grpc-status-details-bin", "CAkSAmhp"),
            ("x-bin-bin", "AAE"),
        ])),
        "/mine.Service/After" => GrpcAnswer::bytes(["one", "two"])
            .ending(7, "enough")
            .with_metadata(metadata([("x-head", "h")]))
            .with_trailers(metadata([("x-trail", "t")])),
        "/mine.Service/Count" => {
            let (mut count, mut bytes) = (0, 0);
            while let Ok(Some(message)) = call.messages.next().await {
                count += 1;
                bytes += message.len();
            }
            GrpcAnswer::bytes([format!("{count} {bytes}")])
        }
        _ => {
            let (answer, sender) = GrpcAnswer::stream();
            tokio::spawn(async move {
                while let Ok(Some(frame)) = call.messages.next_frame().await {
                    if sender.send(frame).await.is_err() {
                        return;
                    }
                }
            });
            answer.with_metadata(metadata([("x-head", "h")]))
        }
    })
    .await
}

/// Two sidecars; the app is behind `callee`, another one behind `caller`.
async fn sidecars(app: &GrpcApp, own: &GrpcApp) -> Result<(Daprd, Daprd)> {
    let caller = Daprd::builder("caller")?.app("grpc", own.port());
    both(caller, Daprd::builder("callee")?.app("grpc", app.port())).await
}

fn to(app_id: &str) -> HeaderMap {
    metadata([("dapr-app-id", app_id)])
}

#[test]
fn all_kinds_of_calls_pass_with_metadata_statuses_and_trailers() {
    isolated!(async {
        let (app, own) = (app().await?, app().await?);
        let (caller, _callee) = sidecars(&app, &own).await?;
        let client = caller.grpc().await?;
        for (target, app) in [("callee", &app), ("caller", &own)] {
            let mut sent = to(target);
            sent.extend(metadata([("x-client", "1"), ("x-raw-bin", "AAE")]));
            let reply = client.call(METHOD, sent, ["hello"]).await?;
            assert_eq!(
                (reply.status, &reply.messages[..]),
                (0, &["hello".into()][..]),
                "{}",
                reply.message
            );
            assert_eq!(reply.metadata["x-head"], "h");
            let received = app.calls(METHOD).remove(0);
            assert_eq!(received["x-client"], "1");
            assert_eq!(received["x-raw-bin"].to_str()?.trim_end_matches('='), "AAE");
            assert_eq!(received.get("dapr-app-id"), None, "{target}");
            if target == "callee" {
                assert_eq!(received["dapr-caller-app-id"], "caller");
                assert_eq!(received["dapr-callee-app-id"], "callee");
                assert!(received.contains_key("traceparent"));
                assert_eq!(received.get("dapr-caller-namespace"), None);
            }

            let reply = client
                .call("/mine.Service/Count", to(target), ["a", "bb", ""])
                .await?;
            assert_eq!(&reply.messages[0][..], b"3 3");

            let reply = client.call("/mine.Service/After", to(target), [""]).await?;
            assert_eq!(reply.messages, ["one", "two"]);
            assert_eq!((reply.status, reply.message.as_str()), (7, "enough"));
            assert_eq!(reply.metadata["x-head"], "h");
            assert_eq!(reply.trailers["x-trail"], "t");

            let reply = client.call("/mine.Service/Twenty", to(target), [""]).await?;
            assert_eq!((reply.status, reply.message.as_str()), (20, "not a code"));
            assert_eq!(reply.trailers["x-trail"], "t");

            let reply = client.call("/mine.Service/Details", to(target), [""]).await?;
            assert_eq!((reply.status, reply.message.as_str()), (9, "ü % <&>"));
            assert_eq!(
                reply.trailers["grpc-status-details-bin"]
                    .to_str()?
                    .trim_end_matches('='),
                "CAkSAmhp"
            );

            // Both sides talk in turn.
            let mut stream = client.open(METHOD, to(target)).await?;
            for message in ["one", "two", "three"] {
                stream.send(message.as_bytes()).await?;
                assert_eq!(stream.next().await?.as_deref(), Some(message.as_bytes()));
            }
            stream.half_close();
            assert_eq!(stream.finish().await?.status, 0);

            let long = vec![b'x'; 4_000_000];
            let reply = client.call(METHOD, to(target), [&long]).await?;
            assert_eq!((reply.status, reply.messages[0].len()), (0, long.len()));
        }
        Ok(())
    });
}

#[test]
fn the_callee_metadata_win_and_none_of_them_is_an_error() {
    isolated!(async {
        let (app, own) = (app().await?, app().await?);
        let (caller, _callee) = sidecars(&app, &own).await?;
        let client = caller.grpc().await?;
        let both_names = metadata([("dapr-callee-app-id", "callee"), ("dapr-app-id", "caller")]);
        assert_eq!(client.call(METHOD, both_names, ["x"]).await?.status, 0);
        assert_eq!((app.calls(METHOD).len(), own.calls(METHOD).len()), (1, 0));
        assert_eq!(app.calls(METHOD)[0].get("dapr-app-id"), None);

        let reply = client.call(METHOD, HeaderMap::new(), ["x"]).await?;
        let texts = [
            "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found",
            "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata",
        ];
        assert_eq!(reply.status, 2);
        assert!(texts.contains(&reply.message.as_str()), "{}", reply.message);

        let reply = client.call(METHOD, to("nobody"), ["x"]).await?;
        assert_ne!(reply.status, 0);
        assert!(
            reply.message.ends_with("couldn't find service: nobody"),
            "{}",
            reply.message
        );
        // Health is none of the sidecar's own services.
        let reply = client
            .call("/grpc.health.v1.Health/Check", HeaderMap::new(), [""])
            .await?;
        assert_eq!(reply.status, 2);
        Ok(())
    });
}

#[test]
fn a_message_over_the_limit_is_exhausted_in_the_words_of_the_reference() {
    isolated!(async {
        let app = app().await?;
        let caller = Daprd::builder("caller")?.flag("max-body-size", "10k");
        let callee = Daprd::builder("callee")?.app("grpc", app.port());
        let (caller, callee) = both(caller, callee).await?;
        let client = caller.grpc().await?;
        let reply = client.call(METHOD, to("callee"), [vec![b'x'; 10_000]]).await?;
        assert_eq!((reply.status, reply.messages[0].len()), (0, 10_000));
        let reply = client.call(METHOD, to("callee"), [vec![b'x'; 10_001]]).await?;
        assert_eq!(
            (reply.status, reply.message.as_str()),
            (8, "grpc: received message larger than max (10001 vs. 10000)")
        );
        // The other side has its own limit.
        let client = callee.grpc().await?;
        let reply = client.call(METHOD, to("callee"), [vec![b'x'; 5_000_000]]).await?;
        assert_eq!(
            (reply.status, reply.message.as_str()),
            (8, "grpc: received message larger than max (5000000 vs. 4194304)")
        );
        Ok(())
    });
}

#[test]
fn a_client_that_gives_up_ends_the_call_at_the_app() {
    isolated!(async {
        let (give, mut take) = tokio::sync::mpsc::unbounded_channel();
        let app = GrpcApp::start(move |mut call: GrpcCall| {
            let give = give.clone();
            async move {
                let (answer, sender) = GrpcAnswer::stream();
                tokio::spawn(async move {
                    let first = call.messages.next_frame().await;
                    if let Ok(Some(frame)) = first {
                        sender.send(frame).await.ok();
                    }
                    let outcome = call.messages.next_frame().await;
                    give.send(matches!(outcome, Ok(Some(_)))).ok();
                });
                answer
            }
        })
        .await?;
        let callee = Daprd::builder("callee")?.app("grpc", app.port());
        let (caller, _callee) = both(Daprd::builder("caller")?, callee).await?;
        let client = caller.grpc().await?;
        let mut stream = client.open(METHOD, to("callee")).await?;
        stream.send(b"x").await?;
        assert!(stream.next().await?.is_some());
        drop((stream, client));
        let more = tokio::time::timeout(std::time::Duration::from_secs(10), take.recv()).await?;
        assert_eq!(more, Some(false), "the stream at the app is over");
        Ok(())
    });
}
