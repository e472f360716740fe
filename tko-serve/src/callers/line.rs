//! One line of a file of callers: name, credential, roles.

use super::role_names;
use crate::certificate::CertificateSubject;
use crate::token::TokenHashes;
use tko_core::{Caller, CallerRole, Pattern, Scope};

/// Minimum length of a plain token, in bytes.
const MIN_TOKEN: usize = 16;

/// Maximum number of roles of one line.
const MAX_ROLES: usize = 64;

/// A parsed line.
#[derive(Debug)]
pub(super) struct FileLine {
    /// The caller with its roles. If the line has no name, this is a placeholder.
    pub(super) caller: Caller,
    /// The name; `None` stands for the common name of the certificate.
    pub(super) name: Option<String>,
    pub(super) credential: Credential,
}

/// The proof that a request comes from the caller.
#[derive(Debug)]
pub(super) enum Credential {
    /// The hash of a token.
    Token([u8; 32]),
    /// Attributes of the subject of a client certificate.
    Certificate(SubjectPattern),
}

impl FileLine {
    /// Parses a line of several words.
    pub(super) fn parse(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let (Some(name), Some(credential)) = (words.next(), words.next()) else {
            return Err("a line has a name, a credential and roles".to_owned());
        };
        let credential = Credential::parse(credential)?;
        let any = name == "*";
        if any && matches!(credential, Credential::Token(_)) {
            return Err("the name * is for certificates; name the caller of a token".to_owned());
        }
        let mut caller = Caller::new(name).map_err(|error| error.to_string())?;
        let roles: Vec<&str> = words.collect();
        if roles.is_empty() || roles.len() > MAX_ROLES {
            return Err(format!(
                "{name} has {} roles; give it one to {MAX_ROLES} of {}",
                roles.len(),
                role_names()
            ));
        }
        for role in roles {
            caller = granted(caller, role)?;
        }
        Ok(Self {
            caller,
            name: (!any).then(|| name.to_owned()),
            credential,
        })
    }

    /// Parses a line that is a plain token, the `number`th of the file.
    pub(super) fn plain(token: &str, number: usize) -> Result<Self, String> {
        if token.len() < MIN_TOKEN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            // The message must not contain the token.
            return Err(format!(
                "the token is invalid; a token has at least {MIN_TOKEN} characters of visible ASCII"
            ));
        }
        let name = format!("token-{number}");
        let caller = Caller::new(&name).and_then(|caller| caller.role(CallerRole::Admin.name()));
        Ok(Self {
            caller: caller.map_err(|error| error.to_string())?,
            name: Some(name),
            credential: Credential::Token(TokenHashes::of(token).blake3),
        })
    }
}

impl Credential {
    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("blake3" | "sha256", digits)) => {
                TokenHashes::parse(digits).map(Self::Token).ok_or_else(|| {
                    "the hash of a token has 64 hexadecimal digits; make one with `tko token new`"
                        .to_owned()
                })
            }
            Some(("certificate", subject)) => SubjectPattern::parse(subject).map(Self::Certificate),
            // It may be a token by mistake, so the message must not contain it.
            _ => Err(
                "the second word is not a credential: blake3:HASH, sha256:HASH or \
                 certificate:ATTRIBUTE=PATTERN,…"
                    .to_owned(),
            ),
        }
    }
}

/// Patterns for attributes of a certificate's subject; all must match.
#[derive(Debug)]
pub(super) struct SubjectPattern(Vec<(String, Pattern)>);

impl SubjectPattern {
    fn parse(text: &str) -> Result<Self, String> {
        let mut attributes = Vec::new();
        for part in text.split(',') {
            let known = part.split_once('=').filter(|(name, value)| {
                CertificateSubject::ATTRIBUTES.contains(name) && !value.is_empty()
            });
            let Some((name, value)) = known else {
                return Err(format!(
                    "{part:?} is not an attribute of a certificate; write ATTRIBUTE=PATTERN with \
                     one of {}",
                    CertificateSubject::ATTRIBUTES.join(", ")
                ));
            };
            let pattern = Pattern::value(value).map_err(|error| error.to_string())?;
            attributes.push((name.to_owned(), pattern));
        }
        Ok(Self(attributes))
    }

    pub(super) fn matches(&self, subject: &CertificateSubject) -> bool {
        self.0
            .iter()
            .all(|(name, pattern)| subject.values(name).any(|value| pattern.matches(value)))
    }
}

/// Adds a role such as `operator(site=india/**,metadata.region=south)`.
fn granted(caller: Caller, text: &str) -> Result<Caller, String> {
    let (name, scope) = match text.split_once('(') {
        None => (text, None),
        Some((name, rest)) => {
            let inner = rest
                .strip_suffix(')')
                .ok_or_else(|| format!("{text:?} lacks a closing parenthesis"))?;
            (name, Some(restriction(inner)?))
        }
    };
    let role: CallerRole = name
        .parse()
        .map_err(|error: tko_core::Error| error.to_string())?;
    let granted = match scope {
        None => caller.role(role.name()),
        Some(_) if !role.can_be_restricted() => {
            return Err(format!("the role {role} cannot be restricted"));
        }
        Some(scope) => caller.role_within(role.name(), scope),
    };
    granted.map_err(|error| error.to_string())
}

fn restriction(text: &str) -> Result<Scope, String> {
    let mut scope = Scope::new();
    for part in text.split(',') {
        let Some((name, pattern)) = part.split_once('=').filter(|(_, p)| !p.is_empty()) else {
            return Err(format!("{part:?} is not NAME=PATTERN"));
        };
        let invalid = |error: tko_core::pattern::PatternError| error.to_string();
        let twice = || format!("{name} is restricted twice; repeat the role instead");
        match name {
            "template" if scope.template.is_some() => return Err(twice()),
            "site" if scope.site.is_some() => return Err(twice()),
            "template" => scope.template = Some(Pattern::id(pattern).map_err(invalid)?),
            "site" => scope.site = Some(Pattern::id(pattern).map_err(invalid)?),
            _ => match name.strip_prefix("metadata.") {
                Some(key) if !key.is_empty() => {
                    let pattern = Pattern::value(pattern).map_err(invalid)?;
                    if scope.metadata.insert(key.to_owned(), pattern).is_some() {
                        return Err(twice());
                    }
                }
                _ => {
                    return Err(format!(
                        "{name:?} cannot restrict a role; use template, site or metadata.KEY"
                    ));
                }
            },
        }
    }
    Ok(scope)
}
