#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod annotations;
pub mod container;
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
#[cfg(feature = "wasm")]
#[cfg_attr(docsrs, doc(cfg(feature = "wasm")))]
pub mod wasm;

pub use container::ContainerRuntime;
pub use executor::KptExecutor;
pub use failure::FunctionFailure;
pub use function::{FunctionCall, KrmFunction};
pub use native::NativeFunction;
pub use pipeline::KptfilePreparer;
pub use reference::FunctionReference;
pub use resource_list::{Item, ResourceList};
pub use results::{FunctionResult, Severity};
