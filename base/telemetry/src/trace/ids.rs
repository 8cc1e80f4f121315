//! Random ids of traces and spans.

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};

use fastrand::Rng;

/// Generators of a thread. Two make a trace id, so that it is drawn from 128 bits of seed.
struct Ids {
    high: Rng,
    low: Rng,
}

thread_local! {
    static IDS: RefCell<Ids> = RefCell::new(Ids { high: seeded(), low: seeded() });
}

/// A new trace id, never zero.
pub(super) fn trace_id() -> [u8; 16] {
    IDS.with_borrow_mut(|ids| {
        loop {
            let id = u128::from(ids.high.u64(..)) << 64 | u128::from(ids.low.u64(..));
            if id != 0 {
                return id.to_be_bytes();
            }
        }
    })
}

/// A new span id, never zero.
pub(super) fn span_id() -> [u8; 8] {
    IDS.with_borrow_mut(|ids| ids.low.u64(1..).to_be_bytes())
}

/// A generator seeded by the system's randomness; the one that `fastrand` offers is seeded by the clock alone.
fn seeded() -> Rng {
    Rng::with_seed(RandomState::new().hash_one(0))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_do_not_repeat_within_or_across_threads() {
        let draw = || (0..1_000).map(|_| (trace_id(), span_id())).collect::<Vec<_>>();
        let other = std::thread::spawn(draw).join().unwrap();
        let all: Vec<_> = draw().into_iter().chain(other).collect();
        assert_eq!(
            all.iter().map(|(trace, _)| trace).collect::<HashSet<_>>().len(),
            2_000
        );
        assert_eq!(
            all.iter().map(|(_, span)| span).collect::<HashSet<_>>().len(),
            2_000
        );
    }
}
