//! Answers of Redis servers: reading one as each command does never panics.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_component_redis::read_answer;

fuzz_target!(|answer: &[u8]| {
    assert!(read_answer(answer) <= 3);
});
