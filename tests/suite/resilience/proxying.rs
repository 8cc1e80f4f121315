//! gRPC methods that the sidecar does not know.

use http::HeaderMap;
use outrigger_test_kit::grpc::metadata;
use outrigger_test_kit::{GrpcAnswer, GrpcApp, GrpcCall, Result, isolated};

use super::{Attempts, sidecars};

const SPEC: &str = "{policies: {timeouts: {t: 400ms}, retries: {r: {duration: 1ms, maxRetries: 2, matching: \
                    {gRPCStatusCodes: '2,13-14'}}}, circuitBreakers: {b: {trip: consecutiveFailures >= 4}}}, \
                    targets: {apps: {callee: {timeout: t, retry: r, circuitBreaker: b}, caller: {retry: r}}}}";

/// An app whose methods are named `/mine.Service/<status>` and fail twice, then send back what they get;
/// `Hang` never answers and `Slow` answers without an end.
async fn app() -> Result<(GrpcApp, Attempts)> {
    let attempts = Attempts::default();
    let counter = attempts.clone();
    let app = GrpcApp::start(move |mut call: GrpcCall| {
        let attempt = counter.count(&call.path);
        async move {
            let method = call.path.rsplit('/').next().unwrap_or_default().to_owned();
            match (method.as_str(), method.parse()) {
                ("Hang", _) => std::future::pending().await,
                ("Slow", _) => {
                    let (answer, sender) = GrpcAnswer::stream();
                    tokio::spawn(async move {
                        if let Ok(Some(frame)) = call.messages.next_frame().await {
                            sender.send(frame).await.ok();
                        }
                        sender.closed().await;
                    });
                    answer
                }
                (_, Ok(status)) if attempt <= 2 => GrpcAnswer::status(status, &format!("attempt {attempt}"))
                    .with_trailers(metadata([("x-trail", "t")])),
                _ => {
                    let (answer, sender) = GrpcAnswer::stream();
                    tokio::spawn(async move {
                        while let Ok(Some(frame)) = call.messages.next_frame().await {
                            if sender.send(frame).await.is_err() {
                                return;
                            }
                        }
                    });
                    answer
                }
            }
        }
    })
    .await?;
    Ok((app, attempts))
}

fn to(app_id: &str) -> HeaderMap {
    metadata([("dapr-app-id", app_id)])
}

#[test]
fn listed_codes_of_unary_calls_are_tried_again() {
    isolated!(async {
        let (app, attempts) = app().await?;
        let (caller, _callee) = sidecars("grpc", app.port(), SPEC).await?;
        let client = caller.grpc().await?;
        let long = vec![b'x'; 300_000];
        for method in ["/mine.Service/14", "/mine.Service/2"] {
            let reply = client.call(method, to("callee"), [&long]).await?;
            assert_eq!((reply.status, reply.message.as_str()), (0, ""), "{method}");
            assert_eq!(reply.messages, [&long[..]]);
            assert_eq!(attempts.of(method), 3, "{method}");
        }
        for (method, status) in [("/mine.Service/5", 5), ("/mine.Service/20", 20)] {
            let reply = client.call(method, to("callee"), ["x"]).await?;
            assert_eq!((reply.status, reply.message.as_str()), (status, "attempt 1"));
            assert_eq!(reply.trailers["x-trail"], "t");
            assert_eq!(attempts.of(method), 1, "{method}");
        }
        // The own app is not on the way of policies.
        let reply = client.call("/mine.Service/13", to("caller"), ["x"]).await?;
        assert_eq!((reply.status, attempts.of("/mine.Service/13")), (13, 1));
        let labels = [
            ("policy", "retry"),
            ("target", "app_callee"),
            ("flow_direction", "outbound"),
        ];
        assert_eq!(caller.metric("dapr_resiliency_count", &labels).await?, Some(4.0));
        assert_eq!(
            caller
                .metric("dapr_resiliency_activations_total", &labels)
                .await?,
            Some(2.0)
        );
        Ok(())
    });
}

#[test]
fn a_call_that_takes_too_long_ends_with_a_deadline() {
    isolated!(async {
        let (app, attempts) = app().await?;
        let (caller, _callee) = sidecars("grpc", app.port(), SPEC).await?;
        let client = caller.grpc().await?;
        let reply = client.call("/mine.Service/Hang", to("callee"), ["x"]).await?;
        assert_eq!(
            (reply.status, reply.message.as_str()),
            (4, "context deadline exceeded")
        );
        assert_eq!(attempts.of("/mine.Service/Hang"), 3);
        // The timeout covers the whole call, also what is already under way.
        let reply = client.call("/mine.Service/Slow", to("callee"), ["x"]).await?;
        assert_eq!(reply.messages, ["x"]);
        assert_eq!(
            (reply.status, reply.message.as_str()),
            (4, "context deadline exceeded")
        );
        assert_eq!(attempts.of("/mine.Service/Slow"), 1);
        Ok(())
    });
}

#[test]
fn a_second_message_is_refused_unless_the_client_says_that_the_call_streams() {
    isolated!(async {
        let (app, _attempts) = app().await?;
        let (caller, _callee) = sidecars("grpc", app.port(), SPEC).await?;
        let client = caller.grpc().await?;
        let mut stream = client.open("/mine.Service/Echo", to("callee")).await?;
        stream.send(b"one").await?;
        assert_eq!(stream.next().await?.as_deref(), Some(&b"one"[..]));
        stream.send(b"two").await?;
        let reply = stream.finish().await?;
        assert_eq!(
            (reply.status, reply.message.as_str()),
            (9, "cannot use resiliency policies with retries on streaming RPCs")
        );

        let reply = client
            .call("/mine.Service/Echo", to("callee"), ["a", "b"])
            .await?;
        assert_eq!(reply.status, 9);

        let mut streaming = to("callee");
        streaming.extend(metadata([("dapr-stream", "true")]));
        let mut stream = client.open("/mine.Service/Slow", streaming.clone()).await?;
        stream.send(b"one").await?;
        assert_eq!(stream.next().await?.as_deref(), Some(&b"one"[..]));
        let echo = client
            .call("/mine.Service/Echo", streaming.clone(), ["a", "b", "c"])
            .await?;
        assert_eq!((echo.status, echo.messages.len()), (0, 3));
        // Statuses of calls that stream are not tried again.
        let reply = client.call("/mine.Service/14", streaming, ["a"]).await?;
        assert_eq!((reply.status, reply.message.as_str()), (14, "attempt 1"));
        Ok(())
    });
}

#[test]
fn a_method_that_keeps_failing_is_left_alone() {
    isolated!(async {
        let (app, attempts) = app().await?;
        let spec = SPEC.replace(">= 4", ">= 2");
        let (caller, _callee) = sidecars("grpc", app.port(), &spec).await?;
        let client = caller.grpc().await?;
        let reply = client.call("/mine.Service/14", to("callee"), ["x"]).await?;
        assert_eq!(
            (reply.status, reply.message.as_str()),
            (2, "circuit breaker is open")
        );
        assert_eq!(attempts.of("/mine.Service/14"), 2);
        caller
            .process
            .wait_for_line(
                "Circuit breaker \\\"callee:/mine.Service/14\\\" changed state from closed to open",
            )
            .await?;
        let reply = client.call("/mine.Service/Echo", to("callee"), ["x"]).await?;
        assert_eq!(reply.status, 0);
        Ok(())
    });
}
