//! The audit log of the API server: who asked for what.
//!
//! Format: <https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/>.

use serde_json::Value;
use std::io;
use std::path::Path;
use std::time::Duration;

/// The audit policy: one event for each request, without bodies, when the request is answered.
pub(crate) const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: \
                                 [RequestReceived, ResponseStarted]\nrules: [{level: Metadata}]\n";

/// If the log gets no new event of a user for this long, it is taken to be complete.
const QUIET: Duration = Duration::from_secs(2);

/// The requests in a log of the users whose names start with `user`, each as user, verb and resource.
///
/// The server logs a request a moment after its answer, so this blocks until no more come.
pub(crate) fn requests(log: &Path, user: &str) -> io::Result<Vec<String>> {
    let name = format!("\"username\":\"{user}");
    let mut events = events(log, &name)?;
    loop {
        std::thread::sleep(QUIET);
        let now = self::events(log, &name)?;
        if now.len() == events.len() {
            return now.iter().map(|event| request(event)).collect();
        }
        events = now;
    }
}

/// The lines of a log that contain this text.
fn events(log: &Path, text: &str) -> io::Result<Vec<String>> {
    let log = std::fs::read_to_string(log)?;
    // The last line may be half written.
    let lines = log
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    Ok(lines
        .filter(|line| line.contains(text))
        .map(str::to_owned)
        .collect())
}

fn request(event: &str) -> io::Result<String> {
    let event: Value = serde_json::from_str(event)?;
    let text = |pointer| {
        event
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("-")
    };
    Ok(format!(
        "{} {} {}",
        text("/user/username"),
        text("/verb"),
        text("/objectRef/resource")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_other_users_and_half_lines_are_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("audit.log");
        let event = |user: &str, kind: &str| {
            format!(
                r#"{{"kind":"Event","verb":"list","user":{{"username":"{user}"}},"objectRef":{{"resource":"{kind}"}}}}"#
            )
        };
        let (map, other) = (event("edge-1", "configmaps"), event("admin", "pods"));
        std::fs::write(&log, format!("{map}\n{other}\n{}", &map[..40])).expect("a log");
        let requests = requests(&log, "edge-").expect("events");
        assert_eq!(requests, ["edge-1 list configmaps"]);
    }
}
