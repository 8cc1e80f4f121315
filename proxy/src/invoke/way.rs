//! The way of one call to the sidecar of another app.

use std::sync::Arc;

use outrigger_link::{PeerAddress, Route, code};
use outrigger_resolver::balance::{Ending, Ticket};
use outrigger_telemetry::metrics::Kind;

use super::known::Known;

/// A peer that a call goes to, and the others of the same app that a retry may go to.
///
/// Where the app has one instance this is its address and nothing else.
#[derive(Debug)]
pub(crate) struct Way {
    known: Arc<Known>,
    peer: Arc<PeerAddress>,
    is_balanced: bool,
    /// The open call of the present attempt, if it is balanced.
    ticket: Option<Ticket>,
    tried: Vec<Arc<PeerAddress>>,
    /// Whether each attempt counts as a request of its own.
    is_counted: bool,
}

// === impl Way ===

impl Way {
    /// The way to the only instance.
    pub(super) fn single(known: Arc<Known>, peer: Arc<PeerAddress>) -> Self {
        Self {
            known,
            peer,
            is_balanced: false,
            ticket: None,
            tried: Vec::new(),
            is_counted: false,
        }
    }

    /// The way to one of several instances.
    pub(super) fn chosen(known: Arc<Known>, (peer, ticket): (Arc<PeerAddress>, Ticket)) -> Self {
        Self {
            known,
            peer,
            is_balanced: true,
            ticket: Some(ticket),
            tried: Vec::new(),
            is_counted: false,
        }
    }

    /// Counts the first attempt, and each further one when it begins.
    pub(super) fn count_attempts(&mut self) {
        self.is_counted = true;
        self.count();
    }

    fn count(&self) {
        if self.is_counted {
            self.known.series.request_sent(Kind::Unary);
        }
    }

    /// What is kept of the app.
    pub(super) fn target(&self) -> &Known {
        &self.known
    }

    fn end(&mut self, ending: Ending) {
        if let Some(ticket) = self.ticket.take() {
            self.known.end(&ticket, ending);
        }
    }
}

impl Route for Way {
    fn peer(&self) -> &PeerAddress {
        &self.peer
    }

    fn ended(&mut self, outcome: Result<(), i32>) {
        self.end(match outcome {
            Ok(()) => Ending::Answered,
            Err(status) => ending(status),
        });
    }

    fn advance(&mut self) -> bool {
        self.count();
        if !self.is_balanced {
            return false;
        }
        self.tried.push(Arc::clone(&self.peer));
        let (next, is_new) = match self.known.choose_other(&self.tried) {
            Some(next) => (Some(next), true),
            None => (self.known.choose(), false),
        };
        if let Some((peer, ticket)) = next {
            self.peer = peer;
            self.ticket = Some(ticket);
        }
        is_new
    }
}

impl Drop for Way {
    /// A call that is given up in the middle was not answered, but is no longer open either.
    fn drop(&mut self) {
        self.end(Ending::Abandoned);
    }
}

/// What a failed call says of the instance that it went to: the app's own errors are answers, so a status is the
/// sidecar's.
fn ending(status: i32) -> Ending {
    match status {
        code::UNAVAILABLE | code::UNAUTHENTICATED => Ending::Unreachable,
        code::INTERNAL | code::DEADLINE_EXCEEDED | code::DATA_LOSS => Ending::Failed,
        // The call is to blame, or the one who made it.
        _ => Ending::Answered,
    }
}
