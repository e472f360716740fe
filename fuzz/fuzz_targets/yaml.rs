//! Decodes bytes as YAML.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tko_core::encoding::Format;

fuzz_target!(|bytes: &[u8]| tko_fuzz::decoder(bytes, Format::Yaml));
