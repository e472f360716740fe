//! [`RequestFailure`]: why a request to a cluster failed, and what to do about it.

use kube::core::Status;
use std::fmt;
use std::time::Duration;

/// The annotation of a site's cluster resource that takes fields over from other managers.
pub(crate) const FORCE: &str = "nephio.org/force-conflicts";

/// Maximum length of a message of a cluster in an error, in bytes.
const MAX_MESSAGE: usize = 600;

/// Why a request to a cluster failed.
#[derive(Debug)]
pub(crate) enum RequestFailure {
    /// There was no answer.
    Unreachable(String),
    /// The answer could not be understood.
    Unreadable(String),
    /// The cluster refused the request.
    Refused(Box<Status>),
}

impl RequestFailure {
    /// The HTTP status; 0 if there was no answer.
    pub(crate) fn code(&self) -> u16 {
        match self {
            Self::Refused(status) => status.code,
            _ => 0,
        }
    }

    /// Whether another manager owns the fields.
    pub(crate) fn is_conflict_of_managers(&self) -> bool {
        let Self::Refused(status) = self else {
            return false;
        };
        status.code == 409
            && status.details.as_ref().is_some_and(|details| {
                let mut causes = details.causes.iter();
                causes.any(|cause| cause.reason == "FieldManagerConflict")
            })
    }

    /// Whether the cluster is temporarily unable to answer, such as for a kind that it does not
    /// serve yet.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.code(), 429 | 503)
    }

    /// The pause that the cluster asks for.
    pub(crate) fn pause(&self) -> Duration {
        let asked = match self {
            Self::Refused(status) => status.details.as_ref().map(|all| all.retry_after_seconds),
            _ => None,
        };
        match asked {
            Some(seconds @ 1..) => Duration::from_secs(seconds.into()),
            _ => Duration::from_millis(250),
        }
    }

    /// Whether every other request to this cluster would fail as well.
    pub(crate) fn is_of_the_cluster(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Unreadable(_) => false,
            Self::Refused(status) => matches!(status.code, 401 | 429 | 503 | 504),
        }
    }
}

impl fmt::Display for RequestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self {
            Self::Unreachable(why) => {
                return write!(
                    f,
                    "the cluster does not answer: {}; check its address in the kubeconfig and the \
                     network",
                    shown(why)
                );
            }
            Self::Unreadable(why) => {
                return write!(f, "the answer of the cluster is not valid: {}", shown(why));
            }
            Self::Refused(status) => status,
        };
        let message = shown(&status.message);
        if self.is_conflict_of_managers() {
            return write!(f, "{}", ManagerConflict(status));
        }
        match status.code {
            401 => {
                f.write_str("the cluster refuses the credentials; renew those in the kubeconfig")
            }
            403 if status.message.contains("exceeded quota") => write!(
                f,
                "quota exceeded: {message}; raise the ResourceQuota of the namespace, or remove \
                 other objects from it"
            ),
            403 if status.message.contains("is being terminated") => write!(
                f,
                "{message}; wait until the namespace is gone, then it is created again"
            ),
            403 if status.message.contains("admission webhook")
                || status.message.contains("ValidatingAdmissionPolicy") =>
            {
                write!(f, "refused by the cluster's admission: {message}")
            }
            403 => write!(
                f,
                "not allowed: {message}; give the user of the kubeconfig this right by RBAC"
            ),
            404 if status.message.contains("namespaces ") => write!(
                f,
                "{message}; add the Namespace to the package, or create it"
            ),
            422 if status.message.contains("immutable") => write!(
                f,
                "the change is not possible: {message}; delete the object in the cluster, and it is \
                 created again"
            ),
            400 | 422 => write!(f, "invalid: {message}; correct the package"),
            429 | 503 | 504 => write!(f, "the cluster is busy: {message}; TKO tries again"),
            code => write!(f, "status {code}: {message}"),
        }
    }
}

/// A conflict of field managers, by manager and field.
struct ManagerConflict<'a>(&'a Status);

impl fmt::Display for ManagerConflict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        let causes = self.0.details.iter().flat_map(|details| &details.causes);
        let all: Vec<String> = causes
            .filter(|cause| cause.reason == "FieldManagerConflict")
            .map(|cause| {
                let manager = cause.message.trim_start_matches("conflict with ");
                format!("{} of {}", cause.field, shown(manager))
            })
            .collect();
        write!(f, "conflict over fields of another manager: ")?;
        for (number, one) in all.iter().take(SHOWN).enumerate() {
            let separator = if number == 0 { "" } else { ", " };
            write!(f, "{separator}{one}")?;
        }
        if all.len() > SHOWN {
            write!(f, " and {} more", all.len() - SHOWN)?;
        }
        write!(
            f,
            "; let the other manager give up the fields, remove them from the package, or take them \
             over: annotate the site's cluster resource with {FORCE}: \"true\""
        )
    }
}

/// The start of a message, on one line and without control characters.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if out.len() + c.len_utf8() > MAX_MESSAGE {
            out.push('…');
            break;
        }
        out.push(if c.is_control() { ' ' } else { c });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::RequestFailure;
    use kube::core::Status;
    use serde_json::json;

    fn said(status: serde_json::Value) -> String {
        let status: Status = serde_json::from_value(status).expect("a status");
        RequestFailure::Refused(Box::new(status)).to_string()
    }

    #[test]
    fn every_refusal_says_what_to_do() {
        for (status, expected) in [
            (
                json!({"code": 403, "reason": "Forbidden", "message": "pods \"a\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1"}),
                "raise the ResourceQuota",
            ),
            (
                json!({"code": 403, "reason": "Forbidden", "message": "configmaps is forbidden: User \"x\" cannot list resource"}),
                "by RBAC",
            ),
            (
                json!({"code": 401, "message": "Unauthorized"}),
                "renew those in the kubeconfig",
            ),
            (
                json!({"code": 404, "message": "namespaces \"x\" not found"}),
                "add the Namespace to the package",
            ),
            (
                json!({"code": 422, "message": "Service \"a\" is invalid: spec.clusterIP: field is immutable"}),
                "delete the object",
            ),
            (
                json!({"code": 503, "message": "try again"}),
                "TKO tries again",
            ),
        ] {
            let said = said(status);
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn a_conflict_names_the_other_manager_the_fields_and_the_annotation() {
        let said = said(json!({
            "code": 409, "reason": "Conflict", "message": "Apply failed with 1 conflict",
            "details": {"causes": [{
                "reason": "FieldManagerConflict",
                "message": "conflict with \"helm\" using v1",
                "field": ".data.mode",
            }]},
        }));
        for part in [".data.mode of \"helm\"", "nephio.org/force-conflicts"] {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn messages_of_clusters_are_short_and_on_one_line() {
        let said = said(json!({"code": 500, "message": "a\n\u{1b}[31m".repeat(1_000)}));
        assert!(said.len() < 700, "{}", said.len());
        assert!(!said.contains(char::is_control));
    }
}
