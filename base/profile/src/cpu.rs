//! Where the processor's time goes: the stack of a running thread, many times a second.
//!
//! Samples are taken per processor time of the whole process (`SIGPROF`), so a process that sleeps costs nothing
//! and yields nothing. Names come from the symbols of the binary; without symbols the addresses are still there,
//! and a tool that has the binary with symbols can name them.

use std::collections::HashMap;
use std::fmt;

use pprof::{ProfilerGuard, ProfilerGuardBuilder};

use crate::{Call, Frame, Profile, ProfileBuilder};

/// A sampling that runs until it is finished or dropped.
pub struct CpuSampling(ProfilerGuard<'static>);

/// Why no sampling begins or none was kept.
#[derive(Debug, thiserror::Error)]
pub enum CpuError {
    /// Another one runs: there is one signal for it in a process.
    #[error("cpu profiling already in use")]
    InUse,
    /// The system refuses the signal or the file that samples are kept in.
    #[error("{0}")]
    System(String),
}

/// Samples a second of processor time, as Go takes them.
const FREQUENCY: i32 = 100;
const PERIOD: i64 = 1_000_000_000 / FREQUENCY as i64;
/// The innermost frames are those of the signal handler.
const HANDLER: &str = "perf_signal_handler";

// === impl CpuSampling ===

impl CpuSampling {
    /// Begins to sample all threads.
    ///
    /// # Errors
    /// If another sampling runs or the system refuses.
    pub fn start() -> Result<Self, CpuError> {
        // Inside these libraries a stack cannot be walked safely from a signal.
        let blocked = ["libc", "libgcc", "pthread", "vdso"];
        let guard = ProfilerGuardBuilder::default()
            .frequency(FREQUENCY)
            .blocklist(&blocked)
            .build();
        match guard {
            Ok(guard) => Ok(Self(guard)),
            Err(pprof::Error::Running) => Err(CpuError::InUse),
            Err(error) => Err(CpuError::System(error.to_string())),
        }
    }

    /// Ends the sampling. Finding the names takes a while and blocks.
    ///
    /// # Errors
    /// If the samples were lost.
    pub fn finish(self) -> Result<Profile, CpuError> {
        let report = self.0.report().build_unresolved();
        drop(self.0);
        let report = report.map_err(|error| CpuError::System(error.to_string()))?;
        let mut builder = ProfileBuilder::new(&[("samples", "count"), ("cpu", "nanoseconds")]).sampled(
            report.timing.duration,
            "cpu",
            "nanoseconds",
            PERIOD,
        );
        add_mappings(&mut builder);
        let mut names = Names::default();
        for (stack, count) in &report.data {
            let frames: Vec<_> = stack.frames.iter().map(|frame| names.of(frame)).collect();
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            let thread = stack
                .thread_name
                .get(..stack.thread_name_length)
                .unwrap_or_default();
            let thread = String::from_utf8_lossy(thread);
            let values = [count, count.saturating_mul(PERIOD)];
            builder.sample(without_handler(&frames), &values, &[("thread", &thread)]);
        }
        // The debug information that was read is many times larger than a sidecar.
        backtrace::clear_symbol_cache();
        Ok(builder.finish())
    }
}

impl fmt::Debug for CpuSampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CpuSampling").finish_non_exhaustive()
    }
}

/// Frames by address: finding a name means reading debug information.
#[derive(Debug, Default)]
struct Names(HashMap<usize, Frame>);

// === impl Names ===

impl Names {
    fn of(&mut self, frame: &backtrace::Frame) -> Frame {
        let address = frame.ip().addr();
        let known = self.0.entry(address).or_insert_with(|| {
            let mut calls = Vec::new();
            backtrace::resolve_frame(frame, |symbol| {
                let function = symbol
                    .name()
                    .map_or_else(|| "unknown".to_owned(), |name| format!("{name:#}"));
                let file = symbol.filename();
                calls.push(Call {
                    function,
                    file: file.map_or_else(String::new, |file| file.display().to_string()),
                    line: symbol.lineno().unwrap_or(0),
                });
            });
            Frame {
                address: address as u64,
                calls,
            }
        });
        known.clone()
    }
}

/// The stack that was interrupted: the handler's frames and the system's way into it are left out.
fn without_handler(stack: &[Frame]) -> &[Frame] {
    let handler = stack
        .iter()
        .position(|frame| frame.calls.iter().any(|call| call.function == HANDLER));
    match handler {
        Some(index) => stack.get(index + 2..).unwrap_or_default(),
        None => stack,
    }
}

/// The files whose code is mapped, so that a tool can name what has no name here.
fn add_mappings(builder: &mut ProfileBuilder) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for line in maps.lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [addresses, permissions, offset, _, _, file, ..] = fields[..] else {
            continue;
        };
        if !permissions.contains('x') {
            continue;
        }
        let number = |text| u64::from_str_radix(text, 16).ok();
        let range = addresses.split_once('-');
        let range = range.and_then(|(start, end)| Some(number(start)?..number(end)?));
        if let (Some(range), Some(offset)) = (range, number(offset)) {
            builder.mapping(file, range, offset);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[inline(never)]
    fn work_hard(duration: Duration) -> u64 {
        let mut number = 1_u64;
        let begun = SystemTime::now();
        while begun.elapsed().is_ok_and(|elapsed| elapsed < duration) {
            for step in 0..10_000 {
                number = std::hint::black_box(number.wrapping_mul(31).wrapping_add(step));
            }
        }
        number
    }

    #[test]
    fn a_busy_function_is_found_and_only_one_sampling_runs() {
        let sampling = CpuSampling::start().unwrap();
        assert!(matches!(CpuSampling::start(), Err(CpuError::InUse)));
        work_hard(Duration::from_millis(700));
        let profile = sampling.finish().unwrap();
        let names: Vec<_> = profile
            .function
            .iter()
            .map(|function| profile.text(function.name))
            .collect();
        assert!(names.iter().any(|name| name.ends_with("work_hard")), "{names:#?}");
        assert!(!names.contains(&HANDLER), "{names:#?}");
        assert!(profile.sample.iter().any(|sample| sample.value[0] > 0));
        assert!(profile.mapping.iter().any(|mapping| mapping.has_functions));
        assert_eq!(profile.period, PERIOD);
        drop(CpuSampling::start().unwrap());
    }
}
