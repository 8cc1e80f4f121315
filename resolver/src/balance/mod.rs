//! Which instance of an app a call goes to.
//!
//! ```text
//! endpoints ──▶ two at random ──▶ the one with less load ──▶ call ──▶ how it ended
//!                  ▲                                                    │
//!                  └── ejected instances take no part ◀── failures ─────┤
//!                        └── one call after a pause finds out ──────────┘
//! ```
//!
//! The load of an instance is the peak-sensitive moving average of its latency times the calls that it has open.
//! A slow answer counts at once and in full, a fast one slowly, and an average that nothing is added to fades, so
//! that a slow instance is tried again. While an instance answers nothing at all, the time of its silence counts
//! as its latency: a hung instance is left after its first calls.
//!
//! Each worker balances by what it has seen itself, so that nothing is shared between cores.

mod health;
mod load;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use self::health::Health;
use self::load::Load;
use crate::endpoint::{Endpoint, Members};

/// The instances of one app as one worker knows them; `P` is what it keeps of each.
///
/// Cheap to ask: a choice allocates nothing and looks at two instances, as long as none is ejected.
pub struct Balance<P> {
    /// The set that the instances were taken from, to see when there is another.
    members: Option<Members>,
    instances: Vec<Instance<P>>,
    next: u64,
    chance: Rng,
}

/// One call to an instance, from the choice to its end. Hand it back to the [`Balance`] it is from.
#[derive(Debug)]
#[must_use = "an instance that is not told how its calls end looks busier with each"]
pub struct Ticket {
    number: u64,
    began: Instant,
}

/// How a call to an instance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The sidecar answered, whatever its app said.
    Answered,
    /// The sidecar answered that it cannot do its work.
    Failed,
    /// The sidecar was not reached, or the connection broke.
    Unreachable,
    /// The caller gave up; that says nothing of the instance but that it took this long.
    Abandoned,
}

/// What an ending changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The instance at this address takes no calls for a while.
    Ejected {
        /// `host:port`.
        address: Arc<str>,
        /// Time until one call finds out whether it is back.
        pause: Duration,
    },
    /// The instance at this address takes calls again.
    Returned {
        /// `host:port`.
        address: Arc<str>,
    },
}

struct Instance<P> {
    /// Tells tickets apart from those of instances that are gone.
    number: u64,
    address: Arc<str>,
    weight: u32,
    place: P,
    load: Load,
    health: Health,
}

/// Of two instances with equally many open calls, one whose load is above this share of the other's is its equal.
const TIE: f64 = 0.75;

// === impl Balance ===

impl<P: Clone> Balance<P> {
    /// Knows of nothing yet; `chance` decides which instances are compared.
    #[must_use]
    pub fn new(chance: Rng) -> Self {
        Self {
            members: None,
            instances: Vec::new(),
            next: 0,
            chance,
        }
    }

    /// Brings the instances in line with `members`, and tells whether that was another set than before.
    ///
    /// Those that stay keep what is known of them; `place` makes what is kept of a new one.
    pub fn update(&mut self, members: &Members, place: impl Fn(&Endpoint) -> P) -> bool {
        if self
            .members
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, members))
        {
            return false;
        }
        let now = Instant::now();
        let mut before = std::mem::take(&mut self.instances);
        self.instances = members
            .iter()
            .map(|member| {
                let known = before
                    .iter()
                    .position(|instance| instance.address == member.address);
                match known {
                    Some(index) => Instance {
                        weight: member.weight,
                        ..before.swap_remove(index)
                    },
                    None => {
                        self.next += 1;
                        Instance {
                            number: self.next,
                            // A copy of its own: the resolver's is counted by all workers.
                            address: Arc::from(&*member.address),
                            weight: member.weight,
                            place: place(member),
                            load: Load::new(now),
                            health: Health::default(),
                        }
                    }
                }
            })
            .collect();
        self.members = Some(Arc::clone(members));
        true
    }

    /// Chooses an instance for a call; none if there is no instance.
    pub fn choose(&mut self) -> Option<(P, Ticket)> {
        self.choose_but(|_| false)
    }

    /// Chooses an instance that is not in `tried`; none if all are.
    pub fn choose_other(&mut self, tried: &[P]) -> Option<(P, Ticket)>
    where
        P: PartialEq,
    {
        self.choose_but(|place| tried.contains(place))
    }

    /// Tells how a call ended.
    pub fn end(&mut self, ticket: &Ticket, ending: Ending) -> Option<Change> {
        let now = Instant::now();
        let others = self
            .instances
            .iter()
            .any(|instance| instance.number != ticket.number && instance.takes_calls());
        let instance = self
            .instances
            .iter_mut()
            .find(|instance| instance.number == ticket.number)?;
        let latency = now.saturating_duration_since(ticket.began);
        let address = || Arc::clone(&instance.address);
        match ending {
            Ending::Answered => {
                instance.load.answered(now, latency);
                let returned = instance.health.succeed();
                returned.then(|| Change::Returned { address: address() })
            }
            Ending::Abandoned => {
                instance.load.left(now, latency);
                instance.health.undecided(now);
                None
            }
            Ending::Failed | Ending::Unreachable => {
                instance.load.left(now, latency);
                // The last one is never ejected: a call that may fail is better than one that must.
                if !others {
                    instance.health.pardon();
                    return None;
                }
                let jitter = self.chance.f64();
                let is_unreachable = ending == Ending::Unreachable;
                let pause = instance.health.fail(now, is_unreachable, latency, jitter)?;
                Some(Change::Ejected {
                    address: address(),
                    pause,
                })
            }
        }
    }

    /// Number of instances that take no calls now.
    #[must_use]
    pub fn ejected(&self) -> usize {
        self.instances
            .iter()
            .filter(|instance| !instance.health.is_good())
            .count()
    }

    fn choose_but(&mut self, is_out: impl Fn(&P) -> bool) -> Option<(P, Ticket)> {
        let now = Instant::now();
        let index = self
            .due(now, &is_out)
            .or_else(|| {
                self.lighter_of_two(now, |instance| instance.takes_calls() && !is_out(&instance.place))
            })
            .or_else(|| self.lighter_of_two(now, |instance| !is_out(&instance.place)))?;
        let instance = &mut self.instances[index];
        instance.load.begin(now);
        let ticket = Ticket {
            number: instance.number,
            began: now,
        };
        Some((instance.place.clone(), ticket))
    }

    /// An ejected instance whose pause is over: this call finds out, the others wait.
    fn due(&mut self, now: Instant, is_out: &impl Fn(&P) -> bool) -> Option<usize> {
        self.instances.iter_mut().position(|instance| {
            instance.weight > 0 && !is_out(&instance.place) && instance.health.begin_probe(now)
        })
    }

    fn lighter_of_two(&mut self, now: Instant, fits: impl Fn(&Instance<P>) -> bool) -> Option<usize> {
        let (one, other) = self.two(fits)?;
        let Some(other) = other else { return Some(one) };
        let (mine, its) = (&self.instances[one], &self.instances[other]);
        let (my_load, its_load) = (mine.load_of_one_more(now), its.load_of_one_more(now));
        let is_tie =
            mine.load.open() == its.load.open() && my_load.min(its_load) > my_load.max(its_load) * TIE;
        let is_mine_better = if is_tie {
            mine.load.is_rested_longer_than(&its.load)
        } else {
            my_load < its_load
        };
        Some(if is_mine_better { one } else { other })
    }

    /// Two different instances by chance, or the only one.
    fn two(&mut self, fits: impl Fn(&Instance<P>) -> bool) -> Option<(usize, Option<usize>)> {
        let count = self.instances.len();
        if count > 1 {
            let one = self.chance.usize(..count);
            let other = (one + 1 + self.chance.usize(..count - 1)) % count;
            if fits(&self.instances[one]) && fits(&self.instances[other]) {
                return Some((one, Some(other)));
            }
        }
        // Some do not fit: a fair draw from those that do, in one pass (reservoir sampling).
        let fitting = self
            .instances
            .iter()
            .enumerate()
            .filter(|(_, instance)| fits(instance));
        let mut drawn = [None; 2];
        for (seen, (index, _)) in fitting.enumerate() {
            let slot = if seen < 2 {
                seen
            } else {
                self.chance.usize(..=seen)
            };
            if let Some(drawn) = drawn.get_mut(slot) {
                *drawn = Some(index);
            }
        }
        drawn[0].map(|one| (one, drawn[1]))
    }
}

impl<P> fmt::Debug for Balance<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = self.instances.iter().map(|instance| &instance.address);
        f.debug_list().entries(addresses).finish()
    }
}

// === impl Instance ===

impl<P> Instance<P> {
    fn takes_calls(&self) -> bool {
        self.weight > 0 && self.health.is_good()
    }

    fn load_of_one_more(&self, now: Instant) -> f64 {
        self.load.of_one_more(now) / f64::from(self.weight.max(1))
    }
}

#[cfg(test)]
mod tests;
