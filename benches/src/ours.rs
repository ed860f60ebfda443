//! Treewarden, measured from the outside through its public interface. Each function is one child process's whole life.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use treewarden::{Report, ScanContext, ScanOptions, Snapshot, Walker, Warden};

use crate::Result;
use crate::measure::{Record, record};
use crate::paths::Paths;
use crate::process;
use crate::tree::PROBE;

/// The name under which the tree is a root everywhere in these benchmarks.
pub(crate) const ROOT: &str = "tree";

/// Creates the state file, scans for the first time, and returns when that is durable and published.
pub(crate) fn first(db: &Path, dir: &Path, threads: usize) -> Result<Record> {
    let start = Instant::now();
    let warden = Warden::open(db)?;
    warden.add_root(ROOT, dir)?;
    let report = scan(&warden, ROOT, threads, Walker::Fd)?;
    let seconds = start.elapsed().as_secs_f64();
    let published = warden.snapshot().len();
    if published != report.files {
        return Err(
            format!("the first scan saw {} files, but the snapshot holds {published}", report.files).into()
        );
    }
    let written = process::written();
    Ok(record([
        ("seconds", seconds),
        ("files", report.files as f64),
        ("dirs", report.dirs as f64),
        ("walk_ms", report.timings.walk_ms as f64),
        ("commit_ms", report.timings.commit_ms as f64),
        ("written_call_bytes", written.call_bytes),
        ("written_disk_bytes", written.disk_bytes),
        ("peak_bytes", process::memory().peak_bytes),
    ]))
}

/// Opens a state file that is up to date, then rescans: what it takes, what it writes, and how far memory rises above the open state.
pub(crate) fn again(db: &Path, threads: usize, walker: Walker) -> Result<Record> {
    let warden = Warden::open(db)?;
    let peak_is_of_the_rescan = process::reset_peak();
    let memory_before = process::memory();
    let written_before = process::written();
    let start = Instant::now();
    let report = scan(&warden, ROOT, threads, walker)?;
    let seconds = start.elapsed().as_secs_f64();
    let written = process::written();
    let memory = process::memory();
    if !report.is_unchanged() || report.published {
        let Report { added, modified, moved, missing, .. } = report;
        return Err(format!(
            "nothing changed on disk, but the rescan tells {added} added, {modified} modified, {moved} moved, {missing} missing"
        )
        .into());
    }
    let rise =
        if peak_is_of_the_rescan { memory.peak_bytes - memory_before.resident_bytes } else { f64::NAN };
    Ok(record([
        ("seconds", seconds),
        ("files", report.files as f64),
        ("written_call_bytes", written.call_bytes - written_before.call_bytes),
        ("written_disk_bytes", written.disk_bytes - written_before.disk_bytes),
        ("resident_bytes", memory_before.resident_bytes),
        ("peak_rise_bytes", rise),
    ]))
}

/// Opens an existing state file and looks one file up.
pub(crate) fn open(db: &Path) -> Result<Record> {
    let probe = format!("{ROOT}/{PROBE}");
    let start = Instant::now();
    let warden = Warden::open(db)?;
    let snapshot = warden.snapshot();
    let found = snapshot.contains(probe.as_bytes());
    let seconds = start.elapsed().as_secs_f64();
    if !found {
        return Err(format!("`{probe}` is not in the state file").into());
    }
    let memory = process::memory();
    Ok(record([
        ("seconds", seconds),
        ("resident_bytes", memory.resident_bytes),
        ("peak_bytes", memory.peak_bytes),
    ]))
}

/// Opens an existing state file and reads size and time of every file.
pub(crate) fn read_all(db: &Path) -> Result<Record> {
    let start = Instant::now();
    let warden = Warden::open(db)?;
    let files = read_every_file(&warden.snapshot());
    Ok(record([("seconds", start.elapsed().as_secs_f64()), ("files", files as f64)]))
}

/// Random lookups by path in one snapshot.
pub(crate) fn lookup(db: &Path, most: usize) -> Result<Record> {
    let warden = Warden::open(db)?;
    let snapshot = warden.snapshot();
    let paths = Paths::shuffled(file_paths(&snapshot), most);
    let start = Instant::now();
    look_up(&snapshot, &paths)?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(record([("seconds", seconds), ("ns_per_lookup", seconds * 1e9 / paths.len().max(1) as f64)]))
}

/// One scan that must end well: anything else would measure something other than what the table says.
pub(crate) fn scan(warden: &Warden, root: &str, threads: usize, walker: Walker) -> Result<Report> {
    let options = ScanOptions::default().target(root).walker(walker).threads(threads);
    let reports = warden.scan_with(&options, &ScanContext::default())?;
    let report = reports.into_iter().next().ok_or("the scan gave no report")?;
    if !report.is_clean() {
        let held = report.held.is_some();
        let reason = report.unavailable.unwrap_or_default();
        return Err(format!(
            "the scan of `{root}` did not end well: {} errors, held: {held}, unavailable: `{reason}`",
            report.errors
        )
        .into());
    }
    Ok(report)
}

/// The addresses of all files, in path order.
pub(crate) fn file_paths(snapshot: &Snapshot) -> Vec<Vec<u8>> {
    let mut paths = Vec::with_capacity(snapshot.len() as usize);
    for entry in snapshot.files("") {
        paths.push(entry.path());
    }
    paths
}

/// Reads size and time of every file; their number.
pub(crate) fn read_every_file(snapshot: &Snapshot) -> u64 {
    let (mut files, mut total) = (0_u64, 0_u64);
    for entry in snapshot.files("") {
        files += 1;
        total = total.wrapping_add(entry.size()).wrapping_add(entry.mtime_ns() as u64);
    }
    black_box(total);
    files
}

/// Looks every path up once and reads its size.
pub(crate) fn look_up(snapshot: &Snapshot, paths: &Paths) -> Result<()> {
    let mut total = 0_u64;
    for path in paths.iter() {
        let entry =
            snapshot.get(path).ok_or_else(|| format!("`{}` is not in the snapshot", path.escape_ascii()))?;
        total = total.wrapping_add(entry.size());
    }
    black_box(total);
    Ok(())
}
