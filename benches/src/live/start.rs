//! Starting to watch the big tree, and watching it while nothing happens. Each function is one child process's whole life; none of them
//! changes anything in the tree.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use treewarden::{Walker, Warden, WatchBackend};

use crate::Result;
use crate::measure::{Record, Samples, record};
use crate::ours::{self, ROOT};
use crate::process;

use super::watched::{self, CAP};

const SYNCS: usize = 300;
/// Between the start and the idle time: whatever the start leaves to be done later is done then.
const SETTLE: Duration = Duration::from_secs(1);
pub(super) const IDLE: Duration = Duration::from_secs(5);

/// Opens a state that is up to date and scans: what a start costs without watching.
pub(super) fn rescan(db: &Path, threads: usize) -> Result<Record> {
    let start = Instant::now();
    let warden = Warden::open(db)?;
    let opened = start.elapsed().as_secs_f64();
    let report = ours::scan(&warden, ROOT, threads, Walker::Fd)?;
    let seconds = start.elapsed().as_secs_f64();
    if !report.is_unchanged() {
        return Err("nothing changed on disk, but the rescan tells changes".into());
    }
    Ok(record([("seconds", seconds), ("after_open_seconds", seconds - opened)]))
}

/// The same with watching: opens a state that is up to date, watches, and waits until the snapshot is that of the tree.
pub(super) fn known(db: &Path, threads: usize, backend: WatchBackend) -> Result<Record> {
    let options = watched::options(backend, threads);
    let start = Instant::now();
    let warden = Warden::open(db)?;
    let opened = start.elapsed().as_secs_f64();
    watched::watch(&warden, &options)?;
    let seconds = start.elapsed().as_secs_f64();
    let dirs = watched::watched_dirs(&warden)? as f64;
    Ok(record([("seconds", seconds), ("after_open_seconds", seconds - opened), ("watched_dirs", dirs)]))
}

/// Creates a state file and watches a tree of which nothing is known yet.
pub(super) fn new(db: &Path, dir: &Path, threads: usize) -> Result<Record> {
    let options = watched::options(WatchBackend::Auto, threads);
    let start = Instant::now();
    let warden = Warden::open(db)?;
    warden.add_root(ROOT, dir)?;
    watched::watch(&warden, &options)?;
    let seconds = start.elapsed().as_secs_f64();
    watched::watched_dirs(&warden)?;
    Ok(record([("seconds", seconds), ("files", warden.snapshot().len() as f64)]))
}

/// What watching costs while nothing happens: memory, processor time, and the time of a `sync`.
pub(super) fn idle(db: &Path, threads: usize) -> Result<Record> {
    let warden = Warden::open(db)?;
    let open_bytes = process::memory().resident_bytes;
    watched::watch(&warden, &watched::options(WatchBackend::Auto, threads))?;
    let dirs = watched::watched_dirs(&warden)? as f64;

    thread::sleep(SETTLE);
    let watched_bytes = process::memory().resident_bytes;
    let before = process::cpu_seconds();
    thread::sleep(IDLE);
    let cpu_ms = (process::cpu_seconds() - before) * 1e3;

    let mut syncs = Samples::default();
    let begun = Instant::now();
    for _ in 0..SYNCS {
        let start = Instant::now();
        warden.sync(CAP)?;
        syncs.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(record([
        ("seconds", begun.elapsed().as_secs_f64()),
        ("sync_p50_ms", syncs.quantile(0.5)),
        ("sync_p99_ms", syncs.quantile(0.99)),
        ("cpu_ms", cpu_ms),
        ("watched_bytes", watched_bytes),
        ("rise_bytes", watched_bytes - open_bytes),
        ("rise_bytes_per_dir", (watched_bytes - open_bytes) / dirs.max(1.0)),
    ]))
}
