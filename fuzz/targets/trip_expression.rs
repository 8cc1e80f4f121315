//! Trip expressions of circuit breakers: no text makes the compiler panic, and what compiles always has an answer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_resilience::trip::{Counts, Trip};

fuzz_target!(|text: &str| {
    match Trip::compile(text) {
        Ok(trip) => {
            assert_eq!(trip.as_str(), text);
            let some = Counts {
                requests: 30,
                total_successes: 18,
                total_failures: 12,
                consecutive_successes: 0,
                consecutive_failures: 3,
            };
            for counts in [Counts::default(), some] {
                // Parentheses change nothing, unless there is no room for them.
                if let Ok(within) = Trip::compile(&format!("({text}\n)")) {
                    assert_eq!(within.holds(&counts), trip.holds(&counts));
                }
            }
        }
        Err(error) => assert!((1..=text.chars().count() + 1).contains(&error.column)),
    }
});
