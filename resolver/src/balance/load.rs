//! How much an instance has to do, guessed from its latency and its open calls.

use std::time::Duration;

use tokio::time::Instant;

/// Latency and open calls of one instance.
#[derive(Debug)]
pub(super) struct Load {
    open: u32,
    /// Moving average of the latency in seconds, as it was at `updated`.
    average: f64,
    updated: Instant,
    /// Since when nothing has ended while something was open.
    silent_since: Instant,
    last_begun: Instant,
}

/// Time in which an average loses all but a third of its weight.
const FADE: Duration = Duration::from_secs(10);

/// Added to every latency in seconds, so that fractions of a millisecond do not draw all calls to one instance.
const NOISE: f64 = 0.001;

// === impl Load ===

impl Load {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            open: 0,
            average: 0.0,
            updated: now,
            silent_since: now,
            last_begun: now,
        }
    }

    /// A call is on its way.
    pub(super) fn begin(&mut self, now: Instant) {
        if self.open == 0 {
            self.silent_since = now;
        }
        self.open = self.open.saturating_add(1);
        self.last_begun = now;
    }

    /// A call was answered.
    pub(super) fn answered(&mut self, now: Instant, latency: Duration) {
        self.open = self.open.saturating_sub(1);
        self.silent_since = now;
        let kept = self.kept(now);
        let faded = self.average * kept;
        let latency = latency.as_secs_f64();
        self.average = if latency > faded {
            latency
        } else {
            faded + latency * (1.0 - kept)
        };
        self.updated = now;
    }

    /// A call ended without an answer: it took at least as long.
    pub(super) fn left(&mut self, now: Instant, latency: Duration) {
        self.open = self.open.saturating_sub(1);
        let latency = latency.as_secs_f64();
        if latency > self.average * self.kept(now) {
            self.average = latency;
            self.updated = now;
        }
    }

    /// The load if one more call came, in seconds.
    pub(super) fn of_one_more(&self, now: Instant) -> f64 {
        let mut latency = self.average * self.kept(now);
        if self.open > 0 {
            latency = latency.max(now.saturating_duration_since(self.silent_since).as_secs_f64());
        }
        (latency + NOISE) * (f64::from(self.open) + 1.0)
    }

    /// Number of open calls.
    pub(super) fn open(&self) -> u32 {
        self.open
    }

    /// Whether its last call began before that of `other`.
    pub(super) fn is_rested_longer_than(&self, other: &Self) -> bool {
        self.last_begun < other.last_begun
    }

    /// The share of the average that is left now.
    fn kept(&self, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.updated);
        (-elapsed.as_secs_f64() / FADE.as_secs_f64()).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// A call that takes this long and is answered.
    fn call(load: &mut Load, now: &mut Instant, latency: Duration) {
        load.begin(*now);
        *now += latency;
        load.answered(*now, latency);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_counts_at_once_and_a_fast_one_slowly() {
        let mut now = Instant::now();
        let mut load = Load::new(now);
        call(&mut load, &mut now, millis(10));
        assert!((load.of_one_more(now) - 0.011).abs() < 1e-6);
        call(&mut load, &mut now, millis(500));
        assert!((load.of_one_more(now) - 0.501).abs() < 1e-6);
        call(&mut load, &mut now, millis(10));
        let after = load.of_one_more(now);
        assert!(after > 0.49 && after < 0.501, "{after}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_average_fades_while_nothing_is_added() {
        let mut now = Instant::now();
        let mut load = Load::new(now);
        call(&mut load, &mut now, millis(1000));
        now += FADE;
        let faded = load.of_one_more(now);
        assert!(
            (faded - (1.0 / std::f64::consts::E + NOISE)).abs() < 1e-6,
            "{faded}"
        );
        now += FADE * 10;
        assert!(load.of_one_more(now) < 0.002);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_as_latency_while_calls_are_open() {
        let mut now = Instant::now();
        let mut load = Load::new(now);
        call(&mut load, &mut now, millis(1));
        load.begin(now);
        now += millis(200);
        assert!((load.of_one_more(now) - 2.0 * 0.201).abs() < 1e-3);
        load.left(now, millis(200));
        assert!((load.of_one_more(now) - 0.201).abs() < 1e-3);
    }

    #[tokio::test(start_paused = true)]
    async fn each_open_call_adds_to_the_load() {
        let now = Instant::now();
        let mut load = Load::new(now);
        let idle = load.of_one_more(now);
        load.begin(now);
        load.begin(now);
        assert!((load.of_one_more(now) - 3.0 * idle).abs() < 1e-9);
    }
}
