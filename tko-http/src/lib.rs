#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod access;
mod api;
mod compatible;
mod context;
mod dashboard;
mod feed;
mod listing;
mod media;
mod openapi;
mod plugin_calls;
mod problem;
mod query;
mod scan;
mod security;
mod server;
mod settings;
mod summary;

pub use openapi::document as openapi_document;
pub use plugin_calls::PluginCalls;
pub use server::HttpServer;
pub use settings::HttpServerSettings;

/// The name of this interface in credentials and in the causes of changes.
pub const INTERFACE: &str = "http";
