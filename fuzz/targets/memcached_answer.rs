//! Answers of memcached: reading one never panics and finds no more bytes of values than it has.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_component_memcached::read_answer;

fuzz_target!(|answer: &[u8]| {
    assert!(read_answer(answer) <= answer.len());
});
