//! Frames of the worker protocol: a line of text, then a body.
//!
//! The line has three fields, separated by one space: the kind of frame, the call's number, and the
//! body's length in bytes. Both numbers are decimal. A line feed ends it; the body follows at once.
//!
//! ```text
//! answer 7 19
//! {"prepared": false}
//! ```

use crate::stderr::printable;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// The version of the worker protocol.
pub const PROTOCOL: u32 = 1;

/// The variable that tells a program that it is a worker; its value is the version of the protocol.
pub const WORKER_VARIABLE: &str = "TKO_WORKER";

/// Maximum length of the first line in bytes, its line feed included.
const MAX_LINE: usize = 64;

/// Maximum number of bytes that are reserved for a body before it arrives.
const USUAL_BODY: usize = 256 * 1024;

/// A frame from a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: String,
    /// The number of the call; 0 if the frame belongs to no call.
    pub(super) id: u64,
    pub(super) body: Vec<u8>,
}

/// Reason why bytes are not a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("it wrote {0:?} to stdout, where a frame should begin; print to stderr instead")]
    Line(String),
    #[error("it wrote a frame of {bytes} bytes; at most {limit} are allowed")]
    Large { bytes: u64, limit: usize },
    #[error("its output ended within a frame")]
    Cut,
}

/// Encodes a frame.
pub(super) fn encode(kind: &str, id: u64, body: &[u8]) -> Vec<u8> {
    let line = format!("{kind} {id} {}\n", body.len());
    [line.as_bytes(), body].concat()
}

/// Reads one frame; `None` at the end. An unreadable stream counts as ended.
///
/// # Errors
/// The bytes are not a frame, or its body is larger than `limit` bytes.
pub(super) async fn read(
    from: &mut (impl AsyncBufRead + Unpin),
    limit: usize,
) -> Result<Option<Frame>, FrameError> {
    let Some(line) = line(from).await? else {
        return Ok(None);
    };
    let wrong = || FrameError::Line(printable(line.trim_ascii()));
    let text = std::str::from_utf8(&line).map_err(|_| wrong())?;
    let mut fields = text.strip_suffix('\n').ok_or_else(wrong)?.split(' ');
    let (Some(kind), Some(id), Some(length), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(wrong());
    };
    let (Some(id), Some(bytes)) = (number(id), number(length)) else {
        return Err(wrong());
    };
    if kind.is_empty() || !kind.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Err(wrong());
    }
    let kind = kind.to_owned();
    let large = FrameError::Large { bytes, limit };
    let length = usize::try_from(bytes).map_err(|_| large.clone())?;
    if length > limit {
        return Err(large);
    }
    // Beyond this, it grows with the bytes that arrive, not with the length that the line
    // announces.
    let mut body = Vec::with_capacity(length.min(USUAL_BODY));
    let read = from.take(bytes).read_to_end(&mut body).await;
    match read {
        Ok(read) if read == length => Ok(Some(Frame { kind, id, body })),
        _ => Err(FrameError::Cut),
    }
}

/// Reads the first line of a frame, with its line feed; a longer line is cut.
async fn line(from: &mut (impl AsyncBufRead + Unpin)) -> Result<Option<Vec<u8>>, FrameError> {
    let mut line = Vec::new();
    let most = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
    match from.take(most).read_until(b'\n', &mut line).await {
        Ok(0) | Err(_) => Ok(None),
        Ok(_) if line.ends_with(b"\n") || line.len() == MAX_LINE => Ok(Some(line)),
        // The text itself explains the error better than its truncation.
        Ok(_) => Err(FrameError::Line(printable(line.trim_ascii()))),
    }
}

/// Parses a decimal number without a sign.
fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::{Frame, FrameError, encode, read};
    use tokio::io::BufReader;

    async fn all(bytes: &[u8], limit: usize) -> (Vec<Frame>, Option<FrameError>) {
        // A small buffer: frames arrive in pieces.
        let mut from = BufReader::with_capacity(3, bytes);
        let mut frames = Vec::new();
        loop {
            match read(&mut from, limit).await {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => return (frames, None),
                Err(error) => return (frames, Some(error)),
            }
        }
    }

    fn frame(kind: &str, id: u64, body: &[u8]) -> Frame {
        Frame {
            kind: kind.to_owned(),
            id,
            body: body.to_owned(),
        }
    }

    #[tokio::test]
    async fn frames_make_the_round_trip() {
        let frames = [
            frame("answer", 7, b"{\"a\":\n1}\n"),
            frame("pong", 0, b""),
            frame("log", u64::MAX, b"\xff\0 line\n"),
        ];
        let bytes: Vec<u8> = frames
            .iter()
            .flat_map(|frame| encode(&frame.kind, frame.id, &frame.body))
            .collect();
        assert_eq!(all(&bytes, 9).await, (frames.to_vec(), None));
    }

    #[tokio::test]
    async fn garbage_is_refused_with_its_beginning() {
        let long = "x".repeat(1000);
        for (bytes, begins) in [
            ("Traceback (most recent call last):\n", "Traceback (most"),
            ("answer 1\n{}", "answer 1"),
            ("answer 1 2 3\n", "answer 1 2 3"),
            ("answer -1 2\n{}", "answer -1 2"),
            ("answer +1 2\n{}", "answer +1 2"),
            ("answer 1 99999999999999999999\n", "answer 1 999"),
            ("ANSWER 1 2\n{}", "ANSWER"),
            (" 1 2\n{}", "1 2"),
            ("\n", ""),
            ("no line feed", "no line feed"),
            (&long, "xxxx"),
        ] {
            let (frames, error) = all(bytes.as_bytes(), 100).await;
            assert_eq!(frames, []);
            let Some(FrameError::Line(text)) = &error else {
                panic!("{bytes:?}: {error:?}");
            };
            assert!(text.starts_with(begins) && text.len() < 100, "{text}");
        }
    }

    #[tokio::test]
    async fn large_and_cut_frames_are_refused() {
        let (_, error) = all(b"answer 1 101\n", 100).await;
        let large = FrameError::Large {
            bytes: 101,
            limit: 100,
        };
        assert_eq!(error, Some(large));
        let (_, error) = all(b"answer 1 18446744073709551615\n", 100).await;
        assert!(matches!(error, Some(FrameError::Large { .. })), "{error:?}");
        let (_, error) = all(b"answer 1 3\n{}", 100).await;
        assert_eq!(error, Some(FrameError::Cut));
    }
}
