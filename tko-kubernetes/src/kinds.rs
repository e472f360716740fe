//! The kinds that a cluster serves, and their paths.

use crate::client::ClusterClient;
use crate::failure::RequestFailure;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A group and a kind, as in an ApplySet: `Kind.group`, or `Kind` in the core group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct GroupKind {
    pub(crate) group: String,
    pub(crate) kind: String,
}

impl GroupKind {
    /// The kind ConfigMap.
    pub(crate) fn config_map() -> Self {
        Self {
            group: String::new(),
            kind: "ConfigMap".to_owned(),
        }
    }

    pub(crate) fn is_config_map(&self) -> bool {
        self.group.is_empty() && self.kind == "ConfigMap"
    }

    /// Reads `Kind.group` or `Kind`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (kind, group) = text.split_once('.').unwrap_or((text, ""));
        (!kind.is_empty()).then(|| Self {
            group: group.to_owned(),
            kind: kind.to_owned(),
        })
    }
}

impl std::fmt::Display for GroupKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.group.as_str() {
            "" => f.write_str(&self.kind),
            group => write!(f, "{}.{group}", self.kind),
        }
    }
}

/// A kind that a cluster serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServedKind {
    /// `/api/v1` or `/apis/GROUP/VERSION`.
    base: String,
    plural: String,
    pub(crate) namespaced: bool,
}

impl ServedKind {
    /// The kind ConfigMap, which every cluster serves.
    pub(crate) fn config_map() -> Self {
        Self {
            base: "/api/v1".to_owned(),
            plural: "configmaps".to_owned(),
            namespaced: true,
        }
    }

    /// The `apiVersion` of its objects.
    pub(crate) fn api_version(&self) -> &str {
        let base = self.base.trim_start_matches("/apis/");
        base.trim_start_matches("/api/")
    }

    /// The path of all objects, of those of a namespace, or of one object. Names must be
    /// [valid](is_name).
    pub(crate) fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let mut path = self.base.clone();
        if let (true, Some(namespace)) = (self.namespaced, namespace) {
            path.push_str("/namespaces/");
            path.push_str(namespace);
        }
        path.push('/');
        path.push_str(&self.plural);
        if let Some(name) = name {
            path.push('/');
            path.push_str(name);
        }
        path
    }
}

/// Whether this can be a segment of a path: a name of an object, namespace, group, version or kind.
pub(crate) fn is_name(text: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    (1..=253).contains(&text.len()) && text != "." && text != ".." && text.chars().all(is_allowed)
}

type Kinds = Arc<HashMap<String, ServedKind>>;

/// The kinds of the groups and versions that were asked for.
#[derive(Default)]
pub(crate) struct KindCache {
    versions: Mutex<HashMap<(String, String), Kinds>>,
    /// The served versions of each group, the preferred one first.
    groups: Mutex<HashMap<String, Arc<Vec<String>>>>,
}

impl KindCache {
    /// Forgets the kinds of a group, because some were added or removed.
    pub(crate) fn forget_group(&self, group: &str) {
        locked(&self.versions).retain(|(of, _), _| of != group);
        locked(&self.groups).remove(group);
    }

    /// Forgets everything.
    pub(crate) fn forget(&self) {
        let (mut versions, mut groups) = (locked(&self.versions), locked(&self.groups));
        versions.clear();
        groups.clear();
    }
}

/// The versions of a group; `None` until they are read. The lock is held while they are.
type GroupVersions = Arc<tokio::sync::Mutex<Option<Arc<Vec<String>>>>>;

/// The groups whose discovery was read in one call of a site. Each is read at most once, so that
/// several kinds that are not served cost the requests of one.
#[derive(Default)]
pub(crate) struct DiscoveredGroups(Mutex<HashMap<String, GroupVersions>>);

impl DiscoveredGroups {
    fn versions(&self, group: &str) -> GroupVersions {
        locked(&self.0).entry(group.to_owned()).or_default().clone()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClusterClient {
    /// A kind of a group and version; `None` if the cluster does not serve it.
    pub(crate) async fn kind(
        &self,
        group: &str,
        version: &str,
        kind: &str,
    ) -> Result<Option<ServedKind>, RequestFailure> {
        let key = (group.to_owned(), version.to_owned());
        let known = locked(&self.kinds.versions).get(&key).cloned();
        if let Some(found) = known.as_ref().and_then(|kinds| kinds.get(kind)) {
            return Ok(Some(found.clone()));
        }
        if known.is_some() || !is_name(version) || !(group.is_empty() || is_name(group)) {
            return Ok(None);
        }
        let base = match group {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        };
        let Some(list) = self.get(&base).await? else {
            return Ok(None);
        };
        let kinds = Arc::new(served(&base, &list));
        let found = kinds.get(kind).cloned();
        locked(&self.kinds.versions).insert(key, kinds);
        Ok(found)
    }

    /// A kind in the first version that serves it, in the order in which the cluster prefers them.
    /// The preferred version of a group need not have all of its kinds. `None` if no version serves
    /// it. The cluster was asked for that in this call of the site, because a caller takes the
    /// objects of the kind as gone.
    pub(crate) async fn preferred_kind(
        &self,
        of: &GroupKind,
        groups: &DiscoveredGroups,
    ) -> Result<Option<ServedKind>, RequestFailure> {
        if of.group.is_empty() {
            return self.kind("", "v1", &of.kind).await;
        }
        if !is_name(&of.group) {
            return Ok(None);
        }
        let known = locked(&self.kinds.groups).get(&of.group).cloned();
        if let Some(versions) = known {
            let found = self.kind_of_versions(of, &versions).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        let discovered = groups.versions(&of.group);
        // Other kinds of the group wait, and then find its versions here and in the cache.
        let mut discovered = discovered.lock().await;
        let versions = if let Some(versions) = &*discovered {
            // Not those of the cache, which another site of the cluster may have emptied.
            versions.clone()
        } else {
            let versions = self.group_versions(&of.group).await?;
            *discovered = Some(versions.clone());
            versions
        };
        self.kind_of_versions(of, &versions).await
    }

    /// Reads the versions of a group, none if the cluster does not serve the group. Forgets its
    /// kinds, some of which may have been defined since they were read.
    async fn group_versions(&self, group: &str) -> Result<Arc<Vec<String>>, RequestFailure> {
        self.kinds.forget_group(group);
        let Some(found) = self.get(&format!("/apis/{group}")).await? else {
            return Ok(Arc::default());
        };
        let versions = Arc::new(versions(&found));
        locked(&self.kinds.groups).insert(group.to_owned(), versions.clone());
        Ok(versions)
    }

    async fn kind_of_versions(
        &self,
        of: &GroupKind,
        versions: &[String],
    ) -> Result<Option<ServedKind>, RequestFailure> {
        for version in versions {
            let found = self.kind(&of.group, version, &of.kind).await?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

/// The versions of a group, the preferred one first.
fn versions(group: &Value) -> Vec<String> {
    let preferred = group.pointer("/preferredVersion/version");
    let all = group.get("versions").and_then(Value::as_array);
    let all = all.map(Vec::as_slice).unwrap_or_default().iter();
    let mut versions: Vec<String> = Vec::new();
    for version in preferred
        .into_iter()
        .chain(all.filter_map(|one| one.get("version")))
    {
        if let Some(version) = version.as_str()
            && !versions.iter().any(|known| known == version)
        {
            versions.push(version.to_owned());
        }
    }
    versions
}

fn served(base: &str, list: &Value) -> HashMap<String, ServedKind> {
    let resources = list.get("resources").and_then(Value::as_array);
    let resources = resources.map(Vec::as_slice).unwrap_or_default().iter();
    let kinds = resources.filter_map(|resource| {
        let plural = resource.get("name")?.as_str()?;
        let kind = resource.get("kind")?.as_str()?;
        // Subresources have names with a slash.
        is_name(plural).then(|| {
            let served = ServedKind {
                base: base.to_owned(),
                plural: plural.to_owned(),
                namespaced: resource.get("namespaced") == Some(&Value::Bool(true)),
            };
            (kind.to_owned(), served)
        })
    });
    kinds.collect()
}

#[cfg(test)]
mod tests {
    use super::{DiscoveredGroups, GroupKind, is_name, locked, served, versions};
    use crate::client::ClusterClient;
    use crate::kubeconfig::connect;
    use crate::limit::RequestLimit;
    use futures_util::future::join_all;
    use kube::Config;
    use serde_json::{Value, json};
    use std::collections::HashMap;
    use std::net::Ipv4Addr;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    /// The documents of discovery that a cluster has, by path.
    type Documents = Arc<Mutex<HashMap<&'static str, Value>>>;

    /// Answers one request, and closes the connection.
    async fn answer(stream: TcpStream, documents: &Documents) {
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = stream.read_line(&mut head).await;
            if !read.is_ok_and(|read| read > 0) {
                return;
            }
        }
        let path = head.split(' ').nth(1).expect("a path");
        let found = locked(documents).get(path).cloned();
        let status = if found.is_some() {
            "200 OK"
        } else {
            "404 Not Found"
        };
        let body = found.unwrap_or_default().to_string();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            body.len()
        );
        let written = stream.write_all(answer.as_bytes()).await;
        written.expect("the client reads");
    }

    /// A client of a cluster that has these documents alone.
    async fn client_of(documents: Documents) -> ClusterClient {
        // Another test of this process may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let documents = documents.clone();
                tokio::spawn(async move { answer(stream, &documents).await });
            }
        });
        let mut config = Config::new(format!("http://{address}").parse().expect("a URL"));
        // This machine may trust no authority.
        config.root_cert = Some(Vec::new());
        let limit = Duration::from_secs(30);
        let client = connect(config, limit).await.expect("a client");
        let requests = Arc::new(RequestLimit::new(4, 1_000));
        ClusterClient::new(
            client,
            "default".to_owned(),
            requests,
            limit,
            Arc::default(),
        )
    }

    fn kinds(kind: &str, plural: &str) -> Value {
        json!({"resources": [{"name": plural, "kind": kind, "namespaced": true}]})
    }

    #[tokio::test]
    async fn a_kind_may_be_served_outside_the_preferred_version() {
        let group = json!({
            "preferredVersion": {"version": "v1"},
            "versions": [{"version": "v1alpha1"}, {"version": "v1"}],
        });
        let documents: Documents = Arc::new(Mutex::new(HashMap::from([
            ("/apis/x.example", group),
            ("/apis/x.example/v1", kinds("Slice", "slices")),
            ("/apis/x.example/v1alpha1", kinds("Route", "routes")),
        ])));
        let client = client_of(documents.clone()).await;
        let path = async |kind: &str| {
            let of = GroupKind {
                group: "x.example".to_owned(),
                kind: kind.to_owned(),
            };
            let groups = DiscoveredGroups::default();
            let found = client.preferred_kind(&of, &groups).await;
            let found = found.expect("it answers");
            found.map(|served| served.path(None, None))
        };
        assert_eq!(
            path("Slice").await.as_deref(),
            Some("/apis/x.example/v1/slices")
        );
        assert_eq!(
            path("Route").await.as_deref(),
            Some("/apis/x.example/v1alpha1/routes")
        );
        assert_eq!(path("Policy").await, None);
        // Versions that are remembered do not hide a kind that is defined later.
        let later = kinds("Policy", "policies");
        locked(&documents).insert("/apis/x.example/v1", later);
        assert_eq!(
            path("Policy").await.as_deref(),
            Some("/apis/x.example/v1/policies")
        );
    }

    #[tokio::test]
    async fn a_call_reads_a_group_once_however_many_of_its_kinds_are_not_served() {
        let group = json!({"versions": [{"version": "v1"}, {"version": "v1beta1"}]});
        let documents: Documents = Arc::new(Mutex::new(HashMap::from([
            ("/apis/x.example", group),
            ("/apis/x.example/v1", kinds("Slice", "slices")),
            ("/apis/x.example/v1beta1", kinds("Slice", "slices")),
        ])));
        let client = client_of(documents).await;
        let gone = ["A.x.example", "B.x.example", "C.y.example", "D.y.example"];
        let gone = gone.map(|text| GroupKind::parse(text).expect("a kind"));
        // The second call has the cache that the first one filled.
        for calls in 1..=2 {
            let groups = DiscoveredGroups::default();
            let found = gone.iter().map(|of| client.preferred_kind(of, &groups));
            for found in join_all(found).await {
                assert_eq!(found.expect("it answers"), None);
            }
            // One group with two versions, and one group that the cluster does not have.
            assert_eq!(client.counters().totals().reads, calls * (3 + 1));
        }
    }

    #[test]
    fn the_preferred_version_comes_first_and_once() {
        let group = json!({
            "preferredVersion": {"version": "v1"},
            "versions": [{"version": "v2alpha1"}, {"version": "v1"}, {"version": "v1beta1"}],
        });
        assert_eq!(versions(&group), ["v1", "v2alpha1", "v1beta1"]);
        assert!(versions(&json!({})).is_empty());
    }

    #[test]
    fn subresources_are_no_kinds_and_paths_have_namespaces_where_they_belong() {
        let list = json!({"resources": [
            {"name": "deployments", "kind": "Deployment", "namespaced": true},
            {"name": "deployments/scale", "kind": "Scale", "namespaced": true},
            {"name": "classes", "kind": "Class", "namespaced": false},
        ]});
        let kinds = served("/apis/apps/v1", &list);
        assert_eq!(kinds.len(), 2);
        let path = kinds["Deployment"].path(Some("a"), Some("b"));
        assert_eq!(path, "/apis/apps/v1/namespaces/a/deployments/b");
        assert_eq!(
            kinds["Class"].path(Some("a"), None),
            "/apis/apps/v1/classes"
        );
    }

    #[test]
    fn names_cannot_leave_their_place_in_a_path() {
        for name in ["", ".", "..", "a/b", "a?b", "a%2fb", "a b", "é", "a#b"] {
            assert!(!is_name(name), "{name}");
        }
        assert!(!is_name(&"a".repeat(254)));
        for name in ["a", "system:node", "a.b-c", "v1"] {
            assert!(is_name(name), "{name}");
        }
    }

    #[test]
    fn group_kinds_are_written_as_in_an_applyset() {
        for text in ["ConfigMap", "Deployment.apps", "Cluster.cluster.x-k8s.io"] {
            let parsed = GroupKind::parse(text).expect("it is one");
            assert_eq!(parsed.to_string(), text);
        }
        assert_eq!(GroupKind::parse(""), None);
    }
}
