#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod archive;
mod below;
mod budget;
#[cfg(feature = "http")]
mod credentials;
mod folder;
#[cfg(feature = "git")]
mod folder_size;
#[cfg(feature = "git")]
mod git;
#[cfg(feature = "git")]
mod git_command;
mod host_list;
mod host_secret;
#[cfg(feature = "http")]
mod http;
mod kpt;
mod limits;
mod lines;
mod package;
#[cfg(feature = "git")]
mod program;
mod reader;
mod secret;
mod source;

pub use below::file_below;
pub use budget::SourceProgress;
#[cfg(feature = "http")]
#[cfg_attr(docsrs, doc(cfg(feature = "http")))]
pub use credentials::SourceCredentials;
#[cfg(feature = "git")]
#[cfg_attr(docsrs, doc(cfg(feature = "git")))]
pub use folder_size::{folder_exceeds, folder_size};
#[cfg(feature = "git")]
#[cfg_attr(docsrs, doc(cfg(feature = "git")))]
pub use git_command::git_command;
pub use host_list::HostList;
pub use host_secret::HostSecret;
pub use limits::SourceLimits;
pub use lines::line_offset;
pub use package::{SourceFile, SourceListing, package_of};
#[cfg(feature = "git")]
#[cfg_attr(docsrs, doc(cfg(feature = "git")))]
pub use program::{ProgramOutput, program_not_started, run_program};
pub use reader::SourceReader;
pub use secret::{SecretFolder, secret_in};
pub use source::Source;
