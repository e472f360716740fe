//! Roles: which calls a caller may make, in one table.
//!
//! [`PERMISSIONS`] has a row for every call of the API. [`RoleGuard`] enforces it: put it into a
//! [`Guarded`](crate::Guarded) below every interface that serves others. A call that is not in the
//! table is refused.
//!
//! A caller can have a role within a [`Scope`]: then it covers only the entities that match.
//!
//! ```
//! use tko_core::{CallerRole, Caller, Pattern, Scope};
//!
//! let south = Scope::new().site(Pattern::id("india/*/south-*")?);
//! let caller = Caller::new("alice")?
//!     .role(CallerRole::Viewer.name())?
//!     .role_within(CallerRole::Operator.name(), south)?;
//! assert!(caller.has_role("viewer") && !caller.has_role("operator"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod permissions;

pub use permissions::{PERMISSIONS, Permission, permission};

use crate::api::{ApiCall, Guard};
use crate::caller::Caller;
use crate::error::{Error, Result};
use crate::scope::Scope;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A role of [`PERMISSIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CallerRole {
    /// Reads everything.
    Viewer,
    /// Creates, modifies, approves and deletes deployments; reads everything.
    Operator,
    /// Registers and deletes templates, sites and plugins; reads everything.
    Author,
    /// Claims work and commits its results, as preparers and schedulers do; reads everything.
    Worker,
    /// Makes every call.
    Admin,
}

impl CallerRole {
    /// All roles.
    pub const ALL: [Self; 5] = [
        Self::Viewer,
        Self::Operator,
        Self::Author,
        Self::Worker,
        Self::Admin,
    ];

    /// The name of the role, as it is assigned to callers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Author => "author",
            Self::Worker => "worker",
            Self::Admin => crate::caller::ADMIN,
        }
    }

    /// Whether the role can be restricted by a [`Scope`]. Workers claim work of any entity, and
    /// administrators are not restricted.
    pub const fn can_be_restricted(self) -> bool {
        matches!(self, Self::Viewer | Self::Operator | Self::Author)
    }
}

impl fmt::Display for CallerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for CallerRole {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::bad(
                "role",
                format!("unknown role {text:?}; expected one of {names}"),
            )
        })
    }
}

/// A guard that enforces [`PERMISSIONS`]. It refuses callers that it does not know.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct RoleGuard;

impl RoleGuard {
    /// Enforces [`PERMISSIONS`].
    pub fn new() -> Self {
        Self
    }
}

impl Guard for RoleGuard {
    fn check(&self, caller: Option<&Caller>, call: ApiCall<'_>) -> Result<()> {
        self.scopes(caller, call).map(|_| ())
    }

    fn scopes(&self, caller: Option<&Caller>, call: ApiCall<'_>) -> Result<Vec<Arc<Scope>>> {
        let roles = permission(call.name(), call.subject_kind()).map_or(&[][..], |row| row.roles);
        let Some(caller) = caller else {
            return Err(refusal(None, call, roles));
        };
        let mut scopes = Vec::new();
        for (name, scope) in caller.grants() {
            if !roles.iter().any(|role| role.name() == name) {
                continue;
            }
            match scope {
                None => return Ok(Vec::new()),
                // Fails closed: a role that cannot be restricted permits nothing within a scope.
                Some(scope) => {
                    let restricted = name.parse().is_ok_and(CallerRole::can_be_restricted);
                    if restricted {
                        scopes.push(scope.clone());
                    }
                }
            }
        }
        if scopes.is_empty() {
            return Err(refusal(Some(caller), call, roles));
        }
        Ok(scopes)
    }
}

/// The message of a refusal: the caller, the call, and the missing role.
fn refusal(caller: Option<&Caller>, call: ApiCall<'_>, roles: &[CallerRole]) -> Error {
    let who = caller.map_or_else(|| "an unknown caller".to_owned(), ToString::to_string);
    let mut names: Vec<&str> = roles.iter().map(|role| role.name()).collect();
    if names.is_empty() {
        names.push("(none; the call is not permitted to anyone)");
    }
    let has: Vec<&str> = caller.map(|c| c.roles().collect()).unwrap_or_default();
    let has = match has.as_slice() {
        [] => "no role".to_owned(),
        has => has.join(", "),
    };
    Error::Forbidden(format!(
        "{who} may not {}: this needs the role {}; the caller has {has}",
        call.description(),
        names.join(" or ")
    ))
}
