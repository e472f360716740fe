//! Bytes as stored values.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tko_fuzz::codec(bytes));
