//! Orders to a process, and their results.

use super::end::ProcessEnd;
use crate::log::LogSubject;
use crate::stderr::Tail;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A message to a process.
#[derive(Debug)]
pub(super) enum WorkerOrder {
    Call {
        id: u64,
        document: Arc<[u8]>,
        subject: Arc<LogSubject>,
        reply: oneshot::Sender<CallEnd>,
    },
    Cancel(u64),
}

/// How a call ended.
#[derive(Debug)]
pub(super) enum CallEnd {
    Answered(Answered),
    Ended(Arc<ProcessEnd>),
}

/// The answer of a call, not yet decoded.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) body: Vec<u8>,
    pub(super) stderr: Tail,
    pub(super) last_line: Option<String>,
}
