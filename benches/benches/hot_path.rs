//! Time of every stage of a call.
//!
//! ```text
//! cargo bench -p outrigger-benches --bench hot_path                    with statistics, some minutes
//! cargo bench -p outrigger-benches -- --quick                          rough figures, under a minute
//! cargo bench -p outrigger-benches --bench hot_path -- codec           one stage
//! cargo bench -p outrigger-benches --bench hot_path -- --save-baseline before
//! cargo bench -p outrigger-benches --bench hot_path -- --baseline before
//! ```

use std::time::Duration;

use criterion::Criterion;
use outrigger_benches::{Meter, measure_all};

/// Measures by the clock.
struct Clock(Criterion);

fn main() {
    let criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
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
