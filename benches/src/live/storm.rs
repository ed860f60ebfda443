//! Much at once in a private tree: another program removes a hundred thousand directories, or as many files appear. Each function is one
//! child process's whole life; the clock starts when the storm is over.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use treewarden::{ErrorKind, Walker, Warden, WatchBackend};

use crate::Result;
use crate::measure::{Record, record};
use crate::ours::{self, ROOT};

use super::plot::{self, USR};
use super::watched::{self, CAP};

/// `rm -rf` of nearly all of a watched tree. Where `sync` takes too long the record has `capped`.
pub(super) fn remove(db: &Path, dir: &Path, threads: usize, backend: WatchBackend) -> Result<Record> {
    let warden = Warden::open(db)?;
    warden.add_root(ROOT, dir)?;
    watched::watch(&warden, &watched::options(backend, threads))?;
    watched::watched_dirs(&warden)?;

    let begun = Instant::now();
    let status = Command::new("rm")
        .arg("-rf")
        .arg(dir.join(USR))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("cannot run `rm`: {error}"))?;
    if !status.success() {
        return Err(format!("`rm` failed: {status}").into());
    }
    let rm_seconds = begun.elapsed().as_secs_f64();
    let removed = Instant::now();
    match warden.sync(CAP) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::Timeout => {
            // Closing would wait for what is not done: the end of the process ends it.
            std::mem::forget(warden);
            return Ok(record([("seconds", CAP.as_secs_f64()), ("capped", 1.0), ("rm_seconds", rm_seconds)]));
        }
        Err(error) => return Err(error.into()),
    }
    let seconds = removed.elapsed().as_secs_f64();
    watched::agrees(&warden.snapshot(), ROOT, dir)?;
    Ok(record([("seconds", seconds), ("rm_seconds", rm_seconds)]))
}

/// New files in every directory of a watched tree.
pub(super) fn burst_watched(db: &Path, dir: &Path, threads: usize, count: u64) -> Result<Record> {
    let warden = Warden::open(db)?;
    warden.add_root(ROOT, dir)?;
    watched::watch(&warden, &watched::options(WatchBackend::Auto, threads))?;
    watched::watched_dirs(&warden)?;
    plot::fill(&directories(dir)?, count)?;
    let start = Instant::now();
    warden.sync(CAP)?;
    let seconds = start.elapsed().as_secs_f64();
    watched::agrees(&warden.snapshot(), ROOT, dir)?;
    Ok(record([("seconds", seconds)]))
}

/// The same files found by a scan that somebody asks for: nothing is watched, all of the work comes afterwards.
pub(super) fn burst_scanned(db: &Path, dir: &Path, threads: usize, count: u64) -> Result<Record> {
    let warden = Warden::open(db)?;
    warden.add_root(ROOT, dir)?;
    ours::scan(&warden, ROOT, threads, Walker::Fd)?;
    plot::fill(&directories(dir)?, count)?;
    let start = Instant::now();
    let report = ours::scan(&warden, ROOT, threads, Walker::Fd)?;
    let seconds = start.elapsed().as_secs_f64();
    if report.added != count {
        return Err(format!("{count} files are new, but the scan tells of {}", report.added).into());
    }
    Ok(record([("seconds", seconds)]))
}

/// The directories in a plot, in order of their names.
fn directories(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        found.push(entry?.path());
    }
    found.sort_unstable();
    Ok(found)
}
