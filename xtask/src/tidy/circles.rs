//! Circles of files that import each other, as a test.

use super::{is_test, sources};
use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use syn::visit::{self, Visit};
use syn::{Item, UseTree, Visibility};

/// Most files of a circle: an item and its parts may know each other.
const MOST_FILES: usize = 3;

/// A module, or an item of one, by its path within the crate.
type ModulePath = Vec<String>;

/// The files of one crate.
#[derive(Default)]
struct CrateFiles {
    modules: BTreeMap<ModulePath, ImportReader>,
}

/// The items that a file takes from its crate, and those that it passes on.
#[derive(Default)]
struct ImportReader {
    module: ModulePath,
    taken: BTreeSet<ModulePath>,
    passed_on: BTreeMap<String, ModulePath>,
}

impl ImportReader {
    fn read(module: ModulePath, text: &str) -> Self {
        let mut reader = Self {
            module,
            ..Self::default()
        };
        let file = syn::parse_file(text).expect("sources compile");
        for item in &file.items {
            match item {
                Item::Use(item) => {
                    let is_public = !matches!(item.vis, Visibility::Inherited);
                    reader.tree(is_public, &mut Vec::new(), &item.tree);
                }
                // Tests of a file may use the whole crate.
                Item::Mod(inline) if inline.ident == "tests" => {}
                other => reader.visit_item(other),
            }
        }
        reader
    }

    fn tree(&mut self, is_public: bool, before: &mut Vec<String>, tree: &UseTree) {
        match tree {
            UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.tree(is_public, before, &path.tree);
                before.pop();
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.tree(is_public, before, tree);
                }
            }
            UseTree::Name(name) => self.import(is_public, before, &name.ident.to_string(), None),
            UseTree::Rename(name) => {
                let known_as = name.rename.to_string();
                self.import(is_public, before, &name.ident.to_string(), Some(known_as));
            }
            UseTree::Glob(_) => self.import(is_public, before, "self", None),
        }
    }

    fn import(&mut self, is_public: bool, before: &[String], name: &str, known_as: Option<String>) {
        let mut path = before.to_vec();
        if name != "self" {
            path.push(name.to_owned());
        }
        let is_rooted = path
            .first()
            .is_some_and(|first| ["crate", "self", "super"].contains(&first.as_str()));
        let path = if is_rooted {
            self.within_crate(&path)
        } else {
            // A module of this one, or another crate: that is no file of this crate.
            [self.module.clone(), path].concat()
        };
        if is_public {
            let name = known_as.unwrap_or_else(|| name.to_owned());
            self.passed_on.insert(name, path);
        } else if is_rooted {
            self.taken.insert(path);
        }
    }

    fn take(&mut self, path: &[String]) {
        if let [first, _, ..] = path
            && ["crate", "super"].contains(&first.as_str())
        {
            self.taken.insert(self.within_crate(path));
        }
    }

    /// The paths in the arguments of a macro, or in its rules.
    fn take_tokens(&mut self, tokens: TokenStream) {
        let mut path = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(sign) if sign.as_char() == ':' => colons += 1,
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.take(&std::mem::take(&mut path));
                    }
                    colons = 0;
                    path.push(name.to_string());
                }
                other => {
                    self.take(&std::mem::take(&mut path));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.take_tokens(group.stream());
                    }
                }
            }
        }
        self.take(&path);
    }

    /// A path that begins with `crate`, `self` or `super`, from the root of the crate.
    fn within_crate(&self, path: &[String]) -> ModulePath {
        let mut from = self.module.clone();
        let mut rest = path;
        while let [first, after @ ..] = rest {
            match first.as_str() {
                "crate" => from.clear(),
                "super" => drop(from.pop()),
                "self" => {}
                _ => break,
            }
            rest = after;
        }
        from.extend(rest.iter().cloned());
        from
    }
}

impl<'ast> Visit<'ast> for ImportReader {
    /// `super` in an inline module is this file.
    fn visit_item_mod(&mut self, inline: &'ast syn::ItemMod) {
        self.module.push(inline.ident.to_string());
        visit::visit_item_mod(self, inline);
        self.module.pop();
    }

    /// An import within a function or an inline module.
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(false, &mut Vec::new(), &item.tree);
    }

    /// `pub(in crate::a)` takes nothing.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.take(&parts);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.take_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

impl CrateFiles {
    /// The file in which something is declared, also if other files pass it on.
    fn file_of(&self, path: &[String]) -> Option<&ModulePath> {
        let mut path = path.to_vec();
        // More hops than this are a circle of `pub use`.
        'hops: for _ in 0..8 {
            for length in (0..=path.len()).rev() {
                let Some((module, reader)) = self.modules.get_key_value(&path[..length]) else {
                    continue;
                };
                let Some(name) = path.get(length) else {
                    return Some(module);
                };
                match reader.passed_on.get(name) {
                    Some(elsewhere) => {
                        path = [elsewhere, &path[length + 1..]].concat();
                        continue 'hops;
                    }
                    None => return Some(module),
                }
            }
        }
        None
    }

    /// The files that each file imports. The root of a crate imports all, and counts for none.
    fn imports(&self) -> BTreeMap<&ModulePath, BTreeSet<&ModulePath>> {
        let of = |(module, reader): (&ModulePath, &ImportReader)| {
            let files = reader.taken.iter().filter_map(|path| self.file_of(path));
            let files = files.filter(|file| !file.is_empty() && *file != module);
            files.collect()
        };
        let all = self.modules.iter();
        all.map(|(module, reader)| (module, of((module, reader))))
            .collect()
    }

    /// Groups of more than [`MOST_FILES`] files that all lead to each other.
    fn circles(&self) -> BTreeSet<Vec<&ModulePath>> {
        let imports = self.imports();
        let all_from = |from| {
            let mut reached = BTreeSet::new();
            let mut waiting = vec![from];
            while let Some(file) = waiting.pop() {
                let next: &BTreeSet<&ModulePath> = &imports[file];
                for next in next {
                    if reached.insert(*next) {
                        waiting.push(*next);
                    }
                }
            }
            reached
        };
        let reached: BTreeMap<&ModulePath, BTreeSet<&ModulePath>> =
            imports.keys().map(|file| (*file, all_from(file))).collect();
        let circle = |file: &ModulePath| -> Vec<&ModulePath> {
            let there = reached[file].iter().copied();
            there
                .filter(|other| reached[other].contains(file))
                .collect()
        };
        let circles = imports.keys().map(|file| circle(file));
        circles.filter(|circle| circle.len() > MOST_FILES).collect()
    }
}

/// The crates of the repository by their folders.
fn crates(sources: Vec<(String, String)>) -> BTreeMap<String, CrateFiles> {
    let mut crates: BTreeMap<String, CrateFiles> = BTreeMap::new();
    for (path, text) in sources {
        let Some((folder, file)) = path.split_once("/src/") else {
            continue;
        };
        if is_test(&path) {
            continue;
        }
        let file = file.trim_end_matches(".rs");
        let module: ModulePath = match file {
            "lib" | "main" => Vec::new(),
            file => file.split('/').map(str::to_owned).collect(),
        };
        let files = crates.entry(folder.to_owned()).or_default();
        let reader = ImportReader::read(module.clone(), &text);
        files.modules.insert(module, reader);
    }
    crates
}

#[test]
fn files_do_not_import_each_other_in_large_circles() {
    let crates = crates(sources());
    assert!(crates.len() > 20, "only {} crates found", crates.len());
    let mut wrong = Vec::new();
    for (folder, files) in &crates {
        for circle in files.circles() {
            let names: Vec<String> = circle.iter().map(|module| module.join("/")).collect();
            wrong.push(format!("{folder}: {}", names.join(", ")));
        }
    }
    assert!(
        wrong.is_empty(),
        "more than {MOST_FILES} files import each other; move what all of them need into a file \
         of its own:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn circles_are_found_also_through_names_that_are_passed_on() {
    let file = |name: &str, text: &str| (format!("one/src/{name}.rs"), text.to_owned());
    let ring = vec![
        file("lib", "mod a; mod b; mod c; pub use b::deep::B;"),
        file("a", "use crate::B;"),
        file("b", "mod deep;"),
        file("b/deep", "use crate::c::{C, Other}; pub struct B;"),
        file(
            "c",
            "fn f() { write!(f, \"{}\", (1, crate::d::f())) } pub struct C;",
        ),
        file(
            "d",
            "use super::a::A; #[cfg(test)] mod tests { use crate::e::E; }",
        ),
        file("e", "use crate::d;"),
    ];
    let crates = crates(ring);
    let circles = crates["one"].circles();
    let names: Vec<String> = circles
        .iter()
        .flatten()
        .map(|module| module.join("/"))
        .collect();
    assert_eq!(names, ["a", "b/deep", "c", "d"]);
}
