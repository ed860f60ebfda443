//! What a Rust program pays for the calls that `benches/c/bindings.c` and `benches/python/bindings.py` make. Each function with a state
//! file is one child process's whole life.

use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use treewarden::{Filter, Snapshot, Warden, arrow};

use crate::Result;
use crate::measure::{Record, Samples, record};
use crate::ours;
use crate::paths::Paths as RandomOrder;

/// The same numbers as in `benches/c/bindings.c`.
const PASSES: usize = 3;
pub(super) const HOT_PATHS: usize = 16;
const HOT_CALLS: u64 = 1_000_000;
const SEQ_CALLS: u64 = 5_000_000;

/// What everybody who walks over the same snapshot must have seen.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Seen {
    files: u64,
    path_bytes: u64,
    size_bytes: u64,
    rest: u64,
}

impl Seen {
    fn figures(self) -> Record {
        record([
            ("files", self.files as f64),
            ("path_bytes", self.path_bytes as f64),
            ("size_bytes", self.size_bytes as f64),
        ])
    }
}

/// Writes so many addresses in random order into a file, each followed by a zero byte: all languages look up the same.
pub(super) fn write_paths(db: &Path, list: &Path, most: usize) -> Result<Record> {
    let warden = Warden::open(db)?;
    let snapshot = warden.snapshot();
    let mut bytes = Vec::new();
    for path in RandomOrder::shuffled(ours::file_paths(&snapshot), most).iter() {
        bytes.extend_from_slice(path);
        bytes.push(0);
    }
    fs::write(list, bytes).map_err(|error| format!("cannot write {}: {error}", list.display()))?;
    Ok(iterate(&snapshot).figures())
}

/// Iterates, exports, looks up, and asks for the number of the last commit.
pub(super) fn read(db: &Path, list: &Path) -> Result<Record> {
    let begun = Instant::now();
    let text = fs::read(list).map_err(|error| format!("cannot read {}: {error}", list.display()))?;
    let paths: Vec<&[u8]> = text.split(|byte| *byte == 0).filter(|path| !path.is_empty()).collect();
    let hot = paths.get(..HOT_PATHS).ok_or("the list of addresses is too short")?;
    let warden = Warden::open(db)?;
    let snapshot = warden.snapshot();

    let seen = iterate(&snapshot);
    let mut figures = seen.figures();
    let mut tell = |name: &str, value: f64| {
        figures.insert(name.to_owned(), value);
    };
    tell("iterate", seconds(|| iterate_again(&snapshot, seen))?);
    tell(
        "iterate_all",
        seconds(|| {
            iterate_all(&snapshot);
            Ok(())
        })?,
    );
    tell("arrow", seconds(|| table(&snapshot, seen.files))?);
    let all = paths.len() as u64;
    tell("lookup", nanos(1, all, || look_up(&snapshot, &paths, all))?);
    tell("hot_1", nanos(1, HOT_CALLS, || look_up(&snapshot, hot, HOT_CALLS))?);
    tell("hot_2", nanos(2, HOT_CALLS, || look_up(&snapshot, hot, HOT_CALLS))?);
    tell("seq_1", nanos(1, SEQ_CALLS, || ask_for_seq(&warden))?);
    tell("seq_2", nanos(2, SEQ_CALLS, || ask_for_seq(&warden))?);
    tell("seconds", begun.elapsed().as_secs_f64());
    Ok(figures)
}

/// Reads path, size and time of every file.
fn iterate(snapshot: &Snapshot) -> Seen {
    let mut paths = treewarden::Paths::new();
    let mut seen = Seen::default();
    for entry in snapshot.files("") {
        let path = paths.of(&entry);
        let last = path.last().copied().unwrap_or_default();
        seen.files += 1;
        seen.path_bytes += path.len() as u64;
        seen.size_bytes = seen.size_bytes.wrapping_add(entry.size());
        seen.rest = seen.rest.wrapping_add(entry.mtime_ns() as u64).wrapping_add(u64::from(last));
    }
    black_box(seen)
}

/// Reads everything that is known of every file, as a row of C holds it.
fn iterate_all(snapshot: &Snapshot) -> u64 {
    let mut paths = treewarden::Paths::new();
    let mut rest = 0_u64;
    for entry in snapshot.files("") {
        let path = paths.of(&entry);
        let meta = entry.meta();
        let times = meta.mtime_ns ^ meta.ctime_ns ^ meta.btime_ns.unwrap_or_default();
        let numbers = meta.size ^ meta.inode ^ entry.id() ^ entry.seq() ^ path.len() as u64;
        let extras =
            entry.hash().unwrap_or_default() as u64 ^ entry.missing_since_ns().unwrap_or_default() as u64;
        let flags = u64::from(meta.mode) ^ entry.kind() as u64 ^ u64::from(entry.is_racy());
        let target = entry.target().map_or(0, |target| target.len() as u64);
        rest = rest.wrapping_add(numbers ^ times as u64 ^ extras ^ flags ^ target);
    }
    black_box(rest)
}

fn iterate_again(snapshot: &Snapshot, seen: Seen) -> Result<()> {
    if iterate(snapshot) != seen {
        return Err("two walks over one snapshot differ".into());
    }
    Ok(())
}

/// Everything as Arrow batches, which a table keeps.
fn table(snapshot: &Snapshot, files: u64) -> Result<impl Sized> {
    let batches = arrow::entries(snapshot, &Filter::new()).collect::<std::result::Result<Vec<_>, _>>()?;
    let mut rows = 0;
    for batch in &batches {
        rows += batch.num_rows() as u64;
    }
    if rows != files {
        return Err(format!("the table has {rows} rows, but the snapshot {files} files").into());
    }
    Ok(batches)
}

/// Looks the paths up over and over, until that are so many calls.
fn look_up(snapshot: &Snapshot, paths: &[&[u8]], calls: u64) -> Result<()> {
    let (mut done, mut total) = (0, 0_u64);
    while done < calls {
        for path in paths {
            let entry = snapshot.get(black_box(*path)).ok_or("an address is not in the snapshot")?;
            total = total.wrapping_add(entry.size());
        }
        done += paths.len() as u64;
    }
    black_box(total);
    Ok(())
}

fn ask_for_seq(warden: &Warden) -> Result<()> {
    for _ in 0..SEQ_CALLS {
        black_box(black_box(warden).seq());
    }
    Ok(())
}

/// What a pass takes, after one that is not counted. What it makes goes away when the clock has stopped.
fn seconds<T>(mut pass: impl FnMut() -> Result<T>) -> Result<f64> {
    drop(pass()?);
    let mut times = Samples::default();
    for _ in 0..PASSES {
        let start = Instant::now();
        let made = pass()?;
        times.push(start.elapsed().as_secs_f64());
        drop(made);
    }
    Ok(times.median())
}

/// What one call takes, as the threads see it on average, while each of them does `calls` of them in `work`.
fn nanos(threads: usize, calls: u64, work: impl Fn() -> Result<()> + Sync) -> Result<f64> {
    let mut times = Samples::default();
    for pass in 0..=PASSES {
        let start = Barrier::new(threads);
        let seconds = thread::scope(|scope| -> Result<f64> {
            let timed = || -> Result<f64> {
                start.wait();
                let begun = Instant::now();
                work()?;
                Ok(begun.elapsed().as_secs_f64())
            };
            let callers: Vec<_> = (0..threads).map(|_| scope.spawn(timed)).collect();
            let mut seconds = 0.0;
            for caller in callers {
                seconds += caller.join().map_err(|_| "a thread that makes calls panicked")??;
            }
            Ok(seconds)
        })?;
        // The first is not counted.
        if pass > 0 {
            times.push(seconds * 1e9 / threads as f64 / calls as f64);
        }
    }
    Ok(times.median())
}
