#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod accept;
mod body;
mod context;
mod continuation;
mod delegation;
mod delete;
mod desired;
mod discovery;
mod failure;
mod feed;
mod health;
mod list;
mod managed;
mod names;
mod object;
mod openapi;
mod page;
mod patch;
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
mod snapshot;
mod stored;
mod table;
mod validation;
mod watch;
mod write;

pub use delegation::{AccessReview, ClusterReviews, ClusterUser, FrontProxySettings, KubeReviews};
pub use resource::{API_VERSION, GROUP, VERSION};
pub use server::KrmServer;
pub use settings::{INTERFACE, KrmSettings};
