//! The preparer over the memory backend, in virtual time.

mod conflicts;
mod faults;
mod faulty;
mod finish;
mod large;
mod long_ids;
mod merge_conditions;
mod named_sites;
mod namespaces;
mod operators;
mod parts;
mod placement;
mod shutdown;
mod site;
mod subscribers;
#[cfg(feature = "tosca")]
mod tosca;
mod tracking;
mod world;
