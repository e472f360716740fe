//! The size of a folder that a program fills.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// The time between two checks of the size of a growing folder.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Bytes of all files below a folder; files that cannot be read are not counted.
pub async fn folder_size(folder: PathBuf) -> u64 {
    tokio::task::spawn_blocking(move || size_below(&folder))
        .await
        .unwrap_or_default()
}

/// Completes when the files below a folder have more than `most` bytes. It checks twice a second.
pub async fn folder_exceeds(folder: &Path, most: u64) {
    loop {
        tokio::time::sleep(CHECK_INTERVAL).await;
        if folder_size(folder.to_owned()).await > most {
            return;
        }
    }
}

fn size_below(root: &Path) -> u64 {
    let mut sum = 0;
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(folder) else {
            continue;
        };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) => sum += metadata.len(),
                Err(_) => {}
            }
        }
    }
    sum
}
