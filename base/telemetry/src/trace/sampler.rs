//! Which traces are recorded.

use super::TraceContext;

/// Share of traces that is sampled when the setting is empty or no number.
const DEFAULT_RATE: f64 = 0.0001;

/// Decides for new traces; a request that brings a context has been decided by its sender.
///
/// Specification: observability, section 2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    rate: f64,
    /// Trace ids whose low 63 bits are below this are sampled.
    bound: u64,
}

// === impl Sampler ===

impl Sampler {
    /// The sampler of a `samplingRate` text; 1 in 10,000 if it is empty or no number.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self::of_rate(text.parse().unwrap_or(DEFAULT_RATE))
    }

    /// A sampler of that share of the traces, from 0 to 1.
    #[must_use]
    pub fn of_rate(rate: f64) -> Self {
        // A float that is out of range saturates, and what is not a number becomes 0.
        let bound = (rate * (1_u64 << 63) as f64) as u64;
        Self { rate, bound }
    }

    /// Whether the rate is exactly zero, which turns tracing off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.rate == 0.0
    }

    /// Whether a new trace of that id is sampled.
    #[must_use]
    pub fn samples(&self, trace_id: &[u8; 16]) -> bool {
        let (_, low) = trace_id.split_last_chunk::<8>().expect("a trace id has 16 bytes");
        u64::from_be_bytes(*low) >> 1 < self.bound || self.rate >= 1.0
    }

    /// Whether a request is recorded: its sender decided, or it is the root of a new trace.
    pub(super) fn decides(&self, parent: Option<&TraceContext>, trace_id: &[u8; 16]) -> bool {
        parent.map_or_else(|| self.samples(trace_id), TraceContext::is_sampled)
    }

    /// The text that the start-up line shows after `Dapr trace sampler initialized: `.
    #[must_use]
    pub fn describe(&self) -> String {
        let root = if self.rate >= 1.0 {
            "AlwaysOnSampler".to_owned()
        } else {
            format!(
                "TraceIDRatioBased{{{}}}",
                crate::metrics::float(self.rate.max(0.0))
            )
        };
        format!(
            "ParentBased{{root:{root},remoteParentSampled:AlwaysOnSampler,remoteParentNotSampled:AlwaysOffSampler,\
             localParentSampled:AlwaysOnSampler,localParentNotSampled:AlwaysOffSampler}}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::ids;
    use super::*;

    fn share(rate: &str, draws: u32) -> f64 {
        let sampler = Sampler::parse(rate);
        let sampled = (0..draws).filter(|_| sampler.samples(&ids::trace_id())).count();
        sampled as f64 / f64::from(draws)
    }

    #[test]
    fn the_share_of_sampled_traces_is_the_rate() {
        for (rate, low, high) in [
            ("0", 0.0, 0.0),
            ("0.1", 0.09, 0.11),
            ("0.5", 0.48, 0.52),
            ("1", 1.0, 1.0),
            ("3", 1.0, 1.0),
        ] {
            let share = share(rate, 100_000);
            assert!((low..=high).contains(&share), "rate {rate} gave {share}");
        }
    }

    #[test]
    fn a_rate_that_is_no_number_is_one_in_ten_thousand() {
        for text in ["", "often", "0,5"] {
            assert_eq!(Sampler::parse(text), Sampler::parse("0.0001"));
        }
        let share = share("", 1_000_000);
        assert!((0.00003..0.0003).contains(&share), "{share}");
    }

    #[test]
    fn the_low_half_of_the_trace_id_decides() {
        let sampler = Sampler::parse("0.5");
        let mut id = [0xff; 16];
        assert!(!sampler.samples(&id));
        id[8] = 0x7f;
        assert!(sampler.samples(&id));
    }

    #[test]
    fn only_a_rate_of_zero_turns_tracing_off() {
        for (text, off) in [
            ("0", true),
            ("0.0", true),
            ("-0", true),
            ("", false),
            ("-1", false),
            ("0.00001", false),
        ] {
            assert_eq!(Sampler::parse(text).is_off(), off, "{text}");
        }
    }

    #[test]
    fn the_description_names_the_root() {
        let rest = "remoteParentSampled:AlwaysOnSampler,remoteParentNotSampled:AlwaysOffSampler,localParentSampled:AlwaysOnSampler,localParentNotSampled:AlwaysOffSampler}";
        let table = [
            ("0", "TraceIDRatioBased{0}"),
            ("", "TraceIDRatioBased{0.0001}"),
            ("0.00001", "TraceIDRatioBased{1e-05}"),
            ("1", "AlwaysOnSampler"),
        ];
        for (text, root) in table {
            assert_eq!(
                Sampler::parse(text).describe(),
                format!("ParentBased{{root:{root},{rest}")
            );
        }
    }
}
