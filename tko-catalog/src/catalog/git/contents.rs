//! Reads git's object store: trees, and the files of packages.

use crate::catalog::descriptor::{DescribedFolders, is_descriptor};
use crate::catalog::layout::below;
use crate::settings::CatalogSettings;
use std::collections::HashMap;
use tko_core::{Error, Result};

/// A file of a commit that a package may have.
#[derive(Clone, Debug)]
pub(crate) struct TreeFile {
    /// The path from the root of the repository.
    pub(crate) name: String,
    /// The id of the blob.
    pub(crate) blob: String,
    pub(crate) size: u64,
    /// Whether it is a symbolic link; or a folder with the name of a file that is looked for.
    pub(crate) is_link: bool,
}

/// The files of one package.
#[derive(Clone, Debug)]
pub(crate) enum GitContent {
    /// The files are known.
    Files(Vec<TreeFile>),
    /// All files of a tree, which is at `path`.
    Tree { tree: String, path: String },
}

/// The contents of a listing, by the numbers in its offers.
///
/// The files of a package are kept, because this saves a process of git for each package. Beyond a
/// number of files, only the trees of further packages are kept: a small repository can have many
/// tags that name very many files.
#[derive(Debug, Default)]
pub(crate) struct GitContents {
    contents: Vec<GitContent>,
    /// How many files are kept for all contents together.
    files: usize,
}

impl GitContents {
    /// The number of the next content.
    pub(crate) fn len(&self) -> usize {
        self.contents.len()
    }

    pub(crate) fn get(&self, number: usize) -> Option<&GitContent> {
        self.contents.get(number)
    }

    /// Adds the package in the tree at `path`, which has these files.
    pub(crate) fn add_files(
        &mut self,
        files: &[&TreeFile],
        tree: &str,
        path: String,
        settings: &CatalogSettings,
    ) {
        let count = self.files + files.len();
        if count > settings.source.max_files {
            self.add_tree(tree.to_owned(), path);
            return;
        }
        self.files = count;
        let files = files.iter().copied().cloned().collect();
        self.contents.push(GitContent::Files(files));
    }

    /// Adds the package in the tree at `path`.
    pub(crate) fn add_tree(&mut self, tree: String, path: String) {
        self.contents.push(GitContent::Tree { tree, path });
    }
}

/// All YAML files of a commit, and the ids of its folders.
#[derive(Debug, Default)]
pub(crate) struct TreeListing {
    pub(crate) files: Vec<TreeFile>,
    folders: HashMap<String, String>,
}

impl TreeListing {
    /// The id of the tree of a folder; the empty path is the root.
    pub(crate) fn folder(&self, path: &str) -> Option<&str> {
        self.folders.get(path).map(String::as_str)
    }

    /// Parses the output of `git ls-tree -r -t -z -l`. `root` is the id of the tree itself; `also` is
    /// the name of files that are listed besides YAML files.
    ///
    /// # Errors
    /// `BadArgument`: it has too many entries.
    pub(crate) fn parse(
        output: &[u8],
        root: &str,
        also: Option<&str>,
        settings: &CatalogSettings,
    ) -> Result<Self> {
        let mut listing = Self::default();
        listing.folders.insert(String::new(), root.to_owned());
        let is_also = |name: &str| name.rsplit('/').next() == also;
        let is_listed = |name: &str| crate::catalog::directory::is_yaml(name) || is_also(name);
        let entries = output
            .split(|byte| *byte == 0)
            .filter(|entry| !entry.is_empty());
        for (count, entry) in entries.enumerate() {
            if count >= settings.source.max_files {
                let most = settings.source.max_files;
                let why = format!("a commit has more than {most} files and folders");
                return Err(Error::bad("url", why));
            }
            // A name that is not UTF-8 cannot be shown or registered.
            let Ok(entry) = std::str::from_utf8(entry) else {
                continue;
            };
            let Some((facts, name)) = entry.split_once('\t') else {
                continue;
            };
            let mut facts = facts.split_ascii_whitespace();
            let (Some(mode), Some(kind), Some(id), size) =
                (facts.next(), facts.next(), facts.next(), facts.next())
            else {
                continue;
            };
            if kind == "tree" {
                listing.folders.insert(name.to_owned(), id.to_owned());
            }
            match kind {
                // Submodules are commits; they are not followed.
                "tree" | "commit" if !is_also(name) => {}
                _ if is_listed(name) => {
                    if name.matches('/').count() > settings.source.max_depth {
                        continue;
                    }
                    listing.files.push(TreeFile {
                        name: name.to_owned(),
                        blob: id.to_owned(),
                        size: size.and_then(|size| size.parse().ok()).unwrap_or(u64::MAX),
                        is_link: mode == "120000" || kind != "blob",
                    });
                }
                _ => {}
            }
        }
        Ok(listing)
    }
}

/// The digest of the files of the package at `place`, by their names below it and their blobs.
pub(super) fn files_digest(place: &str, files: &[&TreeFile]) -> String {
    let mut hasher = blake3::Hasher::new();
    for file in files {
        let name = below(place, &file.name).unwrap_or(&file.name);
        for part in [name, &file.blob] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update(&[u8::from(file.is_link)]);
    }
    hasher.finalize().to_hex().to_string()
}

/// The files of a tree that belong to the package that it is: neither descriptors, nor the files of
/// folders below that have one.
pub(super) fn own_files(files: Vec<TreeFile>) -> Vec<TreeFile> {
    let described = DescribedFolders::of(files.iter().map(|file| file.name.as_str()));
    let is_own = |name: &str| {
        let folder = described.above(name);
        folder.is_none_or(str::is_empty) && !is_descriptor(name)
    };
    let kept: Vec<bool> = files.iter().map(|file| is_own(&file.name)).collect();
    let files = files.into_iter().zip(kept);
    files
        .filter_map(|(file, is_kept)| is_kept.then_some(file))
        .collect()
}

/// Refuses the files of a package that are links, or too large together, before they are read.
///
/// # Errors
/// `BadArgument`: names the file.
pub(crate) fn check(files: &[TreeFile], settings: &CatalogSettings) -> Result<()> {
    let mut left = settings.source.max_bytes;
    for file in files {
        if file.is_link {
            let why = format!(
                "{} is a link, and links are not followed; replace it with a copy of the file",
                file.name
            );
            return Err(Error::bad("package", why));
        }
        left = left.checked_sub(file.size).ok_or_else(|| {
            let most = settings.source.max_bytes;
            let why = format!("{}: the package has more than {most} bytes", file.name);
            Error::bad("package", why)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{GitContent, GitContents, TreeFile, TreeListing, check};
    use crate::settings::CatalogSettings;
    use tko_source::SourceLimits;

    #[test]
    fn contents_keep_a_limited_number_of_files() {
        let settings =
            CatalogSettings::default().with_source(SourceLimits::default().with_max_files(3));
        let file = TreeFile {
            name: "p/a.yaml".to_owned(),
            blob: "b".to_owned(),
            size: 1,
            is_link: false,
        };
        let mut contents = GitContents::default();
        for files in [&[&file, &file][..], &[&file, &file], &[&file], &[&file]] {
            contents.add_files(files, "t", "p".to_owned(), &settings);
        }
        let kept = |number: usize| match contents.get(number).expect("a content") {
            GitContent::Files(files) => files.len(),
            GitContent::Tree { tree, path } => {
                assert_eq!((tree.as_str(), path.as_str()), ("t", "p"));
                0
            }
        };
        assert_eq!(contents.len(), 4);
        assert_eq!([kept(0), kept(1), kept(2), kept(3)], [2, 0, 1, 0]);
    }

    #[test]
    fn hostile_trees_are_bounded() {
        let settings = CatalogSettings::default()
            .with_source(SourceLimits::default().with_max_files(4).with_max_depth(2));
        let parse = |text: &[u8]| TreeListing::parse(text, "root", Some("x.json"), &settings);
        let listing = parse(
            b"040000 tree t1       -\ta\x00100644 blob b1      10\ta/x.yaml\x00\
              120000 blob b2      10\ta/link.yaml\x00160000 commit c1       -\ta/module\0",
        )
        .expect("a listing");
        assert_eq!(listing.folder("a"), Some("t1"));
        assert_eq!(listing.folder(""), Some("root"));
        assert_eq!(listing.files.len(), 2);
        let error = check(&listing.files, &settings).expect_err("a link");
        assert!(error.to_string().contains("a/link.yaml is a link"));
        let garbage = parse(b"\0\xff\xff\t\x00100644\tx.yaml\0no tab\0").expect("nothing");
        assert!(garbage.files.is_empty());
        let deep = parse(b"100644 blob b 1\ta/b/c/x.yaml\0").expect("skipped");
        assert!(deep.files.is_empty());
        // A folder or a submodule in place of a file that is looked for is no regular file.
        let text = b"040000 tree t -\ta/x.json\x00160000 commit c -\tb/x.json\x00100644 blob b 1\tx.json\0";
        let named = parse(text).expect("a listing");
        let links: Vec<bool> = named.files.iter().map(|file| file.is_link).collect();
        assert_eq!(links, [true, true, false]);
        let unknown = parse(b"100644 blob b huge\tx.yaml\0").expect("a file");
        assert!(check(&unknown.files, &settings).is_err());
        assert!(parse(&b"100644 blob b 1\ta.yaml\0".repeat(5)).is_err());
    }
}
