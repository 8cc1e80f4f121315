//! The machine: its load, the memory and the CPU in use, looked at once a second at most.

use std::fs;
use std::sync::{Mutex, PoisonError};

/// What is known of the machine. Where the system does not say, everything is 0.
#[derive(Debug, Default)]
pub(super) struct Machine(Mutex<Seen>);

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// When it was looked at, in milliseconds, and whether it ever was.
    at: Option<u64>,
    load: f64,
    cpu: f64,
    memory: i64,
    /// Busy time and all time of the CPUs since the start.
    times: (u64, u64),
}

const PAUSE: u64 = 1000;
/// Bytes of a page of memory, as the system counts.
const PAGE: i64 = 4096;

// === impl Machine ===

impl Machine {
    /// Load of the last minute.
    pub(super) fn load(&self, now: u64) -> f64 {
        self.look(now).load
    }

    /// Share of the CPUs that was in use of late, up to 1.
    pub(super) fn cpu(&self, now: u64) -> f64 {
        self.look(now).cpu
    }

    /// Bytes of memory that the sidecar has in use.
    pub(super) fn memory(&self, now: u64) -> i64 {
        self.look(now).memory
    }

    fn look(&self, now: u64) -> Seen {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.at.is_none_or(|at| now >= at + PAUSE) {
            let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
            let times = cpu_times(&read("/proc/stat"));
            let (busy, all) = (
                times.0.saturating_sub(seen.times.0),
                times.1.saturating_sub(seen.times.1),
            );
            *seen = Seen {
                at: Some(now),
                load: field(&read("/proc/loadavg"), 0).unwrap_or(0.0),
                cpu: if all == 0 { 0.0 } else { busy as f64 / all as f64 },
                memory: field::<i64>(&read("/proc/self/statm"), 1).unwrap_or(0) * PAGE,
                times,
            };
        }
        *seen
    }
}

fn field<T: std::str::FromStr>(text: &str, place: usize) -> Option<T> {
    text.split_whitespace().nth(place)?.parse().ok()
}

/// Busy time and all time in the first line of `/proc/stat`.
fn cpu_times(text: &str) -> (u64, u64) {
    let first = text.lines().next().unwrap_or_default();
    let times: Vec<u64> = first
        .split_whitespace()
        .skip(1)
        .take(8)
        .filter_map(|time| time.parse().ok())
        .collect();
    let all: u64 = times.iter().sum();
    let idle: u64 = times.iter().skip(3).take(2).sum();
    (all - idle, all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_time_is_all_but_idle_and_waiting() {
        assert_eq!(cpu_times("cpu  10 1 5 100 20 2 3 4 99 0\ncpu0 1"), (25, 145));
        assert_eq!(cpu_times(""), (0, 0));
    }

    #[test]
    fn the_machine_says_how_it_does() {
        let machine = Machine::default();
        assert!(machine.memory(0) > 0);
        assert!((0.0..=1.0).contains(&machine.cpu(0)));
        assert!(machine.load(0) >= 0.0);
    }
}
