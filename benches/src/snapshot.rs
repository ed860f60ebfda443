//! Group `snapshot`: acquiring, looking up, iterating, adding up and comparing snapshots, in this process.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::hint::black_box;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use treewarden::{Walker, Warden};

use crate::Result;
use crate::bench::Bench;
use crate::measure::{Contender, Record, nanos_per_call, record, rounds};
use crate::ours::{self, ROOT};
use crate::paths::Paths;
use crate::row::{Row, Unit};

const ACQUIRES: u64 = 5_000_000;
const DU_CALLS: u64 = 1_000_000;
const DIFF_CALLS: u64 = 20;
const TOUCHED: usize = 10;
/// Long enough after the touch that no entry is stored as too recent to be trusted.
const SETTLE: Duration = Duration::from_millis(2_500);

pub(crate) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let warden = Warden::open(bench.fresh_state("snapshot.tw")?)?;
    warden.add_root(ROOT, &bench.tree.dir)?;
    ours::scan(&warden, ROOT, bench.threads, Walker::Fd)?;

    let older = warden.snapshot();
    let all = ours::file_paths(&older);
    let deep = deepest_directory(&all).ok_or("the snapshot holds no directory")?;
    let paths = Paths::shuffled(all, usize::MAX);
    {
        let _touched = Touched::new(some_files(bench, &paths))?;
        thread::sleep(SETTLE);
        ours::scan(&warden, ROOT, bench.threads, Walker::Fd)?;
    }
    let newer = warden.snapshot();
    let differing = newer.diff(&older).len();
    if differing != TOUCHED {
        return Err(
            format!("{TOUCHED} files were touched, but the two snapshots differ in {differing}").into()
        );
    }

    // What a program would keep by hand: every path in a hash map, with its size alone.
    let map: HashMap<Vec<u8>, u64> = newer.files("").map(|entry| (entry.path(), entry.size())).collect();

    let mut contenders = [
        Contender::new("acquire", || {
            calls(ACQUIRES, || {
                drop(black_box(warden.snapshot()));
            })
        }),
        Contender::new("lookup", || per_item(paths.len() as u64, || ours::look_up(&newer, &paths))),
        Contender::new("lookup-map", || {
            per_item(paths.len() as u64, || {
                let mut total = 0_u64;
                for path in paths.iter() {
                    total = total.wrapping_add(map.get(path).copied().unwrap_or(0));
                }
                black_box(total);
                Ok(())
            })
        }),
        Contender::new("iterate", || {
            per_item(newer.len(), || {
                ours::read_every_file(&newer);
                Ok(())
            })
        }),
        Contender::new("du", || {
            calls(DU_CALLS, || {
                black_box(newer.du(black_box(deep.as_slice())));
            })
        }),
        Contender::new("diff", || {
            calls(DIFF_CALLS, || {
                drop(black_box(newer.diff(&older)));
            })
        }),
    ];
    let outcome = rounds(bench.runs, &mut contenders)?;

    let nanos = |what: &str, key: &str| Row::samples(what, &outcome.samples(key, "ns"), Unit::Nanos);
    let limited = |what: &str, key: &str, limit: f64| {
        nanos(what, key).at_most(outcome.samples(key, "ns").median(), limit, Unit::Nanos.show(limit))
    };
    let micros = outcome.samples("diff", "us");
    Ok(vec![
        limited("acquire and drop a snapshot", "acquire", 25.0),
        limited("lookup by path, random order", "lookup", 500.0),
        nanos("  the same in a std HashMap of path to size", "lookup-map"),
        limited("iterate with size and time, per file", "iterate", 30.0),
        nanos(&format!("du of a directory {} deep", deep.iter().filter(|byte| **byte == b'/').count()), "du"),
        Row::samples(format!("diff, {TOUCHED} of {} files differ", newer.len()), &micros, Unit::Micros)
            .at_most(micros.median(), 100.0, Unit::Micros.show(100.0)),
    ])
}

fn calls(count: u64, operation: impl FnMut()) -> Result<Record> {
    let nanos = nanos_per_call(count, operation);
    Ok(record([("seconds", nanos * count as f64 / 1e9), ("ns", nanos), ("us", nanos / 1e3)]))
}

fn per_item(items: u64, pass: impl FnOnce() -> Result<()>) -> Result<Record> {
    let start = Instant::now();
    pass()?;
    let seconds = start.elapsed().as_secs_f64();
    Ok(record([("seconds", seconds), ("ns", seconds * 1e9 / items.max(1) as f64)]))
}

/// The directory of the file with the most components.
fn deepest_directory(paths: &[Vec<u8>]) -> Option<Vec<u8>> {
    let deepest = paths.iter().max_by_key(|path| path.iter().filter(|byte| **byte == b'/').count())?;
    let end = deepest.iter().rposition(|byte| *byte == b'/')?;
    Some(deepest[..end].to_vec())
}

/// A few files in as many places, where they lie on disk.
fn some_files(bench: &Bench, paths: &Paths) -> Vec<PathBuf> {
    let prefix = format!("{ROOT}/");
    let relative = paths.iter().filter_map(|path| path.strip_prefix(prefix.as_bytes()));
    relative.take(TOUCHED).map(|path| bench.tree.dir.join(OsStr::from_bytes(path))).collect()
}

/// Files whose modification time is one second later than it was, until this is dropped.
struct Touched(Vec<(File, SystemTime)>);

impl Touched {
    fn new(files: Vec<PathBuf>) -> Result<Touched> {
        let mut touched = Touched(Vec::new());
        for path in files {
            let file = File::options()
                .write(true)
                .open(&path)
                .map_err(|error| format!("cannot open {}: {error}", path.display()))?;
            let modified = file.metadata()?.modified()?;
            file.set_modified(modified + Duration::from_secs(1))?;
            touched.0.push((file, modified));
        }
        Ok(touched)
    }
}

impl Drop for Touched {
    fn drop(&mut self) {
        for (file, modified) in &self.0 {
            if let Err(error) = file.set_modified(*modified) {
                eprintln!("cannot set a modification time back: {error}");
            }
        }
    }
}
