//! Which peers the attempts of one call go to.

use super::PeerAddress;

/// The way of one call, from its first attempt to its last.
///
/// A `&PeerAddress` is the way to one peer and no other. An app with several instances has ways that know
/// others.
pub trait Route: Send {
    /// The peer of the present attempt.
    fn peer(&self) -> &PeerAddress;

    /// Told how the present attempt ended: with an answer, or with a status code.
    ///
    /// Not told if the call is given up.
    fn ended(&mut self, outcome: Result<(), i32>);

    /// Goes on to the peer of the next attempt; whether it is one that the call has not tried.
    fn advance(&mut self) -> bool;
}

// === impl PeerAddress ===

impl Route for &PeerAddress {
    fn peer(&self) -> &PeerAddress {
        self
    }

    fn ended(&mut self, _: Result<(), i32>) {}

    fn advance(&mut self) -> bool {
        false
    }
}

// === impl Route ===

impl<R: Route + ?Sized> Route for &mut R {
    fn peer(&self) -> &PeerAddress {
        (**self).peer()
    }

    fn ended(&mut self, outcome: Result<(), i32>) {
        (**self).ended(outcome);
    }

    fn advance(&mut self) -> bool {
        (**self).advance()
    }
}
