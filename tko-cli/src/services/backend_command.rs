//! The commands that inspect or repair the storage backend.

use super::backend::{BackendChoice, ConnectionArgs, LocationArgs, connect};
use crate::console::Console;
use crate::output;
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::fmt::Display;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tko_backend_sqlite::Sqlite;
use tko_core::backup::{BackupReader, BackupSize, export, restore};
use tko_core::system::SystemClock;
use tko_core::{Backend, Error};

/// Inspect or repair the storage backend
#[derive(Debug, Subcommand)]
pub(crate) enum BackendCommand {
    /// Check that the stored data are consistent; safe while in use
    Check(CheckArgs),
    /// Write a backup of all entities to a file; safe while in use
    Backup(BackupArgs),
    /// Restore a backup into an empty backend
    Restore(RestoreArgs),
    /// Copy all entities from one backend to an empty one
    Copy(CopyArgs),
}

/// The flags of `backend check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    location: LocationArgs,
    /// Repair what can be repaired without losing data
    #[arg(long)]
    repair: bool,
}

impl BackendCommand {
    pub(crate) async fn run(self, console: &mut Console<'_>) -> anyhow::Result<()> {
        match self {
            Self::Check(check) => check.run(console).await,
            Self::Backup(backup) => backup.run(console).await,
            Self::Restore(restore) => restore.run(console).await,
            Self::Copy(copy) => copy.run(console).await,
        }
    }
}

/// The flags of `backend backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    location: LocationArgs,
    /// File to write; it must not exist
    file: PathBuf,
}

/// The flags of `backend restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    location: LocationArgs,
    /// File to read
    file: PathBuf,
}

/// The flags of `backend copy`.
#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    #[command(flatten)]
    location: CopyLocation,
    /// Backend to read: sqlite, sqlite:PATH, postgresql or postgresql://URL
    from: BackendChoice,
    /// Empty backend to write: sqlite, sqlite:PATH, postgresql or postgresql://URL
    to: BackendChoice,
}

/// Where the backends of a copy are if their names do not say so
#[derive(Debug, Args)]
pub(crate) struct CopyLocation {
    /// Directory for data [default: tko in $XDG_DATA_HOME, or in ~/.local/share]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    connection: ConnectionArgs,
}

impl BackupArgs {
    async fn run(self, console: &mut Console<'_>) -> anyhow::Result<()> {
        let backend = open_source(&self.location, self.location.choice()).await?;
        let size = write_backup(backend, &self.file).await?;
        print_size(console, &size, &self.file.display().to_string())
    }
}

impl RestoreArgs {
    async fn run(self, console: &mut Console<'_>) -> anyhow::Result<()> {
        let choice = self.location.choice();
        let shown = self.file.display().to_string();
        let input = File::open(&self.file).with_context(|| format!("cannot open {shown:?}"))?;
        let size = restore_into(&self.location, choice, BufReader::new(input)).await?;
        print_size(console, &size, &shown)
    }
}

impl CopyArgs {
    async fn run(self, console: &mut Console<'_>) -> anyhow::Result<()> {
        if self.from == self.to {
            return Err(Error::bad("TO", "it is the backend to read; name another one").into());
        }
        let location = LocationArgs::of(self.location.data, self.location.connection);
        let backend = open_source(&location, self.from).await?;
        // An intermediate file keeps memory use small, and reading it checks everything that is
        // copied.
        let mut between = tempfile()?;
        let (file, _) = export(backend, BufWriter::new(&mut between)).await?;
        drop(file);
        between.rewind()?;
        let size = restore_into(&location, self.to, BufReader::new(between)).await?;
        print_size(console, &size, "the other backend")
    }
}

/// A file without a name, which disappears with its handle.
fn tempfile() -> anyhow::Result<File> {
    tempfile::tempfile()
        .context("cannot make a temporary file; set TMPDIR to a directory with space")
}

fn print_size(console: &mut Console<'_>, size: &BackupSize, file: &str) -> anyhow::Result<()> {
    let shown = json!({"entities": size.entities, "file": file});
    output::value(console.format, &shown, console.out)?;
    console.out.flush()?;
    Ok(())
}

/// Writes a backup to a new file. The name appears only when everything is on the disk.
async fn write_backup(backend: Arc<dyn Backend>, path: &Path) -> anyhow::Result<BackupSize> {
    if path.exists() {
        let message = format!("the file {path:?} exists; name a new one");
        return Err(Error::bad("FILE", message).into());
    }
    let folder = folder_of(path);
    let file = tempfile::NamedTempFile::new_in(folder)
        .with_context(|| format!("cannot write to the directory {folder:?}"))?;
    let (out, size) = export(backend, BufWriter::new(file)).await?;
    let file = out.into_inner().context("cannot write the backup")?;
    file.as_file()
        .sync_all()
        .context("cannot write the backup")?;
    file.persist_noclobber(path)
        .with_context(|| format!("cannot create {path:?}"))?;
    sync_folder(folder);
    Ok(size)
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Writes a folder to the disk: the name of a new file is durable when its folder is.
fn sync_folder(folder: &Path) {
    File::open(folder).and_then(|folder| folder.sync_all()).ok();
}

/// Opens a backend to read from.
async fn open_source(
    location: &LocationArgs,
    choice: BackendChoice,
) -> anyhow::Result<Arc<dyn Backend>> {
    Ok(match choice {
        BackendChoice::Memory => return Err(nothing_kept().into()),
        BackendChoice::Sqlite(path) => Arc::new(open_sqlite(location, path, false).await?),
        BackendChoice::Postgresql(url) => Arc::new(connect(location.postgres_settings(url)).await?),
    })
}

/// Restores a backup into an empty backend.
async fn restore_into(
    location: &LocationArgs,
    choice: BackendChoice,
    input: impl Read + Send,
) -> anyhow::Result<BackupSize> {
    let mut reader = BackupReader::new(input)?;
    match choice {
        BackendChoice::Memory => Err(nothing_kept().into()),
        BackendChoice::Sqlite(path) => {
            // The lock prevents a server from starting on the folder meanwhile.
            let (path, _folder) = location.locked_file(path)?;
            refuse_old_files(&path)?;
            // The file gets its name when it is complete.
            let mut partial = path.clone().into_os_string();
            partial.push(".restoring");
            let partial = PathBuf::from(partial);
            remove_database(&partial)?;
            let sqlite = open_sqlite(location, Some(partial.clone()), true).await?;
            let restored = restore(&mut reader, &sqlite).await;
            let closed = sqlite.close().await;
            match (restored, closed) {
                (Ok(size), Ok(())) => {
                    give_name(partial, &path)?;
                    Ok(size)
                }
                (Err(error), _) | (Ok(_), Err(error)) => {
                    remove_database(&partial)?;
                    Err(error.into())
                }
            }
        }
        BackendChoice::Postgresql(url) => {
            let postgres = connect(location.postgres_settings(url)).await?;
            let restored = restore(&mut reader, &postgres).await;
            restored.context("the database may contain some of the entities; recreate it before the next attempt")
        }
    }
}

/// The names of a SQLite file and of the files next to it.
fn database_files(path: &Path) -> [PathBuf; 3] {
    ["", "-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    })
}

/// Refuses a name at which files of another database are left: SQLite applies an old `-wal` file to
/// whatever file is next to it.
fn refuse_old_files(path: &Path) -> Result<(), Error> {
    let files = database_files(path);
    let old: Vec<String> = files
        .iter()
        .filter(|file| file.exists())
        .map(|file| format!("{file:?}"))
        .collect();
    if old.is_empty() {
        return Ok(());
    }
    let message = format!(
        "files of another database exist: {}; move all of them away first",
        old.join(", ")
    );
    Err(Error::bad("--backend", message))
}

/// Gives a restored file its name, unless a server has made a file of that name meanwhile.
fn give_name(partial: PathBuf, path: &Path) -> anyhow::Result<()> {
    // It is removed if it gets no name.
    let partial = tempfile::TempPath::try_from_path(partial)?;
    let failed = || format!("cannot give the restored file the name {path:?}; restore it again");
    refuse_old_files(path).with_context(failed)?;
    let named = partial.persist_noclobber(path);
    named
        .map_err(|refused| refused.error)
        .with_context(failed)?;
    sync_folder(folder_of(path));
    Ok(())
}

/// Removes a SQLite file, with the files next to it.
fn remove_database(path: &Path) -> anyhow::Result<()> {
    for name in database_files(path) {
        match std::fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {name:?}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The findings of a check.
struct CheckOutcome {
    shown: Value,
    left: u64,
}

impl CheckOutcome {
    /// Takes the numbers of checked entities, bodies and changes, the findings, and the number of
    /// unrepaired occurrences.
    fn new([entities, bodies, changes]: [u64; 3], findings: &[Value], left: u64) -> Self {
        let shown = json!({
            "entities": entities,
            "bodies": bodies,
            "changes": changes,
            "findings": findings,
        });
        Self { shown, left }
    }
}

/// One finding, as both backends describe it.
fn finding(
    problem: &dyn Display,
    count: u64,
    repaired: u64,
    examples: &[String],
    advice: &str,
) -> Value {
    json!({
        "finding": problem.to_string(),
        "count": count,
        "repaired": repaired,
        "examples": examples,
        "advice": advice,
    })
}

impl CheckArgs {
    /// Prints the findings. Unrepaired findings are an error.
    async fn run(self, console: &mut Console<'_>) -> anyhow::Result<()> {
        let outcome = match self.location.choice() {
            BackendChoice::Memory => return Err(nothing_kept().into()),
            BackendChoice::Sqlite(path) => self.sqlite(path).await?,
            BackendChoice::Postgresql(url) => self.postgres(url).await?,
        };
        output::value(console.format, &outcome.shown, console.out)?;
        console.out.flush()?;
        let left = outcome.left;
        if left > 0 {
            let advice = if self.repair {
                "the rest cannot be repaired; restore it from a backup"
            } else {
                "repair what can be repaired with --repair"
            };
            bail!("the backend is inconsistent: {left} findings; {advice}");
        }
        Ok(())
    }

    async fn postgres(&self, url: Option<String>) -> anyhow::Result<CheckOutcome> {
        let postgres = connect(self.location.postgres_settings(url)).await?;
        let report = postgres.check(self.repair).await?;
        let findings = report.findings.iter().map(|found| {
            let advice = found.problem.advice();
            let examples = &found.examples;
            finding(
                &found.problem,
                found.count,
                found.repaired,
                examples,
                advice,
            )
        });
        let (entities, bodies, changes) = (report.entities, report.bodies, report.changes);
        Ok(CheckOutcome::new(
            [entities, bodies, changes],
            &findings.collect::<Vec<_>>(),
            report.left(),
        ))
    }

    async fn sqlite(&self, path: Option<PathBuf>) -> anyhow::Result<CheckOutcome> {
        let sqlite = open_sqlite(&self.location, path, false).await?;
        let report = sqlite.check(self.repair).await?;
        let findings = report.findings.iter().map(|found| {
            let advice = found.problem.advice();
            let examples = &found.examples;
            finding(
                &found.problem,
                found.count,
                found.repaired,
                examples,
                advice,
            )
        });
        let (entities, bodies, changes) = (report.entities, report.bodies, report.changes);
        Ok(CheckOutcome::new(
            [entities, bodies, changes],
            &findings.collect::<Vec<_>>(),
            report.left(),
        ))
    }
}

/// Opens a SQLite file, which must exist unless `create`.
async fn open_sqlite(
    location: &LocationArgs,
    path: Option<PathBuf>,
    create: bool,
) -> anyhow::Result<Sqlite> {
    let path = match path {
        Some(path) => path,
        None => location.sqlite_file()?,
    };
    if !create && !path.exists() {
        return Err(Error::bad(
            "--backend",
            format!("the file {path:?} does not exist; name another one with --backend sqlite:PATH or --data"),
        )
        .into());
    }
    let clock = Arc::new(SystemClock::new());
    Ok(Sqlite::open(clock, location.sqlite_settings(path)).await?)
}

fn nothing_kept() -> Error {
    Error::bad(
        "--backend",
        "data in memory are gone with their process; name a sqlite or postgresql backend",
    )
}

#[cfg(test)]
mod tests {
    use super::give_name;
    use std::fs;

    #[test]
    fn a_restored_file_replaces_no_file_that_was_made_meanwhile() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let restored = || {
            fs::write(at("tko.db.restoring"), "restored").expect("a file");
            give_name(at("tko.db.restoring"), &at("tko.db"))
        };
        for other in ["tko.db", "tko.db-wal"] {
            fs::write(at(other), "of a server").expect("a file");
            let error = restored().expect_err("refused");
            let said = format!("{error:#}");
            assert!(said.contains("restore it again"), "{said}");
            assert_eq!(fs::read(at(other)).expect("it stays"), b"of a server");
            assert!(!at("tko.db.restoring").exists());
            fs::remove_file(at(other)).expect("removed");
        }
        restored().expect("named");
        assert_eq!(fs::read(at("tko.db")).expect("a file"), b"restored");
    }
}
