//! Writes as transactions of etcd: what must hold, what is done then, and what is asked if it does not.

use std::collections::HashMap;

use bytes::Bytes;
use outrigger_component::state::{
    DeleteRequest, Operation, SetRequest, StateError, TTL_IN_SECONDS, Value, ttl_in_seconds,
};

use crate::client::key_request;
use crate::generated::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use crate::generated::etcdserverpb::request_op::Request;
use crate::generated::etcdserverpb::response_op::Response;
use crate::generated::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse,
};

/// A write, checked as far as it can be without etcd.
#[derive(Debug)]
pub(super) struct Write<'a> {
    key: &'a str,
    must: Must<'a>,
    /// None for a delete.
    value: Option<&'a Value>,
    /// How many seconds the value lives.
    pub(super) seconds: Option<i64>,
}

/// What must hold for a write to be done.
#[derive(Clone, Copy, Debug)]
enum Must<'a> {
    Nothing,
    BeAbsent,
    Have(&'a str),
}

/// A revision that no key ever has.
const NO_REVISION: i64 = -1;

// === impl Write ===

impl<'a> Write<'a> {
    pub(super) fn set(request: &'a SetRequest) -> Result<Self, StateError> {
        request.options.check()?;
        let seconds = ttl_in_seconds(&request.metadata)?;
        if let Some(seconds @ ..=0) = seconds {
            return Err(StateError::other(format!(
                "couldn't grant lease: {TTL_IN_SECONDS} must be above zero, found {seconds}"
            )));
        }
        Ok(Self {
            key: &request.key,
            must: Must::of(request.etag.as_deref(), request.options.is_first_write()),
            value: Some(&request.value),
            seconds: seconds.map(i64::from),
        })
    }

    pub(super) fn delete(request: &'a DeleteRequest) -> Result<Self, StateError> {
        request.options.check()?;
        Ok(Self {
            key: &request.key,
            must: Must::of(request.etag.as_deref(), request.options.is_first_write()),
            value: None,
            seconds: None,
        })
    }

    pub(super) fn operation(operation: &'a Operation) -> Result<Self, StateError> {
        match operation {
            Operation::Set(request) => Self::set(request),
            Operation::Delete(request) => Self::delete(request),
        }
    }

    fn is_checked(&self) -> bool {
        !matches!(self.must, Must::Nothing)
    }

    fn compare(&self, key: Bytes) -> Option<Compare> {
        let (target, value) = match self.must {
            Must::Nothing => return None,
            Must::BeAbsent => (CompareTarget::Create, TargetUnion::CreateRevision(0)),
            Must::Have(etag) => (CompareTarget::Mod, TargetUnion::ModRevision(revision(etag))),
        };
        Some(Compare {
            result: CompareResult::Equal.into(),
            target: target.into(),
            key,
            target_union: Some(value),
        })
    }

    fn change(
        &self,
        key: Bytes,
        encode: &impl Fn(&Value, Option<i64>) -> Bytes,
        leases: &HashMap<i64, i64>,
    ) -> Request {
        match self.value {
            None => Request::RequestDeleteRange(DeleteRangeRequest {
                key,
                ..DeleteRangeRequest::default()
            }),
            Some(value) => Request::RequestPut(PutRequest {
                key,
                value: encode(value, self.seconds),
                lease: self
                    .seconds
                    .and_then(|seconds| leases.get(&seconds).copied())
                    .unwrap_or_default(),
            }),
        }
    }

    /// Why it was not done, if what is there is the reason. `current` is the revision of the key.
    fn conflict(&self, current: Option<i64>) -> Option<StateError> {
        let key = self.key;
        match (self.must, current) {
            (Must::BeAbsent, Some(_)) => {
                Some(StateError::mismatch("item already exists and no etag was passed"))
            }
            (Must::Have(_), None) => Some(StateError::mismatch(format!(
                "state not exist or expired for key={key}"
            ))),
            (Must::Have(etag), Some(current)) if revision(etag) != current => Some(StateError::mismatch(
                format!("state etag not match for key={key}: current={current}, expect={etag}"),
            )),
            _ => None,
        }
    }
}

// === impl Must ===

impl<'a> Must<'a> {
    const fn of(etag: Option<&'a str>, is_first_write: bool) -> Self {
        match (etag, is_first_write) {
            (Some(etag), _) => Self::Have(etag),
            (None, true) => Self::BeAbsent,
            (None, false) => Self::Nothing,
        }
    }
}

/// The revision that a tag names; one that names none is never that of a key.
fn revision(etag: &str) -> i64 {
    let number: Option<i64> = etag.parse().ok();
    number
        .filter(|number| number.to_string() == etag)
        .unwrap_or(NO_REVISION)
}

/// One transaction of all writes: all that must hold is looked at first, as it is before any of them, and of
/// several writes of one key the last counts, since etcd takes one only.
pub(super) fn transaction(
    writes: &[Write<'_>],
    stored_key: impl Fn(&str) -> Bytes,
    encode: impl Fn(&Value, Option<i64>) -> Bytes,
    leases: &HashMap<i64, i64>,
) -> TxnRequest {
    let last: HashMap<_, _> = writes
        .iter()
        .enumerate()
        .map(|(index, write)| (write.key, index))
        .collect();
    let mut request = TxnRequest::default();
    for (index, write) in writes.iter().enumerate() {
        let key = stored_key(write.key);
        if let Some(compare) = write.compare(key.clone()) {
            request.compare.push(compare);
            let look = RangeRequest {
                keys_only: true,
                ..key_request(key.clone())
            };
            request.failure.push(operation(Request::RequestRange(look)));
        }
        if last.get(write.key) == Some(&index) {
            request
                .success
                .push(operation(write.change(key, &encode, leases)));
        }
    }
    request
}

/// Why a transaction was not done.
pub(super) fn conflict(writes: &[Write<'_>], answer: TxnResponse) -> StateError {
    let revisions = answer
        .responses
        .into_iter()
        .map(|response| match response.response {
            Some(Response::ResponseRange(range)) => range.kvs.first().map(|found| found.mod_revision),
            _ => None,
        });
    let checked = writes.iter().filter(|write| write.is_checked());
    let mut conflicts = checked
        .zip(revisions)
        .filter_map(|(write, current)| write.conflict(current));
    conflicts.next().unwrap_or(StateError::EtagMismatch(None))
}

const fn operation(request: Request) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}
