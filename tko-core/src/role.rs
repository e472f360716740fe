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

use permissions::READERS;
pub(crate) use permissions::words;
pub use permissions::{PERMISSIONS, Permission, permission};

use crate::api::{ApiCall, Guard};
use crate::caller::Caller;
use crate::entity::Entity;
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
        let scopes: Option<Vec<_>> = grants_of(caller, roles).map(Option::<&_>::cloned).collect();
        match scopes {
            // One of the roles has no restriction.
            None => Ok(Vec::new()),
            Some(scopes) if scopes.is_empty() => Err(refusal(Some(caller), call, roles)),
            Some(scopes) => Ok(scopes),
        }
    }
}

/// What a caller may read by [`PERMISSIONS`], for data that are read once for all callers.
impl Caller {
    /// Whether the caller may read everything.
    pub fn reads_all(&self) -> bool {
        grants_of(self, READERS).any(|scope| scope.is_none())
    }

    /// Whether the caller may read this entity.
    pub fn reads(&self, entity: &Entity) -> bool {
        grants_of(self, READERS).any(|scope| scope.is_none_or(|scope| scope.covers(entity)))
    }
}

/// The scope of each of these roles that a caller has; `None` for one without a restriction.
fn grants_of<'a>(
    caller: &'a Caller,
    roles: &'a [CallerRole],
) -> impl Iterator<Item = Option<&'a Arc<Scope>>> {
    caller.grants().filter_map(|(name, scope)| {
        let role = roles.iter().find(|role| role.name() == name)?;
        // Fails closed: a role that cannot be restricted permits nothing within a scope.
        (scope.is_none() || role.can_be_restricted()).then_some(scope)
    })
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

#[cfg(test)]
mod tests {
    use super::CallerRole::{Author, Viewer, Worker};
    use super::permissions::WORDS;
    use super::{PERMISSIONS, RoleGuard};
    use crate::api::{ApiCall, Guard, NewDeployment};
    use crate::caller::Caller;
    use crate::entity::{Entity, Facts};
    use crate::id::{Key, SiteId};
    use crate::pattern::Pattern;
    use crate::scope::Scope;

    fn site(id: &str) -> Entity {
        let facts = Facts::Site {
            template: None,
            origin: None,
        };
        Entity::new(Key::Site(SiteId::new(id).expect("an id")), facts)
    }

    #[test]
    fn refusals_are_in_words_for_people() {
        let key = Key::Site(SiteId::new("us/b").expect("an id"));
        let new = NewDeployment::new();
        let caller = Caller::new("a").expect("a name");
        for (call, expected) in [
            (
                ApiCall::History(&key),
                "may not read the history of site us/b:",
            ),
            (ApiCall::Delete(&key), "may not delete site us/b:"),
            (
                ApiCall::CreateDeployment(&new),
                "may not create a deployment:",
            ),
        ] {
            let refused = RoleGuard::new().check(Some(&caller), call);
            let text = refused.expect_err("no role").to_string();
            assert!(text.contains(expected), "{text}");
        }
        for row in PERMISSIONS {
            let has_words = WORDS.iter().any(|(call, _)| *call == row.call);
            assert!(has_words, "{}", row.call);
        }
    }

    #[test]
    fn a_caller_reads_what_any_of_its_roles_covers() {
        let nobody = Caller::new("a").expect("a name");
        let within = |caller: Caller, role: super::CallerRole, pattern: &str| {
            let scope = Scope::new().site(Pattern::id(pattern).expect("a pattern"));
            caller.role_within(role.name(), scope).expect("a role")
        };
        let south = within(nobody.clone(), Viewer, "south-*");
        let both = within(south.clone(), Author, "north-*");
        // This role cannot be restricted.
        let worker = within(nobody.clone(), Worker, "south-*");
        let all = both.clone().role(Viewer.name()).expect("a role");
        for (caller, reads) in [
            (nobody, [false, false, false]),
            (worker, [false, false, false]),
            (south, [true, false, false]),
            (both, [true, true, false]),
            (all, [true, true, true]),
        ] {
            let sites = ["south-1", "north-1", "east-1"].map(site);
            assert_eq!(sites.each_ref().map(|site| caller.reads(site)), reads);
            assert_eq!(caller.reads_all(), reads == [true; 3]);
        }
    }
}
