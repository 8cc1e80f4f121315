//! Counts of the last moments: a ring of buckets, the oldest of which is used again.

/// Counts over an interval that slides with time.
#[derive(Clone, Debug)]
pub(super) struct Window {
    buckets: Vec<Bucket>,
    /// Length of a bucket in milliseconds.
    length: u64,
}

/// What happened in one stretch of time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    /// Requests that were let in.
    pub(super) passed: u64,
    /// Requests that have ended.
    pub(super) completed: u64,
    /// Requests that took longer than they may.
    pub(super) slow: u64,
    /// Milliseconds that all that have ended took.
    pub(super) time: u64,
    /// Milliseconds of the quickest; none if none has ended.
    pub(super) least_time: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    start: u64,
    counts: Counts,
}

// === impl Window ===

impl Window {
    /// A window of so many milliseconds in so many buckets.
    pub(super) fn new(interval: u64, buckets: u64) -> Self {
        let buckets = buckets.clamp(1, interval.max(1));
        Self {
            buckets: (0..buckets).map(|_| Bucket::default()).collect(),
            length: (interval / buckets).max(1),
        }
    }

    /// The counts of this moment, to be changed; `now` in milliseconds.
    pub(super) fn at(&mut self, now: u64) -> &mut Counts {
        let (length, count) = (self.length, self.buckets.len() as u64);
        let start = now - now % length;
        let place = usize::try_from(now / length % count).unwrap_or_default();
        let bucket = &mut self.buckets[place];
        if bucket.start != start {
            *bucket = Bucket {
                start,
                counts: Counts::default(),
            };
        }
        &mut bucket.counts
    }

    /// The sum of all that is not too old.
    pub(super) fn sum(&self, now: u64) -> Counts {
        self.recent(now).fold(Counts::default(), |sum, counts| Counts {
            passed: sum.passed + counts.passed,
            completed: sum.completed + counts.completed,
            slow: sum.slow + counts.slow,
            time: sum.time + counts.time,
            least_time: [sum.least_time, counts.least_time].into_iter().flatten().min(),
        })
    }

    /// The most that ended within one bucket, as a number a second.
    pub(super) fn most_completed_a_second(&self, now: u64) -> f64 {
        let most = self.recent(now).map(|counts| counts.completed).max();
        most.unwrap_or(0) as f64 * 1000.0 / self.length as f64
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.buckets.fill(Bucket::default());
    }

    fn recent(&self, now: u64) -> impl Iterator<Item = Counts> {
        let interval = self.length * self.buckets.len() as u64;
        let is_recent = move |bucket: &&Bucket| now < bucket.start + interval && bucket.start <= now;
        self.buckets.iter().filter(is_recent).map(|bucket| bucket.counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_old_does_not_count() {
        let mut window = Window::new(1000, 2);
        window.at(0).passed += 1;
        window.at(499).passed += 1;
        window.at(600).passed += 1;
        assert_eq!(window.sum(999).passed, 3);
        assert_eq!(window.sum(1000).passed, 1);
        window.at(1100).completed += 4;
        assert_eq!(window.sum(1100).passed, 1);
        assert_eq!(window.sum(1500).passed, 0);
        assert_eq!(window.most_completed_a_second(1100), 8.0);
        window.clear();
        assert_eq!(window.sum(1100).completed, 0);
    }

    #[test]
    fn the_quickest_of_all_buckets_counts() {
        let mut window = Window::new(1000, 2);
        window.at(0).least_time = Some(5);
        assert_eq!(window.sum(0).least_time, Some(5));
        window.at(500).least_time = Some(3);
        assert_eq!(window.sum(500).least_time, Some(3));
        assert_eq!(Window::new(0, 0).sum(1).least_time, None);
    }
}
