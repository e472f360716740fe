#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod accept;
mod continuation;
mod discovery;
mod failure;
mod list;
mod names;
mod object;
mod openapi;
mod query;
mod read;
mod ready;
mod reply;
mod request;
mod resource;
mod route;
mod schema;
mod selector;
mod server;
mod service;
mod settings;
mod stored;
mod table;

pub use resource::{API_VERSION, GROUP, VERSION};
pub use server::{DOOR, KrmServer};
pub use settings::KrmSettings;
