//! Invoking the methods of apps.

use super::*;

#[tokio::test]
async fn an_http_app_answers_a_grpc_caller() {
    let fake = Fake::answering(Ok(http_reply(201, "done")));
    let mut request = tonic::Request::new(invocation_request());
    request.metadata_mut().insert("x-mine", "v".parse().unwrap());
    let answer = dapr(plain(&fake)).invoke_service(request).await.unwrap();
    let metadata = answer.metadata().clone().into_headers();
    assert_eq!(metadata["dapr-http-status"], "201");
    assert_eq!(metadata["x-some"], "1");
    assert_eq!(metadata["dapr-content-type"], "text/html");
    assert!(metadata.contains_key("traceparent") && metadata.contains_key("grpc-trace-bin"));
    let message = answer.into_inner();
    assert_eq!(message.content_type, "text/html");
    assert_eq!(message.data.unwrap().value, "done");

    let (id, call) = fake.0.calls.lock().unwrap().pop().unwrap();
    assert_eq!((id.as_str(), call.method.as_str()), ("callee", "m"));
    assert_eq!(
        (call.type_url.as_str(), call.content_type.as_str()),
        ("t/x", "text/plain")
    );
    let extension = call.http.unwrap();
    assert_eq!((extension.verb.0, extension.query.as_str()), (3, "a=1"));
    assert_eq!(call.metadata.first("x-mine"), Some("v"));
    assert!(call.metadata.is_grpc_origin());
    assert_eq!(call.body.collect().await.unwrap().to_bytes(), "hello");
}

#[tokio::test]
async fn an_http_failure_becomes_a_status_with_the_body_as_detail() {
    let fake = Fake::answering(Ok(http_reply(404, &"x".repeat(70))));
    let failure = dapr(plain(&fake))
        .invoke_service(invocation_request())
        .await
        .unwrap_err();
    assert_eq!((failure.code(), failure.message()), (Code::NotFound, "Not Found"));
    assert_eq!(failure.metadata().get("dapr-http-status").unwrap(), "404");
    let info = info(&failure);
    assert_eq!(info.reason, "Not Found");
    assert_eq!(
        (
            info.metadata["http.code"].as_str(),
            info.metadata["http.error_message"].len()
        ),
        ("404", 63)
    );
}

#[tokio::test]
async fn the_status_of_a_grpc_app_gets_through_whatever_its_number() {
    let detail = Any {
        type_url: "t/d".to_owned(),
        value: Bytes::from("d"),
    };
    let reply = Reply {
        status: ReplyStatus {
            code: 20,
            message: Text::from_static("odd"),
            details: vec![detail.encode_to_vec().into()],
        },
        headers: [("content-type", "application/grpc"), ("x-head", "h")]
            .into_iter()
            .collect(),
        trailers: [("x-trailer", "t"), ("x-bin", "AQI=")].into_iter().collect(),
        ..Reply::default()
    };
    let fake = Fake::answering(Ok(reply));
    let answer = raw(
        plain(&fake),
        routes::INVOKE_SERVICE,
        &[],
        &[&invocation_request().encode_to_vec()],
    )
    .await;
    assert_eq!(answer.status(), (20, "odd".to_owned()));
    assert_eq!(
        (
            &answer.head["x-head"],
            &answer.head["x-trailer"],
            &answer.head["x-bin"]
        ),
        (
            &"h".parse::<HeaderValue>().unwrap(),
            &"t".parse().unwrap(),
            &"AQI".parse().unwrap()
        )
    );
    let status = Status::from_trailers(&answer.head).unwrap();
    let decoded = rpc::Status::decode(status.details).unwrap();
    assert_eq!((decoded.code, decoded.details), (20, vec![detail]));
}

#[tokio::test]
async fn the_trailers_of_a_grpc_app_come_behind_its_message() {
    let reply = Reply {
        headers: [("content-type", "application/grpc")].into_iter().collect(),
        trailers: [("x-trailer", "t")].into_iter().collect(),
        body: Body::from("ok"),
        ..Reply::default()
    };
    let answer = raw(
        plain(&Fake::answering(Ok(reply))),
        routes::INVOKE_SERVICE,
        &[],
        &[&invocation_request().encode_to_vec()],
    )
    .await;
    assert_eq!(answer.status(), (0, String::new()));
    assert_eq!(answer.trailers["x-trailer"], "t");
    assert!(!answer.head.contains_key("x-trailer"));
    let message = common::InvokeResponse::decode(answer.body.slice(PREFIX..)).unwrap();
    assert_eq!(message.data.unwrap().value, "ok");
}

#[tokio::test]
async fn a_failed_invocation_is_internal_with_its_cause() {
    let denied = CallError::from(Status::new(7, "access control policy has denied access"));
    let failure = dapr(plain(&Fake::answering(Err(denied))))
        .invoke_service(invocation_request())
        .await
        .unwrap_err();
    assert_eq!(failure.code(), Code::Internal);
    assert_eq!(
        failure.message(),
        "failed to invoke, id: callee, err: rpc error: code = PermissionDenied desc = access control policy has denied access"
    );
    assert!(failure.details().is_empty());
}
