//! Answers of Azure's services, and the settings that say where an account is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_component_azure::{read_answer, read_connection_string};

fuzz_target!(|bytes: &[u8]| {
    read_answer(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        read_connection_string(text);
    }
});
