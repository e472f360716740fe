//! Matches a pattern, which ends with NUL, against a text.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &str| tko_fuzz::pattern(input));
