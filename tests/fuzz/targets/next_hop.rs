#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| waypost::fuzzing::next_hop(data));
