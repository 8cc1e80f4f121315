//! Allocations of every stage of a call, against the record in `alloc_count.txt`.
//!
//! ```text
//! cargo bench -p outrigger-benches --bench alloc_count               prints the table
//! cargo bench -p outrigger-benches --bench alloc_count -- codec      of one stage
//! cargo test  -p outrigger-benches --bench alloc_count               fails if a stage allocates more than recorded
//! cargo test  -p outrigger-benches --bench alloc_count -- --write    records what is
//! cargo test  -p outrigger-benches --bench alloc_count -- --sites 'a call, 1 KiB, h2'
//! ```
//!
//! The last form writes `target/tmp/dhat-heap.json`, which names the place of each allocation; the viewer is a
//! part of Valgrind (`dh_view.html`). Growing a buffer counts as an allocation. Lower figures are no failure, but
//! deserve to be recorded.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use dhat::{HeapStats, Profiler};
use outrigger_benches::{Meter, measure_all};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

/// What the command line asks for.
#[derive(Debug, Default)]
struct Options {
    /// Whether the counts are compared with the record.
    checks: bool,
    /// Whether the counts become the record.
    writes: bool,
    /// Whether the places of allocations are written to a file.
    sites: bool,
    /// Part of the names that are measured.
    filter: String,
}

/// Measures by counting allocations.
struct Counter {
    options: Options,
    rows: Vec<Row>,
}

/// Allocations of one run of an operation, on the average.
struct Row {
    name: String,
    blocks: f64,
    bytes: f64,
}

/// The file that names the places of allocations.
const SITES: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/dhat-heap.json");

/// Runs before counting, which fill caches.
const WARM_UP: u32 = 64;

/// Runs that are counted; enough to see a buffer that grows now and then.
const RUNS: u32 = 100;

fn main() -> ExitCode {
    let mut counter = Counter {
        options: Options::read(),
        rows: Vec::new(),
    };
    println!("{:60} {:>11} {:>9}", "one run of", "allocations", "bytes");
    measure_all(&mut counter);
    if counter.options.writes {
        std::fs::write(record_path(), counter.record()).expect("the record can be written");
    }
    let excesses = if counter.options.checks {
        counter.excesses()
    } else {
        Vec::new()
    };
    for excess in &excesses {
        eprintln!("{excess}; --write records what is");
    }
    if excesses.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

// === impl Options ===

impl Options {
    fn read() -> Self {
        let mut options = Self {
            checks: true,
            ..Self::default()
        };
        for argument in std::env::args().skip(1) {
            match argument.as_str() {
                // Cargo says so when it runs benches; figures of an optimised build have no record.
                "--bench" => options.checks = false,
                "--write" => options.writes = true,
                "--sites" => options.sites = true,
                // What is meant for the other bench.
                flag if flag.starts_with('-') => {}
                filter => options.filter = filter.to_owned(),
            }
        }
        if options.writes {
            // The record has a line for every operation.
            options.filter.clear();
            options.checks = false;
        }
        options
    }
}

// === impl Counter ===

impl Meter for Counter {
    fn measure<R>(&mut self, stage: &str, name: &str, mut operation: impl FnMut() -> R) {
        let name = format!("{stage}: {name}");
        if !name.contains(&self.options.filter) {
            return;
        }
        for _ in 0..WARM_UP {
            operation();
        }
        let builder = Profiler::builder();
        let profiler = if self.options.sites {
            builder.trim_backtraces(None).file_name(SITES)
        } else {
            builder.testing()
        }
        .build();
        for _ in 0..RUNS {
            operation();
        }
        let stats = HeapStats::get();
        drop(profiler);
        let row = Row {
            name,
            blocks: stats.total_blocks as f64 / f64::from(RUNS),
            bytes: stats.total_bytes as f64 / f64::from(RUNS),
        };
        println!("{row}");
        self.rows.push(row);
    }
}

impl Counter {
    /// The text of the record: a line a row, with the count rounded: what happens now and then does not count.
    fn record(&self) -> String {
        let lines = self.rows.iter();
        lines
            .map(|row| format!("{:3} {}\n", row.blocks.round(), row.name))
            .collect()
    }

    /// What allocates more than recorded, or has no record.
    fn excesses(&self) -> Vec<String> {
        let text = std::fs::read_to_string(record_path()).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.trim().split_once(' '));
        let record: BTreeMap<&str, f64> = lines
            .filter_map(|(count, name)| Some((name, count.parse().ok()?)))
            .collect();
        let excess = |row: &Row| match record.get(row.name.as_str()) {
            Some(limit) if row.blocks.round() <= *limit => None,
            Some(limit) => Some(format!(
                "{} allocates {} times, recorded is {limit}",
                row.name, row.blocks
            )),
            None => Some(format!("{} is not recorded", row.name)),
        };
        self.rows.iter().filter_map(excess).collect()
    }
}

// === impl Row ===

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:60} {:>11.1} {:>9.0}", self.name, self.blocks, self.bytes)
    }
}

fn record_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/alloc_count.txt")
}
