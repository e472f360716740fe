//! [`CallerFile`]: the callers of a server, their credentials and their roles, from a file.

mod line;

use crate::authenticate::Authenticate;
use crate::certificate::CertificateSubject;
use crate::credentials::Credentials;
use crate::file::read;
use crate::reload::Reloaded;
use crate::token::TokenHashes;
use async_trait::async_trait;
use line::{Credential, FileLine, SubjectPattern};
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use tko_core::{Caller, CallerRole, Error, Result};

/// Authenticates callers by a file that names them, their tokens or certificates, and their roles.
///
/// Each line has a name, a credential and roles, separated by white space. Empty lines and lines
/// that start with `#` are ignored:
///
/// ```text
/// # name    credential                    roles
/// alice     blake3:0f3a…                  viewer operator(site=india/**)
/// ci        sha256:9b1c…                  author(template=ci/**,metadata.team=core)
/// *         certificate:O=Acme,CN=gw-*    worker
/// ```
///
/// - A token is stored as its hash, `blake3:` or `sha256:` with 64 hexadecimal digits.
/// - A certificate must have all the listed attributes in its subject. Values are patterns, in which
///   `*` matches anything. The name `*` stands for the certificate's common name.
/// - Roles are those of [`CallerRole`]. `viewer`, `operator` and `author` can be restricted by
///   patterns for the template's id, the site's id and metadata; see [`Scope`](tko_core::Scope).
/// - A line of a single word is a plain token with all rights, as older files have them. The caller
///   is named after its position: `token-1` is the first.
///
/// The file is read again within a second after it changed. If the new content is invalid, the old
/// one stays in use and an error is logged. A pipe is read once. `Debug` leaves out the credentials.
#[derive(Clone)]
pub struct CallerFile(Arc<Reloaded<CallerList>>);

/// The content of a [`CallerFile`].
#[derive(Debug, Default)]
struct CallerList {
    /// The callers by the hash of their token.
    tokens: HashMap<[u8; 32], Caller>,
    /// The subjects of certificates, each with the name and the roles, in the order of the file.
    subjects: Vec<(SubjectPattern, Option<String>, Caller)>,
    /// Whether a line is a plain token.
    plain: bool,
}

impl CallerFile {
    /// Reads a file of callers.
    ///
    /// # Errors
    /// [`BadArgument`](Error::BadArgument): the file cannot be read, names no caller, or has an
    /// invalid line; the message contains no tokens.
    pub fn open(path: &Path) -> Result<Self> {
        let file = path.to_owned();
        let load = move || {
            let bytes = read(&file)?;
            let at =
                |message: &str| Error::bad("callers", format!("{}: {message}", file.display()));
            let text = str::from_utf8(&bytes).map_err(|error| at(&error.to_string()))?;
            CallerList::parse(text).map_err(|message| at(&message))
        };
        let callers = Reloaded::new("the callers", vec![path.to_owned()], load)?;
        if callers.current().plain {
            tracing::warn!(
                file = %path.display(),
                "the file of callers has tokens in plain text, with all rights; replace them by \
                 lines of `tko token new`"
            );
        }
        Ok(Self(Arc::new(callers)))
    }

    /// Whether some callers are known by their certificate.
    pub fn has_certificates(&self) -> bool {
        !self.0.current().subjects.is_empty()
    }

    /// Whether some callers are known by a token.
    pub fn has_tokens(&self) -> bool {
        !self.0.current().tokens.is_empty()
    }
}

impl CallerList {
    /// Parses the text of a file. The error names the line.
    fn parse(text: &str) -> Result<Self, String> {
        let mut list = Self::default();
        let mut plain = 0;
        for (number, text) in text.lines().enumerate() {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let at = |message: String| format!("line {}: {message}", number + 1);
            let line = if text.contains(char::is_whitespace) {
                FileLine::parse(text).map_err(at)?
            } else {
                plain += 1;
                FileLine::plain(text, plain).map_err(at)?
            };
            match line.credential {
                Credential::Token(hash) => {
                    if list.tokens.insert(hash, line.caller).is_some() {
                        return Err(at("another line has the same token".to_owned()));
                    }
                }
                Credential::Certificate(subject) => {
                    list.subjects.push((subject, line.name, line.caller));
                }
            }
        }
        list.plain = plain > 0;
        if list.tokens.is_empty() && list.subjects.is_empty() {
            return Err(
                "there are no callers; write one per line, or use `tko token new`".to_owned(),
            );
        }
        Ok(list)
    }

    fn by_token(&self, token: &str) -> Option<Caller> {
        let hashes = TokenHashes::of(token);
        let known = |hash: [u8; 32]| self.tokens.get(&hash).cloned();
        known(hashes.blake3).or_else(|| known(hashes.sha256))
    }

    fn by_subject(&self, subject: &CertificateSubject) -> Option<Result<Caller>> {
        let (_, name, caller) = self
            .subjects
            .iter()
            .find(|(pattern, ..)| pattern.matches(subject))?;
        Some(match (name, subject.common_name()) {
            (Some(_), _) => Ok(caller.clone()),
            (None, Some(common)) => caller.clone().named(common),
            (None, None) => Err(Error::bad("client certificate", "has no common name")),
        })
    }
}

#[async_trait]
impl Authenticate for CallerFile {
    async fn authenticate(&self, credentials: &Credentials) -> Result<Caller> {
        let list = self.0.current();
        if let Some(token) = credentials.bearer() {
            let unknown = || "this server does not know that bearer token".to_owned();
            return list
                .by_token(token)
                .ok_or_else(|| Error::Unauthenticated(unknown()));
        }
        if let Some(subject) = credentials.subject() {
            return match list.by_subject(&subject) {
                Some(Ok(caller)) => Ok(caller),
                Some(Err(error)) => Err(Error::Unauthenticated(error.to_string())),
                None if list.subjects.is_empty() => Err(missing(&list)),
                None => Err(Error::Unauthenticated(format!(
                    "this server knows no caller with the certificate of {subject}"
                ))),
            };
        }
        Err(missing(&list))
    }
}

/// The error of a request without the credentials that the server takes.
fn missing(list: &CallerList) -> Error {
    let wanted = match (list.tokens.is_empty(), list.subjects.is_empty()) {
        (false, true) => "a bearer token; send it as authorization",
        (true, _) => "a client certificate",
        (false, false) => "a bearer token or a client certificate",
    };
    Error::Unauthenticated(format!("this server requires {wanted}"))
}

impl fmt::Debug for CallerFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = self.0.current();
        let (tokens, subjects) = (list.tokens.len(), list.subjects.len());
        write!(f, "CallerFile({tokens} tokens, {subjects} certificates)")
    }
}

/// Formats the line of a [`CallerFile`] for a token that is known by its hash.
///
/// # Errors
/// [`BadArgument`](Error::BadArgument): the name or a role is invalid, or there is no role. A role
/// can be restricted, as in a file.
pub fn caller_line(name: &str, token: &str, roles: &[String]) -> Result<String> {
    // A line is split at white space, and a line that starts with # is a comment.
    if name.is_empty() || name.starts_with('#') || name.contains(char::is_whitespace) {
        let message = format!(
            "{name:?} cannot be the name of a caller; use one without white space and without # at \
             the start"
        );
        return Err(Error::bad("name", message));
    }
    let line = format!("{name} {} {}", TokenHashes::of(token), roles.join(" "));
    match FileLine::parse(&line) {
        Ok(_) if name != "*" => Ok(line),
        Ok(_) => Err(Error::bad("name", "* is for certificates; name the caller")),
        Err(message) => Err(Error::bad("caller", message)),
    }
}

/// The roles that [`CallerFile`] knows, for messages.
fn role_names() -> String {
    CallerRole::ALL.map(CallerRole::name).join(", ")
}

#[cfg(test)]
mod tests;
