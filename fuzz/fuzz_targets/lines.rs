//! Reads metadata from lines.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| tko_fuzz::lines(input));
