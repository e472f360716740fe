#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod awx;
mod change;
mod executor;
mod runner;
mod secret;

pub use self::executor::{AnsibleExecutor, AnsibleSettings};
pub use self::secret::SecretFolder;
