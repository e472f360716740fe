//! Starts `tko`, waits for it with a limit, and never leaves it behind.

mod process;
mod server;

pub(crate) use process::{Output, Run, example, tko};
pub(crate) use server::Server;
