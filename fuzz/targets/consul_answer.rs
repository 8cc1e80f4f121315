//! Answers of Consul's agent: reading one never panics and finds no more instances than it has brackets.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_component_consul::read_answer;

fuzz_target!(|answer: &[u8]| {
    assert!(read_answer(answer) <= answer.len());
});
