//! Both suites for the reference and a store over it.

use tko_conformance::{ReferenceHarness, backend_suite, data_suite};

backend_suite!(mod backend = ReferenceHarness::default());
data_suite!(mod data = ReferenceHarness::default());
