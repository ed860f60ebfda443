//! Group `live`: what it costs to watch, and how soon one knows. All rows, in their order:
//!
//! * **Start.** Open, watch and `sync` on a state that is up to date, beside open and scan on the same state; the difference, divided by
//!   the directories, is the set-up of a watch. Both backends.
//! * **Idle.** With the big tree watched: the growth of `VmRSS` since the state was open and not watched (the kernel keeps its own
//!   part of each watch elsewhere), the processor time of all threads in five seconds, and 300 `sync` calls one after the other.
//! * **Lost events.** See `overflow.rs`: the queue runs over, and the time until `sync` returns is compared with a rescan.
//! * **Change to visible.** In a private tree of 10,000 files, 250 random files in 250 different directories become one byte longer,
//!   one every 10 to 30 ms: debounce is a matter of each directory, so they overlap and do not prolong each other. A second thread
//!   waits for commits with `wait` and looks in each new snapshot for all changes under way. A change's time begins before its write;
//!   the debounce time is taken off.
//! * **Wake-up.** 500 durable puts, one thread; `wait` in another, from the return of the put.
//! * **rm -rf** of a private tree as wide as `/usr`, by `rm`, from its end until `sync` returns. The notify backend gets a tenth, once,
//!   and two minutes: it goes through all watches for each directory that is removed.
//! * **Burst.** New files in one directory or in a thousand, from the last of them until `sync` returns, compared with a scan that
//!   begins when the last of them is there. Both pay for the journal of the file system with their commit.
//! * **From nothing.** A new state file on a tree never seen, until `sync` returns; watchman and watchfiles until they watch. Last,
//!   since watchman touches a file in the tree's own directory.
//!
//! Whoever watches checks first that every directory has its watch; after each `rm` and burst the snapshot is compared with a walk.

mod overflow;
mod plot;
mod start;
mod storm;
mod task;
mod visible;
mod watched;
mod watchers;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

pub(crate) use task::Task;

use crate::Result;
use crate::bench::Bench;
use crate::child;
use crate::measure::{Contender, Outcome, Record, rounds};
use crate::row::{Row, Unit};

use plot::Plot;
use watched::CAP;

/// The part of the working folder that holds the private trees.
pub(crate) const FOLDER: &str = "live";

/// Written once, and opened by every round.
const KEPT: &str = "live.tw";
/// The same, with a second root.
const OVERFLOW: &str = "live-overflow.tw";
const FRESH: &str = "live-fresh.tw";

/// Most of these figures take seconds each.
const ROUNDS_MAX: usize = 3;

const REMOVED_DIRS: u64 = 100_000;
const REMOVED_DIRS_NOTIFY: u64 = 10_000;
const BURST_FILES: u64 = 100_000;
const BURST_DIRS: u64 = 1_000;
/// A smaller tree is for trying things out: storms shrink with it, to a tenth of its files at most.
const STORM_SHARE: u64 = 10;

const SETUP_MICROS_MAX: f64 = 10.0;
const SYNC_MS_MAX: f64 = 10.0;
const VISIBLE_MS_MAX: f64 = 20.0;
const WAKE_MICROS_MAX: f64 = 1_000.0;
const DEBOUNCE_DEFAULT_MS: u64 = 300;
const DEBOUNCE_SHORT_MS: u64 = 10;
/// After this, no entry of a tree that was just built is stored as too recent to be trusted.
const SETTLE: Duration = Duration::from_millis(2_500);

struct Stage<'a> {
    bench: &'a Bench,
    folder: PathBuf,
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.folder) {
            eprintln!("{error}");
        }
    }
}

pub(crate) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let folder = bench.folder.join(FOLDER);
    // An earlier run may have been killed.
    remove(&folder)?;
    let stage = Stage { bench, folder };
    child::measure(child::Task::OursFirst, &bench.fresh_state(KEPT)?, &bench.tree.dir, bench.threads)?;

    let mut rows = Vec::new();
    for (name, part) in parts() {
        // A figure that fails must not cost the others.
        match part(&stage) {
            Ok(more) => rows.extend(more),
            Err(error) => {
                eprintln!("treewarden-bench: live, {name}: {error}");
                rows.push(Row::failed(format!("{name}: failed"), &*error));
            }
        }
    }
    Ok(rows)
}

type Part<'a> = fn(&Stage<'a>) -> Result<Vec<Row>>;

fn parts<'a>() -> [(&'static str, Part<'a>); 8] {
    [
        ("start", Stage::start),
        ("idle", Stage::idle),
        ("lost events", Stage::lost_events),
        ("change to visible", Stage::visible),
        ("wake-up", Stage::wake),
        ("rm -rf", Stage::removal),
        ("burst", Stage::burst),
        ("from nothing", Stage::scan_from_nothing),
    ]
}

impl Stage<'_> {
    fn start(&self) -> Result<Vec<Row>> {
        let bench = self.bench;
        let mut contenders = [
            bench.floor_contender(),
            self.kept(Task::Rescan),
            self.kept(Task::KnownInotify),
            self.kept(Task::KnownNotify),
        ];
        let outcome = rounds(bench.runs, &mut contenders)?;
        let floor = outcome.seconds("floor").median();
        let timed = |what: &str, task: Task| {
            let seconds = outcome.seconds(task.name());
            Row::samples(what, &seconds, Unit::Seconds).ratio(seconds.median() / floor, "floor")
        };
        let after_open = |task: Task| outcome.samples(task.name(), "after_open_seconds").median();
        let setup = |task: Task| {
            let dirs = outcome.samples(task.name(), "watched_dirs").median();
            (after_open(task) - after_open(Task::Rescan)) * 1e6 / dirs.max(1.0)
        };
        let (inotify, notify) = (setup(Task::KnownInotify), setup(Task::KnownNotify));
        Ok(vec![
            Row::samples("floor", &outcome.seconds("floor"), Unit::Seconds).ratio(1.0, "floor"),
            timed("open and rescan", Task::Rescan),
            timed("open, watch and sync", Task::KnownInotify),
            Row::value("  over the rescan, per directory", inotify, Unit::Micros).at_most(
                inotify,
                SETUP_MICROS_MAX,
                Unit::Micros.show(SETUP_MICROS_MAX),
            ),
            timed("open, watch and sync, backend notify", Task::KnownNotify),
            Row::value("  over the rescan, per directory", notify, Unit::Micros),
        ])
    }

    fn idle(&self) -> Result<Vec<Row>> {
        let outcome = rounds(self.rounds(), &mut [self.kept(Task::Idle)])?;
        let figure = |name: &str| outcome.samples(Task::Idle.name(), name);
        let sync = figure("sync_p50_ms");
        Ok(vec![
            Row::samples("sync, nothing to do, p50", &sync, Unit::Millis).at_most(
                sync.median(),
                SYNC_MS_MAX,
                Unit::Millis.show(SYNC_MS_MAX),
            ),
            Row::samples("sync, nothing to do, p99", &figure("sync_p99_ms"), Unit::Millis),
            Row::samples("resident memory, watched", &figure("watched_bytes"), Unit::Megabytes),
            Row::samples("  more than open and not watched", &figure("rise_bytes"), Unit::Megabytes),
            Row::samples("  the same per watched directory", &figure("rise_bytes_per_dir"), Unit::Bytes),
            Row::samples(
                format!("processor time in {} s of idle watching", start::IDLE.as_secs()),
                &figure("cpu_ms"),
                Unit::Millis,
            ),
        ])
    }

    fn lost_events(&self) -> Result<Vec<Row>> {
        const WHAT: &str = "lost events until sync returns";
        if let Err(reason) = overflow::queue() {
            return Ok(vec![Row::note(WHAT, format!("skipped: {reason}"))]);
        }
        let bench = self.bench;
        let state = bench.fresh_state(OVERFLOW)?;
        fs::copy(bench.state(KEPT), &state)?;
        let plot = Plot::empty(&self.folder, 0)?;
        let mut contenders = [
            self.kept(Task::Rescan),
            Contender::new(Task::Overflow.name(), || self.child(Task::Overflow, &state, &plot.dir, 0)),
        ];
        let outcome = rounds(self.rounds(), &mut contenders)?;
        let seconds = outcome.seconds(Task::Overflow.name());
        let rescan = outcome.samples(Task::Rescan.name(), "after_open_seconds").median();
        let ratio = seconds.median() / rescan;
        Ok(vec![Row::samples(WHAT, &seconds, Unit::Seconds).ratio(ratio, "rescan")])
    }

    fn visible(&self) -> Result<Vec<Row>> {
        const DEFAULT: &str = "visible, default debounce";
        const SHORT: &str = "visible, short debounce";
        let plot = Plot::small(&self.folder)?;
        thread::sleep(SETTLE);
        let contender = |key: &'static str, debounce_ms: u64| {
            let dir = plot.dir.as_path();
            Contender::new(key, move || self.fresh(Task::Visible, dir, debounce_ms))
        };
        let mut contenders = [contender(DEFAULT, DEBOUNCE_DEFAULT_MS), contender(SHORT, DEBOUNCE_SHORT_MS)];
        let outcome = rounds(self.rounds(), &mut contenders)?;
        let mut rows = Vec::new();
        for (key, debounce_ms) in [(DEFAULT, DEBOUNCE_DEFAULT_MS), (SHORT, DEBOUNCE_SHORT_MS)] {
            let what = format!("change to visible, beyond a debounce of {debounce_ms} ms");
            let p99 = outcome.samples(key, "p99_ms");
            rows.push(Row::samples(format!("{what}, p50"), &outcome.samples(key, "p50_ms"), Unit::Millis));
            rows.push(Row::samples(format!("{what}, p99"), &p99, Unit::Millis).at_most(
                p99.median(),
                VISIBLE_MS_MAX,
                Unit::Millis.show(VISIBLE_MS_MAX),
            ));
        }
        Ok(rows)
    }

    fn wake(&self) -> Result<Vec<Row>> {
        let run = || self.fresh(Task::Wake, &self.folder, 0);
        let outcome = rounds(self.rounds(), &mut [Contender::new(Task::Wake.name(), run)])?;
        let figure = |name: &str| outcome.samples(Task::Wake.name(), name);
        let p99 = figure("p99_us");
        Ok(vec![
            Row::samples("wake-up of wait after a durable put, p50", &figure("p50_us"), Unit::Micros),
            Row::samples("wake-up of wait after a durable put, p99", &p99, Unit::Micros).at_most(
                p99.median(),
                WAKE_MICROS_MAX,
                Unit::Micros.show(WAKE_MICROS_MAX),
            ),
        ])
    }

    fn removal(&self) -> Result<Vec<Row>> {
        let (dirs, dirs_notify) = (self.storm(REMOVED_DIRS), self.storm(REMOVED_DIRS_NOTIFY));
        let contender = |task: Task, dirs: u64| {
            Contender::new(task.name(), move || {
                let plot = Plot::usr(&self.folder, dirs)?;
                self.fresh(task, &plot.dir, 0)
            })
        };
        let outcome = rounds(self.rounds(), &mut [contender(Task::RemoveInotify, dirs)])?;
        let mut rows = removal_rows(&outcome, Task::RemoveInotify, &format!("rm -rf of {dirs} directories"));
        // Whatever happens to the other backend must not cost these.
        let what = format!("rm -rf of {dirs_notify} directories, backend notify");
        match rounds(1, &mut [contender(Task::RemoveNotify, dirs_notify)]) {
            Ok(outcome) => rows.extend(removal_rows(&outcome, Task::RemoveNotify, &what)),
            Err(error) => rows.push(Row::failed(format!("{what}: failed"), &*error)),
        }
        Ok(rows)
    }

    fn burst(&self) -> Result<Vec<Row>> {
        const KEYS: [[&str; 2]; 2] = [
            ["burst, one, watched", "burst, one, scanned"],
            ["burst, many, watched", "burst, many, scanned"],
        ];
        let files = self.storm(BURST_FILES);
        let many = BURST_DIRS.min(files);
        let contender = |key: &'static str, task: Task, dirs: u64| {
            Contender::new(key, move || {
                let plot = Plot::empty(&self.folder, dirs)?;
                self.fresh(task, &plot.dir, files)
            })
        };
        let mut contenders = Vec::new();
        for ([watched, scanned], dirs) in KEYS.into_iter().zip([1, many]) {
            contenders.push(contender(watched, Task::BurstWatched, dirs));
            contenders.push(contender(scanned, Task::BurstScanned, dirs));
        }
        let outcome = rounds(self.rounds(), &mut contenders)?;
        let mut rows = Vec::new();
        for ([watched, scanned], dirs) in KEYS.into_iter().zip([1, many]) {
            let what = match dirs {
                1 => format!("{files} new files in one directory"),
                _ => format!("{files} new files in {dirs} directories"),
            };
            let (watched, scanned) = (outcome.seconds(watched), outcome.seconds(scanned));
            let ratio = watched.median() / scanned.median();
            rows.push(
                Row::samples(format!("{what}, until sync returns"), &watched, Unit::Seconds)
                    .ratio(ratio, "scan"),
            );
            rows.push(Row::samples("  the same, found by a scan", &scanned, Unit::Seconds));
        }
        Ok(rows)
    }

    fn scan_from_nothing(&self) -> Result<Vec<Row>> {
        let bench = self.bench;
        let dir = bench.tree.dir.as_path();
        let run = || -> Result<Record> {
            let record = self.fresh(Task::New, dir, 0)?;
            let files = record.get("files").copied().unwrap_or_default() as u64;
            if files != bench.tree.files {
                return Err(format!("{files} files of {} are in the snapshot", bench.tree.files).into());
            }
            Ok(record)
        };
        let outcome = rounds(self.rounds(), &mut [Contender::new(Task::New.name(), run)])?;
        let ours = outcome.seconds(Task::New.name());
        let mut rows =
            vec![Row::samples("from nothing to watching", &ours, Unit::Seconds).ratio(1.0, "ours")];
        let server = bench.state("watchman");
        let watchman = Contender::new("watchman", || watchers::watchman(dir, &server));
        let watchfiles = Contender::new("watchfiles", || watchers::watchfiles(dir));
        rows.push(self.peer("watchman", watchers::watchman_version(), watchman, ours.median()));
        rows.push(self.peer("watchfiles", watchers::watchfiles_version(), watchfiles, ours.median()));
        Ok(rows)
    }

    /// The row of a peer. That one of them does not work here is no failure of ours.
    fn peer(&self, key: &str, version: Option<String>, contender: Contender<'_>, ours: f64) -> Row {
        let Some(version) = version else {
            return Row::note(format!("  {key}"), "not installed");
        };
        let what = format!("  {key} {version}");
        match rounds(self.rounds(), &mut [contender]) {
            Ok(outcome) => {
                let seconds = outcome.seconds(key);
                Row::samples(what, &seconds, Unit::Seconds).ratio(seconds.median() / ours, "ours")
            }
            Err(error) => Row::note(what, format!("failed: {error}").replace('\n', "; ")),
        }
    }

    fn rounds(&self) -> usize {
        self.bench.runs.min(ROUNDS_MAX)
    }

    fn storm(&self, size: u64) -> u64 {
        size.min(self.bench.tree.files / STORM_SHARE).max(1)
    }

    /// Runs a task on the state of the big tree, which it does not change.
    fn kept(&self, task: Task) -> Contender<'_> {
        self.bench.contender(child::Task::Live(task), KEPT)
    }

    /// Runs a task on a state file that does not exist yet.
    fn fresh(&self, task: Task, dir: &Path, count: u64) -> Result<Record> {
        self.child(task, &self.bench.fresh_state(FRESH)?, dir, count)
    }

    fn child(&self, task: Task, db: &Path, dir: &Path, count: u64) -> Result<Record> {
        child::measure_with(child::Task::Live(task), db, dir, self.bench.threads, count)
    }
}

fn removal_rows(outcome: &Outcome, task: Task, what: &str) -> Vec<Row> {
    let what = format!("{what}, until sync returns");
    let seconds = outcome.seconds(task.name());
    let capped = outcome.samples(task.name(), "capped").len() > 0;
    vec![
        if capped {
            Row::note(what, format!("more than {} s", CAP.as_secs()))
        } else {
            Row::samples(what, &seconds, Unit::Seconds)
        },
        Row::samples("  rm itself", &outcome.samples(task.name(), "rm_seconds"), Unit::Seconds),
    ]
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", folder.display()).into())
        }
        _ => Ok(()),
    }
}
