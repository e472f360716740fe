//! [`ClusterUser`]: a user of a cluster.

use std::collections::BTreeMap;

/// The group of everybody who is authenticated.
const AUTHENTICATED: &str = "system:authenticated";

/// A user of a cluster, with the groups that its rights come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClusterUser {
    /// The name by which the cluster's rules know the user, such as
    /// `system:serviceaccount:flux-system:kustomize-controller`.
    pub name: String,
    /// The UID, if there is one.
    pub uid: Option<String>,
    /// The names of the user's groups, such as `system:authenticated`.
    pub groups: Vec<String>,
    /// Additional information from the authenticator, by lower-case key.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl ClusterUser {
    /// A user in these groups.
    pub fn new(name: impl Into<String>, groups: Vec<String>) -> Self {
        Self {
            name: name.into(),
            groups,
            ..Self::default()
        }
    }

    /// The user of a request without credentials, `system:anonymous`.
    pub fn anonymous() -> Self {
        Self::new(
            "system:anonymous",
            vec!["system:unauthenticated".to_owned()],
        )
    }

    /// The user, in the group of everybody who is authenticated as well.
    #[must_use]
    pub fn authenticated(mut self) -> Self {
        let is_anonymous = self.name == "system:anonymous";
        if !is_anonymous && !self.groups.iter().any(|group| group == AUTHENTICATED) {
            self.groups.push(AUTHENTICATED.to_owned());
        }
        self
    }
}
