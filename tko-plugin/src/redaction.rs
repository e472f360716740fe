//! Redaction: hides what looks like a secret in the output of programs.
//!
//! A plugin may print its input, and so Secrets, to its stderr. That goes to logs and to conditions,
//! which more people may read than Secrets. So these are replaced by `***`:
//!
//! - the value after a name that contains one of [`NAMES`], as in `db_password=x` or
//!   `"token": "x"`;
//! - the rest of a line after `Authorization:` or `Bearer`;
//! - the password of a URL, as in `postgres://user:x@host`;
//! - the lines between `-----BEGIN` and `-----END` of a private key.
//!
//! This is a safety net and no guarantee: a plugin should not print secrets.

use std::borrow::Cow;

/// The parts of names whose values are hidden, in lower case without `-` and `_`.
const NAMES: [&str; 8] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "privatekey",
    "credential",
];

/// The text in place of a secret.
const HIDDEN: &str = "***";

/// The text with secrets hidden. Linear in its length.
pub(crate) fn redacted(text: &str) -> String {
    let mut lines = Vec::new();
    let mut in_key = false;
    for line in text.split('\n') {
        let is_end = line.contains("-----END");
        if in_key && !is_end {
            if lines.last() != Some(&Cow::Borrowed(HIDDEN)) {
                lines.push(Cow::Borrowed(HIDDEN));
            }
            continue;
        }
        if let Some(begin) = line.find("-----BEGIN")
            && line[begin..].contains("PRIVATE KEY")
        {
            in_key = !is_end;
            lines.push(Cow::Borrowed(if is_end { HIDDEN } else { line }));
            continue;
        }
        in_key &= !is_end;
        lines.push(Cow::Owned(redacted_line(line)));
    }
    lines.join("\n")
}

fn redacted_line(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !is_of_name(c)).unwrap_or(rest.len());
        if end == 0 {
            let next = rest.find(is_of_name).unwrap_or(rest.len());
            let (marks, after) = rest.split_at(next);
            out.push_str(marks);
            rest = after;
            if marks.ends_with("://") {
                rest = without_password(&mut out, rest);
            }
            continue;
        }
        let (name, after) = rest.split_at(end);
        out.push_str(name);
        rest = after;
        let lower: String = name
            .chars()
            .filter(|c| !matches!(c, '-' | '_'))
            .map(|c| c.to_ascii_lowercase())
            .collect();
        let is_header = lower == "authorization" && separator(after).is_some();
        if is_header || (lower == "bearer" && after.starts_with(' ')) {
            out.push(' ');
            out.push_str(HIDDEN);
            return out;
        }
        if NAMES.iter().any(|secret| lower.contains(secret))
            && let Some(at) = separator(after)
        {
            let (between, value) = after.split_at(at);
            let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
            let body = quote.map_or(value, |_| &value[1..]);
            let length = match quote {
                Some(quote) => body.find(quote).unwrap_or(body.len()),
                None => body
                    .find(|c: char| c.is_whitespace() || matches!(c, ',' | ';' | '}' | ')' | '&'))
                    .unwrap_or(body.len()),
            };
            if length > 0 {
                out.push_str(between);
                out.extend(quote);
                out.push_str(HIDDEN);
                rest = &body[length..];
            }
        }
    }
    out
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_')
}

/// The start of the value after a name: behind `=` or `:`, with quotes and blanks around it.
fn separator(after: &str) -> Option<usize> {
    let inner = after.trim_start_matches(['"', '\'', ' ']);
    let value = inner.strip_prefix('=').or(inner.strip_prefix(':'))?;
    // The scheme of a URL has no value.
    if value.starts_with("//") {
        return None;
    }
    Some(after.len() - value.trim_start().len())
}

/// Copies `user:***` of a URL. Returns the rest.
fn without_password<'a>(out: &mut String, rest: &'a str) -> &'a str {
    let end = rest
        .find(|c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\''))
        .unwrap_or(rest.len());
    let Some(at) = rest[..end].rfind('@') else {
        return rest;
    };
    let Some(colon) = rest[..at].find(':') else {
        return rest;
    };
    out.push_str(&rest[..=colon]);
    out.push_str(HIDDEN);
    &rest[at..]
}

#[cfg(test)]
mod tests {
    use super::redacted;

    /// O18: secrets that a plugin prints reach neither logs nor conditions.
    #[test]
    fn what_looks_like_a_secret_is_hidden() {
        for (text, shown) in [
            ("db_password=hunter2 host=x", "db_password=*** host=x"),
            (
                "{\"apiKey\": \"s3cr3t\", \"a\": 1}",
                "{\"apiKey\": \"***\", \"a\": 1}",
            ),
            ("CLIENT-SECRET : abc", "CLIENT-SECRET : ***"),
            ("Authorization: Basic abc", "Authorization ***"),
            ("sent Bearer eyJhbGci", "sent Bearer ***"),
            (
                "postgres://tko:pw@db/x failed",
                "postgres://tko:***@db/x failed",
            ),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nabc\ndef\n-----END RSA PRIVATE KEY-----\nend",
                "-----BEGIN RSA PRIVATE KEY-----\n***\n-----END RSA PRIVATE KEY-----\nend",
            ),
            (
                "unexpected token in line 3: x",
                "unexpected token in line 3: x",
            ),
            ("no secret here", "no secret here"),
            (
                "http://host:80/path?token=abc&b=1",
                "http://host:80/path?token=***&b=1",
            ),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }

    #[test]
    fn any_text_is_redacted_in_linear_time() {
        for piece in [
            "token",
            "://",
            "password=\"",
            "-----BEGIN PRIVATE KEY-----\n",
            "é:",
        ] {
            let long = piece.repeat(20_000);
            assert!(redacted(&long).len() <= long.len() + 10);
        }
    }
}
