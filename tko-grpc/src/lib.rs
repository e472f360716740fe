#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod client;
pub mod proto;
pub mod server;
pub mod status;

mod google;
mod wire;
