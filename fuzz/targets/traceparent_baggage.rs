//! Trace context in both forms, and baggage: what is read is written alike, and rewriting settles at once.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_telemetry::trace::{TraceContext, baggage};

fuzz_target!(|bytes: &[u8]| {
    if let Some(context) = TraceContext::from_traceparent(bytes) {
        let written = context.write_traceparent();
        let again = TraceContext::from_traceparent(&written).expect("what is written can be read");
        assert_eq!(
            (again.trace_id, again.span_id),
            (context.trace_id, context.span_id)
        );
        assert_eq!(again.write_traceparent(), written);
    }
    if let Some(context) = TraceContext::from_grpc_bin(bytes) {
        let again = TraceContext::from_grpc_bin(&context.to_grpc_bin()).expect("what is written can be read");
        assert_eq!(
            (again.trace_id, again.span_id, again.flags),
            (context.trace_id, context.span_id, context.flags)
        );
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let context = TraceContext::ZERO.with_state(text);
        if let Some(state) = context.state_to_send() {
            assert!(state.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        }
        match baggage::rewrite(text) {
            Ok(normal) => {
                baggage::validate(text).expect("what is rewritten is valid");
                // Percent-encoding may carry a member over its limit; else rewriting settles at once.
                if let Ok(again) = baggage::rewrite(&normal) {
                    assert_eq!(again, normal);
                }
            }
            Err(error) => assert_eq!(baggage::validate(text), Err(error)),
        }
    }
});
