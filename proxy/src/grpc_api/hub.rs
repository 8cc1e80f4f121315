//! The workflow hub, which SDKs call without a package name.
//!
//! Workers find the service and are told that there is no placement service: workflows run on actors.
//!
//! Source: specification, workflow 3.

use outrigger_api::durabletask as api;
use outrigger_error::Error;
use tonic::{Request, Response};

use super::absent::Never;
use super::dapr::Answer;

/// Serves the hub without a workflow engine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskHub;

// === impl TaskHub ===

#[tonic::async_trait]
impl api::task_hub_sidecar_service_server::TaskHubSidecarService for TaskHub {
    async fn hello(&self, _: Request<()>) -> Answer<()> {
        Ok(Response::new(()))
    }

    async fn start_instance(
        &self,
        _: Request<api::CreateInstanceRequest>,
    ) -> Answer<api::CreateInstanceResponse> {
        no_placement()
    }

    async fn get_instance(&self, _: Request<api::GetInstanceRequest>) -> Answer<api::GetInstanceResponse> {
        no_placement()
    }

    async fn wait_for_instance_start(
        &self,
        _: Request<api::GetInstanceRequest>,
    ) -> Answer<api::GetInstanceResponse> {
        no_placement()
    }

    async fn wait_for_instance_completion(
        &self,
        _: Request<api::GetInstanceRequest>,
    ) -> Answer<api::GetInstanceResponse> {
        no_placement()
    }

    async fn raise_event(&self, _: Request<api::RaiseEventRequest>) -> Answer<api::RaiseEventResponse> {
        no_placement()
    }

    async fn terminate_instance(&self, _: Request<api::TerminateRequest>) -> Answer<api::TerminateResponse> {
        no_placement()
    }

    async fn suspend_instance(&self, _: Request<api::SuspendRequest>) -> Answer<api::SuspendResponse> {
        no_placement()
    }

    async fn resume_instance(&self, _: Request<api::ResumeRequest>) -> Answer<api::ResumeResponse> {
        no_placement()
    }

    async fn purge_instances(
        &self,
        _: Request<api::PurgeInstancesRequest>,
    ) -> Answer<api::PurgeInstancesResponse> {
        no_placement()
    }

    type GetWorkItemsStream = Never<api::WorkItem>;

    async fn get_work_items(&self, _: Request<api::GetWorkItemsRequest>) -> Answer<Self::GetWorkItemsStream> {
        no_placement()
    }

    async fn complete_activity_task(
        &self,
        _: Request<api::ActivityResponse>,
    ) -> Answer<api::CompleteTaskResponse> {
        no_placement()
    }

    async fn complete_orchestrator_task(
        &self,
        _: Request<api::WorkflowResponse>,
    ) -> Answer<api::CompleteTaskResponse> {
        no_placement()
    }

    async fn complete_workflow_task(
        &self,
        _: Request<api::WorkflowResponse>,
    ) -> Answer<api::CompleteTaskResponse> {
        no_placement()
    }

    async fn rerun_workflow_from_event(
        &self,
        _: Request<api::RerunWorkflowFromEventRequest>,
    ) -> Answer<api::RerunWorkflowFromEventResponse> {
        no_placement()
    }

    async fn list_instance_i_ds(
        &self,
        _: Request<api::ListInstanceIDsRequest>,
    ) -> Answer<api::ListInstanceIDsResponse> {
        no_placement()
    }

    async fn get_instance_history(
        &self,
        _: Request<api::GetInstanceHistoryRequest>,
    ) -> Answer<api::GetInstanceHistoryResponse> {
        no_placement()
    }
}

fn no_placement<T>() -> Answer<T> {
    Err(Error::ActorNoPlacement.into())
}
