//! The trace context of a request and its three wire forms.

use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::hex::write_hex;
use super::state;

/// Header and metadata key of the context in text form.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Header of the vendor list that travels with [`TRACEPARENT`].
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Longest vendor list that is written, in characters.
const MAX_STATE: usize = 512;

/// Position of a request in a distributed trace (W3C Trace Context).
///
/// Reading and writing the ids allocates nothing; only a `tracestate` is kept on the heap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// Id shared by all spans of the trace.
    pub trace_id: [u8; 16],
    /// Id of the span that sent the request.
    pub span_id: [u8; 8],
    /// Trace flags; bit 0 says that the trace is sampled.
    pub flags: u8,
    /// Vendor list of the `tracestate` header, in normal form; none when it is empty.
    pub state: Option<Arc<str>>,
}

// === impl TraceContext ===

impl TraceContext {
    /// Length of the text form.
    pub const TRACEPARENT_LENGTH: usize = 55;

    /// Length of the binary form.
    pub const GRPC_BIN_LENGTH: usize = 29;

    /// The context with zero ids: what apps receive when nothing is traced. It counts as present.
    pub const ZERO: Self = Self {
        trace_id: [0; 16],
        span_id: [0; 8],
        flags: 0,
        state: None,
    };

    /// Reads a `traceparent` value; none if it is malformed, has zero ids or the version `ff`.
    ///
    /// Versions above 00 may carry more parts, which are ignored.
    #[must_use]
    pub fn from_traceparent(value: &[u8]) -> Option<Self> {
        let (ids, rest) = value.split_at_checked(52)?;
        let hyphens = [ids[2], ids[35], *rest.first()?];
        let [version] = hex(&ids[..2])?;
        let trace_id = hex(&ids[3..35])?;
        let span_id = hex(&ids[36..])?;
        let mut rest = rest.split(|byte| *byte == b'-').skip(1);
        let flags = first_of_hex(rest.next()?)?;
        if hyphens != [b'-'; 3] || version == 0xff || (version == 0 && rest.next().is_some()) {
            return None;
        }
        let context = Self {
            trace_id,
            span_id,
            flags,
            state: None,
        };
        context.is_valid().then_some(context)
    }

    /// Reads the binary form of `grpc-trace-bin`; zero ids are accepted.
    ///
    /// The trace id is required; the span id and the flags may be missing from the end.
    #[must_use]
    pub fn from_grpc_bin(value: &[u8]) -> Option<Self> {
        let mut context = Self::ZERO;
        let [0, 0, rest @ ..] = value else { return None };
        let (trace_id, rest) = rest.split_first_chunk()?;
        context.trace_id = *trace_id;
        let [1, rest @ ..] = rest else {
            return Some(context);
        };
        let Some((span_id, rest)) = rest.split_first_chunk() else {
            return Some(context);
        };
        context.span_id = *span_id;
        if let [2, flags, ..] = rest {
            context.flags = *flags;
        }
        Some(context)
    }

    /// Reads `traceparent` and, only together with it, `tracestate` of an HTTP request.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Option<Self> {
        let context = Self::from_traceparent(headers.get(TRACEPARENT)?.as_bytes())?;
        let mut lists = headers
            .get_all(TRACESTATE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let Some(first) = lists.next() else {
            return Some(context);
        };
        match lists.next() {
            None => Some(context.with_state(first)),
            Some(second) => {
                let all: Vec<&str> = [first, second].into_iter().chain(lists).collect();
                Some(context.with_state(&all.join(",")))
            }
        }
    }

    /// The same position with the vendor list of a `tracestate` value; a list that cannot be parsed is empty.
    #[must_use]
    pub fn with_state(mut self, value: &str) -> Self {
        self.state = state::parse(value);
        self
    }

    /// Whether both ids are other than zero.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.trace_id != [0; 16] && self.span_id != [0; 8]
    }

    /// Whether the trace id is other than zero.
    #[must_use]
    pub fn has_trace_id(&self) -> bool {
        self.trace_id != [0; 16]
    }

    /// Whether the sender records this trace.
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        self.flags & 1 == 1
    }

    /// The `traceparent` value: version 00, lower-case hex.
    #[must_use]
    pub fn write_traceparent(&self) -> [u8; Self::TRACEPARENT_LENGTH] {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        let (_, rest) = text.split_at_mut(3);
        let (trace_id, rest) = rest.split_at_mut(33);
        let (span_id, flags) = rest.split_at_mut(17);
        write_hex(&self.trace_id, trace_id);
        write_hex(&self.span_id, span_id);
        write_hex(&[self.flags], flags);
        text
    }

    /// The value of `grpc-trace-bin`, before the base64 that gRPC puts on it.
    #[must_use]
    pub fn to_grpc_bin(&self) -> [u8; Self::GRPC_BIN_LENGTH] {
        let mut bytes = [0; Self::GRPC_BIN_LENGTH];
        bytes[2..18].copy_from_slice(&self.trace_id);
        bytes[18] = 1;
        bytes[19..27].copy_from_slice(&self.span_id);
        bytes[27] = 2;
        bytes[28] = self.flags;
        bytes
    }

    /// The `traceparent` value as a header value.
    #[must_use]
    pub fn to_header(&self) -> HeaderValue {
        const ZERO: HeaderValue =
            HeaderValue::from_static("00-00000000000000000000000000000000-0000000000000000-00");
        // What a default installation sends with every call is not copied.
        if !self.has_trace_id() && self.span_id == [0; 8] && self.flags == 0 {
            return ZERO;
        }
        HeaderValue::from_bytes(&self.write_traceparent()).expect("hex digits and hyphens are a header value")
    }

    /// The vendor list to send on: none if it is empty or longer than 512 characters.
    #[must_use]
    pub fn state_to_send(&self) -> Option<&str> {
        self.state
            .as_deref()
            .filter(|state| !state.is_empty() && state.len() <= MAX_STATE)
    }

    /// Sets `traceparent` and `tracestate`; a vendor list that is not to be sent is removed.
    pub fn write_headers(&self, headers: &mut HeaderMap) {
        headers.insert(TRACEPARENT, self.to_header());
        match self
            .state_to_send()
            .and_then(|state| HeaderValue::from_str(state).ok())
        {
            Some(state) => headers.insert(TRACESTATE, state),
            None => headers.remove(TRACESTATE),
        };
    }
}

/// Writes the `traceparent` value.
impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.write_traceparent();
        f.write_str(str::from_utf8(&text).expect("hex digits and hyphens are ASCII"))
    }
}

/// Reads `N` bytes from hex digits of either case.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    // Values are 0 to 15, or have high bits for what is no digit: one look at the end tells.
    let mut seen = 0;
    for (pair, byte) in digits.chunks_exact(2).zip(&mut bytes) {
        let (high, low) = (VALUES[usize::from(pair[0])], VALUES[usize::from(pair[1])]);
        seen |= high | low;
        *byte = high << 4 | low;
    }
    (seen < 16 && digits.len() == 2 * N).then_some(bytes)
}

/// The first byte of any number of hex pairs.
fn first_of_hex(digits: &[u8]) -> Option<u8> {
    let whole = digits.len().is_multiple_of(2) && digits.iter().all(|digit| VALUES[usize::from(*digit)] < 16);
    let [first] = hex(digits.get(..2)?)?;
    whole.then_some(first)
}

/// The value of each byte as a hex digit, 255 if it is none.
const VALUES: [u8; 256] = {
    let mut values = [255; 256];
    let mut digit = 0;
    while digit < 16 {
        values[b"0123456789abcdef"[digit] as usize] = digit as u8;
        values[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        digit += 1;
    }
    values
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn sample() -> TraceContext {
        TraceContext::from_traceparent(TEXT.as_bytes()).unwrap()
    }

    #[test]
    fn a_traceparent_survives_reading_and_writing() {
        assert!(sample().is_valid() && sample().is_sampled());
        assert_eq!(sample().to_string(), TEXT);
        assert_eq!(sample().to_header(), TEXT);
        assert_eq!(TraceContext::ZERO.to_header(), TraceContext::ZERO.to_string());
    }

    #[test]
    fn malformed_traceparents_are_no_context() {
        let table = [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "0-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "zz-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319g-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00 0af7651916cd43dd8448eb211c80319c b7ad6b7169203331 01",
        ];
        for text in table {
            assert_eq!(TraceContext::from_traceparent(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn later_versions_upper_case_and_longer_flags_are_read() {
        let table = [
            (
                "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-ever",
                1,
            ),
            ("fe-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-00", 0),
            ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03ff", 3),
        ];
        for (text, flags) in table {
            let context = TraceContext::from_traceparent(text.as_bytes()).unwrap();
            assert_eq!(context.flags, flags, "{text}");
            assert_eq!(context.trace_id, sample().trace_id);
        }
    }

    #[test]
    fn the_binary_form_is_29_bytes_in_three_fields() {
        let bytes = sample().to_grpc_bin();
        assert_eq!(
            (bytes[0], bytes[1], bytes[18], bytes[27], bytes[28]),
            (0, 0, 1, 2, 1)
        );
        assert_eq!(TraceContext::from_grpc_bin(&bytes), Some(sample()));
        assert_eq!(
            TraceContext::from_grpc_bin(&TraceContext::ZERO.to_grpc_bin()),
            Some(TraceContext::ZERO)
        );
    }

    #[test]
    fn the_binary_form_may_end_early_but_not_before_the_trace_id() {
        let bytes = sample().to_grpc_bin();
        for (length, span, flags) in [
            (18, false, 0),
            (20, false, 0),
            (27, true, 0),
            (28, true, 0),
            (29, true, 1),
        ] {
            let context = TraceContext::from_grpc_bin(&bytes[..length]).unwrap();
            assert_eq!(
                (context.span_id != [0; 8], context.flags),
                (span, flags),
                "{length} bytes"
            );
        }
        for length in [0, 1, 2, 17] {
            assert_eq!(
                TraceContext::from_grpc_bin(&bytes[..length]),
                None,
                "{length} bytes"
            );
        }
        assert_eq!(TraceContext::from_grpc_bin(&[1; 29]), None);
    }

    #[test]
    fn a_vendor_list_counts_only_beside_a_valid_traceparent() {
        let mut headers = HeaderMap::new();
        headers.insert(TRACESTATE, HeaderValue::from_static("a=1"));
        assert_eq!(TraceContext::from_headers(&headers), None);
        headers.insert(TRACEPARENT, HeaderValue::from_static(TEXT));
        headers.append(TRACESTATE, HeaderValue::from_static("b=2"));
        let context = TraceContext::from_headers(&headers).unwrap();
        assert_eq!(context.state_to_send(), Some("a=1,b=2"));
        let mut sent = HeaderMap::new();
        context.write_headers(&mut sent);
        assert_eq!(
            (&sent[TRACEPARENT], &sent[TRACESTATE]),
            (&context.to_header(), &HeaderValue::from_static("a=1,b=2"))
        );
    }

    #[test]
    fn a_vendor_list_of_more_than_512_characters_is_not_sent() {
        let fits = format!("a={}", "x".repeat(255));
        let long = format!("{fits},b={0},c={0}", "x".repeat(200));
        assert!(sample().with_state(&fits).state_to_send().is_some());
        let context = sample().with_state(&long);
        assert!(context.state.is_some());
        assert_eq!(context.state_to_send(), None);
    }

    proptest! {
        #[test]
        fn any_context_survives_both_forms(trace_id: [u8; 16], span_id: [u8; 8], flags: u8) {
            let context = TraceContext { trace_id, span_id, flags, state: None };
            let expected = context.is_valid().then(|| context.clone());
            prop_assert_eq!(TraceContext::from_traceparent(&context.write_traceparent()), expected);
            prop_assert_eq!(TraceContext::from_grpc_bin(&context.to_grpc_bin()), Some(context));
        }

        #[test]
        fn no_input_makes_the_readers_panic(bytes: Vec<u8>, text in "[0-9a-f-]{0,80}") {
            let both = TraceContext::from_traceparent(&bytes).is_some() && TraceContext::from_grpc_bin(&bytes).is_some();
            prop_assert!(!both);
            let read = TraceContext::from_traceparent(text.as_bytes());
            prop_assert!(read.is_none_or(|context| context.is_valid()));
        }
    }
}
