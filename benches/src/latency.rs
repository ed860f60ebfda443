//! Group `latency`: what a reader sees while the engine works. One thread acquires the snapshot and looks up one random path, over and
//! over, and every single time goes into a histogram: while nothing happens, beside the floor program (a load that shares only the
//! processor), in rescans, and in the first scan of a second root with as many files again.

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use treewarden::{Walker, Warden};

use crate::Result;
use crate::bench::Bench;
use crate::histogram::Histogram;
use crate::ours::{self, ROOT};
use crate::paths::Paths;
use crate::row::{Row, Unit};
use crate::table::Table;
use crate::tree::Tree;

const SECOND: &str = "second";
const IDLE: Duration = Duration::from_secs(1);
/// Lookups before the load starts; not counted.
const WARM_UP: u64 = 100_000;
/// p99.9 under load against p99.9 idle.
const RATIO_MAX: f64 = 2.0;

/// What goes on beside the reader.
#[derive(Clone, Copy)]
enum Load {
    Idle,
    Floor { threads: usize },
    Rescan { threads: usize },
    FirstScan { threads: usize },
}

impl Load {
    fn name(self) -> String {
        match self {
            Load::Idle => "idle".to_owned(),
            Load::Floor { threads } => format!("beside the floor program, {threads} thread(s)"),
            Load::Rescan { threads } => format!("in a rescan, {threads} thread(s)"),
            Load::FirstScan { threads } => {
                format!("in a first scan and its commit, {threads} thread(s)")
            }
        }
    }

    /// The promise is about the engine, not about other programs.
    fn has_limit(self) -> bool {
        matches!(self, Load::Rescan { .. } | Load::FirstScan { .. })
    }
}

struct Stage<'a> {
    bench: &'a Bench,
    warden: Warden,
    paths: Paths,
    second_dir: PathBuf,
}

pub(crate) fn run(bench: &Bench) -> Result<(Vec<Row>, Table)> {
    let warden = Warden::open(bench.fresh_state("latency.tw")?)?;
    warden.add_root(ROOT, &bench.tree.dir)?;
    ours::scan(&warden, ROOT, bench.threads, Walker::Fd)?;
    let paths = Paths::shuffled(ours::file_paths(&warden.snapshot()), usize::MAX);
    let second_dir = second_dir(bench, &warden)?;
    let stage = Stage { bench, warden, paths, second_dir };

    let mut phases: Vec<(Load, Histogram)> =
        loads(bench.threads).into_iter().map(|load| (load, Histogram::new())).collect();
    for round in 1..=bench.runs {
        for (load, histogram) in &mut phases {
            eprintln!("round {round} of {}: {}", bench.runs, load.name());
            histogram.merge(&stage.measure(*load)?);
        }
    }
    Ok(report(&phases))
}

/// Each load with all threads and with one: a reader needs a processor too, and a machine with as many cores as scan threads has none
/// left for it.
fn loads(threads: usize) -> Vec<Load> {
    let mut counts = vec![threads, 1];
    counts.dedup();
    let mut loads = vec![Load::Idle];
    loads.extend(counts.iter().map(|threads| Load::Floor { threads: *threads }));
    loads.extend(counts.iter().map(|threads| Load::Rescan { threads: *threads }));
    loads.extend(counts.iter().map(|threads| Load::FirstScan { threads: *threads }));
    loads
}

/// A directory for the second root: the same tree if the engine takes it twice, a copy otherwise.
fn second_dir(bench: &Bench, warden: &Warden) -> Result<PathBuf> {
    let dir = &bench.tree.dir;
    if warden.add_root(SECOND, dir).is_ok() {
        let whole = ours::scan(warden, SECOND, bench.threads, Walker::Fd)
            .is_ok_and(|report| report.files == bench.tree.files);
        warden.remove_root(SECOND)?;
        if whole {
            return Ok(dir.clone());
        }
    }
    let tree = Tree::prepare(&bench.folder, "tree-second", bench.tree.files)?;
    tree.settle();
    // Warm, like the first.
    bench.floor.run(&tree.dir, bench.threads)?;
    Ok(tree.dir)
}

impl Stage<'_> {
    fn measure(&self, load: Load) -> Result<Histogram> {
        match load {
            Load::Idle => self.beside(|| {
                thread::sleep(IDLE);
                Ok(())
            }),
            Load::Floor { threads } => self.beside(|| {
                self.bench.floor.run(&self.bench.tree.dir, threads)?;
                Ok(())
            }),
            Load::Rescan { threads } => self.beside(|| {
                ours::scan(&self.warden, ROOT, threads, Walker::Fd)?;
                Ok(())
            }),
            Load::FirstScan { threads } => {
                self.warden.add_root(SECOND, &self.second_dir)?;
                let histogram = self.beside(|| {
                    ours::scan(&self.warden, SECOND, threads, Walker::Fd)?;
                    Ok(())
                });
                self.warden.remove_root(SECOND)?;
                histogram
            }
        }
    }

    /// Runs `load` on this thread with the reader beside it, which counts from the load's start to its end.
    fn beside(&self, load: impl FnOnce() -> Result<()>) -> Result<Histogram> {
        let (ready, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| -> Result<Histogram> {
            // Also when the load panics: the scope would wait for the reader for ever.
            let stop_at_the_end = StopOnDrop(&stop);
            let reader = scope.spawn(|| self.read(&ready, &stop));
            while !ready.load(Ordering::Acquire) && !reader.is_finished() {
                thread::yield_now();
            }
            let done = load();
            drop(stop_at_the_end);
            let histogram = reader.join().map_err(|_| "the reader panicked")?;
            done.map(|()| histogram)
        })
    }

    fn read(&self, ready: &AtomicBool, stop: &AtomicBool) -> Histogram {
        let mut histogram = Histogram::new();
        for (number, path) in (0_u64..).zip(self.paths.iter().cycle()) {
            if number == WARM_UP {
                histogram = Histogram::new();
                ready.store(true, Ordering::Release);
            }
            if number > WARM_UP && stop.load(Ordering::Relaxed) {
                break;
            }
            let start = Instant::now();
            let snapshot = self.warden.snapshot();
            if let Some(entry) = snapshot.get(path) {
                black_box(entry.size());
            }
            drop(snapshot);
            let nanos = start.elapsed().as_nanos();
            histogram.record(u64::try_from(nanos).unwrap_or(u64::MAX));
        }
        histogram
    }
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The rows for the table of all figures (p99.9 only), and the whole distribution as a table of its own.
fn report(phases: &[(Load, Histogram)]) -> (Vec<Row>, Table) {
    let idle = phases.first().map_or(0, |(_, histogram)| histogram.quantile(0.999)).max(1) as f64;
    let show = |nanos: u64| Unit::Nanos.show(nanos as f64);
    let mut rows = Vec::new();
    let mut table =
        Table::new(&["acquire and lookup", "lookups", "p50", "p99", "p99.9", "most", "p99.9 to idle"]);
    for (load, histogram) in phases {
        let high = histogram.quantile(0.999);
        let ratio = high as f64 / idle;
        let mut row = Row::value(format!("lookup p99.9, {}", load.name()), high as f64, Unit::Nanos)
            .ratio(ratio, "idle");
        if load.has_limit() {
            row = row.at_most(ratio, RATIO_MAX, format!("{RATIO_MAX} × idle"));
        }
        rows.push(row);
        table.push(vec![
            load.name(),
            histogram.total().to_string(),
            show(histogram.quantile(0.5)),
            show(histogram.quantile(0.99)),
            show(high),
            show(histogram.most()),
            format!("{ratio:.2}"),
        ]);
    }
    (rows, table)
}
