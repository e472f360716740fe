//! Files and folders of this machine.

use crate::budget::ReadBudget;
use crate::kpt::KPTFILE;
use crate::package::SourceFile;
use std::fs;
use std::path::Path;
use tko_core::Result;

/// Whether a file counts when a folder or an archive is read.
pub(crate) fn is_yaml(name: &str) -> bool {
    let path = Path::new(name);
    path.file_name().is_some_and(|name| name == KPTFILE)
        || path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// Reads one file.
pub(crate) fn bytes(path: &Path, budget: &mut ReadBudget) -> Result<Vec<u8>> {
    let shown = path.display();
    let file = fs::File::open(path)
        .map_err(|error| budget.error(format_args!("cannot open {shown}: {error}")))?;
    budget.read(&shown.to_string(), file)
}

/// The YAML files below a folder, in the order of their paths.
///
/// Refuses or lists links and devices with names of YAML files. A file that is read besides them may
/// be a link: it then has no content. Skips other links and the folder `.git`.
pub(crate) fn files(root: &Path, budget: &mut ReadBudget) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    let mut folders = vec![(root.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let cannot_list = |error: std::io::Error, budget: &ReadBudget| {
            budget.error(format_args!("cannot list {}: {error}", folder.display()))
        };
        let entries = fs::read_dir(&folder).map_err(|error| cannot_list(error, budget))?;
        for entry in entries {
            let entry = entry.map_err(|error| cannot_list(error, budget))?;
            budget.count_file()?;
            // The metadata of the entry itself, because links are not followed.
            let file_type = entry
                .file_type()
                .map_err(|error| cannot_list(error, budget))?;
            let path = entry.path();
            let name = path.display().to_string();
            if budget.is_also(&name) && !file_type.is_file() {
                let bytes = Vec::new();
                files.push(SourceFile { name, bytes });
            } else if file_type.is_dir() {
                if entry.file_name() == ".git" {
                    continue;
                }
                if depth == budget.limits.max_depth {
                    return Err(budget.error(format_args!(
                        "{name} is more than {depth} folders deep; name a part of it"
                    )));
                }
                folders.push((path, depth + 1));
            } else if budget.reads(&name) {
                if !file_type.is_file() {
                    irregular(&name, file_type.is_symlink(), budget)?;
                    continue;
                }
                let file = fs::File::open(&path)
                    .map_err(|error| budget.error(format_args!("cannot open {name}: {error}")))?;
                let bytes = budget.keep(&name, file)?;
                files.push(SourceFile { name, bytes });
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Lists a link or a device in place of a file, or refuses it.
pub(crate) fn irregular(name: &str, is_link: bool, budget: &mut ReadBudget) -> Result<()> {
    if let Some(found) = &mut budget.irregular {
        found.push(name.to_owned());
        return Ok(());
    }
    Err(if is_link {
        budget.error(format_args!(
            "{name} is a link, and links are not followed; replace it with a copy of the file"
        ))
    } else {
        budget.error(format_args!(
            "{name} is not a regular file; remove or rename it"
        ))
    })
}
