//! The contract of backends, on a real server.

mod harness;

use harness::Harness;
use tko_conformance::backend_suite;

backend_suite!(mod postgres = Harness::default());
