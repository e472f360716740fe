//! Packages of kpt from the field, where there are some.

use crate::world::World;
use std::path::{Path, PathBuf};
use tko_kpt::ContainerRuntime;
use tko_kpt::executor::KptSettings;
use tko_source::{Source, SourceReader};

/// Prepares every package of kpt below the folder `$TKO_TEST_KPT_PACKAGES`, without containers.
///
/// A package is prepared, or its condition says what it lacks: a container runtime, or a resource
/// that a person or another system adds first.
#[tokio::test]
#[ignore = "needs packages: TKO_TEST_KPT_PACKAGES names their folder"]
async fn packages_of_the_field_are_prepared_or_say_what_they_lack() {
    let folder = std::env::var_os("TKO_TEST_KPT_PACKAGES");
    let folder = folder.expect("TKO_TEST_KPT_PACKAGES names a folder with packages of kpt");
    let mut folders = Vec::new();
    find(Path::new(&folder), &mut folders);
    folders.sort();
    assert!(
        !folders.is_empty(),
        "no Kptfile below {}",
        Path::new(&folder).display()
    );
    let (mut prepared, mut lacking) = (0, 0);
    for folder in folders {
        let world = World::new(KptSettings::default().with_containers(ContainerRuntime::Off));
        let source: Source = folder.display().to_string().parse().expect("a source");
        let package = match SourceReader::new().package(&source).await {
            Ok(package) => package,
            Err(error) => {
                println!("{}: not read: {error}", folder.display());
                world.stop().await;
                continue;
            }
        };
        let resources = package
            .iter()
            .map(|resource| resource.value().clone())
            .collect();
        let id = world.deploy(resources).await;
        let (_, condition) = world.reported(&id).await;
        if condition.status == Some(true) {
            prepared += 1;
            println!("{}: prepared", folder.display());
        } else {
            let words = [
                "no container runtime here",
                "no resource matches its source",
                "runs in",
                "is not there",
            ];
            let message = &condition.message;
            assert!(
                words.iter().any(|words| message.contains(words)),
                "{}: {message}",
                folder.display()
            );
            lacking += 1;
            println!("{}: {message}", folder.display());
        }
        world.stop().await;
    }
    println!("{prepared} prepared, {lacking} lack something");
}

/// Folders with a Kptfile; those within another are part of it.
fn find(folder: &Path, found: &mut Vec<PathBuf>) {
    if folder.join("Kptfile").is_file() {
        found.push(folder.to_owned());
        return;
    }
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        if entry.path().is_dir() {
            find(&entry.path(), found);
        }
    }
}
