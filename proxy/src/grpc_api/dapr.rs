//! The `Dapr` service: one method an operation, each of them short.
//!
//! Source: specification, gRPC API 4.

use outrigger_api::{common, runtime as api};
use outrigger_error::Error;
use outrigger_link::Metadata;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::absent::{Never, job_delete, job_get, job_list};
use super::call::Facts;
use super::configuration::Updates;
use super::crypto::Pieces;
use super::invoke::{Outcome, invoke};
use super::{Backend, Shutdown, metadata};

/// Serves the operations of the API.
#[derive(Clone, Debug)]
pub(crate) struct DaprApi<B> {
    pub(super) backend: B,
}

pub(super) type Answer<T> = Result<Response<T>, Status>;

/// The metadata key of a shutdown that waits for nothing.
const FORCE: &str = "dapr-force-shutdown";

// === impl DaprApi ===

impl<B: Backend> DaprApi<B> {
    pub(crate) fn new(backend: B) -> Self {
        Self { backend }
    }

    /// Answers with an error.
    pub(super) fn fail<T>(&self, error: &Error) -> Result<T, Status> {
        self.backend.count_error(error);
        Err(error.into())
    }
}

#[tonic::async_trait]
impl<B: Backend> api::dapr_server::Dapr for DaprApi<B> {
    async fn invoke_service(
        &self,
        request: Request<api::InvokeServiceRequest>,
    ) -> Answer<common::InvokeResponse> {
        let (metadata, extensions, message) = request.into_parts();
        let metadata = Metadata::from_grpc(&metadata.into_headers(), None);
        let outcome = invoke(&self.backend, message, metadata, Facts::of(&extensions)).await;
        let Outcome { headers, message, .. } = outcome.or_else(|error| self.fail(&error))?;
        let message = message
            .map_err(|status| Status::with_details(status.code.into(), status.message, status.details))?;
        Ok(Response::from_parts(
            MetadataMap::from_headers(headers),
            message,
            http::Extensions::new(),
        ))
    }

    async fn get_state(&self, request: Request<api::GetStateRequest>) -> Answer<api::GetStateResponse> {
        self.state_get(request).await
    }

    async fn get_bulk_state(
        &self,
        request: Request<api::GetBulkStateRequest>,
    ) -> Answer<api::GetBulkStateResponse> {
        self.state_bulk_get(request.into_inner()).await
    }

    async fn save_state(&self, request: Request<api::SaveStateRequest>) -> Answer<()> {
        self.state_save(request).await
    }

    async fn query_state_alpha1(
        &self,
        request: Request<api::QueryStateRequest>,
    ) -> Answer<api::QueryStateResponse> {
        self.state_query(request.into_inner()).await
    }

    async fn delete_state(&self, request: Request<api::DeleteStateRequest>) -> Answer<()> {
        self.state_delete(request).await
    }

    async fn delete_bulk_state(&self, request: Request<api::DeleteBulkStateRequest>) -> Answer<()> {
        self.state_bulk_delete(request.into_inner()).await
    }

    async fn execute_state_transaction(
        &self,
        request: Request<api::ExecuteStateTransactionRequest>,
    ) -> Answer<()> {
        self.state_transact(request.into_inner()).await
    }

    async fn publish_event(&self, request: Request<api::PublishEventRequest>) -> Answer<()> {
        self.no_pubsub(request.into_inner().pubsub_name)
    }

    async fn bulk_publish_event_alpha1(
        &self,
        request: Request<api::BulkPublishRequest>,
    ) -> Answer<api::BulkPublishResponse> {
        self.no_pubsub(request.into_inner().pubsub_name)
    }

    async fn bulk_publish_event(
        &self,
        request: Request<api::BulkPublishRequest>,
    ) -> Answer<api::BulkPublishResponse> {
        self.no_pubsub(request.into_inner().pubsub_name)
    }

    type SubscribeTopicEventsAlpha1Stream = Never<api::SubscribeTopicEventsResponseAlpha1>;

    async fn subscribe_topic_events_alpha1(
        &self,
        request: Request<Streaming<api::SubscribeTopicEventsRequestAlpha1>>,
    ) -> Answer<Self::SubscribeTopicEventsAlpha1Stream> {
        self.no_topic_events(request.into_inner()).await
    }

    async fn invoke_binding(
        &self,
        request: Request<api::InvokeBindingRequest>,
    ) -> Answer<api::InvokeBindingResponse> {
        self.no_binding(request.into_inner().name)
    }

    async fn get_secret(&self, request: Request<api::GetSecretRequest>) -> Answer<api::GetSecretResponse> {
        self.secret(request.into_inner()).await
    }

    async fn get_bulk_secret(
        &self,
        request: Request<api::GetBulkSecretRequest>,
    ) -> Answer<api::GetBulkSecretResponse> {
        self.bulk_secrets(request.into_inner()).await
    }

    async fn register_actor_timer(&self, _: Request<api::RegisterActorTimerRequest>) -> Answer<()> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn unregister_actor_timer(&self, _: Request<api::UnregisterActorTimerRequest>) -> Answer<()> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn register_actor_reminder(&self, _: Request<api::RegisterActorReminderRequest>) -> Answer<()> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn unregister_actor_reminder(&self, _: Request<api::UnregisterActorReminderRequest>) -> Answer<()> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn unregister_actor_reminders_by_type(
        &self,
        _: Request<api::UnregisterActorRemindersByTypeRequest>,
    ) -> Answer<api::UnregisterActorRemindersByTypeResponse> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn list_actor_reminders(
        &self,
        _: Request<api::ListActorRemindersRequest>,
    ) -> Answer<api::ListActorRemindersResponse> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn get_actor_state(
        &self,
        _: Request<api::GetActorStateRequest>,
    ) -> Answer<api::GetActorStateResponse> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn get_actor_reminder(
        &self,
        _: Request<api::GetActorReminderRequest>,
    ) -> Answer<api::GetActorReminderResponse> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn execute_actor_state_transaction(
        &self,
        _: Request<api::ExecuteActorStateTransactionRequest>,
    ) -> Answer<()> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn invoke_actor(&self, _: Request<api::InvokeActorRequest>) -> Answer<api::InvokeActorResponse> {
        self.fail(&Error::ActorNoPlacement)
    }

    type SubscribeActorEventsAlpha1Stream = Never<api::SubscribeActorEventsResponseAlpha1>;

    async fn subscribe_actor_events_alpha1(
        &self,
        request: Request<Streaming<api::SubscribeActorEventsRequestAlpha1>>,
    ) -> Answer<Self::SubscribeActorEventsAlpha1Stream> {
        self.no_actor_events(request.into_inner()).await
    }

    async fn get_configuration_alpha1(
        &self,
        request: Request<api::GetConfigurationRequest>,
    ) -> Answer<api::GetConfigurationResponse> {
        self.configuration(request.into_inner()).await
    }

    async fn get_configuration(
        &self,
        request: Request<api::GetConfigurationRequest>,
    ) -> Answer<api::GetConfigurationResponse> {
        self.configuration(request.into_inner()).await
    }

    type SubscribeConfigurationAlpha1Stream = Updates;

    async fn subscribe_configuration_alpha1(
        &self,
        request: Request<api::SubscribeConfigurationRequest>,
    ) -> Answer<Self::SubscribeConfigurationAlpha1Stream> {
        self.configuration_updates(request.into_inner()).await
    }

    type SubscribeConfigurationStream = Updates;

    async fn subscribe_configuration(
        &self,
        request: Request<api::SubscribeConfigurationRequest>,
    ) -> Answer<Self::SubscribeConfigurationStream> {
        self.configuration_updates(request.into_inner()).await
    }

    async fn unsubscribe_configuration_alpha1(
        &self,
        request: Request<api::UnsubscribeConfigurationRequest>,
    ) -> Answer<api::UnsubscribeConfigurationResponse> {
        self.end_configuration_updates(request.into_inner()).await
    }

    async fn unsubscribe_configuration(
        &self,
        request: Request<api::UnsubscribeConfigurationRequest>,
    ) -> Answer<api::UnsubscribeConfigurationResponse> {
        self.end_configuration_updates(request.into_inner()).await
    }

    async fn try_lock_alpha1(&self, request: Request<api::TryLockRequest>) -> Answer<api::TryLockResponse> {
        self.try_lock(request.into_inner()).await
    }

    async fn unlock_alpha1(&self, request: Request<api::UnlockRequest>) -> Answer<api::UnlockResponse> {
        self.unlock(request.into_inner()).await
    }

    type EncryptAlpha1Stream = Pieces<api::EncryptResponse>;

    async fn encrypt_alpha1(
        &self,
        request: Request<Streaming<api::EncryptRequest>>,
    ) -> Answer<Self::EncryptAlpha1Stream> {
        self.encrypt(request.into_inner()).await
    }

    type DecryptAlpha1Stream = Pieces<api::DecryptResponse>;

    async fn decrypt_alpha1(
        &self,
        request: Request<Streaming<api::DecryptRequest>>,
    ) -> Answer<Self::DecryptAlpha1Stream> {
        self.decrypt(request.into_inner()).await
    }

    async fn get_metadata(&self, _: Request<api::GetMetadataRequest>) -> Answer<api::GetMetadataResponse> {
        Ok(Response::new(metadata::response(
            self.backend.metadata().snapshot(),
        )))
    }

    async fn set_metadata(&self, request: Request<api::SetMetadataRequest>) -> Answer<()> {
        let api::SetMetadataRequest { key, value } = request.into_inner();
        if !key.is_empty() {
            self.backend.metadata().set_extended(key, value);
        }
        Ok(Response::new(()))
    }

    async fn subtle_get_key_alpha1(
        &self,
        _: Request<api::SubtleGetKeyRequest>,
    ) -> Answer<api::SubtleGetKeyResponse> {
        self.fail(&Error::Unimplemented)
    }

    async fn subtle_encrypt_alpha1(
        &self,
        _: Request<api::SubtleEncryptRequest>,
    ) -> Answer<api::SubtleEncryptResponse> {
        self.fail(&Error::Unimplemented)
    }

    async fn subtle_decrypt_alpha1(
        &self,
        _: Request<api::SubtleDecryptRequest>,
    ) -> Answer<api::SubtleDecryptResponse> {
        self.fail(&Error::Unimplemented)
    }

    async fn subtle_wrap_key_alpha1(
        &self,
        _: Request<api::SubtleWrapKeyRequest>,
    ) -> Answer<api::SubtleWrapKeyResponse> {
        self.fail(&Error::Unimplemented)
    }

    async fn subtle_unwrap_key_alpha1(
        &self,
        _: Request<api::SubtleUnwrapKeyRequest>,
    ) -> Answer<api::SubtleUnwrapKeyResponse> {
        self.fail(&Error::Unimplemented)
    }

    async fn subtle_sign_alpha1(
        &self,
        _: Request<api::SubtleSignRequest>,
    ) -> Answer<api::SubtleSignResponse> {
        self.fail(&Error::Unimplemented)
    }

    async fn subtle_verify_alpha1(
        &self,
        _: Request<api::SubtleVerifyRequest>,
    ) -> Answer<api::SubtleVerifyResponse> {
        self.fail(&Error::Unimplemented)
    }

    async fn start_workflow_alpha1(
        &self,
        _: Request<api::StartWorkflowRequest>,
    ) -> Answer<api::StartWorkflowResponse> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn get_workflow_alpha1(
        &self,
        _: Request<api::GetWorkflowRequest>,
    ) -> Answer<api::GetWorkflowResponse> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn purge_workflow_alpha1(&self, _: Request<api::PurgeWorkflowRequest>) -> Answer<()> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn terminate_workflow_alpha1(&self, _: Request<api::TerminateWorkflowRequest>) -> Answer<()> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn pause_workflow_alpha1(&self, _: Request<api::PauseWorkflowRequest>) -> Answer<()> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn resume_workflow_alpha1(&self, _: Request<api::ResumeWorkflowRequest>) -> Answer<()> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn raise_event_workflow_alpha1(&self, _: Request<api::RaiseEventWorkflowRequest>) -> Answer<()> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn start_workflow_beta1(
        &self,
        _: Request<api::StartWorkflowRequest>,
    ) -> Answer<api::StartWorkflowResponse> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn get_workflow_beta1(
        &self,
        _: Request<api::GetWorkflowRequest>,
    ) -> Answer<api::GetWorkflowResponse> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn purge_workflow_beta1(&self, _: Request<api::PurgeWorkflowRequest>) -> Answer<()> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn terminate_workflow_beta1(&self, _: Request<api::TerminateWorkflowRequest>) -> Answer<()> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn pause_workflow_beta1(&self, _: Request<api::PauseWorkflowRequest>) -> Answer<()> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn resume_workflow_beta1(&self, _: Request<api::ResumeWorkflowRequest>) -> Answer<()> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn raise_event_workflow_beta1(&self, _: Request<api::RaiseEventWorkflowRequest>) -> Answer<()> {
        self.fail(&Error::ActorNoPlacement)
    }

    async fn shutdown(&self, request: Request<api::ShutdownRequest>) -> Answer<()> {
        let forced = request
            .metadata()
            .get(FORCE)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
        self.backend.shut_down(if forced {
            Shutdown::Forced
        } else {
            Shutdown::Graceful
        });
        Ok(Response::new(()))
    }

    async fn schedule_job_alpha1(
        &self,
        request: Request<api::ScheduleJobRequest>,
    ) -> Answer<api::ScheduleJobResponse> {
        self.no_schedule(request.into_inner().job)
    }

    async fn schedule_job(
        &self,
        request: Request<api::ScheduleJobRequest>,
    ) -> Answer<api::ScheduleJobResponse> {
        self.no_schedule(request.into_inner().job)
    }

    async fn get_job_alpha1(&self, request: Request<api::GetJobRequest>) -> Answer<api::GetJobResponse> {
        self.no_job(&request.into_inner().name, job_get)
    }

    async fn get_job(&self, request: Request<api::GetJobRequest>) -> Answer<api::GetJobResponse> {
        self.no_job(&request.into_inner().name, job_get)
    }

    async fn delete_job_alpha1(
        &self,
        request: Request<api::DeleteJobRequest>,
    ) -> Answer<api::DeleteJobResponse> {
        self.no_job(&request.into_inner().name, job_delete)
    }

    async fn delete_job(&self, request: Request<api::DeleteJobRequest>) -> Answer<api::DeleteJobResponse> {
        self.no_job(&request.into_inner().name, job_delete)
    }

    async fn delete_jobs_by_prefix_alpha1(
        &self,
        _: Request<api::DeleteJobsByPrefixRequestAlpha1>,
    ) -> Answer<api::DeleteJobsByPrefixResponseAlpha1> {
        self.no_jobs(job_delete)
    }

    async fn delete_jobs_by_prefix(
        &self,
        _: Request<api::DeleteJobsByPrefixRequest>,
    ) -> Answer<api::DeleteJobsByPrefixResponse> {
        self.no_jobs(job_delete)
    }

    async fn list_jobs_alpha1(
        &self,
        _: Request<api::ListJobsRequestAlpha1>,
    ) -> Answer<api::ListJobsResponseAlpha1> {
        self.no_jobs(job_list)
    }

    async fn list_jobs(&self, _: Request<api::ListJobsRequest>) -> Answer<api::ListJobsResponse> {
        self.no_jobs(job_list)
    }

    async fn converse_alpha1(
        &self,
        request: Request<api::ConversationRequest>,
    ) -> Answer<api::ConversationResponse> {
        self.fail(&Error::ConversationNotFound(request.into_inner().name))
    }

    async fn converse_alpha2(
        &self,
        request: Request<api::ConversationRequestAlpha2>,
    ) -> Answer<api::ConversationResponseAlpha2> {
        self.fail(&Error::ConversationNotFound(request.into_inner().name))
    }
}
