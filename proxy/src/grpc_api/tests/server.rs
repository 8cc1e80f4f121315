//! What holds for every call: the token, the lists, the limits, the trace, reflection.

use super::*;

#[tokio::test]
async fn every_call_must_bring_the_token() {
    let fake = Fake::new();
    let settings = GrpcSettings {
        api_token: Some("secret".into()),
        ..settings()
    };
    let stack = stack_of(&fake, &settings, Tracer::off());

    let table = [
        (None, "missing api token in request metadata"),
        (Some("other"), "authentication error: api token mismatch"),
    ];
    for (token, detail) in table {
        let mut request = tonic::Request::new(api::GetMetadataRequest {});
        if let Some(token) = token {
            request
                .metadata_mut()
                .insert("dapr-api-token", token.parse().unwrap());
        }
        let refusal = dapr(stack.clone()).get_metadata(request).await.unwrap_err();
        assert_eq!(
            (refusal.code(), refusal.message()),
            (Code::Unauthenticated, "Unauthorized")
        );
        let info = info(&refusal);
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("Unauthorized", "dapr.io")
        );
        assert_eq!(
            (
                info.metadata["http.code"].as_str(),
                info.metadata["http.error_message"].as_str()
            ),
            ("401", detail)
        );
    }

    let foreign = raw(stack.clone(), "/x.Y/Z", &[("dapr-app-id", "other")], &[]).await;
    assert_eq!(foreign.status().0, 16);
    raw(
        stack,
        "/x.Y/Z",
        &[("dapr-app-id", "other"), ("dapr-api-token", "secret")],
        &[b"x"],
    )
    .await;
    let forwarded = fake.0.forwarded.lock().unwrap();
    assert!(!forwarded[0].1.contains_key("dapr-api-token"));
}

#[tokio::test]
async fn methods_outside_the_lists_are_not_available() {
    let denied = GrpcRules::new(
        [],
        [GrpcRule {
            name: "metadata",
            version: "v1",
            protocol: "grpc",
        }],
    );
    let settings = GrpcSettings {
        rules: Arc::new(denied),
        ..settings()
    };
    let stack = stack_of(&Fake::new(), &settings, Tracer::off());
    let refusal = dapr(stack)
        .get_metadata(api::GetMetadataRequest {})
        .await
        .unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.message()),
        (Code::Unimplemented, "Not Implemented")
    );
    let info = info(&refusal);
    assert_eq!(info.metadata["http.code"], "501");
    assert_eq!(
        info.metadata["http.error_message"],
        "requested endpoint is not available"
    );
}

#[tokio::test]
async fn messages_beyond_the_limit_are_refused_by_their_prefix() {
    let large = vec![b'x'; 1001];
    for path in ["/dapr.proto.runtime.v1.Dapr/GetMetadata", routes::INVOKE_SERVICE] {
        let answer = raw(plain(&Fake::new()), path, &[], &[&large]).await;
        assert_eq!(
            answer.status(),
            (
                8,
                "grpc: received message larger than max (1001 vs. 1000)".to_owned()
            ),
            "{path}"
        );
    }
    let foreign = raw(
        plain(&Fake::new()),
        "/x.Y/Z",
        &[("dapr-app-id", "other")],
        &[b"small", &large],
    )
    .await;
    assert_eq!(
        foreign.status(),
        (
            8,
            "grpc: received message larger than max (1001 vs. 1000)".to_owned()
        )
    );

    let fake = Fake::answering(Ok(http_reply(200, &"x".repeat(2000))));
    let answer = raw(
        plain(&fake),
        routes::INVOKE_SERVICE,
        &[],
        &[&invocation_request().encode_to_vec()],
    )
    .await;
    let (code, text) = answer.status();
    assert_eq!(code, 8);
    assert_eq!(text, "trying to send message larger than max (2017 vs. 1000)");
    assert!(answer.body.is_empty());
}

#[tokio::test]
async fn a_message_at_the_limit_passes() {
    let exact = vec![b'x'; 1000];
    let answer = raw(
        plain(&Fake::new()),
        "/x.Y/Z",
        &[("dapr-app-id", "other")],
        &[&exact],
    )
    .await;
    assert_eq!(answer.status().0, 20);
    assert_eq!(answer.body.len(), 1000 + PREFIX);
}

#[tokio::test]
async fn answers_carry_the_trace_and_the_baggage() {
    let stack = stack_of(&Fake::new(), &settings(), Tracer::pass_through());
    let parent = TraceContext {
        trace_id: [7; 16],
        span_id: [9; 8],
        flags: 1,
        state: None,
    };
    let metadata = binary(&parent);
    let metadata = [
        ("grpc-trace-bin", metadata.to_str().unwrap()),
        ("baggage", "a=1, b=2"),
    ];
    let answer = raw(
        stack.clone(),
        "/dapr.proto.runtime.v1.Dapr/GetMetadata",
        &metadata,
        &[b""],
    )
    .await;
    assert_eq!(answer.head["grpc-trace-bin"], metadata[0].1);
    assert_eq!(answer.head["baggage"], "a=1,b=2");

    let proxied = raw(stack.clone(), "/x.Y/Z", &[("dapr-app-id", "other")], &[b"x"]).await;
    assert!(!proxied.head.contains_key("grpc-trace-bin"));

    let refused = raw(
        stack,
        "/dapr.proto.runtime.v1.Dapr/GetMetadata",
        &[("baggage", "invalid-baggage")],
        &[b""],
    )
    .await;
    assert_eq!(refused.status().0, 3);
    assert!(refused.status().1.starts_with("invalid baggage header: "));
}

#[tokio::test]
async fn reflection_lists_the_services_in_both_versions() {
    let list = [0x3a, 0x00];
    for path in reflection::METHODS {
        let answer = raw(plain(&Fake::new()), path, &[], &[&list]).await;
        assert_eq!(answer.status().0, 0, "{path}");
        let text = String::from_utf8_lossy(&answer.body);
        for service in [
            "TaskHubSidecarService",
            "dapr.proto.runtime.v1.Dapr",
            "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection",
        ] {
            assert!(text.contains(service), "{path}: {service}");
        }
        assert!(!text.contains("dapr.proto.sentry"), "{path}");
    }
}
