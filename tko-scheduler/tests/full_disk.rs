//! Manifests on a full disk: nothing good is lost, removals make room, and a condition tells.
#![cfg(target_os = "linux")]

mod tree;
mod world;

use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tko_core::{ErrorKind, Key, Registry, Scheduler};
use tko_scheduler::{Manifests, ScheduleSettings};
use tree::{Call, files};
use world::{World, key};

/// A mounted file system of 512 KiB. `None`: this user may not mount, as `cargo xtask test` found.
struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = TempDir::new().expect("a folder");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=512k", "tmpfs"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        let is_mounted = mounted.is_ok_and(|status| status.success());
        let is_root = fs::metadata("/proc/self").is_ok_and(|file| file.uid() == 0);
        let is_told = std::env::var_os("TKO_TEST_WITHOUT_DISK").is_some();
        assert!(
            is_mounted || !is_root || is_told,
            "root mounts a small disk"
        );
        if !is_mounted {
            eprintln!("skipped: this user may not mount a small disk");
        }
        is_mounted.then_some(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Fills what is free. Gives the file that holds it.
    fn fill(&self) -> std::path::PathBuf {
        let ballast = self.path().join("ballast");
        let mut size = 1 << 20;
        while fs::write(&ballast, vec![0; size]).is_err() {
            size -= 4_096;
        }
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// A resource of this size.
fn large(name: &str, bytes: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "core"},
        "data": {"text": "x".repeat(bytes)},
    })
}

#[tokio::test]
async fn removals_make_room_on_a_full_disk() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let root = disk.path().join("sites");
    let manifests = Manifests::directory(&root);
    let first = Call::of("a")
        .with("old", vec![large("one", 100_000), large("two", 60_000)])
        .with("stays", vec![large("three", 1_000)]);
    first.fence(1).make(&manifests).await.expect("written");
    disk.fill();

    // More than is free: an error, and all files of before are still there.
    let good = files(&root);
    let more = first.clone().with("new", vec![large("four", 100_000)]);
    let error = more.fence(2).make(&manifests).await.expect_err("no room");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert_eq!(files(&root), good);

    // Only removals.
    let less = Call::of("a")
        .with("old", vec![large("one", 100_000)])
        .with("stays", vec![large("three", 1_000)]);
    less.fence(3).make(&manifests).await.expect("removed");
    assert_eq!(files(&root).len(), 2);
    disk.fill();

    // What replaces something of its size, when there is no room for both.
    let other = Call::of("a")
        .with("new", vec![large("four", 90_000)])
        .with("stays", vec![large("three", 1_000)]);
    other.fence(4).make(&manifests).await.expect("replaced");
    let names: Vec<String> = files(&root).into_keys().collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[0].starts_with("a/new/"), "{names:?}");

    // A site that is removed.
    disk.fill();
    let gone = Call::of("a").going();
    gone.fence(5).make(&manifests).await.expect("removed");
    assert!(files(&root).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_shows_in_conditions_until_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        return;
    };
    let root = disk.path().join("sites");
    let mut world = World::new();
    let manifests: Arc<dyn Scheduler> = Arc::new(Manifests::directory(&root));
    let registry = Registry::new().with_everywhere("manifests", manifests);
    world.start(registry, ScheduleSettings::default());
    world.site("a").await;
    let one = world.deployment("a", "one", true).await;
    until(&world, &key("a"), "Manifests", Some(true)).await;
    let good = files(&root);
    assert_eq!(good.len(), 1);
    let ballast = disk.fill();

    let two = world.deployment("a", "two", true).await;
    until(&world, &key("a"), "Scheduled", Some(false)).await;
    let (_, _, message) = world.condition(key("a")).await.expect("reported");
    assert!(message.contains("No space left"), "{message}");
    until(&world, &(&two).into(), "Scheduled", Some(false)).await;
    until(&world, &key("a"), "Manifests", None).await;
    assert_eq!(files(&root), good, "the last good files stay");

    // The deletion of what is placed goes through although nothing can be written.
    world.data.delete(&one.clone().into()).await.expect("taken");
    fs::remove_file(ballast).expect("it is there");
    until(&world, &key("a"), "Manifests", Some(true)).await;
    until(&world, &(&two).into(), "Scheduled", Some(true)).await;
    let names: Vec<String> = files(&root).into_keys().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(names[0].contains(two.as_str()), "{names:?}");
    world.stop().await;
}

/// Waits until a condition has this status.
async fn until(world: &World, key: &Key, kind: &str, status: Option<bool>) {
    let mut last = None;
    for _ in 0..2_000 {
        last = world
            .find(key.clone())
            .await
            .and_then(|entity| entity.condition(kind).cloned());
        if last.as_ref().is_some_and(|found| found.status == status) {
            return;
        }
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let breathe = tokio::task::spawn_blocking(std::thread::yield_now);
        breathe.await.expect("no panic");
    }
    panic!("{kind} of {key} does not become {status:?}: {last:?}");
}
