//! Paths of the API, and the verbs that they are used with.

use crate::failure::{KrmAnswer, KrmFailure};
use crate::query::{Query, decode};
use crate::resource::{GROUP, ResourceType, VERSION};
use http::Method;

/// Longest path.
const MAX_PATH: usize = 4 * 1024;

/// The target of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RouteTarget {
    /// The paths of the server.
    Index,
    /// A health check: the endpoint, and one check of it.
    Health(HealthCheck, Option<String>),
    /// The version of the server.
    Version,
    /// The core group.
    Core,
    /// All groups.
    Groups,
    /// The group.
    Group,
    /// The resource types of the version.
    Resources,
    /// The document of OpenAPI 2.
    OpenApiV2,
    /// The paths of the documents of OpenAPI 3.
    OpenApiV3Index,
    /// The document of OpenAPI 3.
    OpenApiV3,
    /// All objects of a type.
    Collection(&'static ResourceType),
    /// One object.
    Object(&'static ResourceType, String),
    /// A subresource of an object.
    Subresource(&'static ResourceType, String, &'static str),
}

/// A health endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HealthCheck {
    Live,
    Ready,
}

impl RouteTarget {
    /// Finds the target of a path.
    pub(crate) fn of(path: &str) -> KrmAnswer<Self> {
        if path.len() > MAX_PATH {
            return Err(KrmFailure::no_path());
        }
        let segments = path
            .trim_matches('/')
            .split('/')
            .map(|segment| decode(segment, false))
            .collect::<Option<Vec<String>>>()
            .ok_or_else(KrmFailure::no_path)?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let target = match *segments.as_slice() {
            [""] => Self::Index,
            ["healthz" | "livez"] => Self::Health(HealthCheck::Live, None),
            ["readyz"] => Self::Health(HealthCheck::Ready, None),
            ["healthz" | "livez", check] => Self::Health(HealthCheck::Live, Some(check.to_owned())),
            ["readyz", check] => Self::Health(HealthCheck::Ready, Some(check.to_owned())),
            ["version"] => Self::Version,
            ["api"] => Self::Core,
            ["apis"] => Self::Groups,
            ["openapi", "v2"] => Self::OpenApiV2,
            ["openapi", "v3"] => Self::OpenApiV3Index,
            ["openapi", "v3", "apis", GROUP, VERSION] => Self::OpenApiV3,
            ["apis", GROUP] => Self::Group,
            ["apis", GROUP, VERSION] => Self::Resources,
            ["apis", GROUP, VERSION, plural] => Self::Collection(find(plural)?),
            ["apis", GROUP, VERSION, plural, name] => Self::Object(find(plural)?, name.to_owned()),
            ["apis", GROUP, VERSION, plural, name, subresource] => {
                let resource = find(plural)?;
                let subresource = resource
                    .subresources()
                    .iter()
                    .find(|one| **one == subresource)
                    .ok_or_else(KrmFailure::no_path)?;
                Self::Subresource(resource, name.to_owned(), subresource)
            }
            _ => return Err(KrmFailure::no_path()),
        };
        Ok(target)
    }

    /// The Kubernetes verb of a request, such as `list`; for paths that are not resources, the
    /// method in lower case.
    pub(crate) fn verb(&self, method: &Method, query: &Query) -> KrmAnswer<&'static str> {
        let verb = match (self, method.as_str()) {
            // On an object, this is the older form of watching it.
            (Self::Collection(_) | Self::Object(..), "GET" | "HEAD") if query.is_true("watch") => {
                "watch"
            }
            (Self::Collection(_), "GET" | "HEAD") => "list",
            (Self::Collection(_), "POST") => "create",
            (Self::Collection(_), "DELETE") => "deletecollection",
            (Self::Object(..), "DELETE") => "delete",
            (Self::Subresource(..) | Self::Object(..), "PUT") => "update",
            (Self::Subresource(..) | Self::Object(..), "PATCH") => "patch",
            (_, "GET" | "HEAD") => "get",
            _ => return Err(KrmFailure::method_not_allowed()),
        };
        Ok(verb)
    }
}

fn find(plural: &str) -> KrmAnswer<&'static ResourceType> {
    ResourceType::find(plural).ok_or_else(KrmFailure::no_path)
}

#[cfg(test)]
mod tests {
    use super::RouteTarget;
    use crate::query::Query;
    use http::Method;

    #[test]
    fn verbs_tell_lists_watches_and_collections_apart() {
        let path = "/apis/tko.nephio.org/v1alpha1/sites";
        let verb = |method: Method, path: &str| {
            let uri: http::Uri = path.parse().expect("a URI");
            let query = Query::of(&uri).expect("encoded");
            RouteTarget::of(uri.path()).ok()?.verb(&method, &query).ok()
        };
        assert_eq!(verb(Method::GET, path), Some("list"));
        assert_eq!(verb(Method::GET, &format!("{path}?watch=1")), Some("watch"));
        assert_eq!(verb(Method::DELETE, path), Some("deletecollection"));
        assert_eq!(verb(Method::DELETE, &format!("{path}/x")), Some("delete"));
        assert_eq!(verb(Method::PUT, path), None);
        let namespaced = "/apis/tko.nephio.org/v1alpha1/namespaces/a/sites";
        assert_eq!(verb(Method::GET, namespaced), None);
        assert_eq!(
            verb(Method::GET, "/apis/tko.nephio.org/v1alpha1/watch/sites"),
            None
        );
    }
}
