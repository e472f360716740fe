//! The checks hold for the reference.

use tko_conformance::{ReferenceHarness, backend_suite};

backend_suite!(mod reference = ReferenceHarness::default());
