//! Reads bytes as a service template in TOSCA, and as an archive.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Map;
use tko_tosca::{Csar, ToscaLimits, picture, read};

fuzz_target!(|bytes: &[u8]| {
    let limits = ToscaLimits::default();
    let csar = match std::str::from_utf8(bytes) {
        Ok(text) => Csar::from_text("service.yaml", text),
        Err(_) => match Csar::from_zip(bytes, &limits) {
            Ok(csar) => csar,
            Err(_) => return,
        },
    };
    match read(&csar, &Map::new(), &limits) {
        Ok(topology) => {
            picture::svg(&topology);
            picture::dot(&topology);
        }
        Err(problems) => assert!(!problems.is_empty(), "a refusal has a reason"),
    }
});
