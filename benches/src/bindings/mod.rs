//! Group `bindings`: what it costs to come from another language. The same snapshot, the same addresses and the same jobs in Rust, in C
//! and in Python, each in a process of its own that measures inside itself. All rows, in their order:
//!
//! * **Iterate.** Every file of the snapshot, its path put together, size and time read: `treewarden::Paths` in Rust, `tw_iter_next` in
//!   batches of 4,096 with `tw_iter_clear` after each in C, a `for` loop in Python, with the path and without it.
//! * **Table.** Every file as Arrow batches, all kept: `arrow::entries` in Rust, `pyarrow.table(snapshot)` in Python.
//! * **Lookup** of 200,000 paths in random order, and of 16 over and over, which the caches hold: there what C takes longer than Rust is
//!   the border, where handles are looked up and arguments checked. Then the cheapest call of all, the number of the last commit. On one
//!   thread, and on two that use the same handle: what a thread sees on average.
//! * **Claim and complete** in batches of 256, the jobs and the states of the group `work`.
//! * **Into a dict.** Size and time of every file by path, in Python: with a first scan and with a rescan, from opening the state on, and
//!   as programs do it without an engine, `os.walk` and `os.lstat`, or `os.scandir` in every directory.
//!
//! Within a process every time but those of jobs and dicts is the median of three passes after one that is not counted; the table shows
//! the median of the rounds. Everybody who iterates must have seen the same files, path bytes and sizes. Single calls of Python are without
//! the loop around them. What was not built is skipped, and a note says what is missing.

mod native;
mod program;
mod python;
mod rust;
mod task;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::path::PathBuf;

pub(crate) use task::Task;

use crate::Result;
use crate::bench::Bench;
use crate::measure::{Contender, Outcome, Record, Samples, rounds};
use crate::ours::ROOT;
use crate::row::{Row, Unit};
use crate::{child, work};

use native::Native;
use program::{Found, measure};
use python::Python;

/// Written once, and read by every round.
const KEPT: &str = "bindings.tw";
/// The same with a pipeline, every file pending.
const PENDING: &str = "bindings-pending.tw";
const CHANGING: &str = "bindings-changing.tw";
const FRESH: &str = "bindings-fresh.tw";
/// The addresses that everybody looks up.
const PATHS: &str = "bindings.paths";
/// Where the programs are written to and compiled. It ends with the run, as the states do.
const FOLDER: &str = "bindings";

const RUST: &str = "Rust";
const C: &str = "C";
const PYTHON: &str = "Python";

/// Most of these figures take seconds each.
const ROUNDS_MAX: usize = 3;
const LOOKUPS: u64 = 200_000;
/// The name of the pipeline that `work::Task::Make` makes.
const PIPELINE: &str = "work";
/// The same as in the group `work`.
const BATCH: u64 = 256;
const JOBS: u64 = 100_000;
/// A smaller tree is for trying things out: so much of it is claimed at most.
const JOBS_SHARE: u64 = 10;

const C_ITERATE_RATIO_MAX: f64 = 1.15;
const PYTHON_ITERATE_SECONDS_MAX: f64 = 0.5;
const PYTHON_TABLE_SECONDS_MAX: f64 = 0.15;
/// The two above are for so many files.
const LIMIT_FILES: f64 = 1e6;
const PYTHON_JOBS_SHARE_MIN: f64 = 0.5;

/// What everybody must have seen in the same snapshot.
const SEEN: [&str; 3] = ["files", "path_bytes", "size_bytes"];

struct Stage<'a> {
    bench: &'a Bench,
    c: Found<Native>,
    python: Found<Python>,
    /// What a Rust program has seen.
    seen: Record,
}

pub(crate) fn run(bench: &Bench) -> Result<Vec<Row>> {
    let stage = Stage::prepare(bench)?;
    let mut rows = stage.notes();
    for (name, part) in parts() {
        // A figure that fails must not cost the others.
        match part(&stage) {
            Ok(more) => rows.extend(more),
            Err(error) => {
                eprintln!("treewarden-bench: bindings, {name}: {error}");
                rows.push(Row::failed(format!("{name}: failed"), &*error));
            }
        }
    }
    Ok(rows)
}

type Part<'a> = fn(&Stage<'a>) -> Result<Vec<Row>>;

fn parts<'a>() -> [(&'static str, Part<'a>); 3] {
    [("iterate and look up", Stage::read), ("claim and complete", Stage::jobs), ("into a dict", Stage::dicts)]
}

impl<'a> Stage<'a> {
    /// Builds the programs, and writes the states that every round begins with.
    fn prepare(bench: &'a Bench) -> Result<Stage<'a>> {
        let folder = bench.state(FOLDER);
        fs::create_dir(&folder)
            .map_err(|error| format!("cannot create the folder {}: {error}", folder.display()))?;
        let (c, python) = (Native::build(&folder)?, Python::find(&folder)?);
        let kept = bench.fresh_state(KEPT)?;
        child::measure(child::Task::OursFirst, &kept, &bench.tree.dir, bench.threads)?;
        let paths = child::Task::Bindings(Task::Paths);
        let seen = child::measure_with(paths, &kept, &bench.state(PATHS), 1, LOOKUPS)?;
        let stage = Stage { bench, c, python, seen };
        let make = child::Task::Work(work::Task::Make);
        child::measure(make, &stage.copy(KEPT, PENDING)?, &bench.tree.dir, bench.threads)?;
        Ok(stage)
    }

    /// Says what is measured, and what is not and why.
    fn notes(&self) -> Vec<Row> {
        let mut notes = Vec::new();
        if let Found::Missing(reason) = &self.c {
            notes.push((C, format!("skipped: {reason}")));
        }
        match &self.python {
            Found::Missing(reason) => notes.push((PYTHON, format!("skipped: {reason}"))),
            Found::Ready(python) => {
                let Python { version, pyarrow, is_debug_build, .. } = python;
                notes.push((PYTHON, version.clone()));
                notes.push(match pyarrow {
                    Some(version) => ("  pyarrow", version.clone()),
                    None => ("  pyarrow", "skipped: it is not installed beside the package".to_owned()),
                });
                if *is_debug_build && !cfg!(debug_assertions) {
                    const HOW: &str = "`maturin develop --release` in python/ replaces it";
                    notes.push(("  the package", format!("a debug build, its figures say nothing; {HOW}")));
                }
            }
        }
        for (what, text) in &notes {
            eprintln!("{}: {text}", what.trim_start());
        }
        notes.into_iter().map(|(what, text)| Row::note(what, text)).collect()
    }

    fn read(&self) -> Result<Vec<Row>> {
        let bench = self.bench;
        let (state, paths) = (bench.state(KEPT), bench.state(PATHS));
        let (state, paths) = (&state, &paths);
        let mishaps = Mishaps::default();
        let mut contenders = vec![Contender::new(RUST, move || {
            let task = child::Task::Bindings(Task::Read);
            self.agrees(child::measure_with(task, state, paths, 1, 0)?)
        })];
        if let Found::Ready(c) = &self.c {
            let run = move || self.agrees(measure(c.command("read").args([state, paths]))?);
            contenders.push(mishaps.contender(C, run));
        }
        if let Found::Ready(python) = &self.python {
            let run = move || self.agrees(measure(python.command("read").args([state, paths]))?);
            contenders.push(mishaps.contender(PYTHON, run));
        }
        let outcome = rounds(bench.runs, &mut contenders)?;
        let mut rows = self.iterate_rows(&outcome);
        rows.extend(self.table_rows(&outcome));
        rows.extend(call_rows(&outcome));
        rows.extend(mishaps.rows("iterate and look up"));
        Ok(rows)
    }

    /// Passes figures on if they come from the whole snapshot.
    fn agrees(&self, figures: Record) -> Result<Record> {
        for name in SEEN {
            let (is, should) = (figures.get(name), self.seen.get(name));
            if is != should {
                return Err(format!("`{name}` of the snapshot is {is:?} instead of {should:?}").into());
            }
        }
        Ok(figures)
    }

    fn iterate_rows(&self, outcome: &Outcome) -> Vec<Row> {
        const FIGURE: &str = "iterate";
        const ALL: &str = "all in Rust";
        let rust = outcome.samples(RUST, FIGURE);
        let what = format!("iterate {} files: path, size and time, Rust", self.bench.tree.files);
        let mut rows = vec![Row::samples(what, &rust, Unit::Seconds).ratio(1.0, RUST)];
        let all = outcome.samples(RUST, "iterate_all");
        let what = "  all that a row of C holds, Rust";
        rows.push(Row::samples(what, &all, Unit::Seconds).ratio(all.median() / rust.median(), RUST));
        if let Some(seconds) = measured(outcome, C, FIGURE) {
            let ratio = seconds.median() / all.median();
            rows.push(
                Row::samples("  the same, C, batches of 256", &seconds, Unit::Seconds)
                    .ratio(ratio, ALL)
                    .at_most(ratio, C_ITERATE_RATIO_MAX, format!("{C_ITERATE_RATIO_MAX} × {ALL}")),
            );
        }
        for (what, figure) in [("  Python, size", "iterate_size"), ("  Python, size and path", FIGURE)] {
            if let Some(seconds) = measured(outcome, PYTHON, figure) {
                rows.push(self.python_row(what, &seconds, &rust, PYTHON_ITERATE_SECONDS_MAX));
            }
        }
        rows
    }

    fn table_rows(&self, outcome: &Outcome) -> Vec<Row> {
        const FIGURE: &str = "arrow";
        let rust = outcome.samples(RUST, FIGURE);
        let mut rows =
            vec![Row::samples("Arrow table of all files, Rust", &rust, Unit::Seconds).ratio(1.0, RUST)];
        if let Some(seconds) = measured(outcome, PYTHON, FIGURE) {
            let what = "  Python, pyarrow.table(snapshot)";
            rows.push(self.python_row(what, &seconds, &rust, PYTHON_TABLE_SECONDS_MAX));
        }
        rows
    }

    /// The row of a pass over all files; the limit is that of a million.
    fn python_row(&self, what: &str, seconds: &Samples, rust: &Samples, limit: f64) -> Row {
        let limit = limit * self.bench.tree.files as f64 / LIMIT_FILES;
        Row::samples(what, seconds, Unit::Seconds).ratio(seconds.median() / rust.median(), RUST).at_most(
            seconds.median(),
            limit,
            Unit::Seconds.show(limit),
        )
    }

    fn jobs(&self) -> Result<Vec<Row>> {
        const FIGURE: &str = "jobs_per_second";
        let bench = self.bench;
        let jobs = JOBS.min(bench.tree.files / JOBS_SHARE).max(1);
        let words = &[PIPELINE.to_owned(), jobs.to_string(), BATCH.to_string()];
        let mishaps = Mishaps::default();
        let mut contenders = vec![Contender::new(RUST, move || {
            let task = child::Task::Work(work::Task::Jobs);
            child::measure_with(task, &self.copy(PENDING, CHANGING)?, &bench.tree.dir, 1, jobs)
        })];
        if let Found::Ready(c) = &self.c {
            let run = move || measure(c.command("jobs").arg(self.copy(PENDING, CHANGING)?).args(words));
            contenders.push(mishaps.contender(C, run));
        }
        if let Found::Ready(python) = &self.python {
            let run = move || measure(python.command("jobs").arg(self.copy(PENDING, CHANGING)?).args(words));
            contenders.push(mishaps.contender(PYTHON, run));
        }
        let outcome = rounds(self.rounds(), &mut contenders)?;
        let rust = outcome.samples(RUST, FIGURE);
        let what = format!("claim and complete {jobs} jobs, {BATCH} at once, durable, Rust");
        let mut rows = vec![Row::samples(what, &rust, Unit::PerSecond).ratio(1.0, RUST)];
        if let Some(rate) = measured(&outcome, C, FIGURE) {
            let share = rate.median() / rust.median();
            rows.push(Row::samples("  C", &rate, Unit::PerSecond).ratio(share, RUST));
        }
        if let Some(rate) = measured(&outcome, PYTHON, FIGURE) {
            let share = rate.median() / rust.median();
            rows.push(Row::samples("  Python", &rate, Unit::PerSecond).ratio(share, RUST).at_least(
                share,
                PYTHON_JOBS_SHARE_MIN,
                format!("at least {PYTHON_JOBS_SHARE_MIN} × {RUST}"),
            ));
        }
        rows.extend(mishaps.rows("claim and complete"));
        Ok(rows)
    }

    fn dicts(&self) -> Result<Vec<Row>> {
        const FIRST: &str = "first scan into a dict";
        const AGAIN: &str = "rescan into a dict";
        const WALK: &str = "os.walk into a dict";
        const SCANDIR: &str = "os.scandir into a dict";
        let Found::Ready(python) = &self.python else { return Ok(Vec::new()) };
        let bench = self.bench;
        let dir = bench.tree.dir.as_path();
        let threads = bench.threads.to_string();
        let ours = |task: &str, state: PathBuf| {
            self.whole(measure(python.command(task).arg(state).arg(ROOT).arg(dir).arg(&threads))?)
        };
        let peer = |task: &str| self.whole(measure(python.command(task).arg(dir))?);
        let mishaps = Mishaps::default();
        let mut contenders = [
            mishaps.contender(FIRST, || ours("first", bench.fresh_state(FRESH)?)),
            mishaps.contender(AGAIN, || ours("again", bench.state(KEPT))),
            mishaps.contender(WALK, || peer("walk")),
            mishaps.contender(SCANDIR, || peer("scandir")),
        ];
        let outcome = rounds(self.rounds(), &mut contenders)?;

        let first = outcome.seconds(FIRST).median();
        let mut rows = Vec::new();
        for (what, key) in [
            ("Python, every file into a dict: open, first scan, iterate", FIRST),
            ("  open, rescan, iterate", AGAIN),
            ("  os.walk and os.lstat", WALK),
            ("  os.scandir", SCANDIR),
        ] {
            if let Some(seconds) = measured(&outcome, key, "seconds") {
                rows.push(
                    Row::samples(what, &seconds, Unit::Seconds).ratio(seconds.median() / first, "first scan"),
                );
            }
        }
        rows.extend(mishaps.rows("into a dict"));
        Ok(rows)
    }

    /// Passes figures on if they come from the whole tree.
    fn whole(&self, figures: Record) -> Result<Record> {
        let (files, all) = (figures.get("files").copied().unwrap_or_default() as u64, self.bench.tree.files);
        if files != all {
            return Err(format!("{files} files of {all} are in the dict").into());
        }
        Ok(figures)
    }

    fn rounds(&self) -> usize {
        self.bench.runs.min(ROUNDS_MAX)
    }

    /// Copies a state file. The copy is on the disk: no commit of the process that works on it has to carry it there.
    fn copy(&self, from: &str, to: &str) -> Result<PathBuf> {
        let path = self.bench.fresh_state(to)?;
        fs::copy(self.bench.state(from), &path)
            .map_err(|error| format!("cannot copy `{from}` to {}: {error}", path.display()))?;
        File::open(&path)?.sync_all()?;
        Ok(path)
    }
}

/// The values of a figure, if there are any.
fn measured(outcome: &Outcome, key: &str, figure: &str) -> Option<Samples> {
    let samples = outcome.samples(key, figure);
    (samples.len() > 0).then_some(samples)
}

/// Single calls: in Rust, in C, the difference between the two, in Python.
fn call_rows(outcome: &Outcome) -> Vec<Row> {
    let hot = format!("lookup by path, {} over and over", rust::HOT_PATHS);
    let seq = "number of the last commit";
    let mut rows = Vec::new();
    for (what, figure) in [
        ("lookup by path, random order".to_owned(), "lookup"),
        (hot.clone(), "hot_1"),
        (format!("{hot}, 2 threads"), "hot_2"),
        (seq.to_owned(), "seq_1"),
        (format!("{seq}, 2 threads"), "seq_2"),
    ] {
        let rust = outcome.samples(RUST, figure);
        let row = |what: String, nanos: &Samples| {
            Row::samples(what, nanos, Unit::Nanos).ratio(nanos.median() / rust.median(), RUST)
        };
        rows.push(row(format!("{what}, Rust"), &rust));
        if let Some(nanos) = measured(outcome, C, figure) {
            rows.push(row("  C".to_owned(), &nanos));
            rows.push(Row::value("  the border, per call", nanos.median() - rust.median(), Unit::Nanos));
        }
        if let Some(nanos) = measured(outcome, PYTHON, figure) {
            rows.push(row("  Python".to_owned(), &nanos));
        }
    }
    if let Some(nanos) = measured(outcome, PYTHON, "attribute") {
        rows.push(Row::samples("size of an entry in hand, Python", &nanos, Unit::Nanos));
    }
    rows
}

/// What went wrong with a contender: it must not cost the figures of the others.
#[derive(Default)]
struct Mishaps(RefCell<BTreeMap<&'static str, Box<dyn Error + Send + Sync>>>);

impl Mishaps {
    /// A contender that does not run any more once it has failed.
    fn contender<'m>(
        &'m self,
        key: &'static str,
        mut run: impl FnMut() -> Result<Record> + 'm,
    ) -> Contender<'m> {
        Contender::new(key, move || {
            if self.0.borrow().contains_key(key) {
                return Ok(Record::new());
            }
            run().or_else(|error| {
                eprintln!("treewarden-bench: bindings, {key}: {error}");
                self.0.borrow_mut().insert(key, error);
                Ok(Record::new())
            })
        })
    }

    /// A row for each that failed; the run then ends as failed, too.
    fn rows(&self, part: &str) -> Vec<Row> {
        let mishaps = self.0.borrow();
        mishaps.iter().map(|(key, error)| Row::failed(format!("{part}, {key}: failed"), &**error)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::record;

    #[test]
    fn one_that_fails_does_not_cost_the_others() -> Result<()> {
        let mishaps = Mishaps::default();
        let mut tries = 0;
        let fails = mishaps.contender(C, || {
            tries += 1;
            Err("no luck".into())
        });
        let works = mishaps.contender(PYTHON, || Ok(record([("seconds", 1.0)])));
        let outcome = rounds(3, &mut [fails, works])?;
        assert!(measured(&outcome, C, "seconds").is_none());
        assert_eq!(outcome.seconds(PYTHON).len(), 3);
        assert_eq!(mishaps.rows("part").len(), 1);
        assert_eq!(tries, 1);
        Ok(())
    }
}
