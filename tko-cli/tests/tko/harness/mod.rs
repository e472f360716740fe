//! Starts `tko`, waits for it with a time limit, and never leaves a process behind.

pub(crate) mod core5g;
mod dice;
mod feed;
mod filled;
mod process;
mod server;

pub(crate) use dice::Dice;
pub(crate) use feed::Feed;
pub(crate) use filled::{CONFIG, filled, sorted};
pub(crate) use process::{Output, Run, TIME, example, is_without, own_plugin, plugin, tko};
pub(crate) use server::{Server, Service};
