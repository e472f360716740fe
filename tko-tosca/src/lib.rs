#![doc = include_str!("../README.md")]
//!
//! The crate understands the part of TOSCA Simple Profile in YAML 1.3 and of TOSCA 2.0 that
//! describes a topology. That part has types, node templates, properties, requirements and
//! capabilities, functions, constraints and inputs. The crate does not depend on TKO. It refuses
//! unsupported features by name, and reads parts without effect on a topology with a warning.
//!
//! All problems are reported at once, each with its file, line and column. Everything that is read
//! has a limit ([`ToscaLimits`]), and no file outside the archive or folder is ever opened.
//!
//! 1. [`Csar`] opens an archive, a folder, a file or a text.
//! 2. [`read`] turns it into a [`Topology`], or reports the problems.
//! 3. [`picture`] draws a topology.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod analysis;
mod check;
mod constraint;
mod csar;
mod data_type;
mod document;
mod entity_type;
mod function;
mod grammar;
mod import;
mod keys;
mod limits;
pub mod picture;
mod primitive;
mod problem;
mod requirement;
mod schema;
mod template;
mod topology;
mod yaml;

pub use self::csar::{Csar, CsarError};
pub use self::limits::ToscaLimits;
pub use self::problem::{Problem, ProblemLevel};
pub use self::topology::{
    Relationship, Topology, TopologyNode, TopologyProperty, read, read_cancellable,
};
