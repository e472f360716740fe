//! Names of Kubernetes objects and of their parts, and ids of TKO.

use tko_core::SiteId;

pub(super) const LABEL: &str = "a DNS label: at most 63 lower case letters, digits and '-', with a letter or digit at both ends";
pub(super) const LABEL_1035: &str = "a DNS label that begins with a letter: at most 63 lower case letters, digits and '-', with a letter or digit at the end";
pub(super) const SUBDOMAIN: &str = "a DNS name: at most 253 lower case letters, digits, '-' and '.', with a letter or digit at both ends of each part";

fn is_small(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Returns true if text has only bytes that `inner` accepts, and letters or digits at both ends.
fn is_framed(text: &str, inner: impl Fn(u8) -> bool, ends: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            ends(*first) && ends(*last) && bytes.iter().all(|byte| ends(*byte) || inner(*byte))
        }
        _ => false,
    }
}

/// RFC 1123 label.
pub(super) fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_framed(text, |byte| byte == b'-', is_small)
}

/// RFC 1035 label.
pub(super) fn is_label_1035(text: &str) -> bool {
    is_label(text) && text.as_bytes()[0].is_ascii_lowercase()
}

/// RFC 1123 subdomain. Its parts may be longer than a label.
pub(super) fn is_subdomain(text: &str) -> bool {
    text.len() <= 253
        && text
            .split('.')
            .all(|part| is_framed(part, |byte| byte == b'-', is_small))
}

pub(super) fn is_cron_job_name(text: &str) -> bool {
    text.len() <= 52 && is_subdomain(text)
}

/// The beginning of a name: `generateName` of an object, which may end in `-`.
pub(super) fn is_prefix(text: &str) -> bool {
    is_subdomain(text.trim_end_matches(['-', '.']))
}

pub(super) fn is_path_segment(text: &str) -> bool {
    !text.is_empty() && text != "." && text != ".." && !text.contains(['/', '%'])
}

fn is_plain(text: &str) -> bool {
    text.len() <= 63
        && is_framed(
            text,
            |byte| matches!(byte, b'-' | b'_' | b'.'),
            |byte| byte.is_ascii_alphanumeric(),
        )
}

/// Key of a label or annotation.
pub(super) fn is_qualified_name(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(&prefix.to_ascii_lowercase()) && is_plain(name),
        None => is_plain(text),
    }
}

pub(super) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_plain(text)
}

/// A DNS name that may end in a dot.
pub(super) fn is_host_name(text: &str) -> bool {
    is_subdomain(text.strip_suffix('.').unwrap_or(text))
}

/// Id of a site. Those of templates have the same characters and length.
pub(super) fn is_id(text: &str) -> bool {
    SiteId::new(text).is_ok()
}

/// Name of a resource that a container can request.
pub(super) fn is_resource_name(text: &str) -> bool {
    match text {
        "cpu" | "memory" | "ephemeral-storage" | "storage" => true,
        _ => (text.contains('/') || text.starts_with("hugepages-")) && is_qualified_name(text),
    }
}

/// Key of a `ConfigMap` or Secret.
pub(super) fn is_config_key(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !text.is_empty()
        && text.len() <= 253
        && text != "."
        && !text.starts_with("..")
        && text.bytes().all(allowed)
}

pub(super) fn is_env_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=')
}

/// Service name as registered with IANA.
pub(super) fn is_port_name(text: &str) -> bool {
    text.len() <= 15
        && is_framed(text, |byte| byte == b'-', is_small)
        && !text.contains("--")
        && text.bytes().any(|byte| byte.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_their_rules() {
        for (check, good, bad) in [
            (is_label as fn(&str) -> bool, "a-1", "a.b"),
            (is_label, "1", ""),
            (is_label_1035, "a1", "1a"),
            (is_subdomain, "a.b-c.1", "a..b"),
            (is_subdomain, "a", "Not_A_DNS.Name"),
            (is_prefix, "migrate-", "Migrate-"),
            (is_path_segment, "system:node", "a/b"),
            (is_qualified_name, "example.com/My_App.1", "example.com/"),
            (is_qualified_name, "app", "a b"),
            (is_qualified_name, "Example.com/app", "a/b/c"),
            (is_label_value, "", "-a"),
            (is_id, "edge/1:a_B.c-d", "a b"),
            (is_id, "a", ""),
            (is_config_key, "a_B.conf", "a/b"),
            (is_env_name, "MY.VAR-1", "A=B"),
            (is_port_name, "http-2", "8080"),
            (is_port_name, "a-b", "a--b"),
        ] {
            assert!(check(good), "{good}");
            assert!(!check(bad), "{bad}");
        }
        assert!(!is_label(&"a".repeat(64)) && is_label(&"a".repeat(63)));
        assert!(!is_subdomain(&"a.".repeat(127)) && !is_cron_job_name(&"a".repeat(53)));
    }
}
