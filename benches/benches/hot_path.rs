//! CPU time of every stage of a call.
//!
//! ```text
//! cargo bench -p outrigger-benches --bench hot_path                    with statistics, in a few minutes
//! cargo bench -p outrigger-benches -- --quick                          rough figures, under a minute
//! cargo bench -p outrigger-benches --bench hot_path -- codec           one stage
//! cargo bench -p outrigger-benches --profile dist                      optimised as what ships
//! cargo bench -p outrigger-benches --bench hot_path -- --save-baseline before
//! cargo bench -p outrigger-benches --bench hot_path -- --baseline before
//! ```
//!
//! The clock is that of the thread, which stands still while others have the processor: the figures are those
//! that a sidecar's bill is made of, and they suffer less on a busy machine.

use std::time::Duration;

use criterion::Criterion;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use outrigger_benches::{Meter, measure_all};
use rustix::time::{ClockId, clock_gettime};

/// Measures by the clock of the thread.
struct Clock(Criterion<CpuTime>);

/// CPU time of the current thread.
struct CpuTime(WallTime);

fn main() {
    let criterion = Criterion::default()
        .with_measurement(CpuTime(WallTime))
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let mut clock = Clock(criterion);
    measure_all(&mut clock);
    clock.0.final_summary();
}

// === impl Clock ===

impl Meter for Clock {
    fn measure<R>(&mut self, stage: &str, name: &str, mut operation: impl FnMut() -> R) {
        let mut group = self.0.benchmark_group(stage);
        group.bench_function(name, |bencher| bencher.iter(&mut operation));
        group.finish();
    }
}

// === impl CpuTime ===

impl CpuTime {
    fn now() -> Duration {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        now.try_into().expect("the clock starts at zero")
    }
}

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        Self::now()
    }

    fn end(&self, begun: Duration) -> Duration {
        Self::now() - begun
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        self.0.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self.0.formatter()
    }
}
