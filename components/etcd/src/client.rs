//! The calls of etcd, each with its time limit.

use std::error::Error as _;
use std::time::Duration;

use bytes::Bytes;
use outrigger_component::state::StateError;
use outrigger_svc::BoxError;
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

use crate::dial::Dialer;
use crate::generated::etcdserverpb::kv_client::KvClient;
use crate::generated::etcdserverpb::lease_client::LeaseClient;
use crate::generated::etcdserverpb::{
    LeaseGrantRequest, LeaseRevokeRequest, RangeRequest, RangeResponse, TxnRequest, TxnResponse,
};
use crate::settings::Settings;

/// Calls of etcd over one connection, which is made when it is needed; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    kv: KvClient<Channel>,
    lease: LeaseClient<Channel>,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// It took too long.
    #[error("context deadline exceeded")]
    Deadline,
    /// What etcd says, or why it says nothing.
    #[error("{}", describe(.0))]
    Status(Box<Status>),
}

/// The longest that a call may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How often an idle connection is tried.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// The largest answer; etcd itself bounds what it takes.
const LARGEST: usize = i32::MAX as usize;

// === impl Client ===

impl Client {
    /// A client; no connection is made yet.
    pub(crate) fn new(settings: &Settings) -> Result<Self, BoxError> {
        let channel = Endpoint::from_static("http://etcd")
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(TIMEOUT)
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(Dialer::new(settings)?);
        Ok(Self {
            kv: KvClient::new(channel.clone()).max_decoding_message_size(LARGEST),
            lease: LeaseClient::new(channel),
        })
    }

    pub(crate) async fn range(&self, request: RangeRequest) -> Result<RangeResponse, CallError> {
        let mut kv = self.kv.clone();
        limited(kv.range(request)).await
    }

    pub(crate) async fn transact(&self, request: TxnRequest) -> Result<TxnResponse, CallError> {
        let mut kv = self.kv.clone();
        limited(kv.txn(request)).await
    }

    /// A lease of so many seconds.
    pub(crate) async fn grant(&self, seconds: i64) -> Result<i64, CallError> {
        let mut lease = self.lease.clone();
        let request = LeaseGrantRequest { ttl: seconds, id: 0 };
        Ok(limited(lease.lease_grant(request)).await?.id)
    }

    /// Gives a lease back that nothing is attached to.
    pub(crate) async fn revoke(&self, id: i64) -> Result<(), CallError> {
        let mut lease = self.lease.clone();
        limited(lease.lease_revoke(LeaseRevokeRequest { id }))
            .await
            .map(drop)
    }
}

async fn limited<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, CallError> {
    match timeout(TIMEOUT, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(CallError::Status(Box::new(status))),
        Err(_) => Err(CallError::Deadline),
    }
}

/// What etcd says by itself, else the code and the cause.
fn describe(status: &Status) -> String {
    let message = status.message();
    if message.starts_with("etcdserver:") {
        return message.to_owned();
    }
    let mut cause = status.source();
    while let Some(next) = cause.and_then(std::error::Error::source) {
        cause = Some(next);
    }
    let cause = cause.map_or_else(|| message.to_owned(), ToString::to_string);
    format!("rpc error: code = {:?} desc = {cause}", status.code())
}

/// A request for one key.
pub(crate) fn key_request(key: Bytes) -> RangeRequest {
    RangeRequest {
        key,
        ..RangeRequest::default()
    }
}

impl From<CallError> for StateError {
    fn from(error: CallError) -> Self {
        Self::other(error)
    }
}
