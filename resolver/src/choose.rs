//! Picking one endpoint of a set.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::endpoint::Endpoint;

/// Picks the endpoint that a call goes to.
///
/// Runs on the hot path: it must not block or allocate.
pub trait Choose: std::fmt::Debug + Send + Sync + 'static {
    /// The index of the pick in `endpoints`, which has two members or more; `turn` belongs to the set.
    fn choose(&self, endpoints: &[Endpoint], turn: &Turn) -> usize;
}

/// Spreads calls by chance.
#[derive(Clone, Copy, Debug, Default)]
pub struct Random;

/// Spreads calls in turns.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin;

/// Counts the picks of one set.
#[derive(Debug, Default)]
pub struct Turn(AtomicUsize);

// === impl Turn ===

impl Turn {
    /// The number of the turn, which wraps around.
    pub fn next(&self) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

// === impl Random ===

impl Choose for Random {
    fn choose(&self, endpoints: &[Endpoint], _turn: &Turn) -> usize {
        fastrand::usize(..endpoints.len())
    }
}

// === impl RoundRobin ===

impl Choose for RoundRobin {
    fn choose(&self, endpoints: &[Endpoint], turn: &Turn) -> usize {
        turn.next() % endpoints.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Vec<Endpoint> {
        ["a:1", "b:1", "c:1"].map(Endpoint::new).to_vec()
    }

    #[test]
    fn round_robin_gives_each_endpoint_its_turn() {
        let turn = Turn::default();
        let picks: Vec<_> = (0..6).map(|_| RoundRobin.choose(&three(), &turn)).collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn random_reaches_every_endpoint() {
        let mut seen = [0; 3];
        for _ in 0..300 {
            seen[Random.choose(&three(), &Turn::default())] += 1;
        }
        assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
    }
}
