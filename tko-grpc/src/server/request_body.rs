//! [`RequestBody`]: the body of a request, within deadlines and a budget of bytes.
//!
//! It passes a message on when all of it has arrived. The decoder behind it allocates the length
//! that a message claims to have, so memory is then used only for bytes that have come. A large
//! message waits until [`CallBytes::drive`] has a permit for decoding it.

use bytes::{Buf, Bytes};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tko_serve::{ByteGrant, FRAME_BYTES, HeavyWork};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;

/// Longest time in which a message must arrive, from the first byte or the beginning of the call.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest time between two messages of a stream of requests.
const IDLE_TIMEOUT: Duration = Duration::from_mins(2);

/// Decoding messages of more bytes is [`HeavyWork`].
const LARGE: usize = 64 << 10;

/// The length of the head of a message: a flag and the length of the rest.
const HEAD: usize = 5;

/// The bytes of one call, held until both the body and the answer are finished.
#[derive(Clone)]
pub(super) struct CallBytes(Arc<Mutex<CallState>>);

struct CallState {
    grant: ByteGrant,
    turn: BodyTurn,
}

/// Whether the body passes a message on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BodyTurn {
    /// It does: [`CallBytes::drive`] is not there to grant a turn.
    Undriven,
    /// It does, unless the message is large.
    Driven,
    /// A large message waits for its turn.
    Wanted,
    /// It passes on what waited, and nothing else.
    Granted,
}

impl CallBytes {
    pub(super) fn new(grant: ByteGrant) -> Self {
        let turn = BodyTurn::Undriven;
        Self(Arc::new(Mutex::new(CallState { grant, turn })))
    }

    /// The bytes in use.
    pub(super) fn bytes(&self) -> usize {
        self.lock().grant.bytes()
    }

    /// Runs a future that reads messages of the call. Decoding large messages is heavy work;
    /// everything else runs on the thread of the caller.
    pub(super) async fn drive<T>(
        &self,
        heavy_work: &HeavyWork,
        reading: impl Future<Output = T>,
    ) -> T {
        let mut reading = std::pin::pin!(reading);
        self.set_turn(BodyTurn::Driven);
        let read = loop {
            let until_large = std::future::poll_fn(|context| {
                let polled = reading.as_mut().poll(context);
                match polled {
                    Poll::Ready(read) => Poll::Ready(Some(read)),
                    Poll::Pending if self.turn() == BodyTurn::Wanted => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                }
            });
            if let Some(read) = until_large.await {
                break read;
            }
            // The decoder runs when it gets the message, in the same poll. The next poll then
            // registers the waker of this task.
            let decode = || {
                self.set_turn(BodyTurn::Granted);
                let mut context = Context::from_waker(Waker::noop());
                let polled = reading.as_mut().poll(&mut context);
                self.set_turn(BodyTurn::Driven);
                polled
            };
            if let Poll::Ready(read) = heavy_work.run(LARGE, decode).await {
                break read;
            }
        };
        self.set_turn(BodyTurn::Undriven);
        read
    }

    fn turn(&self) -> BodyTurn {
        self.lock().turn
    }

    fn set_turn(&self, turn: BodyTurn) {
        self.lock().turn = turn;
    }

    fn lock(&self) -> MutexGuard<'_, CallState> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A request's body; see the [module](self).
pub(super) struct RequestBody {
    inner: Body,
    bytes: CallBytes,
    scan: MessageScan,
    /// The parts of a message that is not complete.
    held: VecDeque<Bytes>,
    /// Parts that are passed on.
    ready: VecDeque<Bytes>,
    /// The budget of `held`.
    held_cost: usize,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Whether a message has been passed on.
    begun: bool,
}

impl RequestBody {
    /// Passes messages of at most `max` bytes on; the decoder refuses longer ones.
    pub(super) fn new(inner: Body, bytes: CallBytes, max: usize) -> Self {
        Self {
            inner,
            bytes,
            scan: MessageScan::new(max),
            held: VecDeque::new(),
            ready: VecDeque::new(),
            held_cost: 0,
            deadline: None,
            begun: false,
        }
    }

    /// Takes a part; moves it and the held parts to `ready` as far as messages are complete.
    fn take(&mut self, mut data: Bytes) -> Result<(), Status> {
        let cost = data.len() + FRAME_BYTES;
        if !self.bytes.lock().grant.grow(cost) {
            return Err(Status::resource_exhausted(
                "too many bytes of requests are in flight; wait for answers, or send smaller \
                 messages",
            ));
        }
        let complete = self.scan.advance(&data);
        if complete == 0 {
            self.held.push_back(data);
            self.held_cost += cost;
            return Ok(());
        }
        self.ready.append(&mut self.held);
        self.ready.push_back(data.split_to(complete));
        // The previous message is decoded; its bytes are released when another message follows.
        let now = cost + std::mem::take(&mut self.held_cost);
        let mut call = self.bytes.lock();
        call.grant.shrink_to(now);
        if now > LARGE && call.turn == BodyTurn::Driven {
            call.turn = BodyTurn::Wanted;
        }
        drop(call);
        if data.has_remaining() {
            self.held_cost = data.len();
            self.held.push_back(data);
        }
        self.deadline = None;
        self.begun = true;
        Ok(())
    }

    /// The error of a message that does not come.
    fn poll_deadline(&mut self, context: &mut Context<'_>) -> Poll<Status> {
        let waits_for_next = self.begun && self.held.is_empty();
        let timeout = if waits_for_next {
            IDLE_TIMEOUT
        } else {
            MESSAGE_TIMEOUT
        };
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        deadline.as_mut().poll(context).map(|()| {
            Status::deadline_exceeded(format!("no complete message arrived within {timeout:?}"))
        })
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        loop {
            // `CallBytes::drive` polls again.
            match self.bytes.turn() {
                BodyTurn::Wanted => return Poll::Pending,
                BodyTurn::Granted if self.ready.is_empty() => return Poll::Pending,
                BodyTurn::Undriven | BodyTurn::Driven | BodyTurn::Granted => {}
            }
            if let Some(part) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(part))));
            }
            match Pin::new(&mut self.inner).poll_frame(context) {
                Poll::Pending => {
                    return self.poll_deadline(context).map(|late| Some(Err(late)));
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => {
                        let was_empty = self.held.is_empty();
                        if let Err(status) = self.take(data) {
                            return Poll::Ready(Some(Err(status)));
                        }
                        // The time for a message begins with its first byte.
                        if was_empty && !self.held.is_empty() {
                            self.deadline = None;
                        }
                    }
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                Poll::Ready(Some(Err(status))) => return Poll::Ready(Some(Err(status))),
                Poll::Ready(None) if self.held.is_empty() => return Poll::Ready(None),
                Poll::Ready(None) => {
                    // The decoder reports that the message is incomplete.
                    let Self { ready, held, .. } = &mut *self;
                    ready.append(held);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_empty() && self.held.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Finds the ends of messages in a stream of bytes.
struct MessageScan {
    max: usize,
    head: [u8; HEAD],
    /// Bytes of the head that have arrived.
    seen: usize,
    /// Bytes of the message that are missing, once the head is complete.
    missing: usize,
}

impl MessageScan {
    fn new(max: usize) -> Self {
        Self {
            max,
            head: [0; HEAD],
            seen: 0,
            missing: 0,
        }
    }

    /// Takes the next bytes. Returns how many of them belong to complete messages, or to one that is
    /// too long to wait for.
    fn advance(&mut self, data: &[u8]) -> usize {
        let mut at = 0;
        let mut complete = 0;
        while at < data.len() {
            if self.seen < HEAD {
                let wanted = (HEAD - self.seen).min(data.len() - at);
                self.head[self.seen..self.seen + wanted].copy_from_slice(&data[at..at + wanted]);
                self.seen += wanted;
                at += wanted;
                if self.seen < HEAD {
                    break;
                }
                let [_, length @ ..] = self.head;
                self.missing = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
            }
            let wanted = self.missing.min(data.len() - at);
            self.missing -= wanted;
            at += wanted;
            if self.missing == 0 {
                self.seen = 0;
                complete = at;
            } else if self.missing.saturating_add(wanted) > self.max {
                complete = at;
            }
        }
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::{CallBytes, LARGE, MessageScan, RequestBody};
    use bytes::Bytes;
    use futures_util::StreamExt;
    use http_body::Body as _;
    use std::pin::Pin;
    use std::time::Duration;
    use tko_serve::{ByteBudget, HeavyWork};
    use tonic::body::Body;
    use tonic::{Code, Status};

    fn message(length: usize) -> Vec<u8> {
        let mut message = vec![0];
        message.extend(u32::try_from(length).expect("short").to_be_bytes());
        message.resize(message.len() + length, 7);
        message
    }

    #[test]
    fn messages_end_where_their_head_says_however_they_are_cut() {
        let all: Vec<u8> = [message(3), message(0), message(300)].concat();
        for size in 1..all.len() {
            let mut scan = MessageScan::new(1_000);
            let mut passed = 0;
            let mut offset = 0;
            for part in all.chunks(size) {
                let complete = scan.advance(part);
                if complete > 0 {
                    passed = offset + complete;
                }
                offset += part.len();
                assert!([0, 8, 13, all.len()].contains(&passed), "{size}: {passed}");
            }
            assert_eq!(passed, all.len(), "parts of {size} bytes");
        }
        // One that is too long is passed on at once, so that the decoder refuses it.
        assert_eq!(MessageScan::new(10).advance(&message(300)[..6]), 6);
    }

    /// A body of these parts, which then neither ends nor continues.
    fn endless(parts: Vec<Vec<u8>>) -> Body {
        let parts = parts.into_iter().map(Bytes::from).map(Ok::<_, Status>);
        let parts = futures_util::stream::iter(parts).chain(futures_util::stream::pending());
        Body::new(http_body_util::StreamBody::new(
            parts.map(|part| part.map(http_body::Frame::data)),
        ))
    }

    async fn next(body: &mut RequestBody) -> Result<Bytes, Status> {
        let frame = std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await;
        frame
            .expect("it does not end")
            .map(|frame| frame.into_data().expect("data"))
    }

    #[tokio::test(start_paused = true)]
    async fn s6_s15_nothing_is_passed_on_before_it_is_complete_and_that_must_be_soon() {
        let budget = ByteBudget::new(1 << 20);
        let head = message(64_000)[..5].to_vec();
        for (parts, passed, wait) in [
            (vec![head.clone()], 0, 30),
            (vec![head.clone(), vec![1]], 0, 30),
            (vec![], 0, 30),
            (vec![message(9)], 1, 120),
            (vec![message(9), head[..3].to_vec()], 1, 30),
        ] {
            let bytes = CallBytes::new(budget.grant());
            let mut body = RequestBody::new(endless(parts), bytes, 1 << 20);
            for _ in 0..passed {
                assert_eq!(next(&mut body).await.expect("complete").len(), 14);
            }
            let start = tokio::time::Instant::now();
            let late = next(&mut body).await.expect_err("late");
            assert_eq!(late.code(), Code::DeadlineExceeded, "{late}");
            assert_eq!(start.elapsed().as_secs(), wait, "{late}");
        }
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn s5_unfinished_messages_share_a_budget_that_comes_back() {
        let budget = ByteBudget::new(100_000);
        let unfinished = || {
            let message = message(64_000);
            let parts = message.chunks(16_000).take(2).map(<[u8]>::to_vec);
            let bytes = CallBytes::new(budget.grant());
            RequestBody::new(endless(parts.collect()), bytes, 1 << 20)
        };
        let mut all: Vec<RequestBody> = (0..5).map(|_| unfinished()).collect();
        let mut refused = 0;
        for body in &mut all {
            let polled = tokio::time::timeout(Duration::from_millis(1), next(body)).await;
            if let Ok(answer) = polled {
                assert_eq!(answer.expect_err("refused").code(), Code::ResourceExhausted);
                refused += 1;
            }
        }
        assert_eq!(refused, 2);
        assert!(budget.used() <= 100_000);
        drop(all);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn s15_other_tasks_go_on_while_a_large_message_is_decoded() {
        let (done, wait) = std::sync::mpsc::channel();
        let bytes = CallBytes::new(ByteBudget::new(1 << 20).grant());
        let parts = message(LARGE).chunks(16_000).map(<[u8]>::to_vec).collect();
        let mut body = RequestBody::new(endless(parts), bytes.clone(), 1 << 20);
        let reading = async move {
            let mut length = 0;
            while length < LARGE {
                length += next(&mut body).await.expect("complete").len();
            }
            // In place of a decoder. Ends when another task of the only worker has run.
            wait.recv_timeout(Duration::from_mins(1))
        };
        let call = tokio::spawn(async move { bytes.drive(&HeavyWork::default(), reading).await });
        let other = tokio::spawn(async move { done.send(7) });
        other.await.expect("no panic").expect("it is awaited");
        assert_eq!(call.await.expect("no panic"), Ok(7));
    }

    #[tokio::test]
    async fn large_messages_arrive_one_after_the_other_driven_or_not() {
        for is_driven in [true, false] {
            let bytes = CallBytes::new(ByteBudget::new(1 << 20).grant());
            let parts = vec![message(9), message(LARGE), message(LARGE), message(9)];
            let mut body = RequestBody::new(endless(parts), bytes.clone(), 1 << 20);
            let reading = async move {
                for length in [9, LARGE, LARGE, 9] {
                    let part = next(&mut body).await.expect("complete");
                    assert_eq!(part.len(), length + 5);
                }
            };
            if is_driven {
                bytes.drive(&HeavyWork::default(), reading).await;
            } else {
                reading.await;
            }
        }
    }
}
