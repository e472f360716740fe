//! A bare copy of a remote repository, which the program git fetches and reads.

use super::address::{GitHost, checked};
use super::contents::{GitContent, TreeFile, TreeListing, check, own_files};
use super::credentials::GitCredentials;
use super::files::{is_locked, remove_locks};
use super::reader::ObjectReader;
use super::ssh::CheckedHost;
use crate::catalog::entry::public_url;
use crate::host_policy::{HostPolicy, PrivateHost};
use crate::program::output;
use crate::properties::Properties;
use crate::settings::CatalogSettings;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use tko_core::{Error, Result};
use tko_source::{SourceFile, folder_exceeds, folder_size, git_command};
use tokio::process::Command;

/// Settings of git that no configuration file of this machine overrides.
const CONFIGURATION: [&str; 12] = [
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.symlinks=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "transfer.fsckObjects=true",
    "protocol.allow=never",
    "protocol.https.allow=always",
    "protocol.http.allow=always",
    "protocol.ssh.allow=always",
];

/// A part of git's messages about servers that offer no shallow copies. `shallow` alone is also part
/// of the names of files.
const NOT_SHALLOW: &str = "does not support shallow";

/// Maximum number of refs of a repository.
const MAX_REFS: usize = 200_000;

/// A tag or branch, and the commit that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GitRef {
    /// The full name, such as `refs/tags/v1`.
    pub(crate) name: String,
    pub(crate) commit: String,
}

impl GitRef {
    pub(crate) fn is_branch(&self) -> bool {
        self.name.starts_with("refs/heads/")
    }

    /// The name without `refs/tags/` or `refs/heads/`.
    pub(crate) fn short(&self) -> &str {
        let rest = self.name.strip_prefix("refs/").unwrap_or(&self.name);
        rest.split_once('/').map_or(rest, |(_, short)| short)
    }
}

/// The tags and branches of a remote repository.
pub(crate) struct RemoteRefs {
    pub(crate) refs: Vec<GitRef>,
    pub(crate) default_branch: Option<String>,
}

impl RemoteRefs {
    /// Whether there is a branch of this name.
    pub(crate) fn has_branch(&self, branch: &str) -> bool {
        let is_it = |reference: &GitRef| reference.is_branch() && reference.short() == branch;
        self.refs.iter().any(is_it)
    }
}

/// A bare copy.
pub(crate) struct GitRepository {
    url: String,
    path: PathBuf,
    is_local: bool,
    /// The host; `None` if the repository is local.
    host: Option<GitHost>,
    policy: HostPolicy,
    /// The addresses of the host that were checked, as git takes them.
    addresses: Option<String>,
    /// The host with the address that was checked, for SSH.
    checked: Option<CheckedHost>,
    credentials: GitCredentials,
    /// A file that is listed besides YAML files.
    also: Option<&'static str>,
    /// The running reader of objects, if any.
    reader: Option<ObjectReader>,
    /// Removes a copy that is not kept.
    temporary: Option<tempfile::TempDir>,
}

impl GitRepository {
    /// The copy of the repository that the properties of an entry name. `owner` distinguishes
    /// entries with the same repository: each has its own copy.
    ///
    /// # Errors
    /// `BadArgument`: the URL or a credential is not valid.
    pub(crate) async fn open(
        owner: &str,
        properties: Properties<'_>,
        settings: &CatalogSettings,
    ) -> Result<Self> {
        let (url, is_local) = checked(properties.required("url")?, settings)?;
        let host = GitHost::of(&url);
        let credentials = GitCredentials::read(&url, host.as_ref(), properties, settings).await?;
        let (path, temporary) = if let Some(cache) = &settings.cache {
            let digest = blake3::hash(format!("{owner}\0{url}").as_bytes());
            let name: String = digest.to_hex().chars().take(32).collect();
            (cache.join(name), None)
        } else {
            let folder = tempfile::tempdir()
                .map_err(|error| Error::internal("make a folder for a repository", error))?;
            (folder.path().join("copy"), Some(folder))
        };
        Ok(Self {
            url,
            path,
            is_local,
            host,
            policy: HostPolicy::new(settings),
            addresses: None,
            checked: None,
            credentials,
            also: None,
            reader: None,
            temporary,
        })
    }

    /// Reads the secrets of the entry again. The copy stays.
    ///
    /// # Errors
    /// `BadArgument`: a reference cannot be read, or a secret is not for the host.
    pub(crate) async fn renew_secrets(
        &mut self,
        properties: Properties<'_>,
        settings: &CatalogSettings,
    ) -> Result<()> {
        let host = self.host.as_ref();
        self.credentials = GitCredentials::read(&self.url, host, properties, settings).await?;
        Ok(())
    }

    /// A command of git that no repository and no user configuration can extend.
    fn git(&self, arguments: &[&str]) -> Command {
        let mut command = Command::from(git_command("git"));
        for setting in CONFIGURATION {
            command.args(["-c", setting]);
        }
        if self.is_local {
            command.args(["-c", "protocol.file.allow=always"]);
        }
        if !self.credentials.redirects {
            command.args(["-c", "http.followRedirects=false"]);
        }
        if let Some(addresses) = &self.addresses {
            command.args(["-c", &format!("http.curloptResolve={addresses}")]);
        }
        command
            .arg("--git-dir")
            .arg(&self.path)
            .args(arguments)
            .current_dir("/")
            .env("GIT_NO_LAZY_FETCH", "1");
        if let Some(ca) = &self.credentials.ca {
            // The flag overrides the configuration, which the environment could otherwise change.
            command.env("GIT_SSL_CAINFO", ca.path());
        }
        if let Some(ssh) = self.credentials.ssh.command(self.checked.as_ref()) {
            command.env("GIT_SSH_COMMAND", ssh);
        }
        if let Some((header, place)) = &self.credentials.authorization {
            // In the environment, because everybody on the machine can read arguments.
            command
                .env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", format!("http.{place}.extraHeader"))
                .env("GIT_CONFIG_VALUE_0", header);
        }
        command
    }

    async fn run(&self, arguments: &[&str], what: &str, most: usize) -> Result<Vec<u8>> {
        let url = public_url(&self.url);
        let run = output(self.git(arguments), &format!("{what} {url}"), most).await;
        // git repeats the URL, which contains no secret: secrets are not accepted in URLs.
        run.map_err(|error| explained(error, &url))
    }

    /// The tags and branches of the remote repository.
    pub(crate) async fn remote_refs(&mut self, settings: &CatalogSettings) -> Result<RemoteRefs> {
        self.check_host().await?;
        self.create().await?;
        let url = self.url.clone();
        let arguments = [
            "ls-remote",
            "--symref",
            "--",
            &url,
            "HEAD",
            "refs/heads/*",
            "refs/tags/*",
        ];
        let out = self.run(&arguments, "read the refs of", settings.max_listing_bytes);
        let out = out.await?;
        let text = String::from_utf8_lossy(&out);
        let mut found = RemoteRefs {
            refs: Vec::new(),
            default_branch: None,
        };
        for line in text.lines() {
            let Some((object, name)) = line.split_once('\t') else {
                continue;
            };
            if let Some(target) = object.strip_prefix("ref: refs/heads/") {
                found.default_branch = Some(target.to_owned());
            } else if let Some(tag) = name.strip_suffix("^{}") {
                // The commit of an annotated tag comes after the tag.
                if let Some(last) = found.refs.last_mut().filter(|last| last.name == tag) {
                    object.clone_into(&mut last.commit);
                }
            } else if name.starts_with("refs/") && is_object_id(object) {
                found.refs.push(GitRef {
                    name: name.to_owned(),
                    commit: object.to_owned(),
                });
            }
            if found.refs.len() > MAX_REFS {
                let why = format!("the repository has more than {MAX_REFS} tags and branches");
                return Err(Error::bad("url", why));
            }
        }
        Ok(found)
    }

    /// Checks the addresses of the host if it must be public. Later commands of git connect to these
    /// addresses, whatever the name then resolves to; those of SSH to the first one.
    async fn check_host(&mut self) -> Result<()> {
        self.addresses = None;
        self.checked = None;
        if self.is_local || !self.policy.is_restricted() {
            return Ok(());
        }
        let Some(host) = &self.host else {
            let why = "the URL has an unusual host; write a name of letters, digits, - and ., or an \
                       address";
            return Err(Error::bad("url", why));
        };
        if !self.policy.is_limited(&host.name) {
            return Ok(());
        }
        let found = self.policy.addresses(&host.name, host.port).await;
        let found = found.map_err(|error| match PrivateHost::in_chain(&*error) {
            Some(private) => Error::from(private.clone()),
            None => Error::unavailable(format!("resolve the host {:?}", host.name), error),
        })?;
        // An address is not resolved.
        if host.name.starts_with('[') {
            return Ok(());
        }
        if host.is_web {
            let texts: Vec<String> = found
                .iter()
                .map(|address| match address.ip() {
                    IpAddr::V4(address) => address.to_string(),
                    IpAddr::V6(address) => format!("[{address}]"),
                })
                .collect();
            let (name, port) = (&host.name, host.port);
            self.addresses = Some(format!("{name}:{port}:{}", texts.join(",")));
        } else {
            self.checked = found.first().map(|address| CheckedHost {
                name: host.name.clone(),
                port: host.port,
                address: address.ip(),
            });
        }
        Ok(())
    }

    /// Makes the copy, if there is none.
    async fn create(&mut self) -> Result<()> {
        if self.path.join("HEAD").exists() {
            return Ok(());
        }
        let cannot = |error| Error::internal("make a folder for a repository", error);
        tokio::fs::create_dir_all(&self.path)
            .await
            .map_err(cannot)?;
        // Without a template no hook is copied.
        let arguments = ["init", "--quiet", "--bare", "--template="];
        self.run(&arguments, "make a copy of", 1 << 20)
            .await
            .map(|_| ())
    }

    /// Fetches the commits that the copy does not have.
    pub(crate) async fn fetch(
        &mut self,
        refs: &[GitRef],
        settings: &CatalogSettings,
    ) -> Result<()> {
        self.reader = None;
        let present = self.present(refs, settings).await?;
        let mut wanted: Vec<&GitRef> = refs
            .iter()
            .zip(present)
            .filter_map(|(reference, is_present)| (!is_present).then_some(reference))
            .collect();
        if wanted.is_empty() {
            return Ok(());
        }
        if folder_size(self.path.clone()).await > settings.max_repository_bytes {
            // Objects that nothing refers to any more are only dropped with the whole copy.
            let cannot = |error| Error::internal("remove a copy of a repository", error);
            tokio::fs::remove_dir_all(&self.path)
                .await
                .map_err(cannot)?;
            self.create().await?;
            // The new copy has no commit.
            wanted = refs.iter().collect();
        }
        let specs: Vec<String> = wanted
            .iter()
            .map(|reference| format!("+{}:{}", reference.name, kept_as(&reference.name)))
            .collect();
        let mut fetched = self.fetch_specs(&specs, true, settings).await;
        let error = fetched.as_ref().err();
        if error.is_some_and(|error| is_locked(&error.chain())) {
            // A copy that is kept may be in use by another process, until its sync times out.
            let age = if self.temporary.is_some() {
                Duration::ZERO
            } else {
                settings.timeout
            };
            if remove_locks(self.path.clone(), age).await {
                fetched = self.fetch_specs(&specs, true, settings).await;
            }
        }
        match fetched {
            // Web servers without the program git offer no shallow copies.
            Err(error) if error.chain().contains(NOT_SHALLOW) => {
                self.fetch_specs(&specs, false, settings).await?;
            }
            fetched => fetched?,
        }
        let present = self.present(refs, settings).await?;
        if present.iter().all(|is_present| *is_present) {
            return Ok(());
        }
        let why = "a tag or branch changed meanwhile; the next sync tries again";
        let url = public_url(&self.url);
        Err(Error::unavailable(format!("fetch {url}"), why))
    }

    async fn fetch_specs(
        &self,
        specs: &[String],
        shallow: bool,
        settings: &CatalogSettings,
    ) -> Result<()> {
        let url = public_url(&self.url);
        let mut arguments = vec!["fetch", "--quiet", "--no-tags", "--no-recurse-submodules"];
        arguments.extend(["--no-write-fetch-head", "--force", "--stdin"]);
        if shallow {
            arguments.extend(["--depth", "1"]);
        }
        arguments.extend(["--", &self.url]);
        let mut command = self.git(&arguments);
        let list = tempfile::NamedTempFile::new()
            .and_then(|mut file| {
                use std::io::Write;
                file.write_all(specs.join("\n").as_bytes())?;
                file.write_all(b"\n")?;
                std::fs::File::open(file.path())
            })
            .map_err(|error| Error::internal("write the list of refs", error))?;
        command.stdin(list);
        let what = format!("fetch {url}");
        let fetched = crate::program::output_with_input(command, &what, 1 << 20);
        let most = settings.max_repository_bytes;
        tokio::select! {
            fetched = fetched => fetched.map(|_| ()).map_err(|error| explained(error, &url)),
            () = folder_exceeds(&self.path, most) => {
                let why = format!(
                    "the copy of the repository has more than {most} bytes; name a branch or fewer \
                     tags"
                );
                Err(Error::bad("url", why))
            }
        }
    }

    /// Whether the copy has each of these commits.
    async fn present(&self, refs: &[GitRef], settings: &CatalogSettings) -> Result<Vec<bool>> {
        let names: Vec<String> = refs
            .iter()
            .map(|r| format!("{}^{{tree}}", r.commit))
            .collect();
        let found = self.check_objects(&names, settings).await?;
        Ok(found.into_iter().map(|found| found.is_some()).collect())
    }

    /// The tree at each `COMMIT:PATH`, and whether it has an entry with the name of the files that
    /// are listed besides YAML files. `None` if there is no tree.
    pub(crate) async fn trees(
        &self,
        places: &[String],
        settings: &CatalogSettings,
    ) -> Result<Vec<Option<(String, bool)>>> {
        let mut names = places.to_vec();
        if let Some(also) = self.also {
            names.extend(places.iter().map(|place| format!("{place}/{also}")));
        }
        let mut trees = self.check_objects(&names, settings).await?;
        let mut also = trees.split_off(places.len()).into_iter();
        let found = trees.into_iter().map(|tree| {
            let has_also = also.next().flatten().is_some();
            let (id, kind) = tree?;
            (kind == "tree").then_some((id, has_also))
        });
        Ok(found.collect())
    }

    /// The id and type of each object, by one process.
    async fn check_objects(
        &self,
        names: &[String],
        settings: &CatalogSettings,
    ) -> Result<Vec<Option<(String, String)>>> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut input = tempfile::tempfile()
            .map_err(|error| Error::internal("write a list of objects", error))?;
        {
            use std::io::{Seek, Write};
            let written = input
                .write_all(names.join("\n").as_bytes())
                .and_then(|()| input.write_all(b"\n"))
                .and_then(|()| input.rewind());
            written.map_err(|error| Error::internal("write a list of objects", error))?;
        }
        let mut command = self.git(&["cat-file", "--batch-check"]);
        command.stdin(input);
        let what = "read the objects of a repository";
        let out = crate::program::output_with_input(command, what, settings.max_listing_bytes);
        let out = out.await?;
        let text = String::from_utf8_lossy(&out);
        let found: Vec<_> = text
            .lines()
            .map(|line| {
                let mut words = line.split(' ');
                match (words.next(), words.next(), words.next()) {
                    (Some(id), Some(kind), Some(_)) if is_object_id(id) => {
                        Some((id.to_owned(), kind.to_owned()))
                    }
                    _ => None,
                }
            })
            .collect();
        if found.len() == names.len() {
            return Ok(found);
        }
        Err(Error::unavailable(what, "git answered something else"))
    }

    /// All YAML files and folders of a commit.
    pub(crate) async fn tree(
        &self,
        commit: &str,
        settings: &CatalogSettings,
    ) -> Result<TreeListing> {
        let root = self
            .check_objects(&[format!("{commit}^{{tree}}")], settings)
            .await?;
        let Some(Some((root, _))) = root.into_iter().next() else {
            let why = "the commit is not in the copy";
            return Err(Error::unavailable("read a commit", why));
        };
        self.list_tree(&root, settings).await
    }

    /// Lists the files of a tree.
    pub(crate) async fn list_tree(
        &self,
        tree: &str,
        settings: &CatalogSettings,
    ) -> Result<TreeListing> {
        let arguments = ["ls-tree", "-r", "-t", "-z", "-l", "--full-tree", tree];
        let out = self
            .run(&arguments, "list", settings.max_listing_bytes)
            .await?;
        TreeListing::parse(&out, tree, self.also, settings)
    }

    /// Reads the files of a package.
    pub(crate) async fn load(
        &mut self,
        content: &GitContent,
        settings: &CatalogSettings,
    ) -> Result<Vec<SourceFile>> {
        let files: Vec<TreeFile> = match content {
            GitContent::Files(files) => files.clone(),
            GitContent::Tree { tree, path } => {
                let listed = self.list_tree(tree, settings).await?.files;
                let placed = own_files(listed).into_iter().map(|mut file| {
                    if !path.is_empty() {
                        file.name = format!("{path}/{}", file.name);
                    }
                    file
                });
                placed.collect()
            }
        };
        check(&files, settings)?;
        let mut read = Vec::with_capacity(files.len());
        for file in files {
            let bytes = self.blob(&file).await;
            if bytes.is_err() {
                self.reader = None;
            }
            read.push(SourceFile {
                name: file.name,
                bytes: bytes?,
            });
        }
        Ok(read)
    }

    /// Reads one blob through a process that is kept for the next one.
    async fn blob(&mut self, file: &TreeFile) -> Result<Vec<u8>> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => ObjectReader::start(self.git(&["cat-file", "--batch"]))?,
        };
        // After a failure, or if this call is dropped, the next file gets a new process.
        let bytes = reader.read(file).await?;
        self.reader = Some(reader);
        Ok(bytes)
    }

    /// Lists files of this name besides YAML files.
    pub(crate) fn list_also(&mut self, name: &'static str) {
        self.also = Some(name);
    }

    /// Ends the reader of objects.
    pub(crate) async fn rest(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.end().await;
        }
    }
}

/// The name of a ref in the copy. It is flat: the remote repository may replace `release` by
/// `release/1`, and git cannot have both.
fn kept_as(name: &str) -> String {
    format!("refs/copy/{}", blake3::hash(name.as_bytes()).to_hex())
}

fn is_object_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Adds advice to an error of git.
fn explained(error: Error, url: &str) -> Error {
    let text = error.chain();
    let redirects = ["error: 301", "error: 302", "error: 307", "error: 308"];
    if redirects.iter().any(|part| text.contains(part)) {
        let why = format!("{url} is redirected; write the URL that it leads to ({text})");
        return Error::bad("url", why);
    }
    let is_refused = [
        "Authentication failed",
        "could not read Username",
        "Permission denied",
        "error: 403",
    ];
    if is_refused.iter().any(|part| text.contains(part)) {
        return Error::Unauthenticated(format!(
            "{url}: git is refused; set the property token, or give git its credentials ({text})"
        ));
    }
    error
}
