#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod annotations;
pub mod exec;
pub mod executor;
pub mod failure;
pub mod function;
pub mod kptfile;
pub mod native;
pub mod pipeline;
pub mod reference;
pub mod resource_list;
pub mod results;

pub use executor::KptExecutor;
pub use failure::FunctionFailure;
pub use function::{FunctionCall, KrmFunction};
pub use native::NativeFunction;
pub use pipeline::KptfilePreparer;
pub use reference::FunctionReference;
pub use resource_list::{Item, ResourceList};
pub use results::{FunctionResult, Severity};
