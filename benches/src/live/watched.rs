//! What the children of this group have in common: how a tree is watched, that it is watched in full, and whether the snapshot is right.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use treewarden::{Coverage, Snapshot, Warden, WatchBackend, WatchOptions};

use crate::Result;

/// No `sync` is waited for any longer.
pub(super) const CAP: Duration = Duration::from_secs(120);

/// As many threads as every other scan of this harness has, and no yielding: the pressure on this machine is the harness itself.
pub(super) fn options(backend: WatchBackend, threads: usize) -> WatchOptions {
    WatchOptions::new().backend(backend).scan_threads(threads).yields(false)
}

/// Watches, and waits until the start-up scan is done.
pub(super) fn watch(warden: &Warden, options: &WatchOptions) -> Result<()> {
    warden.watch_with(options)?;
    warden.sync(CAP)?;
    Ok(())
}

/// How many directories are watched; fails if any is not, since polling is another thing to measure.
pub(super) fn watched_dirs(warden: &Warden) -> Result<u64> {
    let live = warden.status()?.live.ok_or("the status says that nothing is watched")?;
    let mut dirs = 0;
    for root in &live.roots {
        if root.coverage != Coverage::Native || !root.coherent {
            return Err(format!(
                "`{}` is not watched in full: coverage {}, {} directories uncovered, coherent: {}, reason: {}; is \
                 fs.inotify.max_user_watches large enough?",
                root.root,
                root.coverage.name(),
                root.uncovered_dirs,
                root.coherent,
                root.reason.as_deref().unwrap_or("none given")
            )
            .into());
        }
        dirs += root.watched_dirs;
    }
    Ok(dirs)
}

/// Fails unless the snapshot holds of a root what walkdir finds: the same files with the same sizes, and as many directories.
pub(super) fn agrees(snapshot: &Snapshot, root: &str, dir: &Path) -> Result<()> {
    let mut dirs = 0_u64;
    let mut on_disk: Vec<(Vec<u8>, u64)> = Vec::new();
    for entry in walkdir::WalkDir::new(dir).min_depth(1) {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            dirs += 1;
            continue;
        }
        let mut address = format!("{root}/").into_bytes();
        address.extend_from_slice(entry.path().strip_prefix(dir)?.as_os_str().as_bytes());
        on_disk.push((address, metadata.len()));
    }
    let mut known: Vec<(Vec<u8>, u64)> =
        snapshot.files(root).map(|entry| (entry.path(), entry.size())).collect();
    on_disk.sort_unstable();
    known.sort_unstable();
    let known_dirs = snapshot.du(root).map_or(0, |totals| totals.dirs);
    if known != on_disk || known_dirs != dirs {
        return Err(format!(
            "the snapshot is wrong: it holds {} files in {known_dirs} directories, on disk are {} in {dirs}",
            known.len(),
            on_disk.len()
        )
        .into());
    }
    Ok(())
}
