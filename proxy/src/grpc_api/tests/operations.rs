//! The operations of the API.

use super::*;

#[tokio::test]
async fn operations_without_a_component_say_so() {
    use Code::{FailedPrecondition, Internal, InvalidArgument, Unavailable, Unimplemented};
    let message = |fields: &[(u8, &str)]| {
        let fields = fields.iter();
        fields.fold(Vec::new(), |mut bytes, (number, text)| {
            bytes.extend([number << 3 | 2, u8::try_from(text.len()).unwrap()]);
            bytes.extend(text.as_bytes());
            bytes
        })
    };
    let store = message(&[(1, "s")]);
    let nothing = Vec::new();
    let try_lock = api::TryLockRequest {
        store_name: "s".to_owned(),
        expiry_in_seconds: 1,
        ..Default::default()
    };
    let job = |job: api::Job| {
        api::ScheduleJobRequest {
            job: Some(job),
            overwrite: false,
        }
        .encode_to_vec()
    };
    let named = api::Job {
        name: "j".to_owned(),
        ..Default::default()
    };
    let scheduled = api::Job {
        schedule: Some("@daily".to_owned()),
        ..named.clone()
    };
    let no_placement = "placement service is not configured";
    let no_scheduler = "scheduler clients are disabled";
    let table: Vec<(&str, &[u8], Code, String)> = vec![
        (
            "GetState",
            &store,
            FailedPrecondition,
            "state store s is not configured".to_owned(),
        ),
        (
            "SaveState",
            &store,
            FailedPrecondition,
            "state store s is not configured".to_owned(),
        ),
        (
            "QueryStateAlpha1",
            &store,
            FailedPrecondition,
            "state store s is not configured".to_owned(),
        ),
        (
            "ExecuteStateTransaction",
            &store,
            FailedPrecondition,
            "state store s is not configured".to_owned(),
        ),
        (
            "PublishEvent",
            &nothing,
            InvalidArgument,
            "pubsub name is empty".to_owned(),
        ),
        (
            "PublishEvent",
            &store,
            InvalidArgument,
            "pubsub s is not found".to_owned(),
        ),
        (
            "BulkPublishEvent",
            &store,
            InvalidArgument,
            "pubsub s is not found".to_owned(),
        ),
        (
            "InvokeBinding",
            &store,
            Internal,
            "error invoking output binding s: couldn't find output binding s".to_owned(),
        ),
        (
            "GetSecret",
            &store,
            FailedPrecondition,
            "secret store is not configured".to_owned(),
        ),
        (
            "GetConfiguration",
            &store,
            FailedPrecondition,
            "configuration stores not configured".to_owned(),
        ),
        (
            "SubscribeConfiguration",
            &store,
            FailedPrecondition,
            "configuration stores not configured".to_owned(),
        ),
        (
            "TryLockAlpha1",
            &store,
            InvalidArgument,
            "ExpiryInSeconds is not positive in lock store s".to_owned(),
        ),
        (
            "UnlockAlpha1",
            &store,
            FailedPrecondition,
            "lock store is not configured".to_owned(),
        ),
        (
            "SubtleSignAlpha1",
            &store,
            Unimplemented,
            "this API is currently not implemented".to_owned(),
        ),
        ("InvokeActor", &store, Unavailable, no_placement.to_owned()),
        (
            "RegisterActorReminder",
            &store,
            Unavailable,
            no_placement.to_owned(),
        ),
        ("StartWorkflowBeta1", &store, Unavailable, no_placement.to_owned()),
        (
            "ScheduleJob",
            &nothing,
            InvalidArgument,
            "Job is empty".to_owned(),
        ),
        ("GetJob", &nothing, InvalidArgument, "Name is empty".to_owned()),
        (
            "GetJob",
            &store,
            Internal,
            format!("failed to get job due to: {no_scheduler}"),
        ),
        (
            "ListJobs",
            &nothing,
            Internal,
            format!("failed to list jobs due to: {no_scheduler}"),
        ),
        (
            "ConverseAlpha1",
            &store,
            InvalidArgument,
            "failed finding conversation component s".to_owned(),
        ),
        (
            "SubscribeActorEventsAlpha1",
            &nothing,
            FailedPrecondition,
            "actor callback streaming requires a gRPC app channel".to_owned(),
        ),
        (
            "EncryptAlpha1",
            &nothing,
            InvalidArgument,
            "invalid request: first message does not contain the required options".to_owned(),
        ),
        (
            "SubscribeTopicEventsAlpha1",
            &nothing,
            Code::Unknown,
            "initial request is required".to_owned(),
        ),
    ];
    let stack = plain(&Fake::new());
    for (method, message, code, text) in table {
        let answer = raw(
            stack.clone(),
            &format!("/dapr.proto.runtime.v1.Dapr/{method}"),
            &[],
            &[message],
        )
        .await;
        assert_eq!(answer.status(), (code as i32, text), "{method}");
    }
    let lock = raw(
        stack.clone(),
        "/dapr.proto.runtime.v1.Dapr/TryLockAlpha1",
        &[],
        &[&try_lock.encode_to_vec()],
    )
    .await;
    assert_eq!(lock.status(), (9, "lock store is not configured".to_owned()));
    for (given, code, text) in [
        (api::Job::default(), 3, "Name is empty".to_owned()),
        (named, 3, "Schedule is empty".to_owned()),
        (
            scheduled,
            13,
            format!("failed to schedule job due to: {no_scheduler}"),
        ),
    ] {
        let answer = raw(
            stack.clone(),
            "/dapr.proto.runtime.v1.Dapr/ScheduleJob",
            &[],
            &[&job(given)],
        )
        .await;
        assert_eq!(answer.status(), (code, text));
    }
}

#[tokio::test]
async fn an_unknown_subscription_is_no_error() {
    let request = api::UnsubscribeConfigurationRequest {
        store_name: "s".to_owned(),
        id: "1".to_owned(),
    };
    let answer = dapr(plain(&Fake::new()))
        .unsubscribe_configuration(request)
        .await
        .unwrap()
        .into_inner();
    assert!(!answer.ok);
    assert_eq!(
        answer.message,
        "failed to unsubscribe to configuration request 1: subscription does not exist"
    );
}

#[tokio::test]
async fn the_hub_is_found_and_knows_of_no_placement() {
    let mut hub = TaskHubSidecarServiceClient::new(listener(plain(&Fake::new())));
    hub.hello(()).await.unwrap();
    let refusal = hub
        .get_work_items(outrigger_api::durabletask::GetWorkItemsRequest::default())
        .await
        .unwrap_err();
    assert_eq!(
        (refusal.code(), refusal.message()),
        (Code::Unavailable, "placement service is not configured")
    );
}

#[tokio::test]
async fn metadata_is_told_and_set() {
    let stack = plain(&Fake::new());
    for (key, value) in [("k", "v"), ("", "ignored")] {
        let request = api::SetMetadataRequest {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        dapr(stack.clone()).set_metadata(request).await.unwrap();
    }
    let metadata = dapr(stack)
        .get_metadata(api::GetMetadataRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(metadata.id, "app");
    let expected = [("daprRuntimeVersion", ""), ("k", "v")];
    let expected: HashMap<_, _> = expected
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    assert_eq!(metadata.extended_metadata, expected);
}

#[tokio::test]
async fn a_shutdown_may_be_forced() {
    let fake = Fake::new();
    for force in [None, Some("TRUE"), Some("no")] {
        let mut request = tonic::Request::new(api::ShutdownRequest {});
        if let Some(force) = force {
            request
                .metadata_mut()
                .insert("dapr-force-shutdown", force.parse().unwrap());
        }
        dapr(plain(&fake)).shutdown(request).await.unwrap();
    }
    assert_eq!(
        *fake.0.shutdowns.lock().unwrap(),
        [Shutdown::Graceful, Shutdown::Forced, Shutdown::Graceful]
    );
}
