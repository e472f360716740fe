use super::{Detail, code, from_error, reason, to_error};
use tko_core::{
    Error, ErrorKind, Gvk, Key, Kind, Revision, Subject, Violation, resource::Identifier,
};
use tonic::{Code, Status};

fn key(kind: Kind, id: &str) -> Key {
    Key::new(kind, id).expect("an id")
}

fn violation(resource: Option<&str>, path: &str) -> Violation {
    Violation::new("muß weg: 100 %")
        .resource(resource.map(|name| Identifier {
            gvk: Gvk::new("a.b", "v1", "C"),
            name: name.into(),
            namespace: Some("d".into()),
        }))
        .path(path)
}

/// An error of each kind, and its code.
fn table() -> Vec<(Error, Code)> {
    let deployment = || key(Kind::Deployment, "a1");
    vec![
        (
            Error::bad("template id", "\"a b\" has the character ' '"),
            Code::InvalidArgument,
        ),
        (
            Error::invalid(
                "package",
                vec![violation(Some("x"), "spec.y[0]"), violation(None, "")],
            ),
            Code::InvalidArgument,
        ),
        (Error::not_found(key(Kind::Site, "a/b:c")), Code::NotFound),
        (
            Error::NotFound(Subject::Claim(deployment())),
            Code::NotFound,
        ),
        (
            Error::AlreadyExists(key(Kind::Plugin, "prepare|x")),
            Code::AlreadyExists,
        ),
        (
            Error::Conflict(vec![deployment(), key(Kind::Template, "t")]),
            Code::Aborted,
        ),
        (Error::Busy(deployment()), Code::Aborted),
        (Error::ClaimExpired(deployment()), Code::Aborted),
        (
            Error::Expired {
                oldest: Revision(77),
            },
            Code::OutOfRange,
        ),
        (
            Error::Unauthenticated("no token".to_owned()),
            Code::Unauthenticated,
        ),
        (
            Error::Forbidden("not yours".to_owned()),
            Code::PermissionDenied,
        ),
        (Error::NotImplemented("purging".into()), Code::Unimplemented),
        (
            Error::unavailable("commit the changes", "secret"),
            Code::Unavailable,
        ),
        (
            Error::internal("commit the changes", "secret"),
            Code::Internal,
        ),
    ]
}

/// An error as text, without its source.
fn essence(error: &Error) -> String {
    match error {
        Error::Unavailable { action, .. } => format!("Unavailable {action}"),
        Error::Internal { action, .. } => format!("Internal {action}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn every_error_has_its_code_and_survives_a_round_trip() {
    let mut kinds = Vec::new();
    for (error, expected) in table() {
        let status = from_error(&error, Detail::Full);
        assert_eq!(status.code(), expected, "{error:?}");
        assert_eq!(code(error.kind()), expected);
        let back = to_error(status, "try");
        assert_eq!(essence(&back), essence(&error));
        kinds.push(reason(error.kind()));
    }
    kinds.dedup();
    assert_eq!(kinds.len(), 12, "the table has every kind: {kinds:?}");
}

#[test]
fn short_details_restore_everything_but_the_resources_of_violations() {
    for (error, _) in table() {
        let status = from_error(&error, Detail::Short);
        let back = to_error(status, "try");
        assert_eq!(back.kind(), error.kind());
        match (&error, &back) {
            (
                Error::BadArgument { violations, .. },
                Error::BadArgument {
                    violations: others, ..
                },
            ) if !violations.is_empty() => {
                assert_eq!(others.len(), violations.len());
                assert_eq!(back.to_string(), error.to_string());
                assert_eq!(others[0].path, "C d/x: spec.y[0]");
                assert_eq!(others[0].message, violations[0].message);
            }
            _ => assert_eq!(essence(&back), essence(&error)),
        }
    }
}

#[test]
fn an_error_that_states_its_reason_does_not_refer_to_the_log() {
    for (action, refers) in [
        (
            "validate Foo a with validator x: its program is gone",
            false,
        ),
        ("commit", true),
    ] {
        let error = Error::unavailable(action, "secret");
        for detail in [Detail::Short, Detail::Full] {
            let status = from_error(&error, detail);
            assert_eq!(
                status.message().contains("log"),
                refers,
                "{}",
                status.message()
            );
        }
        let full = super::full::unpack(super::full::pack(&error)).expect("a known kind");
        let said = tko_core::error::chain(&full);
        assert_eq!(said.contains("log"), refers, "{said}");
        assert!(said.contains(action), "{said}");
    }
}

#[test]
fn the_source_of_an_error_is_left_out() {
    for detail in [Detail::Short, Detail::Full] {
        for (error, _) in table() {
            let status = from_error(&error, detail);
            assert!(!status.message().contains("secret"));
            assert!(!String::from_utf8_lossy(status.details()).contains("secret"));
        }
    }
}

#[test]
fn short_statuses_always_fit_in_headers() {
    let long = "ß % ".repeat(50_000);
    let keys =
        |count: u32| (0..count).map(|n| key(Kind::Site, &format!("{n}/{}", "x".repeat(1_000))));
    for error in [
        Error::bad(long.clone(), long.clone()),
        Error::invalid("package", vec![violation(Some(&long), &long); 3]),
        Error::invalid("package", vec![violation(Some("x"), "spec.y"); 9_000]),
        Error::Conflict(keys(1_000).collect()),
        Error::Forbidden(long.clone()),
        Error::NotImplemented(long.clone().into()),
    ] {
        let status = from_error(&error, Detail::Short);
        let headers = status.clone().into_http::<()>();
        let size: usize = headers
            .headers()
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 32)
            .sum();
        assert!(size <= 8_192, "{size} bytes of {:.80}", status.message());
        assert_eq!(to_error(status, "try").kind(), error.kind());
    }
}

#[test]
fn foreign_statuses_are_mapped_by_code() {
    for (code, expected) in [
        (Code::Cancelled, ErrorKind::Unavailable),
        (Code::Unknown, ErrorKind::Unavailable),
        (Code::InvalidArgument, ErrorKind::BadArgument),
        (Code::DeadlineExceeded, ErrorKind::Unavailable),
        (Code::NotFound, ErrorKind::Internal),
        (Code::AlreadyExists, ErrorKind::Internal),
        (Code::PermissionDenied, ErrorKind::Forbidden),
        (Code::ResourceExhausted, ErrorKind::BadArgument),
        (Code::FailedPrecondition, ErrorKind::Internal),
        (Code::Aborted, ErrorKind::Unavailable),
        (Code::OutOfRange, ErrorKind::BadArgument),
        (Code::Unimplemented, ErrorKind::NotImplemented),
        (Code::Internal, ErrorKind::Internal),
        (Code::Unavailable, ErrorKind::Unavailable),
        (Code::DataLoss, ErrorKind::Internal),
        (Code::Unauthenticated, ErrorKind::Unauthenticated),
    ] {
        let error = to_error(Status::new(code, "words"), "try it");
        assert_eq!(error.kind(), expected, "{code:?}");
        assert!(error.chain().contains("words"), "{error:?}");
    }
    let garbled = Status::with_details(Code::NotFound, "words", vec![0xff; 9].into());
    assert_eq!(to_error(garbled, "try it").kind(), ErrorKind::Internal);
}
