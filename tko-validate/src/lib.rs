#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod admission;
mod bounded;
mod compiled;
mod cost;
mod crds;
mod definitions;
mod finding;
mod formats;
mod guard;
mod message;
mod rules;
mod schema;
mod source;
mod structural;
mod transform;
mod unique;
mod validator;
mod version;

pub use admission::{VALIDATOR_TIME, Validation};
pub use crds::{CrdFeed, Crds};
pub use schema::Schema;
#[cfg(feature = "remote")]
pub use source::UrlTemplate;
pub use source::{BuiltIn, Directory, PathTemplate, SchemaSource};
pub use validator::{
    MAX_VIOLATIONS, MissingSchema, SchemaValidator, SchemaValidatorBuilder, SchemaVerdict,
};
pub use version::KubernetesVersion;
