//! The building blocks behind the routes: one file a block, which decodes the request, calls the block's
//! operation layer, and encodes what it says.
//!
//! Source: specification, HTTP API 6 and the sheets of the blocks.

mod absent;
mod body;
mod configuration;
mod crypto;
mod lock;
mod secrets;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use outrigger_error::Error;
use outrigger_svc::{Request, Response};

use self::body::protojson;
use super::query;
use super::table::Operation;
use crate::blocks::BuildingBlocks;

/// The building blocks of a sidecar. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Blocks {
    /// App id, which some errors carry.
    pub(crate) app_id: Arc<str>,
    /// Namespace, which some errors carry.
    pub(crate) namespace: Arc<str>,
    /// The operation layers.
    pub(crate) building_blocks: BuildingBlocks,
}

// === impl Blocks ===

impl Blocks {
    /// Answers an operation; `values` are the decoded parameters of its path.
    ///
    /// # Errors
    /// What the block says.
    pub(crate) async fn answer(
        &self,
        operation: Operation,
        values: Vec<String>,
        request: Request,
    ) -> Result<Response, Error> {
        use Operation as O;
        let mut values = values.into_iter();
        let first = values.next().unwrap_or_default();
        Err(match operation {
            O::GetState
            | O::SaveState
            | O::DeleteState
            | O::GetBulkState
            | O::ExecuteStateTransaction
            | O::QueryStateAlpha1 => return self.state(operation, &first, values.next(), request).await,
            O::GetSecret => {
                let key = values.next().unwrap_or_default();
                return self.secret(&first, &key, request.uri().query()).await;
            }
            O::GetBulkSecret => return self.bulk_secrets(&first, request.uri().query()).await,
            O::PublishEvent | O::BulkPublishEvent => Error::PubsubNotFound {
                pubsub: first,
                metadata: query::metadata(request.uri().query()),
            },
            O::InvokeBinding => return self.binding(first, request).await,
            O::GetConfiguration => return self.configuration(&first, request.uri().query()).await,
            O::SubscribeConfiguration => {
                return self.subscribe_configuration(&first, request.uri().query()).await;
            }
            O::UnsubscribeConfiguration => {
                let id = values.next().unwrap_or_default();
                return self.unsubscribe_configuration(&first, &id).await;
            }
            O::TryLock => return self.try_lock(first, request).await,
            O::Unlock => return self.unlock(first, request).await,
            O::Encrypt => return self.encrypt(&first, request).await,
            O::Decrypt => return self.decrypt(&first, request).await,
            O::ScheduleJob => return self.schedule_job(request).await,
            O::GetJob | O::DeleteJob => self.job(operation, &first),
            O::ConverseAlpha1 | O::ConverseAlpha2 => {
                protojson(request).await?;
                Error::ConversationNotFound(first)
            }
            O::ExecuteActorStateTransaction
            | O::InvokeActor
            | O::GetActorState
            | O::RegisterActorReminder
            | O::RegisterActorTimer
            | O::UnregisterActorReminder
            | O::UnregisterActorTimer
            | O::GetActorReminder
            | O::GetWorkflow
            | O::StartWorkflow
            | O::RaiseEventWorkflow
            | O::PauseWorkflow
            | O::ResumeWorkflow
            | O::TerminateWorkflow
            | O::PurgeWorkflow => Error::ActorNoPlacement,
            O::SubtleGetKey
            | O::SubtleEncrypt
            | O::SubtleDecrypt
            | O::SubtleWrapKey
            | O::SubtleUnwrapKey
            | O::SubtleSign
            | O::SubtleVerify
            | O::InvokeService
            | O::GetMetadata
            | O::PutMetadata
            | O::Healthz
            | O::HealthzOutbound
            | O::Shutdown => Error::Unimplemented,
        })
    }
}
