//! How the API answers where no component or service stands behind an operation.
//!
//! These are the answers of a sidecar that was started without them: the checks that come first come first
//! here, too.

use futures_util::stream;
use outrigger_api::runtime as api;
use outrigger_error::Error;
use tonic::{Status, Streaming};

use super::Backend;
use super::dapr::{Answer, DaprApi};

/// A stream of answers that never begins.
pub(super) type Never<T> = stream::Empty<Result<T, Status>>;

/// Makes the error of a job operation from the app id, the namespace and the cause.
pub(super) type JobError = fn(String, String, String) -> Error;

const NO_SCHEDULER: &str = "scheduler clients are disabled";

// === impl DaprApi ===

impl<B: Backend> DaprApi<B> {
    pub(super) fn no_pubsub<T>(&self, pubsub: String) -> Answer<T> {
        self.fail(&match pubsub.as_str() {
            "" => Error::PubsubNameEmpty,
            _ => Error::PubsubNotFound {
                pubsub,
                metadata: [].into(),
            },
        })
    }

    pub(super) async fn no_topic_events<T>(
        &self,
        mut events: Streaming<api::SubscribeTopicEventsRequestAlpha1>,
    ) -> Answer<T> {
        use api::subscribe_topic_events_request_alpha1::SubscribeTopicEventsRequestType as Kind;
        let first = events.message().await?.unwrap_or_default();
        let Some(Kind::InitialRequest(initial)) = first.subscribe_topic_events_request_type else {
            return Err(Status::unknown("initial request is required"));
        };
        if initial.pubsub_name.is_empty() {
            return Err(Status::unknown("pubsubName is required"));
        }
        if initial.topic.is_empty() {
            return Err(Status::unknown("topic is required"));
        }
        self.no_pubsub(initial.pubsub_name)
    }

    pub(super) fn no_binding<T>(&self, binding: String) -> Answer<T> {
        let cause = format!("couldn't find output binding {binding}");
        self.fail(&Error::OutputBinding { binding, cause })
    }

    pub(super) async fn no_actor_events<T>(
        &self,
        mut events: Streaming<api::SubscribeActorEventsRequestAlpha1>,
    ) -> Answer<T> {
        use api::subscribe_actor_events_request_alpha1::RequestType as Kind;
        if self.backend.has_http_app() {
            return Err(Status::failed_precondition(
                "actor callback streaming requires a gRPC app channel",
            ));
        }
        let first = events.message().await?.unwrap_or_default();
        match first.request_type {
            Some(Kind::InitialRequest(_)) => self.fail(&Error::ActorNoPlacement),
            _ => Err(Status::invalid_argument(
                "first message must be SubscribeActorEventsRequestInitialAlpha1",
            )),
        }
    }

    pub(super) fn no_schedule<T>(&self, job: Option<api::Job>) -> Answer<T> {
        let (app_id, namespace) = self.names();
        let Some(job) = job else {
            return self.fail(&Error::JobEmpty { app_id, namespace });
        };
        if job.name.trim().is_empty() {
            return self.fail(&Error::JobNameEmpty { app_id, namespace });
        }
        if job.schedule.is_none() && job.due_time.is_none() {
            return self.fail(&Error::JobScheduleEmpty { app_id, namespace });
        }
        self.fail(&Error::JobSchedule {
            app_id,
            namespace,
            grpc: tonic::Code::Unknown,
            cause: NO_SCHEDULER.to_owned(),
        })
    }

    pub(super) fn no_job<T>(&self, name: &str, error: JobError) -> Answer<T> {
        if name.trim().is_empty() {
            let (app_id, namespace) = self.names();
            return self.fail(&Error::JobNameEmpty { app_id, namespace });
        }
        self.no_jobs(error)
    }

    pub(super) fn no_jobs<T>(&self, error: JobError) -> Answer<T> {
        let (app_id, namespace) = self.names();
        self.fail(&error(app_id, namespace, NO_SCHEDULER.to_owned()))
    }

    fn names(&self) -> (String, String) {
        (
            self.backend.app_id().to_owned(),
            self.backend.namespace().to_owned(),
        )
    }
}

pub(super) fn job_get(app_id: String, namespace: String, cause: String) -> Error {
    Error::JobGet {
        app_id,
        namespace,
        cause,
    }
}

pub(super) fn job_list(app_id: String, namespace: String, cause: String) -> Error {
    Error::JobList {
        app_id,
        namespace,
        cause,
    }
}

pub(super) fn job_delete(app_id: String, namespace: String, cause: String) -> Error {
    Error::JobDelete {
        app_id,
        namespace,
        cause,
    }
}
