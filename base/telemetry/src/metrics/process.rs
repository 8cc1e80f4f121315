//! Figures of the process under the names that all programs share, read at the moment of the scrape.

use std::collections::HashMap;
use std::fs;
use std::sync::{Arc, Mutex};

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};
use tokio::runtime::Handle;

/// Ticks a second in `/proc`; the same on every Linux.
const TICKS: f64 = 100.0;

/// Reads `/proc/self`; a figure that cannot be read is left out.
#[derive(Clone, Debug)]
pub(super) struct Process(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    descriptions: Vec<Desc>,
    runtimes: Mutex<Vec<Handle>>,
}

/// Name, help and kind of a figure.
type Figure = (&'static str, &'static str, MetricType);

const TASKS: Figure = (
    "go_goroutines",
    "Number of tasks that currently exist.",
    MetricType::GAUGE,
);
const HEAP: Figure = (
    "go_memstats_alloc_bytes",
    "Number of bytes allocated and currently in use.",
    MetricType::GAUGE,
);
const CPU: Figure = (
    "process_cpu_seconds_total",
    "Total user and system CPU time spent in seconds.",
    MetricType::COUNTER,
);
const MAX_FILES: Figure = (
    "process_max_fds",
    "Maximum number of open file descriptors.",
    MetricType::GAUGE,
);
const FILES: Figure = (
    "process_open_fds",
    "Number of open file descriptors.",
    MetricType::GAUGE,
);
const RESIDENT: Figure = (
    "process_resident_memory_bytes",
    "Resident memory size in bytes.",
    MetricType::GAUGE,
);
const START: Figure = (
    "process_start_time_seconds",
    "Start time of the process since unix epoch in seconds.",
    MetricType::GAUGE,
);
const VIRTUAL: Figure = (
    "process_virtual_memory_bytes",
    "Virtual memory size in bytes.",
    MetricType::GAUGE,
);

const THREADS: Figure = (
    "go_threads",
    "Number of threads of the operating system.",
    MetricType::GAUGE,
);
const RECEIVED: Figure = (
    "process_network_receive_bytes_total",
    "Number of bytes received by the process over the network.",
    MetricType::COUNTER,
);
const SENT: Figure = (
    "process_network_transmit_bytes_total",
    "Number of bytes sent by the process over the network.",
    MetricType::COUNTER,
);
const VIRTUAL_MAX: Figure = (
    "process_virtual_memory_max_bytes",
    "Maximum amount of virtual memory available in bytes.",
    MetricType::GAUGE,
);

const ALL: [Figure; 12] = [
    TASKS,
    HEAP,
    THREADS,
    CPU,
    MAX_FILES,
    RECEIVED,
    SENT,
    FILES,
    RESIDENT,
    START,
    VIRTUAL,
    VIRTUAL_MAX,
];

/// Name, help and kind of every figure.
pub(super) fn figures() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    ALL.into_iter().map(|(name, help, kind)| {
        let counts = kind == MetricType::COUNTER;
        (name, help, if counts { "counter" } else { "gauge" })
    })
}

// === impl Process ===

impl Process {
    /// Counts the tasks of a runtime from now on.
    pub(super) fn watch(&self, runtime: Handle) {
        self.0.runtimes.lock().expect("no holder panics").push(runtime);
    }

    fn tasks(&self) -> f64 {
        let runtimes = self.0.runtimes.lock().expect("no holder panics");
        runtimes
            .iter()
            .map(|runtime| runtime.metrics().num_alive_tasks())
            .sum::<usize>() as f64
    }
}

impl Default for Process {
    fn default() -> Self {
        let describe = |(name, help, _): Figure| {
            Desc::new(name.to_owned(), help.to_owned(), Vec::new(), HashMap::new())
                .expect("the names are valid")
        };
        Self(Arc::new(Inner {
            descriptions: ALL.map(describe).into(),
            runtimes: Mutex::default(),
        }))
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.0.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let read = |file: &str| fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
        let (status, stat, limits) = (read("status"), read("stat"), read("limits"));
        let traffic = read("net/netstat");
        let figures = [
            (TASKS, Some(self.tasks())),
            (HEAP, kilobytes(&status, "RssAnon:")),
            (THREADS, number_after(&status, "Threads:")),
            (
                CPU,
                ticks(&stat, 14)
                    .zip(ticks(&stat, 15))
                    .map(|(user, system)| (user + system) / TICKS),
            ),
            (MAX_FILES, number_after(&limits, "Max open files")),
            (RECEIVED, octets(&traffic, "InOctets")),
            (SENT, octets(&traffic, "OutOctets")),
            (
                FILES,
                fs::read_dir("/proc/self/fd")
                    .ok()
                    .map(|files| files.count() as f64),
            ),
            (RESIDENT, kilobytes(&status, "VmRSS:")),
            (
                START,
                boot_time()
                    .zip(ticks(&stat, 22))
                    .map(|(boot, start)| boot + start / TICKS),
            ),
            (VIRTUAL, kilobytes(&status, "VmSize:")),
            (VIRTUAL_MAX, limit(&limits, "Max address space")),
        ];
        figures
            .into_iter()
            .filter_map(|(figure, value)| Some(family(figure, value?)))
            .collect()
    }
}

fn family((name, help, kind): Figure, value: f64) -> MetricFamily {
    let mut metric = Metric::default();
    if kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(vec![metric]);
    family
}

/// A size of `/proc/self/status`, in bytes.
fn kilobytes(status: &str, name: &str) -> Option<f64> {
    number_after(status, name).map(|size| size * 1024.0)
}

/// The first number in the line that starts with `name`.
fn number_after(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// A limit of the process; what is not limited is as large as Go says it is.
fn limit(limits: &str, name: &str) -> Option<f64> {
    let rest = limits.lines().find_map(|line| line.strip_prefix(name))?;
    match rest.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX as f64),
        number => number.parse().ok(),
    }
}

/// A count of `IpExt` in `/proc/self/net/netstat`, where a line of names stands before one of numbers.
fn octets(netstat: &str, name: &str) -> Option<f64> {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("IpExt:"));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let mut pairs = names.split_whitespace().zip(numbers.split_whitespace());
    let (_, number) = pairs.find(|(own, _)| *own == name)?;
    number.parse().ok()
}

/// A field of `/proc/self/stat`, counted from 1; the name in the second field may hold blanks.
fn ticks(stat: &str, field: usize) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(field - 3)?.parse().ok()
}

/// When the machine was started, in seconds since the epoch.
fn boot_time() -> Option<f64> {
    number_after(&fs::read_to_string("/proc/stat").ok()?, "btime")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_program_may_hold_anything() {
        let stat = "7 (a ) (b) S 1 7 7 0 -1 4194304 90 0 0 0 12 34 0 0 20 0 1 0 5678 1000 25";
        assert_eq!(
            (ticks(stat, 14), ticks(stat, 15), ticks(stat, 22)),
            (Some(12.0), Some(34.0), Some(5678.0))
        );
        assert_eq!(ticks("", 14), None);
    }

    #[test]
    fn limits_and_counts_are_found_by_name() {
        let limits = "Limit   Soft Limit   Hard Limit   Units\nMax address space   unlimited   unlimited   bytes\nMax open files   20000   20000   files\n";
        assert_eq!(
            limit(limits, "Max address space"),
            Some(18_446_744_073_709_551_615.0)
        );
        assert_eq!(limit(limits, "Max open files"), Some(20_000.0));
        let netstat = "TcpExt: InOctets\nTcpExt: 7\nIpExt: InNoRoutes InOctets OutOctets\nIpExt: 0 12 34\n";
        assert_eq!(
            (octets(netstat, "InOctets"), octets(netstat, "OutOctets")),
            (Some(12.0), Some(34.0))
        );
        assert_eq!(octets("", "InOctets"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn every_figure_is_there_and_alive() {
        let families = Process::default().collect();
        let names: Vec<&str> = families.iter().map(MetricFamily::name).collect();
        assert_eq!(names, ALL.map(|(name, ..)| name));
        let value = |figure: Figure| {
            let family = families.iter().find(|family| family.name() == figure.0).unwrap();
            let metric = &family.get_metric()[0];
            metric
                .get_gauge()
                .get_value()
                .max(metric.get_counter().get_value())
        };
        assert!(value(RESIDENT) > 1e5 && value(VIRTUAL) >= value(RESIDENT));
        assert!(value(FILES) >= 3.0 && value(MAX_FILES) >= value(FILES));
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
        assert!((now - 86_400.0..now + 1.0).contains(&value(START)));
    }

    #[tokio::test]
    async fn tasks_of_watched_runtimes_are_counted() {
        let process = Process::default();
        process.watch(Handle::current());
        let before = process.tasks();
        let task = tokio::spawn(std::future::pending::<()>());
        assert_eq!(process.tasks(), before + 1.0);
        task.abort();
        task.await.unwrap_err();
        assert_eq!(process.tasks(), before);
    }
}
