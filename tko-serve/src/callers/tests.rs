use super::{CallerList, caller_line};
use crate::callers::CallerFile;
use crate::{Authenticate, Credentials};
use tko_core::ErrorKind;

const TOKEN: &str = "tko_0123456789abcdef";

#[test]
fn a_line_has_a_name_a_credential_and_roles() {
    let roles = ["viewer".to_owned(), "operator(site=india/**)".to_owned()];
    let line = caller_line("alice", TOKEN, &roles).expect("a line");
    assert!(!line.contains(TOKEN), "{line}");
    let list = CallerList::parse(&format!("# callers\n\n{line}\n")).expect("one caller");
    let caller = list.by_token(TOKEN).expect("the token");
    assert_eq!(caller.name(), "alice");
    assert!(caller.has_role("viewer") && !caller.has_role("operator"));
    assert_eq!(caller.roles().collect::<Vec<_>>(), ["operator", "viewer"]);
    assert!(list.by_token("tko_0123456789abcdee").is_none());
}

#[test]
fn a_name_that_would_not_be_read_back_is_refused() {
    let viewer = ["viewer".to_owned()];
    for name in ["", "#x", "a b", "a\nb", "\u{a0}", "a\t", "*"] {
        let error = caller_line(name, TOKEN, &viewer).expect_err("a bad name");
        assert_eq!(error.kind(), ErrorKind::BadArgument, "{name:?}");
        assert!(error.to_string().contains("name"), "{name:?}: {error}");
    }
    caller_line("a#b", TOKEN, &viewer).expect("a line");
}

#[test]
fn sha256_hashes_are_as_other_tools_make_them() {
    let hashes = crate::token::TokenHashes::of("abc");
    let hex = hashes.sha256.iter().fold(String::new(), |mut hex, byte| {
        hex.push(char::from_digit(u32::from(byte >> 4), 16).expect("four bits"));
        hex.push(char::from_digit(u32::from(byte & 15), 16).expect("four bits"));
        hex
    });
    assert_eq!(
        hex,
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn invalid_lines_are_refused_by_number_without_the_token() {
    let hash = "a".repeat(64);
    for (line, reason) in [
        (String::new(), "no callers"),
        ("short".to_owned(), "at least 16"),
        (
            "alice some-secret-of-alice viewer".to_owned(),
            "not a credential",
        ),
        (format!("alice blake3:{hash}"), "0 roles"),
        (
            format!("alice blake3:{hash} king"),
            "expected one of viewer",
        ),
        (
            format!("alice blake3:{hash} worker(site=a)"),
            "cannot be restricted",
        ),
        (format!("alice blake3:{hash} viewer(site=a"), "parenthesis"),
        (
            format!("alice blake3:{hash} viewer(zone=a)"),
            "cannot restrict",
        ),
        (
            format!("alice blake3:{hash} viewer(site=a,site=b)"),
            "twice",
        ),
        (format!("* blake3:{hash} viewer"), "for certificates"),
        ("alice blake3:abc viewer".to_owned(), "64 hexadecimal"),
        ("gw certificate:XX=a worker".to_owned(), "CN"),
    ] {
        let error = CallerList::parse(&format!("\n{line}\n")).expect_err(reason);
        assert!(error.contains(reason), "{line:?}: {error}");
        assert!(!error.contains("some-secret"), "{error}");
    }
}

#[tokio::test]
async fn s13_a_changed_file_is_read_again_and_an_invalid_one_is_not_used() {
    let folder = std::env::temp_dir().join(format!("tko-callers-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let path = folder.join("callers");
    let write = |token: &str| {
        let line = caller_line("alice", token, &["viewer".to_owned()]).expect("a line");
        std::fs::write(&path, line).expect("a file");
    };
    write(TOKEN);
    let file = CallerFile::open(&path).expect("one caller");
    let ask = async |token: &str| {
        let credentials = Credentials::new("test").with_bearer(token);
        file.0.check_now();
        file.authenticate(&credentials)
            .await
            .map(|caller| caller.name().to_owned())
    };
    assert_eq!(ask(TOKEN).await.expect("known"), "alice");
    write("tko_another-token-of-alice");
    let kind = ask(TOKEN).await.expect_err("revoked").kind();
    assert_eq!(kind, ErrorKind::Unauthenticated);
    assert_eq!(
        ask("tko_another-token-of-alice").await.expect("new"),
        "alice"
    );
    std::fs::write(&path, "nonsense that is no caller").expect("a file");
    assert_eq!(
        ask("tko_another-token-of-alice").await.expect("kept"),
        "alice"
    );
    std::fs::remove_dir_all(&folder).expect("it exists");
}
